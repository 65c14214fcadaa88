"""The prediction scripts of both packages: the seven-row picture, what they write, their errors."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datasets.pictures import from_run_lengths
from datasets.purdue_shapes import CLASSES, MASK_VALUES, constant_mse, generate, save
from datasets.reading import Reading
from datasets.recipe import RunError
from datasets.segmentation import (
    BOX_COLOUR,
    CLASS_COLOUR,
    evaluate,
    save_figure,
    seven_rows,
)
from tests.conftest import needs

# Keras' variables lack a keyword that NumPy 2 asks for; NumPy then copies, as it should.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
HALVES = {"tf_impl": "keras", "torch_impl": "torch"}
SIZE = (32, 40)
BANDS = [(25, 85), (65, 135), (115, 185), (165, 230), (210, float("inf"))]


# ---- the error ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_error_is_the_mean_over_every_pixel(batch_size: int) -> None:
    data = generate(7, 0, SIZE)
    outputs = np.random.default_rng(0).normal(50, 80, data.masks.shape)
    at = iter(range(0, 7, batch_size))

    def predict(images: Any) -> Any:
        start = next(at)
        np.testing.assert_array_equal(images, data.images[start : start + batch_size], strict=True)
        return outputs[start : start + batch_size]

    found = evaluate(predict, data.images, data.masks, batch_size, quiet=True)
    error = (outputs - data.masks.astype(float)) ** 2
    assert found["images"] == 7
    assert found["mse"] == pytest.approx(error.mean(), rel=1e-12)
    assert list(found["mse_per_class"]) == list(CLASSES)
    for index, name in enumerate(CLASSES):
        assert found["mse_per_class"][name] == pytest.approx(error[:, index].mean(), rel=1e-12)
    assert found["mse_of_best_constant"] == constant_mse(data.masks)


def test_perfect_outputs_have_no_error() -> None:
    data = generate(3, 0, SIZE)
    found = evaluate(lambda images: data.masks.astype(np.float32), data.images, data.masks, 3, quiet=True)
    assert found["mse"] == 0


# ---- the picture --------------------------------------------------------------------------------------------


def test_the_seven_rows_pixel_by_pixel() -> None:
    """Against the definition, one pixel at a time, on outputs of every size and sign."""
    rng = np.random.default_rng(1)
    data = generate(4, 5, SIZE)
    outputs = rng.uniform(-60, 320, (4, 5, *SIZE))
    rows = seven_rows(data.images, outputs, data.boxes)
    assert rows.shape == (7, 4, *SIZE, 3)
    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(rows[1], data.images)
    coloured = [0] * 5
    for image, y, x in np.ndindex(4, *SIZE):
        on_box = any(on_border(box, x, y) for of_class in data.boxes[image] for box in of_class)
        level = round(min(max(outputs[image, :, y, x].max(), 0), 255))
        expected = BOX_COLOUR if on_box else (level,) * 3
        assert tuple(rows[0, image, y, x]) == expected
        for index, (low, high) in enumerate(BANDS):
            value = outputs[image, index, y, x]
            level = round(min(max(value / MASK_VALUES[index], 0), 1) * 255)
            inside = low < value < high
            assert tuple(rows[2 + index, image, y, x]) == (CLASS_COLOUR if inside else (level,) * 3)
            coloured[index] += inside
    assert min(coloured) > 0


def on_border(box: list[int], x: int, y: int) -> bool:
    left, top, right, bottom = box
    across, down = left <= x <= right, top <= y <= bottom
    return (across and y in (top, bottom)) or (down and x in (left, right))


def test_the_true_masks_fill_their_own_rows() -> None:
    data = generate(6, 0, SIZE)
    rows = seven_rows(data.images, data.masks.astype(float), data.boxes)
    for index in range(5):
        found = (rows[2 + index] == CLASS_COLOUR).all(axis=-1)
        np.testing.assert_array_equal(found, data.masks[:, index] > 0)
        assert found.any()


@pytest.mark.parametrize("count", [1, 4])
def test_the_figure_is_a_png(count: int, tmp_path: Path) -> None:
    from matplotlib.image import imread

    data = generate(count, 0, SIZE)
    save_figure(tmp_path / "a.png", seven_rows(data.images, data.masks.astype(float), data.boxes), "MSE 0.0")
    picture = imread(tmp_path / "a.png")
    assert picture.shape[0] > 800
    found = {tuple(np.rint(colour * 255).astype(int)) for colour in picture[..., :3].reshape(-1, 3)}
    assert {BOX_COLOUR, CLASS_COLOUR} <= found
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# ---- the scripts --------------------------------------------------------------------------------------------

ARGUMENTS = {"depth": 2, "head": "dense", "schedule": "intended", "skip_connections": False, "num_classes": 5}
CONFIG: dict[str, Any] = {
    "model": {"name": "mUnet", "arguments": ARGUMENTS},
    "classes": list(CLASSES),
    "recipe": {"inputs": "raw", "loss": "mse"},
    "dtype": "float32",
}
CHECKPOINTS = {"tf_impl": "model.weights.h5", "torch_impl": "model.pt"}


@pytest.fixture(scope="module", params=HALVES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each package's modules, with a checkpoint of a new network whose running statistics are not the first."""
    needs(HALVES[request.param])
    return make_run(request.param, tmp_path_factory.mktemp("run"))


