"""The linter finds every kind of fault that is seeded, names where it is, and finds none in clean data."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.lint import lint, main
from datasets.lint.rules import RULES
from datasets.purdue_shapes import CLASSES, MASK_VALUES, generate, save

SHAPES: dict[str, Any] = {"classes": CLASSES, "values": MASK_VALUES}


def shapes() -> tuple[np.ndarray, np.ndarray, list[Any]]:
    data = generate(20, 3, (32, 40))
    return (
        data.images.copy(),
        data.masks.copy(),
        [[list(map(list, one)) for one in image] for image in data.boxes],
    )


def labels() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ten noisy images with label maps of four classes and some pixels that do not count."""
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (10, 20, 30, 3), np.uint8))
    masks = [np.zeros((20, 30), np.uint8) for _ in images]
    for mask in masks:
        for label in (1, 2, 3):
            y, x = rng.integers(0, 12), rng.integers(0, 20)
            mask[y : y + 7, x : x + 9] = label
        mask[0, :3] = 255
        mask[19] = [3] * 10 + [1] * 10 + [2] * 10
    return images, masks


def codes(*arguments: Any, **options: Any) -> set[str]:
    return {problem.code for problem in lint(*arguments, **options)}


def test_clean_data_has_no_problem() -> None:
    data = generate(300, 0)
    assert lint(data.images, data.masks, data.boxes, **SHAPES) == []
    images, masks = labels()
    assert lint(images, masks, classes=4) == []


# ---- arrays: one fault at a time ------------------------------------------------------------------------------

Change = Callable[[list[Any], list[Any], list[Any]], None]


def put(which: int, at: int, value: Any) -> Change:
    def change(*lists: list[Any]) -> None:
        old = lists[which][at]
        lists[which][at] = value(old) if callable(value) else value

    return change


