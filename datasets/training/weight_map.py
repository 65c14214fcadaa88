"""U-Net's weight map: which pixels a loss should count more, so that touching objects come apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError
from datasets.files import extra


def weight_map(instances: NDArray[np.integer], w0: float = 10.0, sigma: float = 5.0) -> NDArray[np.float32]:
    """Weigh pixels by how rare their class is, and more where two objects are close.

    w(x) = w_c(x) + w0 * exp(-(d1(x) + d2(x))**2 / (2 * sigma**2)). w_c is the inverse of the class's share
    (object or background), scaled so that it averages to 1; d1 and d2 are the distances to the nearest and
    the second nearest object. The second term stands for gaps: inside of objects it is 0, and with fewer
    than two objects it is 0 everywhere.

    Shapes: instances (H, W); returns (H, W).

    Args:
        instances: 0 for the background, another whole number for each object.
        w0: weight of a gap of no width.
        sigma: width of the weighted gaps, in pixels, above 0.

    Returns:
        Weights of at least 0, in float32.

    Raises:
        DataError, SettingsError: the labels are no picture of whole numbers of at least 0, or a number is out of range.

    Source: Ronneberger, Fischer & Brox, "U-Net", equation 2 and figure 3.
    """
    _check(instances, w0, sigma)
    objects = instances > 0
    shares = {True: objects.mean(), False: 1 - objects.mean()}
    present = sum(share > 0 for share in shares.values())
    weights = np.where(objects, *(1 / (present * max(shares[side], 1e-300)) for side in (True, False)))
    nearest, second = _two_nearest(instances)
    gaps = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return (weights + np.where(objects, 0.0, gaps)).astype(np.float32)


def _two_nearest(instances: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of each pixel to the nearest and the second nearest object, in pixels; infinite where there is none."""
    distance = extra("scipy.ndimage").distance_transform_edt
    nearest = np.full(instances.shape, np.inf)
    second = nearest.copy()
    for label in np.unique(instances[instances > 0]):
        here = distance(instances != label)
        second = np.minimum(second, np.maximum(nearest, here))
        nearest = np.minimum(nearest, here)
    return nearest, second


def _check(instances: NDArray[np.integer], w0: float, sigma: float) -> None:
    """Refuse what is no label picture, and numbers out of range."""
    kind = instances.dtype.kind
    if instances.ndim != 2 or kind not in "iu" or instances.size == 0 or instances.min() < 0:
        raise DataError(
            "instances must be (H, W) whole numbers of at least 0, with a pixel at least; got "
            f"shape={instances.shape}, dtype={instances.dtype}. Number the objects from 1."
        )
    if w0 < 0 or sigma <= 0:
        raise SettingsError(
            f"w0 must be at least 0 and sigma above 0; got w0={w0}, sigma={sigma}. The paper has 10 and 5."
        )
