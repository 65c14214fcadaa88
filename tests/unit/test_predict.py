"""The prediction scripts of both packages: the error, the seven-row picture, what they write, their errors."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datasets.purdue_shapes import CLASSES, constant_mse, generate, save
from datasets.segmentation import (
    BOX_COLOUR,
    CLASS_COLOUR,
    MASK_VALUES,
    RunError,
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


@pytest.fixture(scope="module", params=HALVES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each package's modules, with a checkpoint of a new network whose running statistics are not the first."""
    needs(HALVES[request.param])
    train, predict = (importlib.import_module(f"{request.param}.{name}") for name in ("train", "predict"))
    folder = tmp_path_factory.mktemp("run")
    arguments = {"depth": 2, "head": "dense", "schedule": "intended", "skip_connections": False}
    model = train.make_model(arguments, seed=3)
    rng = np.random.default_rng(0)
    for path, value in statistics(model):
        low, high = (0.5, 2.0) if "var" in path else (-1.0, 1.0)
        assign(value, rng.uniform(low, high, tuple(value.shape)).astype(np.float32))
    train.save_weights(model, folder / train.CHECKPOINT)
    config = {"model": {**arguments, "num_classes": 5}, "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config))
    save(folder / "shapes-test.gz", generate(6, 1, SIZE))
    return SimpleNamespace(
        train=train, predict=predict, model=model, folder=folder, checkpoint=folder / train.CHECKPOINT
    )


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


def flags(run: Any, out: Path, **change: Any) -> list[str]:
    chosen = {"checkpoint": run.checkpoint, "data": run.folder, "out": out} | change
    return ["--quiet", *(word for name, value in chosen.items() for word in (f"--{name}", str(value)))]


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
    assert {path.name for path in out.iterdir()} == {"predictions.png", "metrics.json"}
    metrics = json.loads((out / "metrics.json").read_text())
    data = generate(6, 1, SIZE)
    error = (run.predict.predict(run.model, data.images).astype(float) - data.masks) ** 2
    assert metrics["mse"] == pytest.approx(error.mean(), rel=1e-6)
    assert metrics["images"] == 6
    assert f"MSE: {metrics['mse']:.3f} on 6 images" in capsys.readouterr().out


def test_flags_stand_above_the_runs_own_configuration(run: Any, tmp_path: Path) -> None:
    errors = []
    for name, change in {"own": {}, "other": {"schedule": "printed"}}.items():
        assert run.predict.main(flags(run, tmp_path / name, **change)) == 0
        errors.append(json.loads((tmp_path / name / "metrics.json").read_text())["mse"])
    assert errors[0] != errors[1]


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "no data": ({"data": "none.gz"}, "No such file"),
    "no checkpoint": ({"checkpoint": "folder/none"}, "none"),
    "no config": ({"checkpoint": "none"}, "config.json"),
    "another network": ({"depth": 4}, "must fit the model's arguments"),
    "another head": ({"head": "dlstudio"}, "must fit the model's arguments"),
    "too many images": ({"count": 7}, "count must be in 1..6; got count=7"),
    "no image": ({"count": 0}, "got count=0"),
    "no batch": ({"batch-size": 0}, "batch_size=0"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_line_and_exit_code_2(
    run: Any, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, told = ERRORS[case]
    places = {"none": tmp_path / "none", "folder/none": run.folder / "none", "none.gz": tmp_path / "none.gz"}
    change = {name: places.get(value, value) for name, value in change.items()}
    assert run.predict.main(flags(run, tmp_path / "out", **change)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "predictions.png").exists()


def test_both_packages_predict_the_same(tmp_path: Path) -> None:
    """One network in both: the same error to what float32 allows."""
    needs("keras")
    needs("torch")
    import parity
    from tf_impl.predict import predict as ours
    from tf_impl.train import make_model as keras_model
    from torch_impl.predict import predict as theirs
    from torch_impl.train import make_model as torch_model

    keras, torch = keras_model({"depth": 2}, "float64"), torch_model({"depth": 2}, "float64", seed=4)
    parity.transfer(torch, keras)
    images = generate(3, 0, SIZE).images
    first, second = ours(keras, images), theirs(torch, images)
    assert first.shape == second.shape == (3, 5, *SIZE)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-11 * np.abs(second).max())


def test_a_missing_extra_names_its_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    data = generate(2, 0, SIZE)
    with pytest.raises(RunError, match=r"pip install 'segparity\[train\]'"):
        evaluate(lambda images: data.masks.astype(float), data.images, data.masks, 2)
