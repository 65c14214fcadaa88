"""The prediction scripts of both packages: what they write, their errors."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datasets.prediction.pictures import from_run_lengths
from datasets.prediction.reading import Reading
from datasets.purdue_shapes import CLASSES, MASK_VALUES, constant_mse, generate, save
from tests.conftest import needs

# Keras' variables lack a keyword that NumPy 2 asks for; NumPy then copies, as it should.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
HALVES = {"tf_impl": "keras", "torch_impl": "torch"}
SIZE = (32, 40)


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
    importlib.import_module("parity.weights.checkpoint").save_weights(model, checkpoint)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "dtype": dtype}))
    save(folder / "shapes-test.gz", generate(6, 1, SIZE))
    return SimpleNamespace(train=train, predict=predict, model=model, folder=folder, checkpoint=checkpoint)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Without TensorFlow's graph, which takes seconds for each new network; one test below takes it."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        yield
        return
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


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


@pytest.mark.usefixtures("untraced")
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


@pytest.mark.usefixtures("untraced")
def test_the_recipe_says_how_images_are_scaled(run: Any) -> None:
    config = {**CONFIG, "recipe": {"inputs": "unit", "loss": "bce-dice"}}
    images = generate(2, 1, SIZE).images
    unit = run.predict.predict(run.model, images, Reading.of(config))
    raw = run.predict.predict(run.model, images, Reading.of(CONFIG))
    np.testing.assert_array_equal(raw, run.predict.predict(run.model, images))
    black = np.zeros_like(images)
    np.testing.assert_array_equal(
        run.predict.predict(run.model, black, Reading.of(config)), run.predict.predict(run.model, black)
    )
    assert np.abs(unit - raw).max() > 0.1 * np.abs(raw).max()


@pytest.mark.usefixtures("untraced")
def test_pictures_of_any_size(run: Any, tmp_path: Path) -> None:
    """Padded for the network and cropped again."""
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (37, 41, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    out = tmp_path / "out"
    # With a flag that stands above the run's configuration.
    assert run.predict.main(flags(run, out, "--skip-connections", data=tmp_path / "a.png")) == 0
    assert {path.name for path in out.iterdir()} == {"predictions.json", "masks", "overlays"}
    model = run.train.make_model({**ARGUMENTS, "skip_connections": True})
    run.train.checkpoints.load_weights(model, run.checkpoint)
    mirrored = np.pad(image, ((0, 3), (0, 7), (0, 0)), mode="reflect")[None]
    found, own = (
        run.predict.predict(network, mirrored)[0, :, :37, :41] > np.array(MASK_VALUES)[:, None, None] / 2
        for network in (model, run.model)
    )
    ids = pixels(out / "masks" / "a.png")
    np.testing.assert_array_equal(ids > 0, found.any(axis=0))
    assert ((ids > 0) != own.any(axis=0)).any()


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "no data": ({"data": "none.gz"}, "No such file"),
    "empty folder": ({"data": "none"}, "none"),
    "no checkpoint": ({"checkpoint": "folder/none.pt"}, "none.pt"),
    "no suffix": ({"checkpoint": "folder/none"}, "must end in one of .pt"),
    "no config": ({"checkpoint": "none.pt"}, "config.json"),
    "another network": ({"depth": 4}, "must fit the model's arguments"),
    "another head": ({"head": "dlstudio"}, "must fit the model's arguments"),
    "too many images": ({"count": 7}, "count must be in 1..6; got count=7"),
    "no batch": ({"batch-size": 0}, "batch_size=0"),
    "class": ({"classes": "circle"}, "some of rectangle, triangle, disk, oval, star; got circle"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_line_and_exit_code_2(
    run: Any, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, told = ERRORS[case]
    places = {"none", "none.gz", "none.pt"}
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
@pytest.mark.usefixtures("untraced")
def test_either_frameworks_checkpoint_gives_both_the_same(half: str, tmp_path: Path) -> None:
    """One checkpoint, both scripts, float64: the same masks, and scores to what their six digits show."""
    for name in HALVES.values():
        needs(name)
    run = make_run(half, tmp_path, "float64")
    found, metrics = [], []
    for package in HALVES:
        main = importlib.import_module(f"{package}.predict").main
        assert main(flags(run, tmp_path / package, "--no-overlays", limit=2)) == 0
        found.append(answers(tmp_path / package)["images"])
        metrics.append(json.loads((tmp_path / package / "metrics.json").read_text()))
    assert any(entry["classes"] for entry in found[0])
    assert found[0] == found[1]
    assert metrics[0]["mse"] == pytest.approx(metrics[1]["mse"], rel=1e-11)
    for keras_mask in (tmp_path / "tf_impl" / "masks").iterdir():
        np.testing.assert_array_equal(
            pixels(keras_mask), pixels(tmp_path / "torch_impl" / "masks" / keras_mask.name)
        )


@pytest.mark.parametrize("suffix", [".keras", ".safetensors"])
@pytest.mark.usefixtures("untraced")
def test_the_other_formats_are_read(suffix: str, tmp_path: Path) -> None:
    """Each by its own framework, to the last bit."""
    half = {".keras": "tf_impl", ".safetensors": "torch_impl"}[suffix]
    needs(HALVES[half])
    run = make_run(half, tmp_path)
    importlib.import_module("parity.weights.checkpoint").save_weights(run.model, tmp_path / f"other{suffix}")
    again = run.train.make_model(ARGUMENTS, seed=4)
    read = importlib.import_module(f"{half}.checkpoints").read_checkpoint
    read(again, tmp_path / f"other{suffix}", {"name": "mUnet", "arguments": ARGUMENTS}, "float32")
    images = generate(1, 0, SIZE).images
    np.testing.assert_array_equal(*(run.predict.predict(model, images) for model in (run.model, again)))


def test_the_other_framework_must_be_installed(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = run.predict.__name__.partition(".")[0]
    other = next(name for name in HALVES if name != half)
    monkeypatch.setitem(sys.modules, f"{other}.train", None)
    foreign = run.folder / CHECKPOINTS[other]
    foreign.write_bytes(b"")
    assert run.predict.main(flags(run, tmp_path / "out", checkpoint=foreign)) == 2
    assert "both frameworks must be installed" in capsys.readouterr().err
    foreign.unlink()
