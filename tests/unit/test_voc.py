"""VOC's folder is read exactly, cut without interpolation, and every fault that is seeded in it is told."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.errors import RunError
from datasets.voc import (
    CLASSES,
    MEAN,
    STD,
    Voc,
    check,
    colour_map,
    colours_to_labels,
    labels_to_colours,
    main,
    normalise,
    read_labels,
)
from tests import voc_folder

CROP = (64, 96)
SMALL = (80, 96)  # one image of val has fewer rows, one fewer columns


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    root = tmp_path_factory.mktemp("data") / "VOC2012"
    return root, voc_folder.write(root)


@pytest.fixture
def copied(made: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> Path:
    """A folder to spoil."""
    return Path(shutil.copytree(made[0], tmp_path / "VOC2012"))


def picture_of(path: Path, mode: str | None = None) -> Image.Image:
    """A picture in memory, its file closed."""
    with Image.open(path) as picture:
        return picture.convert(mode) if mode else picture.copy()


def photograph(root: Path, name: str) -> np.ndarray:
    return np.array(picture_of(root / "JPEGImages" / f"{name}.jpg"))


# ---- colours --------------------------------------------------------------------------------------------------


def test_the_colours_are_vocs() -> None:
    """The first and last ones from the development kit's table; all of them from another way to make them."""
    colours = colour_map()
    assert colours.dtype == np.uint8
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert (colours[8].tolist(), colours[15].tolist()) == ([64, 0, 0], [192, 128, 128])  # cat, person
    assert (colours[20].tolist(), colours[255].tolist()) == ([0, 64, 128], [224, 224, 192])  # screen, border
    assert colours.ravel().tolist() == voc_folder.palette()
    assert np.array_equal(colour_map(21), colours[:21])
    assert (len(CLASSES), CLASSES[0], CLASSES[15], CLASSES[20]) == (21, "background", "person", "tvmonitor")
    for count in (0, 257):
        with pytest.raises(RunError, match=r"count must be in 1\.\.256"):
            colour_map(count)


def test_colours_and_indices_go_both_ways() -> None:
    labels = np.random.default_rng(0).choice([*range(21), 255], (37, 53)).astype(np.uint8)
    colours = labels_to_colours(labels)
    assert colours.shape == (37, 53, 3)
    assert np.array_equal(colours_to_labels(colours), labels)
    assert np.array_equal(labels_to_colours(labels[None])[0], colours)


@pytest.mark.parametrize(
    "colour", [(128, 0, 1), (127, 0, 0), (0, 0, 255), (255, 255, 255), (224, 224, 193), (192, 0, 64)]
)
def test_another_colour_is_told_with_its_pixel(colour: tuple[int, int, int]) -> None:
    """(192, 0, 64) is none of the 21, though the rule gives it to a higher index; neighbours by one bit are none."""
    colours = labels_to_colours(np.zeros((5, 7), np.uint8))
    colours[3, 2] = colours[4, 1] = colour
    told = rf"got \({', '.join(map(str, colour))}\) in row 3, column 2 of my\.png, and 2 such pixels"
    with pytest.raises(RunError, match=told):
        colours_to_labels(colours, "my.png")


def test_other_indices_and_arrays_are_refused() -> None:
    labels = np.zeros((4, 6), np.uint8)
    labels[2, 5] = 21
    with pytest.raises(RunError, match=r"got 21 at \(2, 5\)"):
        labels_to_colours(labels)
    with pytest.raises(RunError, match=r"got -1 at \(0, 0\)"):
        labels_to_colours(np.full((1, 1), -1))
    for wrong in (labels, np.zeros((4, 6, 4), np.uint8), np.zeros((4, 6, 3))):
        with pytest.raises(RunError, match=r"colours must be uint8 \(H, W, 3\)"):
            colours_to_labels(wrong)


# ---- reading --------------------------------------------------------------------------------------------------


