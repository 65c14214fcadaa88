"""What both prediction scripts share, on a network that is a few lines of NumPy: reading, sources, results."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.errors import RunError
from datasets.prediction.command import check_options, configuration, prediction_flags
from datasets.prediction.pictures import from_run_lengths
from datasets.prediction.reading import Reading, padded
from datasets.prediction.sources import Picture, batches_of_one_size, pictures_of, read_data, read_picture
from datasets.prediction.writing import write_predictions
from datasets.purdue_shapes import CLASSES, MASK_VALUES, generate, save

VALUES = np.array(MASK_VALUES)[:, None, None]
LOGITS = Reading("unit", "logits", CLASSES, MASK_VALUES)
RAW = Reading("raw", "values", CLASSES, MASK_VALUES)


def network(images: Any) -> Any:
    """Logits that depend on each pixel and on what is left of it; wants multiples of 8."""
    assert images.shape[1] % 8 == images.shape[2] % 8 == 0
    centred = images.astype(float) - 128
    mixed = np.stack([centred @ weights for weights in np.random.default_rng(0).normal(size=(5, 3))], axis=1)
    return (mixed + 0.5 * np.roll(mixed, 1, axis=3)).astype(np.float32) / 40


def photographs(folder: Path) -> dict[str, Any]:
    """Pictures of two sizes, neither of them the network's, and a JPEG that lies on its side."""
    from PIL import Image

    rng, made = np.random.default_rng(0), {}
    folder.mkdir()
    for name, size in {"a.png": (37, 50), "c.png": (70, 41), "d.png": (37, 50)}.items():
        made[name] = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(made[name]).save(folder / name)
    picture = Image.fromarray(made["a.png"])
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(folder / "b.JPG", exif=exif)
    (folder / "notes.txt").write_text("not a picture")
    return made


def predict(data: Path, out: Path, *more: str, reading: Reading = LOGITS) -> Any:
    """Run the shared half; returns the images' entries."""
    options = parsed(data, out, *more)
    check_options(options, reading)
    write_predictions(options, read_data(data), reading, network, 8)
    return json.loads((out / "predictions.json").read_text())["images"]


def parsed(data: Path, out: Path, *more: str) -> Namespace:
    words = ["--quiet", "--checkpoint", "run/model.pt", "--data", str(data), "--out", str(out), *more]
    return prediction_flags("x").parse_args(words)


def pixels(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


# ---- how outputs are read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "inputs", "activation"),
    [
        ({}, "raw", "values"),
        ({"loss": "mse", "inputs": "raw"}, "raw", "values"),
        ({"loss": "bce-dice", "inputs": "unit"}, "unit", "logits"),
        ({"loss": "cross-entropy", "inputs": "raw"}, "raw", "softmax"),
    ],
)
def test_a_recipe_decides_the_reading(recipe: dict[str, str], inputs: str, activation: str) -> None:
    reading = Reading.of({"recipe": recipe})
    assert reading == Reading(inputs, activation, CLASSES, MASK_VALUES)
    image = np.array([[[[0, 51, 255]]]], np.uint8)
    expected = image / 255 if inputs == "unit" else image
    np.testing.assert_array_equal(reading.scaled(image, "float64"), expected)
    assert Reading.of({"classes": ["cat", "dog"], "mask_values": [7, 9]}).mask_values == (7, 9)


@pytest.mark.parametrize("recipe", [{"loss": "hinge"}, {"inputs": "half"}])
def test_an_unknown_recipe_is_refused(recipe: dict[str, str]) -> None:
    with pytest.raises(RunError, match="must be one of mse, bce-dice, cross-entropy"):
        Reading.of({"recipe": recipe})


def outputs_of(*values: float) -> Any:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def found_by(reading: Reading, outputs: Any, threshold: float | None = None) -> Any:
    masks, scores, raw = reading.masks(outputs, threshold)
    return masks[0, :, 0, 0].tolist(), scores[0, :, 0, 0], raw[0, :, 0, 0]


def test_values_by_hand() -> None:
    """Of a class is what lies above half of its mask value; the score is the share of the value."""
    two = Reading("raw", "values", ("a", "b"), (50, 200))
    masks, scores, raw = found_by(two, outputs_of(26, 99))
    assert masks == [True, False]
    np.testing.assert_allclose(scores, [0.52, 0.495])
    np.testing.assert_array_equal(raw, [26, 99])
    assert found_by(two, outputs_of(26, 99), 0.4)[0] == [True, True]
    assert found_by(two, outputs_of(26, 99), 0.6)[0] == [False, False]