def poke(c: int, value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(mask: np.ndarray) -> np.ndarray:
        mask[c, np.nonzero(mask[c])[0][:1], np.nonzero(mask[c])[1][:1]] = value
        return mask

    return change


def first(boxes: Any, change: Callable[[list[int]], list[int]]) -> Any:
    c = next(c for c, own in enumerate(boxes) if own)
    return [[change(own[0]), *own[1:]] if i == c else own for i, own in enumerate(boxes)]


def rectangle_less(*lists: list[Any]) -> None:
    for mask in lists[1]:
        mask[2] = 0
    for boxes in lists[2]:
        boxes[2] = []


def with_value(*lists: list[Any]) -> None:
    at = next(i for i, mask in enumerate(lists[1]) if mask[3].any())
    lists[1][at] = poke(3, 100)(lists[1][at])


def smoothed(mask: np.ndarray) -> np.ndarray:
    """As a resize with interpolation leaves it."""
    return ((mask.astype(int) + np.roll(mask, 1, axis=2)) // 2).astype(np.uint8)


def copy(*lists: list[Any]) -> None:
    for one in lists:
        one[7] = one[2]


SEEDED: dict[str, Change] = {
    "image-dtype": put(0, 4, lambda image: image.astype(np.float32) / 255),
    "image-channels": put(0, 4, lambda image: image[..., :1]),
    "blank-image": put(0, 4, lambda image: np.full_like(image, 7)),
    "mask-dtype": put(1, 4, lambda mask: mask / 255),
    "mask-shape": put(1, 4, lambda mask: mask[None]),
    "channel-count": put(1, 4, lambda mask: mask[:4]),
    "sizes-differ": put(1, 4, lambda mask: mask.transpose(0, 2, 1)),
    "wrong-value": with_value,
    "blended-mask": put(1, 4, smoothed),
    "all-background": put(1, 4, np.zeros_like),
    "class-never-occurs": rectangle_less,
    "duplicate": copy,
    "contradiction": put(0, 7, None),
    "boxes-per-class": put(2, 4, lambda boxes: boxes[:4]),
    "box-outside": put(2, 4, lambda boxes: first(boxes, lambda b: [b[0], b[1], 40, b[3]])),
    "box-loose": put(2, 4, lambda boxes: first(boxes, lambda b: [b[0], b[1], b[2], min(b[3] + 1, 31)])),
    "mask-outside-boxes": put(2, 4, lambda boxes: [[] for _ in boxes]),
}


@pytest.mark.parametrize("code", SEEDED)
def test_a_fault_in_shapes_is_found(code: str) -> None:
    images, masks, boxes = map(list, shapes())
    if code == "contradiction":
        images[7] = images[2]
    else:
        SEEDED[code](images, masks, boxes)
    found = {problem.code: problem for problem in lint(images, masks, boxes, **SHAPES)}
    assert code in found, found
    problem = found[code]
    assert problem.count == 1
    assert problem.severity == RULES[code].severity
    wanted = {"wrong-value": "image", "class-never-occurs": "the whole set"}
    place = "image 7" if code in ("duplicate", "contradiction") else "image 4"
    assert problem.places[0].startswith(wanted.get(code, place))
    assert problem.advice in str(problem)


def test_a_box_with_swapped_axes_or_one_pixel_off_is_loose() -> None:
    mask = np.zeros((1, 12, 14), np.uint8)
    mask[0, 2:5, 3:10] = 50
    image = np.arange(12 * 14 * 3, dtype=np.uint8).reshape(12, 14, 3)
    options: dict[str, Any] = {"classes": 1, "values": [50]}
    assert codes([image], [mask], [[[[3, 2, 9, 4]]]], **options) == set()
    for box in ([3, 2, 10, 5], [2, 1, 9, 4], [2, 3, 4, 9]):
        assert "box-loose" in codes([image], [mask], [[[box]]], **options)


LABELS: dict[str, tuple[Change, dict[str, Any]]] = {
    "mask-0-255": (
        lambda images, masks, _: masks.__setitem__(slice(None), map(binary, masks)),
        {"classes": 2},
    ),
    "out-of-range": (put(1, 4, lambda mask: np.where(mask == 3, 9, mask)), {"classes": 4}),
    "colour-mask": (put(1, 4, lambda mask: np.stack([mask] * 3, axis=-1)), {"classes": 4}),
    "mask-shape": (put(1, 4, lambda mask: mask[..., None]), {"classes": 4}),
    "blended-mask": (put(1, 4, lambda mask: resized(mask)), {"classes": 4}),
    "all-background": (put(1, 4, np.zeros_like), {"classes": 4}),
    "class-never-occurs": (lambda *lists: None, {"classes": ["sky", "a", "b", "c", "d"]}),
    "gaps": (
        lambda images, masks, _: masks.__setitem__(slice(None), [m // 9 * 9 + m % 9 * 50 for m in masks]),
        {},
    ),
    "rare-class": (put(1, 0, lambda mask: rare(mask)), {"classes": 5}),
}


def binary(mask: np.ndarray) -> np.ndarray:
    return np.where(mask > 0, 255, 0).astype(np.uint8)


def rare(mask: np.ndarray) -> np.ndarray:
    mask[0, 5] = 4
    return mask


def resized(mask: np.ndarray) -> np.ndarray:
    """Twice as large and back with bilinear weights: a value between at every edge."""
    wide = np.where(mask == 255, 0, mask).astype(float) * 1.0
    blurred = (wide + np.roll(wide, 1, 1) + np.roll(wide, 1, 0) + np.roll(wide, (1, 1), (0, 1))) / 4
    return np.rint(blurred).astype(np.uint8)


@pytest.mark.parametrize("code", LABELS)
def test_a_fault_in_label_maps_is_found(code: str) -> None:
    images, masks = labels()
    change, options = LABELS[code]
    change(images, masks, [])
    found = {problem.code: problem for problem in lint(images, masks, **options)}
    assert code in found, found
    whole = {"mask-0-255": "image 0", "class-never-occurs": "the", "gaps": "the", "rare-class": "the"}
    assert found[code].places[0].startswith(whole.get(code, "image 4"))
    if code == "mask-0-255":
        assert set(found) == {code}  # not an empty class and ten empty masks as well
        assert (found[code].count, len(found[code].places)) == (10, 5)


def test_lists_that_are_not_as_long_are_refused() -> None:
    images, masks = labels()
    with pytest.raises(ValueError, match="got 10 images, 9 masks"):
        lint(images, masks[:9])


# ---- files ------------------------------------------------------------------------------------------------------


def folder(path: Path) -> Path:
    from PIL import Image

    images, masks = labels()
    for name in ("images", "masks"):
        (path / name).mkdir(parents=True)
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        Image.fromarray(image).save(path / f"images/{i}.png")
        Image.fromarray(mask).save(path / f"masks/{i}.png")
    return path


def test_a_clean_folder_passes_and_json_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "problems.json"
    assert main([str(folder(tmp_path / "data")), "--classes", "4", "--json", str(out)]) == 0
    assert json.loads(out.read_text()) == []
    assert capsys.readouterr().out == "10 images, 0 kinds of problems\n"


def test_faults_of_files_are_found_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    path = folder(tmp_path / "data")
    mask = np.asarray(Image.open(path / "masks/0.png"))
    Image.fromarray(mask).convert("RGB").save(path / "masks/1.png")
    palette = Image.fromarray(mask).convert("P")
    palette.save(path / "masks/2.png")
    (path / "masks/3.png").unlink()
    Image.fromarray(mask).save(path / "masks/3.jpg")
    (path / "masks/4.png").unlink()
    (path / "images/5.png").write_bytes(b"no picture")
    Image.fromarray(mask[:10]).save(path / "masks/6.png")
    Image.fromarray(mask > 0).save(path / "masks/7.png")
    out = tmp_path / "problems.json"
    assert main([str(path), "--classes", "4", "--json", str(out)]) == 1
    found = {one["code"]: one for one in json.loads(out.read_text())}
    expected = {
        "colour-mask": "masks/1.png",
        "palette-mask": "masks/2.png",
        "lossy-mask": "masks/3.jpg",
        "unpaired": "images/4.png",
        "unreadable": "masks/5.png",
        "sizes-differ": "masks/6.png",
        "mask-dtype": "masks/7.png",
    }
    assert {code: found[code]["places"][0] for code in expected} == expected
    printed = capsys.readouterr().out
    assert all(code in printed for code in expected)


def test_masks_beside_their_images_and_named_folders(tmp_path: Path) -> None:
    from PIL import Image

    images, masks = labels()
    (tmp_path / "x").mkdir()
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        Image.fromarray(mask).save(tmp_path / f"{i}_mask.png")
        Image.fromarray(mask).save(tmp_path / f"x/{i}.png")
    assert main([str(tmp_path), "--classes", "4"]) == 0
    assert main([str(tmp_path), "--classes", "4", "--masks", "x", "--images", "x"]) == 2  # masks alone


def test_warnings_can_be_left_out_of_the_exit_code(tmp_path: Path) -> None:
    images, masks = labels()
    images[3] = np.zeros_like(images[3])
    np.savez(tmp_path / "data.npz", images=images, masks=masks)
    assert main([str(tmp_path / "data.npz"), "--classes", "4"]) == 1
    assert main([str(tmp_path / "data.npz"), "--classes", "4", "--errors-only"]) == 0


def test_shapes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = generate(60, 0, (32, 40))
    good, bad = tmp_path / "shapes-60-train.gz", tmp_path / "bad.gz"
    save(good, data)
    assert main([str(good)]) == main([str(tmp_path)]) == 0
    content, label_map = pickle.loads(gzip.decompress(good.read_bytes()))
    content[7][3][0] = np.where(content[7][3][0] > 0, 255, 0)
    content[7][3][0, 0, 0] = 255
    bad.write_bytes(gzip.compress(pickle.dumps([content, label_map])))
    assert main([str(bad)]) == 1
    assert "record 7: mask_array[0] (rectangle) must hold 0 and 50 only; got 255" in capsys.readouterr().out
    bad.write_bytes(gzip.compress(pickle.dumps([content[:1], label_map])))
    assert main([str(bad)]) == 1
    assert "class-never-occurs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["none", "empty", "junk.gz", "junk.npz", "half.npz"])
def test_what_cannot_be_read_is_exit_code_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name == "half.npz":
        np.savez(path, images=np.zeros((1, 2, 2, 3)))
    elif name != "none":
        path.write_bytes(b"junk")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
