"""Folders in VOC's layout with classes of their own: their class_names.txt decides, and every fault is told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.errors import RunError
from datasets.training.command import Training
from datasets.training.flags import training_flags
from datasets.voc import CLASSES, Voc, check, labels_to_colours, main

OWN = ("_background_", "cell wall", "nucleus")


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Three PNG images of 12 x 16 pixels with labels in grey, with a palette of its own, and in VOC's colours."""
    root, rng, truth = tmp_path / "own", np.random.default_rng(0), {}
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "c"):
        truth[name] = rng.choice([0, 1, 2, 255], (12, 16)).astype(np.uint8)
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).save(root / "JPEGImages" / f"{name}.png")
        picture = Image.fromarray(truth[name] if name != "c" else labels_to_colours(truth[name]))
        if name == "b":
            picture.putpalette([10, 20, 30, 255, 255, 0, 1, 2, 3, *range(250)] + [7] * 509)
        picture.save(root / "SegmentationClass" / f"{name}.png")
    for part, names in (("train", "a\nb\n"), ("val", "c\n")):
        (root / "ImageSets/Segmentation" / f"{part}.txt").write_text(names)
    (root / "class_names.txt").write_text("\n".join(OWN))
    return root, truth


def test_a_folder_names_its_classes(own: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, truth = own
    data = Voc(root, "train", (12, 16))
    assert data.classes == OWN
    for index, name in enumerate(data.names):
        image, labels = data.load(index)
        assert np.array_equal(image, pixels_of(root / "JPEGImages" / f"{name}.png"))
        assert np.array_equal(labels, truth[name])
        assert np.array_equal(data.labels[index], truth[name])
    assert np.array_equal(Voc(root, "val", (12, 16)).labels[0], truth["c"])
    for text in (
        "__ignore__\n_background_\ncell wall\n nucleus \n\n",
        "\ufeff_background_\r\ncell wall\r\nnucleus\r\n",
    ):
        (root / "class_names.txt").write_text(text, encoding="utf-8")
        assert Voc(root, "train", (12, 16)).classes == OWN
    (root / "class_names.txt").unlink()
    assert Voc(root, "val", (12, 16)).classes == CLASSES


def test_training_takes_the_folders_classes(own: tuple[Path, dict[str, np.ndarray]]) -> None:
    """In the network's outputs, the run's configuration and the images kept; a list that is missing is told."""
    root, truth = own
    words = f"--data {root} --out x --model FCN --loss cross-entropy --crop 12 16 --head-bias 0".split()
    options = training_flags("torch_impl").parse_args(words)
    wanted = Training.of(options)
    assert wanted.network["arguments"]["num_classes"] == 3
    assert wanted.config("torch_impl", options, "cpu")["classes"] == ["cell wall", "nucleus"]
    assert wanted.source.held is not None
    assert np.array_equal(wanted.source.take(wanted.source.held, None)[1][0, 0], truth["c"])
    shutil.rmtree(root / "ImageSets")
    with pytest.raises(
        RunError, match=r"must have the list ImageSets/Segmentation/train\.txt; got no such file"
    ):
        Training.of(options)


def test_check_counts_the_folders_classes(
    own: tuple[Path, dict[str, np.ndarray]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, truth = own
    found = check(root, ("train", "val"), (12, 16))
    every = np.stack(list(truth.values()))
    assert found.pixels.tolist() == [np.count_nonzero(every == index) for index in (0, 1, 2, 255)]
    assert found.faults == []
    assert main(["check", str(root), "--parts", "train", "val"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^cell wall +\d+ ", printed, re.MULTILINE)
    assert "person" not in printed
    for name in truth:  # a mask of 0 and 255, as many tools write
        Image.fromarray((truth[name] > 0).astype(np.uint8) * 255).save(
            root / "SegmentationClass" / f"{name}.png"
        )
    assert any("got 0 and 255 alone" in fault for fault in check(root, ("train", "val")).faults)


NAMELESS: dict[str, tuple[str, str]] = {
    "empty": ("\n \n", r"background first and one more at least; got none in .*class_names\.txt"),
    "one": ("nucleus\n", r"one more at least; got \['nucleus'\]"),
    "ignore alone": ("__ignore__\n_background_\n", r"got \['_background_'\]"),
    "twice": ("b\ncell\nx\ncell\n", r"must be named once; got cell twice in .*class_names\.txt"),
    "too many": ("\n".join(map(str, range(256))), r"at most 255, for index 255 is no class; got 256 names"),
    "background later": (
        "nucleus\nBackground\n",
        r"background must be named first.*got Background as index 1",
    ),
}


@pytest.mark.parametrize("fault", NAMELESS)
def test_names_that_give_no_indices_are_told(
    own: tuple[Path, dict[str, np.ndarray]], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, told = NAMELESS[fault]
    (own[0] / "class_names.txt").write_text(text)
    with pytest.raises(RunError, match=told):
        Voc(own[0], "train", (12, 16))
    assert main(["check", str(own[0])]) == 2
    assert re.search(told, capsys.readouterr().err)


def test_many_classes_have_indices_and_colours(own: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, _ = own
    names = tuple(f"class {index}" for index in range(255))
    (root / "class_names.txt").write_text("\n".join(names))
    labels = np.random.default_rng(0).integers(0, 256, (12, 16)).astype(np.uint8)
    for pixels in (labels, labels_to_colours(labels, names)):
        Image.fromarray(pixels).save(root / "SegmentationClass" / "a.png")
        assert np.array_equal(Voc(root, "train", (12, 16)).load(0)[1], labels)
    (root / "class_names.txt").write_text("\n".join(names[:30]))
    with pytest.raises(
        RunError, match=r"one of the colour map's first 30 or the border's; got .* name further"
    ):
        Voc(root, "train", (12, 16)).load(0)


def resave(path: Path, change: Callable[[np.ndarray], np.ndarray], palette: list[int] | None = None) -> None:
    """Write a label picture's indices anew."""
    with Image.open(path) as opened:
        picture = Image.fromarray(change(np.array(opened)))
    if palette:
        picture.putpalette(palette)
    picture.save(path)


def own_palette(colours: list[int]) -> Callable[[Path], Any]:
    return lambda path: resave(path, lambda pixels: pixels // 2 % 2, colours)


OWN_FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "index": (
        lambda path: resave(path, lambda pixels: np.where(pixels == 1, 3, pixels).astype(np.uint8)),
        r"in 0\.\.2 or 255; got 3 in row \d+, column \d+ of .*a\.png, and \d+ such pixels.*Name a class for it in class_n",
    ),
    "colour of another class": (
        own_palette([0, 0, 0, 0, 128, 0]),  # VOC's order would have it as index 2
        r"index 1 as \(128, 0, 0\); got \(0, 128, 0\) in row .*a\.png\. Index and colour say different classes",
    ),
}


@pytest.mark.parametrize("fault", OWN_FAULTS)
def test_labels_of_no_class_are_told(own: tuple[Path, dict[str, np.ndarray]], fault: str) -> None:
    spoil, told = OWN_FAULTS[fault]
    spoil(own[0] / "SegmentationClass" / "a.png")
    with pytest.raises(RunError, match=told):
        Voc(own[0], "train", (12, 16)).load(0)
    assert len(check(own[0], ("train",)).faults) == 1


def test_an_image_of_16_bits_is_refused_not_cut_off(own: tuple[Path, dict[str, np.ndarray]]) -> None:
    Image.fromarray(np.full((12, 16), 3000, np.uint16)).save(own[0] / "JPEGImages" / "a.png")
    with pytest.raises(RunError, match=r"8 bits a channel; got mode=I;16 at .*a\.png.*datasets\.tiles"):
        Voc(own[0], "train", (12, 16)).load(0)


def test_a_photograph_goes_before_a_png_of_its_name(own: tuple[Path, dict[str, np.ndarray]]) -> None:
    Image.new("RGB", (16, 12), (200, 10, 10)).save(own[0] / "JPEGImages" / "a.jpg")
    assert np.ptp(Voc(own[0], "train", (12, 16)).load(0)[0][..., 0]) < 9