def make_run(half: str, folder: Path, dtype: str = "float32") -> Any:
    train, predict = (importlib.import_module(f"{half}.{name}") for name in ("train", "predict"))
    model = train.make_model(ARGUMENTS, dtype, seed=3)
    rng = np.random.default_rng(0)
    for path, value in statistics(model):
        low, high = (0.5, 2.0) if "var" in path else (-1.0, 1.0)
        assign(value, rng.uniform(low, high, tuple(value.shape)).astype(np.float32))
    checkpoint = folder / CHECKPOINTS[half]
    importlib.import_module("parity.checkpoint").save_weights(model, checkpoint)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "dtype": dtype}))
    save(folder / "shapes-test.gz", generate(6, 1, SIZE))
    return SimpleNamespace(train=train, predict=predict, model=model, folder=folder, checkpoint=checkpoint)


def statistics(model: Any) -> list[tuple[str, Any]]:
    if hasattr(model, "weights"):
        return [(weight.path, weight) for weight in model.weights if "moving" in weight.path]
    return [(name, value) for name, value in model.named_buffers() if "running" in name]


def assign(variable: Any, value: Any) -> None:
    if hasattr(variable, "assign"):
        variable.assign(value)
    else:
        import torch

        variable.copy_(torch.from_numpy(value))


def flags(run: Any, out: Path, *more: str, **change: Any) -> list[str]:
    chosen = {"checkpoint": run.checkpoint, "data": run.folder, "out": out} | change
    return ["--quiet", *more, *(word for name, value in chosen.items() for word in (f"--{name}", str(value)))]


def answers(out: Path) -> Any:
    return json.loads((out / "predictions.json").read_text())


