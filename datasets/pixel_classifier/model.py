"""Classes as normal distributions of a pixel's features, learned batch by batch and decided by discriminants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
KINDS = ("quadratic", "linear")
PRIORS = ("equal", "observed")
NONE = 255  # the label of pixels that are not learned from
LEAST = 1e-12  # of a correlation matrix's eigenvalues over the greatest: below it nothing would be left of 16 digits


@dataclass(eq=False)
class Moments:
    """Counts, means and scatter of each class's pixels, added up batch by batch.

    Shapes:
        counts: (K,), how many pixels.
        means: (K, F).
        scatter: (K, F, F), the sum of (x - m)(x - m)ᵀ.
    Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979:
    sums of squares would lose the digits of a small variance about a large mean.
    """

    counts: NDArray[np.int64]
    means: Floats
    scatter: Floats

    @classmethod
    def none(cls, classes: int, features: int) -> Moments:
        """Those of no pixel."""
        counts = np.zeros(classes, np.int64)
        return cls(counts, np.zeros((classes, features)), np.zeros((classes, features, features)))

    def add(self, values: Floats, labels: NDArray[np.integer]) -> None:
        """Take up pixels.

        Shapes: values (M, F); labels (M,).
        """
        for index in range(len(self.counts)):
            own = values[labels == index]
            if not len(own):
                continue
            mean = own.mean(axis=0)
            centred, step = own - mean, mean - self.means[index]
            before, count = int(self.counts[index]), int(self.counts[index]) + len(own)
            self.scatter[index] += centred.T @ centred + np.outer(step, step) * (before * len(own) / count)
            self.means[index] += step * (len(own) / count)
            self.counts[index] = count


class PixelClassifier:
    """Classes as normal distributions of a pixel's features; each pixel is given the likeliest, alone.

    The discriminant of class c at a pixel x is d_c = ln |S_c| + (x - m_c)ᵀ S_c⁻¹ (x - m_c) - 2 ln p_c, and the class
    with the least is predicted: -2 times the logarithm of p_c times the density, less a constant. (The lecture prints
    it without priors, which is p_c alike for all, and takes the greater one, a slip: it is the less likely.)

    Shapes:
        means: (K, F).
        covariances: (K, F, F); with "linear" the same K times.
        priors: (K,).
    Args:
        moments: of the training pixels, by class.
        kind: "quadratic" gives each class its own covariance, "linear" the classes one in common, the mean of
            all, weighted by their pixels; borders between classes are quadrics or planes.
        priors: "equal", the lecture's; "observed", the classes' shares of the training pixels; or K numbers above 0
            that are scaled to the sum 1.
        regularisation: added to the covariances' diagonal, 0 or more, in squared units of the features.
    Raises:
        DataError, SettingsError: a class without pixels, a covariance that has no inverse, or an argument out of range.
    Source: lecture, preamble (Kak & Bouman, Purdue, 2025); Duda, Hart, Stork, "Pattern Classification", section 2.6.
    """

    def __init__(
        self,
        moments: Moments,
        classes: Sequence[str],
        kind: str = "quadratic",
        priors: str | Sequence[float] = "equal",
        regularisation: float = 0.0,
    ) -> None:
        if kind not in KINDS:
            raise SettingsError(f"kind must be one of {', '.join(KINDS)}; got kind={kind!r}.")
        if not 0 <= regularisation < np.inf:
            raise SettingsError(
                f"regularisation must be 0 or more; got regularisation={regularisation}. Try 1."
            )
        self.classes = tuple(classes)
        if len(self.classes) != len(moments.counts):
            raise SettingsError(
                f"classes must be {len(moments.counts)}, as moments has; got {len(self.classes)}."
            )
        if len(self.classes) > NONE:
            raise SettingsError(f"classes must be at most {NONE}; got {len(self.classes)}. Leave some out.")
        if missing := [name for name, count in zip(self.classes, moments.counts, strict=True) if not count]:
            raise DataError(
                f"every class must have training pixels; got none of {', '.join(missing)}. Train on more images, or "
                "leave the class out."
            )
        counts = moments.counts[:, None, None].astype(float)
        self.kind, self.regularisation = kind, regularisation
        self.means, own = moments.means, moments.scatter / counts  # most likely: divided by n, not n - 1
        if kind == "linear":
            own = np.broadcast_to(moments.scatter.sum(axis=0) / counts.sum(), own.shape)
        self.covariances: Floats = own + regularisation * np.eye(own.shape[-1])
        self.priors = _priors(priors, moments.counts)
        self._factors = self._factorised(moments.counts)
        self._logarithms = 2 * np.log(np.diagonal(self._factors, axis1=1, axis2=2)).sum(axis=1)

    @classmethod
    def fit(
        cls, batches: Iterable[tuple[Floats, NDArray[np.integer]]], classes: Sequence[str], **options: Any
    ) -> PixelClassifier:
        """Learn from pixels that come in batches; only one batch is in memory, and their sizes are nothing.

        Shapes: each batch (..., F) features and (...) labels.
        Args:
            batches: features, and labels 0..K-1; pixels with the label 255 are left out.
            classes: K names.
            options: kind, priors and regularisation, as the class takes them.
        Raises:
            DataError: no batch, shapes that do not fit, labels out of range, features that are not finite, a class
                without pixels, or a covariance that has no inverse.
            SettingsError: an option out of range.
        """
        moments: Moments | None = None
        for values, labels in batches:
            if values.shape[:-1] != labels.shape:
                raise DataError(
                    "features must be (..., F) and labels (...); got "
                    f"features.shape={values.shape}, labels.shape={labels.shape}. Pair them."
                )
            wrong = (labels != NONE) & ((labels < 0) | (labels >= len(classes)))
            if wrong.any():
                raise DataError(
                    f"labels must be in 0..{len(classes) - 1} or {NONE}; got {int(labels[wrong][0])}. Name every class."
                )
            if not np.isfinite(values).all():
                raise DataError("features must be finite; got NaN or infinity. Take such pixels out.")
            if moments is None:
                moments = Moments.none(len(classes), values.shape[-1])
            moments.add(values.reshape(-1, values.shape[-1]).astype(np.float64), labels.ravel())
        if moments is None:
            raise DataError("there must be a training image; got none. Give more.")
        return cls(moments, classes, **options)

    def discriminants(self, values: NDArray[Any]) -> Floats:
        """The discriminant of every class at every pixel, least where the class is likeliest.

        Shapes: values (..., F); returns (..., K).
        Raises:
            DataError: another number of features.
        """
        if values.shape[-1:] != self.means.shape[1:]:
            raise DataError(
                f"features must be (..., {self.means.shape[1]}), as in training; got features.shape={values.shape}."
            )
        flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
        found = np.empty((len(flat), len(self.means)))
        for index, (mean, factor) in enumerate(zip(self.means, self._factors, strict=True)):
            whitened = np.linalg.solve(factor, (flat - mean).T)  # (F, M)
            found[:, index] = (whitened**2).sum(axis=0)
        found += self._logarithms - 2 * np.log(self.priors)
        return found.reshape(*values.shape[:-1], -1)

    def predict(self, values: NDArray[Any]) -> Bytes:
        """The class of every pixel; of equal discriminants the first.

        Shapes: values (..., F); returns (...).
        """
        return self.discriminants(values).argmin(axis=-1).astype(np.uint8)

    def _factorised(self, counts: NDArray[np.int64]) -> Floats:
        """The covariances' Cholesky factors, (K, F, F), or an error that names those without an inverse."""
        size = self.covariances.shape[-1]
        faults = []
        for index in range(len(self.means) if self.kind == "quadratic" else 1):
            own = self.means[index] if self.kind == "quadratic" else abs(self.means).max(axis=0)
            rank = _rank(self.covariances[index], own)
            if rank < size:
                name, pixels = self.classes[index], int(counts[index])
                if self.kind == "linear":
                    name, pixels = "all classes together", int(counts.sum())
                faults.append(f"rank {rank} for {name} ({pixels} pixels)")
        if faults:
            raise DataError(
                f"a covariance of {size} features must have rank {size}; got {', '.join(faults)}. Those pixels lie in "
                "a plane: give regularisation=1 (--regularisation 1), fewer features, or more images."
            )
        return np.asarray(np.linalg.cholesky(self.covariances), np.float64)