def test_logits_by_hand() -> None:
    """Above 0 is a class, several at one pixel; the scores are the logistic function, huge logits too."""
    three = Reading("unit", "logits", ("a", "b", "c"), (50, 100, 200))
    masks, scores, raw = found_by(three, outputs_of(np.log(3), -1e4, 1e4))
    assert masks == [True, False, True]
    np.testing.assert_allclose(scores, [0.75, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(raw, [37.5, 0, 200], rtol=1e-6)
    assert found_by(three, outputs_of(np.log(3), -1e4, 1e4), 0.8)[0] == [False, False, True]


@pytest.mark.parametrize("background", [True, False])
def test_classes_that_exclude_each_other_by_hand(background: bool) -> None:
    two = Reading("unit", "softmax", ("a", "b"), (50, 200))
    first = [np.log(5.0)] if background else []
    masks, scores, _ = found_by(two, outputs_of(*first, np.log(1.0), np.log(4.0)))
    assert masks == [False, not background]
    np.testing.assert_allclose(scores, [0.1, 0.4] if background else [0.2, 0.8], rtol=1e-6)
    masks = found_by(two, outputs_of(*[0.0] * background, 1.0, 1.5), 0.9)[0]
    assert masks == [False, False]  # too unsure


def test_outputs_of_other_classes_are_refused() -> None:
    for reading in (LOGITS, RAW):
        with pytest.raises(RunError, match="got 6 outputs"):
            reading.masks(np.zeros((1, 6, 8, 8)))


# ---- what there is to predict on ----------------------------------------------------------------------------


def test_any_size_is_mirrored_and_cropped() -> None:
    rng = np.random.default_rng(0)
    for size in ((8, 16), (9, 17), (1, 1), (3, 30), (70, 41)):
        images = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
        outputs = padded(network, images, 8)
        assert outputs.shape == (2, 5, *size)
        room = [(0, 0), (0, -size[0] % 8), (0, -size[1] % 8), (0, 0)]
        expected = network(np.pad(images, room, mode="reflect"))[:, :, : size[0], : size[1]]
        np.testing.assert_array_equal(outputs, expected)


def test_pictures_are_read_upright_and_in_colour(tmp_path: Path) -> None:
    from PIL import Image

    made = photographs(tmp_path / "in")
    np.testing.assert_array_equal(read_picture(tmp_path / "in" / "a.png"), made["a.png"])
    assert read_picture(tmp_path / "in" / "b.JPG").shape == (50, 37, 3)
    for mode in ("L", "1", "P", "RGBA", "LA"):
        Image.fromarray(made["a.png"]).convert(mode).save(tmp_path / "other.png")
        assert read_picture(tmp_path / "other.png").shape == (37, 50, 3)


def test_batches_are_of_one_size_and_full_where_they_can() -> None:
    sizes = [8, 9, 8, 8, 9, 10, 8, 8]
    pictures = [Picture(i, "", "", np.zeros((size, 4, 3), np.uint8)) for i, size in enumerate(sizes)]
    batches = [[picture.index for picture in batch] for batch in batches_of_one_size(pictures, 2)]
    assert batches == [[0, 2], [1, 4], [3, 6], [5], [7]]


def test_names_are_never_shared(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a.png", "a.bmp", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert [picture.name for picture in pictures_of(read_data(tmp_path), None)] == ["a_bmp", "a_png", "b"]


# ---- what is written ----------------------------------------------------------------------------------------


def test_a_folder_of_pictures_of_any_size(tmp_path: Path) -> None:
    """The results are those of each picture alone, in the order of the names."""
    made = photographs(tmp_path / "in")
    out = tmp_path / "out"
    entries = predict(tmp_path / "in", out, "--no-overlays", "--batch-size", "2")
    assert {path.name for path in out.iterdir()} == {"predictions.json", "masks"}
    assert [entry["file"] for entry in entries] == ["a.png", "b.JPG", "c.png", "d.png"]
    sizes = [(entry["height"], entry["width"]) for entry in entries]
    assert sizes == [(37, 50), (50, 37), (70, 41), (37, 50)]
    lines = (out / "predictions.json").read_text().splitlines()
    assert sum(json.loads(line.strip().rstrip(",")) in entries for line in lines if '"file"' in line) == 4
    for place, name in {0: "a.png", 2: "c.png", 3: "d.png"}.items():
        logits = padded(network, made[name][None], 8)[0]
        expected = np.where((logits > 0).any(axis=0), logits.argmax(axis=0) + 1, 0)
        np.testing.assert_array_equal(pixels(out / entries[place]["ids"]), expected)
        for index, label in enumerate(CLASSES):
            mask = from_run_lengths(entries[place]["classes"][label]["mask"])
            np.testing.assert_array_equal(mask, logits[index] > 0)


def test_a_data_set_is_measured_whatever_the_batches(tmp_path: Path) -> None:
    data = generate(6, 1, (37, 50))
    save(tmp_path / "shapes-test.gz", data)
    found = []
    for batch_size in ("1", "4"):
        out = tmp_path / batch_size
        predict(tmp_path, out, "--no-overlays", "--batch-size", batch_size, "--classes", "star")
        found.append(json.loads((out / "metrics.json").read_text()))
        assert (out / "predictions.png").stat().st_size > 0
    for metrics in found:
        del metrics["data"]
    assert found[0] == found[1]
    logits = padded(network, data.images, 8).astype(float)
    error = (VALUES / (1 + np.exp(-logits)) - data.masks) ** 2
    assert found[0]["mse"] == pytest.approx(error.mean(), rel=1e-12)  # of every class, whatever is written
    assert found[0]["images"] == 6
    assert found[0]["mean_box_iou"] is not None


def test_true_masks_score_fully(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = generate(5, 2, (32, 40))
    save(tmp_path / "test.gz", data)

    def oracle(images: Any) -> Any:
        return np.stack([data.masks[(data.images == image).all((1, 2, 3))][0] for image in images]) * 1.0

    write_predictions(parsed(tmp_path, tmp_path / "out"), read_data(tmp_path), RAW, oracle, 8)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["mse"] == 0
    assert metrics["mean_iou"] == metrics["pixel_accuracy"] == 1
    assert "MSE: 0.000 on 5 images" in capsys.readouterr().out


def test_only_what_is_wanted_is_written(tmp_path: Path) -> None:
    photographs(tmp_path / "in")
    (entry,) = predict(tmp_path / "in" / "c.png", tmp_path / "out", "--no-masks", "--classes", "star", "disk")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.json", "overlays"}
    assert set(entry["classes"]) == {"star", "disk"}
    assert "ids" not in entry
    assert pixels(tmp_path / "out" / entry["overlay"]).shape[2] == 3
    assert len(predict(tmp_path / "in", tmp_path / "few", "--no-overlays", "--no-masks", "--limit", "2")) == 2


def test_a_higher_threshold_finds_less(tmp_path: Path) -> None:
    photographs(tmp_path / "in")
    areas, entries = [], {}
    for words in (["--threshold", "0.1"], ["--threshold", "0.5"], ["--threshold", "0.9"], []):
        entries[words[-1] if words else ""] = predict(
            tmp_path / "in", tmp_path / "out", "--no-masks", "--no-overlays", *words
        )
    for threshold in ("0.1", "0.5", "0.9"):
        found = [one["area"] for entry in entries[threshold] for one in entry["classes"].values()]
        areas.append(sum(found))
    assert areas[0] > areas[1] > areas[2]
    assert entries[""] == entries["0.5"]


def test_small_parts_get_no_box(tmp_path: Path) -> None:
    photographs(tmp_path / "in")
    every, large = (
        predict(tmp_path / "in" / "a.png", tmp_path / "out", "--min-area", area)[0]["classes"]["star"]
        for area in ("1", "20")
    )
    assert len(every["boxes"]) > len(large["boxes"])
    assert every["area"] == large["area"]


# ---- configuration ------------------------------------------------------------------------------------------


def test_flags_stand_above_the_runs_own_configuration(tmp_path: Path) -> None:
    config = {"model": {"name": "mUnet", "arguments": {"depth": 2, "head": "dense"}}, "dtype": "bfloat16"}
    (tmp_path / "a.json").write_text(json.dumps(config))
    options = parsed(tmp_path, tmp_path, "--config", str(tmp_path / "a.json"), "--head", "dlstudio")
    found = configuration(options)
    assert found["model"]["arguments"] == {"depth": 2, "head": "dlstudio"}
    assert found["dtype"] == "float32"  # bfloat16 runs have float32 weights
    assert found["multiple"] == 8


ERRORS: dict[str, tuple[list[str], str]] = {
    "no batch": (["--batch-size", "0"], "batch_size=0"),
    "no limit": (["--limit", "0"], "limit=0"),
    "no figure": (["--count", "0"], "count=0"),
    "no area": (["--min-area", "0"], "min_area=0"),
    "threshold": (["--threshold", "1.5"], "threshold=1.5"),
    "class": (["--classes", "star", "circle"], "some of rectangle, triangle, disk, oval, star; got circle"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_flags_that_mean_nothing_are_refused(case: str, tmp_path: Path) -> None:
    words, told = ERRORS[case]
    with pytest.raises(RunError, match=told):
        check_options(parsed(tmp_path, tmp_path, *words), LOGITS)


def unreadable(folder: Path) -> dict[str, Callable[[], Any]]:
    from PIL import Image

    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(folder / "deep.png")
    (folder / "empty").mkdir()
    return {
        "must be one that Pillow reads": lambda: read_picture(folder / "broken.png"),
        "8 bits a channel; got mode=I;16": lambda: read_picture(folder / "deep.png"),
        "No such file": lambda: read_picture(folder / "none.png"),
        "must hold one": lambda: read_data(folder / "empty"),
        "must be a file": lambda: read_data(folder / "none.gz"),
    }


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for told, reads in unreadable(tmp_path).items():
        with pytest.raises(RunError, match=told):
            reads()


def test_a_missing_extra_names_its_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs(tmp_path / "in")
    for name in ("tqdm", "PIL.Image"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(
                RunError, match=rf"{name} must be installed.*pip install 'segparity\[train\]'"
            ):
                predict(tmp_path / "in", tmp_path / "out")


# ---- folders in VOC's layout ----------------------------------------------------------------------------------


def folder_of(root: Path, count: int) -> Any:
    """Three images of two sizes whose red is 8 times their class index, for a network that reads it off."""
    from PIL import Image

    rng, truth = np.random.default_rng(count), {}
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name, size in {"a": (24, 40), "b": (17, 30), "c": (24, 40)}.items():
        truth[name] = rng.integers(0, count + 1, size).astype(np.uint8)
        image = np.stack([8 * truth[name]] * 3, axis=2)
        truth[name][:2] = 255  # whatever is predicted there does not count
        Image.fromarray(image).save(root / "JPEGImages" / f"{name}.png")
        Image.fromarray(truth[name]).save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/val.txt").write_text("a\nb\nc\n")
    names = ["background", *(f"kind {index}" for index in range(1, count + 1))]
    (root / "class_names.txt").write_text("\n".join(names))
    return truth


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_folder_of_labels_is_predicted_and_scored(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One class, two and thirty: ids, overlays, JSON and scores; one class is never found where it is true."""
    truth = folder_of(tmp_path / "own", count)

    def reads_red(images: Any) -> Any:
        index = images[..., 0].astype(int) // 8
        index = np.where(index == count, 0, index)
        return np.float32(9) * (index[:, None] == np.arange(count + 1)[:, None, None])

    classes = [f"kind {index}" for index in range(1, count + 1)]
    reading = Reading.of({"recipe": {"loss": "cross-entropy"}, "classes": classes})
    options = parsed(tmp_path / "own", tmp_path / "out")
    check_options(options, reading)
    write_predictions(options, read_data(tmp_path / "own"), reading, reads_red, 1)
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    assert found["classes"] == classes
    assert [entry["file"] for entry in found["images"]] == ["a.png", "b.png", "c.png"]
    both = {name: [0, 0] for name in ("background", *classes)}
    for name, entry in zip("abc", found["images"], strict=True):
        red = pixels(tmp_path / f"own/JPEGImages/{name}.png")[..., 0] // 8
        predicted = np.where(red == count, 0, red)
        assert np.array_equal(pixels(tmp_path / "out/masks" / f"{name}.png"), predicted)
        assert set(entry["classes"]) == {classes[index - 1] for index in np.unique(predicted) if index}
        assert pixels(tmp_path / "out/overlays" / f"{name}.png").ndim == 3
        counts = truth[name] != 255
        for index, kind in enumerate(both):
            is_there, is_found = (truth[name] == index) & counts, (predicted == index) & counts
            both[kind][0] += np.count_nonzero(is_there & is_found)
            both[kind][1] += np.count_nonzero(is_there | is_found)
    scores = {kind: part / whole for kind, (part, whole) in both.items()}
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["iou_per_class"] == pytest.approx(scores)
    assert (metrics["iou_per_class"][classes[-1]], metrics["images"]) == (0, 3)
    told = f"mean IoU: {np.mean(list(scores.values())):.4f} on 3 images"
    assert told in capsys.readouterr().out
    other = Reading.of({"recipe": {"loss": "cross-entropy"}, "classes": ["a", "b"]})
    with pytest.raises(RunError, match=r"network's classes, a, b; got kind 1.* in .*own"):
        write_predictions(options, read_data(tmp_path / "own"), other, reads_red, 1)