def pixels(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


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


def test_predictions_are_the_networks_in_evaluation_mode(run: Any) -> None:
    """Each image alone gives what it gives in a batch, and the running statistics stay as they are."""
    images = generate(5, 2, SIZE).images
    before = [np.array(value) for _, value in statistics(run.model)]
    together = run.predict.predict(run.model, images)
    assert together.shape == (5, 5, *SIZE)
    alone = np.concatenate([run.predict.predict(run.model, images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-4 * np.abs(together).max())
    for kept, (_, value) in zip(before, statistics(run.model), strict=True):
        np.testing.assert_array_equal(kept, np.array(value))


def test_a_test_run_writes_its_folder(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert run.predict.main(flags(run, out, count=3)) == 0
    assert {path.name for path in out.iterdir()} == {
        "predictions.png",
        "metrics.json",
        "predictions.json",
        "masks",
        "overlays",
    }
    metrics = json.loads((out / "metrics.json").read_text())
    data = generate(6, 1, SIZE)
    outputs = run.predict.predict(run.model, data.images).astype(float)
    error = (outputs - data.masks) ** 2
    assert metrics["mse"] == pytest.approx(error.mean(), rel=1e-6)
    assert list(metrics["mse_per_class"]) == list(CLASSES)
    assert metrics["mse_of_best_constant"] == constant_mse(data.masks)
    assert metrics["images"] == 6
    found = outputs > np.array(MASK_VALUES)[:, None, None] / 2
    both, either = ((found & (data.masks > 0)).sum((0, 2, 3)), (found | (data.masks > 0)).sum((0, 2, 3)))
    assert metrics["mean_iou"] == pytest.approx((both / either).mean(), rel=1e-3)
    assert f"MSE: {metrics['mse']:.3f} on 6 images" in capsys.readouterr().out
    entries = answers(out)["images"]
    assert [entry["index"] for entry in entries] == list(range(6))
    for index, entry in enumerate(entries):
        ids = pixels(out / entry["ids"])
        assert ids.shape == SIZE
        np.testing.assert_array_equal(ids > 0, found[index].any(axis=0))
        assert pixels(out / entry["overlay"]).shape[2] == 3
        for channel, name in enumerate(CLASSES):
            area = found[index, channel].sum()
            assert entry["classes"].get(name, {"area": 0})["area"] == area
            if area:
                mask = from_run_lengths(entry["classes"][name]["mask"])
                np.testing.assert_array_equal(mask, found[index, channel])


def test_a_folder_of_pictures_of_any_size(run: Any, tmp_path: Path) -> None:
    """Padded for the network and cropped again; the results keep the order of the names."""
    made = photographs(tmp_path / "in")
    out = tmp_path / "out"
    assert run.predict.main(flags(run, out, "--no-overlays", data=tmp_path / "in")) == 0
    assert {path.name for path in out.iterdir()} == {"predictions.json", "masks"}
    entries = answers(out)["images"]
    assert [entry["file"] for entry in entries] == ["a.png", "b.JPG", "c.png", "d.png"]
    sizes = [(entry["height"], entry["width"]) for entry in entries]
    assert sizes == [(37, 50), (50, 37), (70, 41), (37, 50)]
    mirrored = np.pad(made["c.png"], ((0, 2), (0, 7), (0, 0)), mode="reflect")[None]
    outputs = run.predict.predict(run.model, mirrored)[0, :, :70, :41]
    found = outputs > np.array(MASK_VALUES)[:, None, None] / 2
    np.testing.assert_array_equal(pixels(out / "masks" / "c.png") > 0, found.any(axis=0))


def test_one_picture(run: Any, tmp_path: Path) -> None:
    photographs(tmp_path / "in")
    chosen = ["--classes", "star", "disk", "--no-masks"]
    assert run.predict.main([*flags(run, tmp_path / "out", data=tmp_path / "in" / "c.png"), *chosen]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.json", "overlays"}
    (entry,) = answers(tmp_path / "out")["images"]
    assert set(entry["classes"]) <= {"star", "disk"}
    assert "ids" not in entry


def test_a_higher_threshold_finds_less(run: Any, tmp_path: Path) -> None:
    areas = []
    for threshold in (0.1, 0.5, 0.9):
        out = tmp_path / str(threshold)
        assert run.predict.main(flags(run, out, "--no-overlays", threshold=threshold, limit=2)) == 0
        entries = answers(out)["images"]
        assert len(entries) == 2
        areas.append(sum(found["area"] for entry in entries for found in entry["classes"].values()))
    assert areas[0] > areas[1] > areas[2]
    plain = tmp_path / "plain"
    assert run.predict.main(flags(run, plain, "--no-overlays", limit=2)) == 0
    assert answers(plain)["images"] == answers(tmp_path / "0.5")["images"]


def test_the_recipe_says_how_images_are_scaled_and_outputs_read(run: Any, tmp_path: Path) -> None:
    config = {**CONFIG, "recipe": {"inputs": "unit", "loss": "bce-dice"}}
    (tmp_path / "other.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    assert run.predict.main(flags(run, out, "--no-overlays", config=tmp_path / "other.json")) == 0
    data = generate(6, 1, SIZE)
    logits = run.predict.predict(run.model, data.images, Reading.of(config)).astype(float)
    raw = run.predict.predict(run.model, data.images)
    assert np.abs(logits - raw).max() > 0.1 * np.abs(raw).max()
    for entry, found in zip(answers(out)["images"], logits > 0, strict=True):
        areas = [entry["classes"].get(name, {"area": 0})["area"] for name in CLASSES]
        assert areas == found.sum(axis=(1, 2)).tolist()
    metrics = json.loads((out / "metrics.json").read_text())
    expected = np.array(MASK_VALUES)[:, None, None] / (1 + np.exp(-logits))
    assert metrics["mse"] == pytest.approx(((expected - data.masks) ** 2).mean(), rel=1e-5)


def test_flags_stand_above_the_runs_own_configuration(run: Any, tmp_path: Path) -> None:
    errors = []
    for name, change in {"own": {}, "other": {"schedule": "printed"}}.items():
        assert run.predict.main(flags(run, tmp_path / name, "--no-overlays", "--no-masks", **change)) == 0
        errors.append(json.loads((tmp_path / name / "metrics.json").read_text())["mse"])
    assert errors[0] != errors[1]


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "no data": ({"data": "none.gz"}, "No such file"),
    "no picture": ({"data": "none.png"}, "No such file"),
    "broken picture": ({"data": "broken.png"}, "must be one that Pillow reads"),
    "deep picture": ({"data": "deep.png"}, "8 bits a channel; got mode=I;16"),
    "empty folder": ({"data": "none"}, "none"),
    "no checkpoint": ({"checkpoint": "folder/none.pt"}, "none.pt"),
    "no suffix": ({"checkpoint": "folder/none"}, "must end in one of .pt"),
    "no config": ({"checkpoint": "none.pt"}, "config.json"),
    "another network": ({"depth": 4}, "must fit the model's arguments"),
    "another head": ({"head": "dlstudio"}, "must fit the model's arguments"),
    "too many images": ({"count": 7}, "count must be in 1..6; got count=7"),
    "no image": ({"count": 0}, "got count=0"),
    "no batch": ({"batch-size": 0}, "batch_size=0"),
    "no limit": ({"limit": 0}, "limit=0"),
    "threshold": ({"threshold": 1.5}, "threshold=1.5"),
    "class": ({"classes": "circle"}, "some of rectangle, triangle, disk, oval, star; got circle"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_line_and_exit_code_2(
    run: Any, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(tmp_path / "deep.png")
    change, told = ERRORS[case]
    places = {"none", "none.gz", "none.png", "none.pt", "broken.png", "deep.png"}
    change = {name: tmp_path / value if value in places else value for name, value in change.items()}
    for name, value in change.items():
        if str(value).startswith("folder/"):
            change[name] = run.folder / value.removeprefix("folder/")
    assert run.predict.main(flags(run, tmp_path / "out", **change)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "predictions.png").exists()


# ---- both frameworks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", HALVES)
def test_either_frameworks_checkpoint_gives_both_the_same(half: str, tmp_path: Path) -> None:
    """One checkpoint, both scripts, float64: the same masks, and scores to what their six digits show."""
    for name in HALVES.values():
        needs(name)
    run = make_run(half, tmp_path, "float64")
    found, metrics = [], []
    for package in HALVES:
        main = importlib.import_module(f"{package}.predict").main
        assert main(flags(run, tmp_path / package, "--no-overlays")) == 0
        found.append(answers(tmp_path / package)["images"])
        metrics.append(json.loads((tmp_path / package / "metrics.json").read_text()))
    assert any(entry["classes"] for entry in found[0])
    assert found[0] == found[1]
    assert metrics[0]["mse"] == pytest.approx(metrics[1]["mse"], rel=1e-11)
    for ours in (tmp_path / "tf_impl" / "masks").iterdir():
        np.testing.assert_array_equal(pixels(ours), pixels(tmp_path / "torch_impl" / "masks" / ours.name))


@pytest.mark.parametrize("suffix", [".keras", ".safetensors"])
def test_the_other_formats_are_read(suffix: str, tmp_path: Path) -> None:
    """In float32; each format by the script of its own framework."""
    half = {".keras": "tf_impl", ".safetensors": "torch_impl"}[suffix]
    needs(HALVES[half])
    run = make_run(half, tmp_path)
    importlib.import_module("parity.checkpoint").save_weights(run.model, tmp_path / f"other{suffix}")
    for name in (run.checkpoint.name, f"other{suffix}"):
        change = {"checkpoint": tmp_path / name}
        assert run.predict.main(flags(run, tmp_path / name[:5], "--no-overlays", **change)) == 0
    assert answers(tmp_path / "model")["images"] == answers(tmp_path / "other")["images"]


def test_the_other_framework_must_be_installed(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = run.predict.__name__.partition(".")[0]
    other = next(name for name in HALVES if name != half)
    monkeypatch.setitem(__import__("sys").modules, f"{other}.train", None)
    foreign = run.folder / CHECKPOINTS[other]
    foreign.write_bytes(b"")
    assert run.predict.main(flags(run, tmp_path / "out", checkpoint=foreign)) == 2
    assert "both frameworks must be installed" in capsys.readouterr().err
    foreign.unlink()


def test_a_missing_extra_names_its_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    data = generate(2, 0, SIZE)
    with pytest.raises(RunError, match=r"pip install 'segparity\[train\]'"):
        evaluate(lambda images: data.masks.astype(float), data.images, data.masks, 2)