def _rank(covariance: Floats, mean: Floats) -> int:
    """The rank of a covariance (F, F), independent of the features' units; rounding of the mean does not count."""
    variances = np.diagonal(covariance)
    varies = variances > (64 * np.finfo(np.float64).eps * mean) ** 2
    scale = np.sqrt(variances[varies])
    correlation = covariance[np.ix_(varies, varies)] / np.outer(scale, scale)
    eigenvalues = np.linalg.eigvalsh(correlation)
    return int(np.count_nonzero(eigenvalues > LEAST * eigenvalues.max(initial=0)))


def _priors(priors: str | Sequence[float], counts: NDArray[np.int64]) -> Floats:
    """Priors that add up to 1, (K,)."""
    if isinstance(priors, str):
        if priors not in PRIORS:
            raise SettingsError(
                f"priors must be one of {', '.join(PRIORS)}, or numbers; got priors={priors!r}."
            )
        found = np.ones(len(counts)) if priors == "equal" else counts.astype(float)
    else:
        found = np.asarray(priors, float)
    if found.shape != counts.shape or not ((found > 0) & np.isfinite(found)).all():
        raise SettingsError(
            f"priors must be {len(counts)} numbers above 0; got priors={priors}. Give one a class."
        )
    return np.asarray(found / found.sum())


def label_map(masks: Bytes) -> Bytes:
    """The class of every pixel, where it is plain: masks overlap, and a picture shows one object at a pixel.

    Shapes: masks (N, C, H, W); returns (N, H, W).
    Returns: 0 for the background, c + 1 for class c, and 255 where several classes hold: these pixels are not learned
        from, for what is seen there belongs to one of them, and the masks do not tell which.
    """
    present = masks > 0
    several = present.sum(axis=1) > 1
    return np.where(several, NONE, present.argmax(axis=1) + present.any(axis=1)).astype(np.uint8)
