"""The pixel classifier equals SciPy's normal densities, learns the same in any batches, and refuses what it cannot learn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from datasets.errors import RunError
from datasets.pixel_classifier import Moments, PixelClassifier, features_of, label_map, main
from datasets.purdue_shapes import CLASSES, generate, save
from datasets.voc import Voc
from tests import voc_folder

NAMES = ("background", "one", "two", "three")
PRIORS = (0.6, 0.25, 0.05, 0.1)


def pixels(features: int = 3, count: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of four classes with random means and covariances, some of them without a label."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(5, count, p=[0.4, 0.3, 0.05, 0.15, 0.1])
    values = np.empty((count, features))
    for index in range(5):
        own = labels == index
        mix = rng.normal(size=(features, features)) * rng.uniform(5, 30)
        values[own] = rng.uniform(80, 180, features) + rng.normal(size=(own.sum(), features)) @ mix
    labels[labels == 4] = 255
    return values, labels


def in_batches(values: np.ndarray, labels: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(values), size):
        yield values[start : start + size], labels[start : start + size]


def covariance(values: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(values.T, bias=True))


@pytest.mark.parametrize("features", [1, 3, 8])
@pytest.mark.parametrize("kind", ["quadratic", "linear"])
@pytest.mark.parametrize("priors", ["equal", "observed", PRIORS])
@pytest.mark.parametrize("regularisation", [0.0, 7.5])
def test_discriminants_are_those_of_normal_densities(
    features: int, kind: str, priors: Any, regularisation: float
) -> None:
    values, labels = pixels(features)
    classifier = PixelClassifier.fit(
        in_batches(values, labels, 317), NAMES, kind=kind, priors=priors, regularisation=regularisation
    )
    new = np.random.default_rng(9).uniform(0, 255, (11, 23, features))
    own = [values[labels == index] for index in range(4)]
    counts = np.array([len(one) for one in own])
    shares = {"equal": np.full(4, 0.25), "observed": counts / counts.sum()}.get(str(priors), np.array(PRIORS))
    common = sum(len(one) * covariance(one) for one in own) / counts.sum()
    expected = np.stack(
        [
            multivariate_normal.logpdf(
                new,
                one.mean(axis=0),
                (common if kind == "linear" else covariance(one)) + regularisation * np.eye(features),
            )
            + np.log(share)
            for one, share in zip(own, shares, strict=True)
        ],
        axis=-1,
    )
    found = classifier.discriminants(new)
    assert found.shape == (11, 23, 4)
    np.testing.assert_allclose(-0.5 * (found + features * np.log(2 * np.pi)), expected, rtol=1e-9, atol=1e-8)
    predicted = classifier.predict(new)
    assert predicted.shape == (11, 23)
    assert np.array_equal(predicted, expected.argmax(axis=-1))
    assert len(np.unique(predicted)) > 1
    np.testing.assert_allclose(classifier.priors, shares, rtol=1e-12)


def test_linear_borders_are_planes_and_quadratic_ones_are_not() -> None:
    """Along a line the difference of two discriminants is straight, or has a constant second difference."""
    values, labels = pixels()
    line = np.linspace([0, 50, 200], [255, 180, 20], 9)
    bends = {}
    for kind in ("linear", "quadratic"):
        found = PixelClassifier.fit([(values, labels)], NAMES, kind=kind).discriminants(line)
        bends[kind] = np.abs(np.diff(found[:, 1] - found[:, 0], 2)).max()
    assert bends["linear"] < 1e-9 < 1e-3 < bends["quadratic"]


def test_priors_move_the_borders() -> None:
    values, labels = pixels()
    counts = [
        np.count_nonzero(PixelClassifier.fit([(values, labels)], NAMES, priors=priors).predict(values) == 2)
        for priors in ("equal", "observed", (0.1, 0.1, 0.7, 0.1))
    ]
    assert counts[1] < counts[0] < counts[2]


@pytest.mark.parametrize("size", [1, 7, 500, 4000])
def test_the_batches_are_nothing(size: int) -> None:
    """A small variance about a large mean keeps its digits: sums of squares would lose 11 of 16 here."""
    values, labels = pixels()
    values = 1e6 + values / 100
    moments = Moments.none(4, 3)
    for one, label in in_batches(values, labels, size):
        moments.add(one, label)
    for index in range(4):
        own = values[labels == index]
        assert moments.counts[index] == len(own)
        np.testing.assert_allclose(moments.means[index], own.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(moments.scatter[index] / len(own), covariance(own), rtol=1e-7)


def test_pixels_without_a_label_and_the_shape_of_batches_are_nothing() -> None:
    values, labels = pixels(count=4200)
    labelled = labels != 255
    flat = PixelClassifier.fit([(values[labelled], labels[labelled])], NAMES)
    shaped = PixelClassifier.fit([(values.reshape(2, 60, 35, 3), labels.reshape(2, 60, 35))], NAMES)
    np.testing.assert_allclose(shaped.means, flat.means, rtol=1e-12)
    np.testing.assert_allclose(shaped.covariances, flat.covariances, rtol=1e-10)
    assert np.count_nonzero(labelled) < len(labels)


def test_label_maps_leave_out_what_is_not_plain() -> None:
    masks = np.zeros((1, 5, 4, 6), np.uint8)
    masks[0, 1, :2] = 100
    masks[0, 4, 1:3, :3] = 250
    expected = np.zeros((4, 6), int)
    expected[:2], expected[1:3, :3], expected[1, :3] = 2, 5, 255
    assert np.array_equal(label_map(masks)[0], expected)
    assert label_map(masks).dtype == np.uint8


def test_features() -> None:
    images = np.random.default_rng(3).integers(0, 256, (2, 5, 7, 3), np.uint8)
    found = features_of(images, "colour+contrast+position")
    assert found.shape == (2, 5, 7, 8)
    assert np.array_equal(found[..., :3], images)
    assert found[1, 2, 3, 4] == float(images[1, 2, 3, 1]) - np.median(images[1, ..., 1])
    assert found[0, 0, 0, 6:].tolist() == pytest.approx([-0.8, -6 / 7])
    assert found[1, 4, 6, 6:].tolist() == pytest.approx([0.8, 6 / 7])
    contrast, window = features_of(images, "contrast"), features_of(images, "window")
    assert np.array_equal(window[:, 2, 3], contrast[:, 1:4, 2:5].reshape(2, 27))
    assert np.array_equal(window[:, 0, 0, :3], contrast[:, 0, 0])
    assert np.array_equal(window[:, 4, 6, 24:], contrast[:, 4, 6])
    for wrong in ("color", "colour+colour", ""):
        with pytest.raises(RunError, match="features must be of colour, contrast, position, window"):
            features_of(images, wrong)
    with pytest.raises(RunError, match=r"images must be \(n, H, W, 3\)"):
        features_of(images[0])


# ---- faults: one at a time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("constant", r"rank 2 for two \(\d+ pixels\)\. .* regularisation=1"),
        ("plane", r"rank 2 for two \("),
        ("one pixel", r"rank 0 for two \(1 pixels\)"),
        ("no pixel", r"every class must have training pixels; got none of two\."),
    ],
)
@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_classes_that_cannot_be_learned_are_named(change: str, told: str, scale: float) -> None:
    values, labels = pixels()
    values = values * scale
    own = np.flatnonzero(labels == 2)
    if change == "constant":
        values[own, 1] = 0.1 * scale
    elif change == "plane":
        values[own, 2] = 0.3 * values[own, 0] - values[own, 1] / 3 + 5 * scale
    else:
        labels[own[change == "one pixel" :]] = 255
    with pytest.raises(RunError, match=told):
        PixelClassifier.fit(in_batches(values, labels, 333), NAMES)
    if change != "no pixel":
        fitted = PixelClassifier.fit([(values, labels)], NAMES, regularisation=scale**2)
        assert np.isfinite(fitted.discriminants(values)).all()
        PixelClassifier.fit(
            [(values, labels)], NAMES, kind="linear"
        )  # the other classes vary in all directions


def test_a_common_covariance_without_inverse_is_told() -> None:
    values, labels = pixels()
    values[:, 1] = values[:, 0]
    with pytest.raises(RunError, match=r"rank 2 for all classes together \(\d+ pixels\)"):
        PixelClassifier.fit([(values, labels)], NAMES, kind="linear")


def test_features_of_very_different_units_are_no_fault() -> None:
    values, labels = pixels()
    plain = PixelClassifier.fit([(values, labels)], NAMES)
    scaled = PixelClassifier.fit([(values * (1e-8, 1, 1e8), labels)], NAMES)
    assert np.array_equal(scaled.predict(values * (1e-8, 1, 1e8)), plain.predict(values))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"kind": "cubic"}, r"kind must be one of quadratic, linear; got kind='cubic'"),
        ({"regularisation": -1.0}, r"regularisation must be 0 or more; got regularisation=-1\.0"),
        ({"regularisation": np.nan}, r"regularisation must be 0 or more; got regularisation=nan"),
        ({"priors": "some"}, r"priors must be one of equal, observed, or numbers; got priors='some'"),
        ({"priors": (0.5, 0.5)}, r"priors must be 4 numbers above 0"),
        ({"priors": (1, 1, 0, 1)}, r"priors must be 4 numbers above 0"),
        ({"priors": (1, 1, np.inf, 1)}, r"priors must be 4 numbers above 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(RunError, match=told):
        PixelClassifier.fit([pixels()], NAMES, **arguments)


def test_batches_that_do_not_fit_are_refused() -> None:
    values, labels = pixels()
    with pytest.raises(RunError, match=r"features must be \(\.\.\., F\) and labels \(\.\.\.\)"):
        PixelClassifier.fit([(values[1:], labels)], NAMES)
    with pytest.raises(RunError, match=r"labels must be in 0\.\.2 or 255; got 3"):
        PixelClassifier.fit([(values, labels)], NAMES[:3])
    with pytest.raises(RunError, match=r"must be a training image; got none"):
        PixelClassifier.fit([], NAMES)
    values[5, 1] = np.nan
    with pytest.raises(RunError, match=r"features must be finite"):
        PixelClassifier.fit([(values, labels)], NAMES)
    fitted = PixelClassifier.fit([pixels()], NAMES)
    with pytest.raises(RunError, match=r"features must be \(\.\.\., 3\), as in training; got .*\(7, 2\)"):
        fitted.predict(np.zeros((7, 2)))
    with pytest.raises(RunError, match=r"classes must be 4, as moments has; got 2"):
        PixelClassifier(Moments.none(4, 3), NAMES[:2])


# ---- the command ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    save(folder / "Shapes-70-train.gz", generate(70, 0, (64, 72)))
    save(folder / "Shapes-30-test.gz", generate(30, 2**32, (64, 72)))
    return folder


def table(printed: str) -> dict[str, float]:
    """IoU by the first word of each line that has one."""
    lines = [line.split() for line in printed.splitlines()]
    return {line[0]: float(line[1]) for line in lines if len(line) == 4 and line[1][0].isdigit()}


def test_the_command_scores_on_images_that_it_has_not_learned_from(
    shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the same computed from SciPy's densities and sets of pixels."""
    assert main(["--data", str(shapes), "--features", "contrast", "--regularisation", "1"]) == 0
    printed = table(capsys.readouterr().out)
    train, test = generate(70, 0, (64, 72)), generate(30, 2**32, (64, 72))
    labels, values = label_map(train.masks), features_of(train.images, "contrast")
    densities = [
        multivariate_normal(one.mean(axis=0), covariance(one) + np.eye(3)).logpdf(
            features_of(test.images, "contrast")
        )
        for one in (values[labels == index] for index in range(6))
    ]
    predicted = np.argmax(densities, axis=0)
    ious = []
    for index, name in enumerate(CLASSES):
        here, true = predicted == index + 1, test.masks[:, index] > 0
        ious.append((here & true).sum() / (here | true).sum())
        assert printed[name] == pytest.approx(ious[-1], abs=6e-5)
    assert printed["mean"] == pytest.approx(np.mean(ious), abs=6e-5)
    assert set(printed) == {*CLASSES, "mean"}