def test_whole_examples_are_what_was_written(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, truth = made
    data = Voc(root, "val", CROP, small="pad")
    assert data.names == tuple(scene[0] for scene in voc_folder.SCENES[voc_folder.TRAIN :])
    assert (len(data), data.classes, data.left_out) == (3, CLASSES, ())
    for index, name in enumerate(data.names):
        image, labels = data.load(index)
        assert (image.dtype, labels.dtype) == (np.uint8, np.uint8)
        assert np.array_equal(image, photograph(root, name))
        assert np.array_equal(labels, truth[name])
        assert data.sizes[index].tolist() == list(truth[name].shape)
    assert {255, 0, 15} <= set(np.unique(truth[data.names[0]]))


def test_the_border_is_background_on_request(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, truth = made
    data = Voc(root, "train", CROP, void="background")
    for index, name in enumerate(data.names):
        expected = truth[name].copy()
        expected[expected == 255] = 0
        assert np.array_equal(data.load(index)[1], expected)


@pytest.mark.parametrize("kind", ["RGB", "L"])
def test_label_pictures_in_colour_or_grey_indices_are_read_alike(
    copied: Path, made: tuple[Path, dict[str, np.ndarray]], kind: str
) -> None:
    path = copied / "SegmentationClass" / "2007_000032.png"
    truth = made[1]["2007_000032"]
    assert picture_of(path).mode == "P"
    (picture_of(path, "RGB") if kind == "RGB" else Image.fromarray(truth)).save(path)
    assert picture_of(path).mode == kind
    assert np.array_equal(read_labels(path), truth)


def test_a_palette_of_sixteen_colours_is_read(tmp_path: Path) -> None:
    """Pillow stores few colours in 4 bits a pixel, and only so much of the palette."""
    labels = np.random.default_rng(1).integers(0, 16, (9, 5)).astype(np.uint8)
    picture = Image.fromarray(labels)
    picture.putpalette(voc_folder.palette()[: 3 * 16])
    picture.save(tmp_path / "x.png", bits=4)
    assert np.array_equal(read_labels(tmp_path / "x.png"), labels)


# ---- crops ----------------------------------------------------------------------------------------------------


def test_crops_are_pieces_of_image_and_label_at_one_place(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, truth = made
    data = Voc(root, "train", CROP, seed=3)
    corners = set()
    for epoch in range(1, 6):
        images, labels = data.crops(range(len(data)), epoch)
        assert images.shape == (4, 64, 96, 3)
        assert labels.shape == (4, 64, 96)
        for index, name in enumerate(data.names):
            corner = find(photograph(root, name), images[index])
            assert corner is not None, "no piece of the photograph"
            corners.add((index, *corner))
            top, left = corner
            assert np.array_equal(labels[index], truth[name][top : top + 64, left : left + 96])
    assert len(corners) > 15, "places do not change"


def find(image: np.ndarray, piece: np.ndarray) -> tuple[int, int] | None:
    """Where a piece is in an image, by looking everywhere."""
    windows = np.lib.stride_tricks.sliding_window_view(image[..., 0], piece.shape[:2])
    for top, left in np.argwhere(windows[:, :, 0, 0] == piece[0, 0, 0]).tolist():
        if np.array_equal(image[top : top + len(piece), left : left + piece.shape[1]], piece):
            return top, left
    return None


def test_every_place_is_possible(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    """Of 3 x 5 places each is drawn about equally often, the last row and column among them."""
    root, _ = made
    data = Voc(root, "train", (95, 127))
    drawn = [data._corner(0, epoch) for epoch in range(600)]  # the image has 97 x 131 pixels
    counts = {corner: drawn.count(corner) for corner in drawn}
    assert set(counts) == {(top, left) for top in range(3) for left in range(5)}
    assert 15 < min(counts.values()) <= max(counts.values()) < 70


def test_a_crop_depends_on_seed_epoch_and_index_alone(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, _ = made
    data = Voc(root, "train", CROP, seed=1)
    images, labels = data.crops([0, 1, 2, 3], 7)
    again = pickle.loads(pickle.dumps(data))
    for index in (3, 1):
        image, label = again.crops([index], 7)
        assert np.array_equal(image[0], images[index])
        assert np.array_equal(label[0], labels[index])
    for other, epoch in ((data, 8), (Voc(root, "train", CROP, seed=2), 7)):
        assert not np.array_equal(other.crops([0, 1, 2, 3], epoch)[0], images)
    places = np.array([[data._corner(index, epoch) for epoch in range(8)] for index in range(4)])
    assert all(len(np.unique(places[index], axis=0)) > 4 for index in range(4))
    data.sizes[:] = data.sizes[0]  # images of one size have places of their own all the same
    places = np.array([[data._corner(index, epoch) for epoch in range(8)] for index in range(4)])
    assert len(np.unique(places.reshape(4, -1), axis=0)) == 4
    assert len(np.unique(places[:, 0], axis=0)) > 1, "epoch 0 too"
    same = Voc(root, "trainval", CROP, seed=1).crops(np.array([0]), 7)
    assert np.array_equal(same[0][0], images[0])


def test_the_views_are_the_middles(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, truth = made
    data = Voc(root, "train", CROP)
    images, labels = data.crops(np.arange(4))
    assert (data.images.shape, data.labels.shape) == ((4, 64, 96, 3), (4, 64, 96))
    assert (data.images.dtype, data.images.ndim, data.labels.ndim, len(data.images)) == (np.uint8, 4, 3, 4)
    height, width = truth[data.names[1]].shape
    top, left = (height - 64) // 2, (width - 96) // 2
    assert np.array_equal(labels[1], truth[data.names[1]][top : top + 64, left : left + 96])
    for view, whole in ((data.images, images), (data.labels, labels)):
        assert np.array_equal(view[2], whole[2])
        assert np.array_equal(view[-1], whole[3])
        assert np.array_equal(view[1:], whole[1:])
        assert np.array_equal(view[np.array([3, 0])], whole[[3, 0]])
        assert np.array_equal(view[whole[:, 0, 0].reshape(4, -1)[:, 0] < 0], whole[:0])
        assert np.array_equal(np.stack(list(view)), whole)
        with pytest.raises(IndexError):
            view[4]


def test_small_images_are_left_out_or_padded(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, truth = made
    data = Voc(root, "val", SMALL)
    assert (data.names, data.left_out) == (("2007_000129",), ("2007_000121", "2007_000123"))
    assert data.crops([0], 0)[0].shape == (1, 80, 96, 3)

    for void, fill in (("ignore", 255), ("background", 0)):
        padded = Voc(root, "val", SMALL, void=void, small="pad")
        assert padded.left_out == ()
        for epoch in (None, 4):
            images, labels = padded.crops([0, 1], epoch)
            assert (labels[0, 75:] == fill).all()
            assert (labels[1, :, 89:] == fill).all()
            assert (images[0, 75:] == (124, 116, 104)).all()
            assert (images[1, :, 89:] == (124, 116, 104)).all()
            assert find(photograph(root, "2007_000121"), images[0, :75]) is not None
            top, left = find(photograph(root, "2007_000123"), images[1, :, :89]) or (-1, -1)
            expected = truth["2007_000123"][top : top + 80, left:]
            assert np.array_equal(labels[1, :, :89], np.where(expected == 255, fill, expected))


def test_a_process_never_holds_more_than_it_was_asked_for(
    made: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    load = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda self, mode: opened.append(mode) or load(self, mode))
    data = Voc(made[0], "train", CROP)
    assert opened == [], "heads of files alone"
    data.crops([2], 1)
    assert opened == ["RGB"]
    held = sum(array.nbytes for array in vars(data).values() if isinstance(array, np.ndarray))
    assert held == data.sizes.nbytes == 4 * 2 * 8


def test_normalisation() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 3), np.uint8)
    values = normalise(images, "float64")
    for channel in range(3):
        expected = (images[..., channel] / 255 - MEAN[channel]) / STD[channel]
        np.testing.assert_allclose(values[..., channel], expected, rtol=1e-12)
    assert normalise(images).dtype == np.float32
    assert (MEAN, STD) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with pytest.raises(RunError, match=r"images must be \(\.\.\., 3\)"):
        normalise(images.transpose(0, 3, 1, 2))


# ---- faults: one at a time ------------------------------------------------------------------------------------

TRAIN = "ImageSets/Segmentation/train.txt"
IMAGE, LABEL = "JPEGImages/2007_000039.jpg", "SegmentationClass/2007_000039.png"


def resave(path: Path, change: Callable[[np.ndarray], Any], palette: list[int] | None = None) -> None:
    """Write a label picture's indices anew."""
    pixels = np.array(picture_of(path))
    changed = change(pixels)
    picture = Image.fromarray(pixels if changed is None else changed)
    if palette:
        picture.putpalette(palette)
    picture.save(path)


def spoil_index(pixels: np.ndarray) -> None:
    pixels[7, 11] = 21


def turned_palette() -> list[int]:
    colours = np.array(voc_folder.palette()).reshape(256, 3)
    colours[[5, 6]] = colours[[6, 5]]
    return [int(value) for value in colours.ravel()]


def two_sizes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:-1])


def colour_changed(path: Path) -> None:
    pixels = np.array(picture_of(path, "RGB"))
    pixels[9, 4] = (1, 2, 3)
    Image.fromarray(pixels).save(path)


def scaled(path: Path) -> None:
    """What a resize with interpolation does to a label picture."""
    picture = picture_of(path, "RGB")
    small = picture.resize((picture.width // 2, picture.height // 2))
    small.resize(picture.size, Image.Resampling.BILINEAR).save(path)


Spoil = Callable[[Path], Any]
FAULTS: dict[str, tuple[Spoil, str]] = {
    "no list": (
        lambda root: (root / TRAIN).unlink(),
        r"train\.txt; got no such file .* It has trainval, val\.",
    ),
    "empty list": (
        lambda root: (root / TRAIN).write_text("\n  \n"),
        r"must name an image; got none in .*train\.txt",
    ),
    "binary list": (lambda root: (root / TRAIN).write_bytes(b"\xff\xfe\x00\x80"), r"train\.txt; got .*utf-8"),
    "two words": (
        lambda root: (root / TRAIN).write_text("2007_000032 1\n"),
        r"one name a line.*'2007_000032 1'",
    ),
    "a path": (
        lambda root: (root / TRAIN).write_text("/JPEGImages/2007_000032.jpg\n"),
        r"without folder and suffix; got '/JPEG",
    ),
    "twice": (
        lambda root: (root / TRAIN).write_text("2007_000032\n2007_000039\n2007_000032\n"),
        r"image once; got 2007_000032 twice",
    ),
    "no image": (lambda root: (root / IMAGE).unlink(), r"got 1 files missing: .*JPEGImages/2007_000039\.jpg"),
    "no label": (
        lambda root: (root / LABEL).unlink(),
        r"got 1 files missing: .*SegmentationClass/2007_000039\.png",
    ),
    "no folder": (lambda root: shutil.rmtree(root / "SegmentationClass"), r"got 4 files missing"),
    "sizes": (
        lambda root: resave(root / LABEL, two_sizes, voc_folder.palette()),
        r"one size \(HxW\); got 1 that differ: 2007_000039 128x113 and 127x113",
    ),
    "no picture": (
        lambda root: (root / IMAGE).write_bytes(b"<html>"),
        r"one that Pillow reads.*2007_000039\.jpg",
    ),
    "cut image": (
        lambda root: (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:2000]),
        r"one that Pillow reads; got OSError: .*truncated.*2007_000039\.jpg",
    ),
    "cut label": (
        lambda root: (root / LABEL).write_bytes((root / LABEL).read_bytes()[:1000]),
        r"one that Pillow reads; got .*2007_000039\.png",
    ),
    "index": (
        lambda root: resave(root / LABEL, spoil_index, voc_folder.palette()),
        r"got 21 in row 7, column 11 of .*2007_000039\.png, and 1 such",
    ),
    "grey index": (
        lambda root: resave(root / LABEL, spoil_index),
        r"got 21 in row 7, column 11 of .*39\.png",
    ),
    "palette": (
        lambda root: resave(root / LABEL, lambda pixels: None, turned_palette()),
        r"index 5 as \(128, 0, 128\); got \(0, 128, 128\) in row \d+, column \d+ of .*39\.png",
    ),
    "short palette": (
        lambda root: resave(root / LABEL, lambda pixels: None, voc_folder.palette()[: 3 * 21]),
        r"index 255 as \(224, 224, 192\); got (no colour|\(0, 0, 0\)) in row",
    ),
    "colour": (
        lambda root: colour_changed(root / LABEL),
        r"got \(1, 2, 3\) in row 9, column 4 of .*39\.png, and 1 such pixels",
    ),
    "scaled": (lambda root: scaled(root / LABEL), r"must be a VOC class's or the border's; got .*39\.png"),
    "mode": (
        lambda root: picture_of(root / LABEL, "RGBA").save(root / LABEL),
        r"got mode=RGBA at .*39\.png",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told(copied: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By the class, when it is made or when the example is read, and by the command, with exit code 2."""
    spoil, told = FAULTS[fault]
    spoil(copied)
    with pytest.raises(RunError, match=told) as caught:
        Voc(copied, "train", CROP).load(1)
    assert "\n" not in str(caught.value)
    assert main(["check", str(copied)]) == 2
    error = capsys.readouterr().err
    assert error.count("fault:") >= 1
    assert "2007_000039" in error or "train" in error


def test_a_folder_too_high_is_told_the_right_one(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    root = made[0]
    with pytest.raises(RunError, match=rf"Give {root}\."):
        Voc(root.parent)
    with pytest.raises(RunError, match=r"Give the folder that holds JPEGImages"):
        Voc(root / "JPEGImages")


def test_a_list_with_windows_line_ends_and_a_mark_is_read(copied: Path) -> None:
    (copied / TRAIN).write_bytes(b"\xef\xbb\xbf2007_000032\r\n2007_000039  \r\n\r\n")
    assert Voc(copied, "train", CROP).names == ("2007_000032", "2007_000039")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"void": "border"}, r"void must be one of ignore, background; got void='border'"),
        ({"small": "scale"}, r"small must be one of leave-out, pad; got small='scale'"),
        ({"seed": -1}, r"seed must be 0 or more; got seed=-1"),
        ({"crop": (0, 5)}, r"crop must be H and W, 1 or more pixels each"),
        ({"crop": (320, 480)}, r"at least crop=320x480; got none of 4, the largest \[128, 149\]"),
    ],
)
def test_arguments_out_of_range_are_refused(
    made: tuple[Path, dict[str, np.ndarray]], arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(RunError, match=told):
        Voc(made[0], "train", **{"crop": CROP, **arguments})


def test_indices_epochs_and_changed_files_are_refused(copied: Path) -> None:
    data = Voc(copied, "train", CROP)
    for index in (4, -1):
        with pytest.raises(IndexError, match=rf"index must be in 0\.\.3; got index={index}"):
            data.crops([0, index], 1)
    with pytest.raises(RunError, match=r"epoch must be 0 or more; got epoch=-1"):
        data.crops([0], -1)
    pixels = np.array(picture_of(copied / IMAGE))
    Image.fromarray(pixels[:70]).save(copied / IMAGE)
    with pytest.raises(RunError, match=r"one size \(HxW\)"):
        data.crops([1], 1)
    with pytest.raises(
        RunError, match=r"must keep the size that it had at the start, \[128, 113\]; got \(70, 113\)"
    ):
        data.images[1]
    resave(copied / LABEL, lambda labels: labels[:70], voc_folder.palette())
    for read in (lambda: data.crops([1], 1), lambda: data.labels[1]):
        with pytest.raises(RunError, match=r"must keep the size that it had at the start"):
            read()


# ---- the command ----------------------------------------------------------------------------------------------


def test_check_counts_what_was_written(
    made: tuple[Path, dict[str, np.ndarray]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, truth = made
    found = check(root, crop=SMALL)
    every = np.concatenate([labels.ravel() for labels in truth.values()])
    assert found.pixels.tolist() == [np.count_nonzero(every == index) for index in (*range(21), 255)]
    assert found.images[15] == sum((labels == 15).any() for labels in truth.values()) == 3
    assert found.counts == {"train": (4, 4), "val": (3, 1), "trainval": (7, 5)}
    assert (found.read, found.faults) == (7, [])
    assert main(["check", str(root), "--parts", "val", "--crop", "80x96"]) == 0
    printed = capsys.readouterr().out
    assert "val               3 images,      1 of at least 80x96 pixels" in printed
    assert "person" in printed
    assert "3 images read, 0 faults" in printed


def test_check_goes_on_after_faults_and_tells_them_all(copied: Path) -> None:
    (copied / IMAGE).unlink()
    colour_changed(copied / "SegmentationClass" / "2007_000063.png")
    lists = copied / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text((lists / "val.txt").read_text() + "2007_000032\n")
    (lists / "trainval.txt").write_text("2007_000032\n2007_000039\n")
    faults = check(copied).faults
    assert len(faults) == 4
    for told in ("got no ", "(1, 2, 3)", "in common; got 1, the first 2007_000032", "together; got 5 images"):
        assert sum(told in fault for fault in faults) == 1, told
    assert check(copied).read == 5


def test_a_command_line_that_is_none_ends_with_2(made: tuple[Path, dict[str, np.ndarray]]) -> None:
    for arguments in (["check", str(made[0]), "--crop", "80"], ["look"], []):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