def test_foreground_and_background_are_the_lectures_two_classes(
    shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the image's own background a pixel tells whether it is an object's, though never whose."""
    assert (
        main(["--data", str(shapes), "--features", "contrast", "--regularisation", "1", "--foreground"]) == 0
    )
    printed = table(capsys.readouterr().out)
    assert set(printed) == {"foreground", "mean"}
    assert printed["foreground"] > 0.99
    assert main(["--data", str(shapes), "--kind", "linear"]) == 0
    assert table(capsys.readouterr().out)["mean"] < 0.2


def test_the_command_learns_vocs_folder_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The border is neither learned from nor scored."""
    root = tmp_path / "VOC2012"
    voc_folder.write(root)
    assert main(["--data", str(root), "--regularisation", "1", "--foreground"]) == 0
    printed = capsys.readouterr().out
    assert "4 and 3 images" in printed
    parts = []
    for part in ("train", "val"):
        data = Voc(root, part, crop=(1, 1))
        whole = [data.load(index) for index in range(len(data))]
        values = np.concatenate([image.reshape(-1, 3) for image, _ in whole])
        parts.append((values, np.concatenate([labels.ravel() for _, labels in whole])))
    (values, labels), (new, truth) = parts
    background, foreground = (values[labels == 0], values[(labels > 0) & (labels < 255)])
    densities = [
        multivariate_normal(own.mean(axis=0), covariance(own) + np.eye(3)).logpdf(new)
        for own in (background, foreground)
    ]
    here, true, counts = densities[1] > densities[0], truth > 0, truth != 255
    iou = np.count_nonzero(here & true & counts) / np.count_nonzero((here | true) & counts)
    assert table(printed)["foreground"] == pytest.approx(iou, abs=6e-5)
    assert f"{np.count_nonzero(counts):,} pixels" in printed
    assert main(["--data", str(root), "--regularisation", "1", "--priors", "observed"]) == 0
    assert "person" in capsys.readouterr().out


def test_the_command_says_what_is_wrong(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, told in (
        (["--data", str(tmp_path)], "a folder must hold one *train*.gz"),
        (["--data", str(shapes), "--features", "contrast"], "rank 0 for background"),
        (["--data", str(shapes), "--features", "hue"], "features must be of colour"),
        (["--data", str(shapes), "--train", "1"], "every class must have training pixels"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert told in error
        assert error.count("\n") == 1
    for wrong in (["--test", "0"], ["--kind", "cubic"]):
        with pytest.raises(SystemExit) as left:
            main(["--data", str(shapes), *wrong])
        assert left.value.code == 2
