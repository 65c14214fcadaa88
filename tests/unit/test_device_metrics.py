"""The metrics on the device equal the definition in NumPy, in both halves, inside fit, Lightning and DDP."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.scores.metrics import SegmentationMetrics, decide, flat, one_hot, raw_values
from tests.conftest import needs

ROOT = Path(__file__).resolve().parents[2]
VALUES = (50, 100, 150, 250)
NAMES = ("rectangle", "disk", "oval", "star")  # the oval is in no mask; the star is predicted alone


def cases() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, constructor's arguments, arrays): outputs (N, C, H, W), targets, valid, in batches of 2 and 3."""
    rng = np.random.default_rng(3)
    size = (12, 17)
    coarse = rng.random((5, 4, 4, 6)).repeat(3, 2).repeat(3, 3)[..., : size[1]]
    masks = coarse > np.array([0.5, 0.6, 2, 2])[:, None, None]
    noise = rng.normal(0, 1, masks.shape)
    logits = np.where(masks, 1, -1) + noise
    logits[:, 2] = -np.abs(logits[:, 2])
    labels = rng.integers(0, 2, (5, *size))
    labels[rng.random(labels.shape) < 0.2] = 255
    scores = rng.normal(size=masks.shape) - np.array([0, 0, 50, 0])[:, None, None]
    valid = rng.random((5, *size)) > 0.3
    raw = masks * np.array(VALUES)[:, None, None]
    near = raw + 60 * noise
    near[:, 2] = -1
    values = {"activation": "values", "mask_values": VALUES}
    yield "logits", {}, {"outputs": logits, "targets": masks.astype(np.uint8)}
    yield "logits, raw masks", {"mask_values": VALUES}, {"outputs": logits, "targets": raw.astype(np.uint8)}
    yield (
        "values",
        values,
        {
            "outputs": near,
            "targets": raw.astype(float),
            "valid": valid,
        },
    )
    yield "labels", {"activation": "softmax"}, {"outputs": scores, "targets": labels}
    yield (
        "labels with a small boundary",
        {"activation": "softmax", "boundary_width": 3},
        {"outputs": scores, "targets": labels, "valid": valid},
    )
    yield (
        "independent logits, labels",
        {"boundary_width": 0, "mask_values": VALUES},
        {"outputs": logits, "targets": labels},
    )


def expected(arguments: dict[str, Any], arrays: dict[str, Any]) -> SegmentationMetrics:
    """The definition's counts for a case."""
    activation, mask_values = arguments.get("activation", "logits"), arguments.get("mask_values")
    outputs, targets = arrays["outputs"], arrays["targets"]
    valid = arrays.get("valid", np.ones((5, *outputs.shape[2:]), bool))
    masks = targets > 0
    if targets.ndim == 3:
        masks, inside = one_hot(targets, 4)
        valid = valid & inside
    metrics = SegmentationMetrics(NAMES, arguments.get("boundary_width"))
    extra: dict[str, Any] = {}
    if mask_values and activation != "softmax":
        extra["outputs"] = raw_values(outputs, activation, mask_values)
        extra["targets"] = masks * np.array(mask_values, float)[:, None, None]
    metrics.update(decide(outputs, activation, mask_values), masks, valid, **extra)
    return metrics


def check(name: str, counts: dict[str, Any], result: dict[str, Any], metrics: SegmentationMetrics) -> None:
    """Counts are equal to the last pixel, errors to float32's rounding, and so is every score."""
    assert counts.keys() == metrics.counts.keys(), name
    for key, value in metrics.counts.items():
        if key == "squared":
            np.testing.assert_allclose(counts[key], value, rtol=1e-6, err_msg=f"{name} {key}")
        else:
            np.testing.assert_array_equal(counts[key], value, err_msg=f"{name} {key}")
    wanted = flat(metrics.result())
    assert result.keys() | {"pixels"} == wanted.keys(), name
    assert result["iou_oval"] != result["iou_oval"], "a class that never occurs has no score"
    assert result["iou_star"] == 0, "a class that is only predicted has none right"
    for key, value in result.items():
        want = np.nan if wanted[key] is None else wanted[key]
        np.testing.assert_allclose(value, want, rtol=1e-6, err_msg=f"{name} {key}")


# ---- PyTorch ------------------------------------------------------------------------------------------------


def torchmetrics_needed() -> None:
    needs("torch")
    if importlib.util.find_spec("torchmetrics") is None:
        pytest.skip("needs torchmetrics; install the extra that holds it")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_equals_the_definition(dtype: str) -> None:
    torchmetrics_needed()
    import torch

    from torch_impl.metrics import SegmentationMetrics as Device

    for name, arguments, arrays in cases():
        metric = Device(NAMES, **arguments)
        tensors = {key: torch.tensor(value) for key, value in arrays.items()}
        tensors["outputs"] = tensors["outputs"].to(getattr(torch, dtype))
        for part in (slice(0, 2), slice(2, 5)):
            metric.update(**{key: value[part] for key, value in tensors.items()})
        found = {key: float(value) for key, value in metric.compute().items()}
        check(name, metric.counts(), found, expected(arguments, arrays))
        assert metric.report().keys() == expected(arguments, arrays).result().keys()
        metric.reset()
        assert not metric.totals.any()


def test_torch_scores_one_batch_in_forward_and_keeps_the_total() -> None:
    torchmetrics_needed()
    import torch

    from torch_impl.metrics import SegmentationMetrics as Device

    metric = Device(1, boundary_width=1)
    full, none = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    assert metric(full, full)["mean_iou"] == 1
    assert metric(full, none)["mean_iou"] == 0
    assert metric.compute()["mean_iou"] == 0.5


def test_torch_in_lightnings_validation(tmp_path: Path) -> None:
    torchmetrics_needed()
    lightning = pytest.importorskip("lightning")
    import torch

    from torch_impl.metrics import SegmentationMetrics as Device

    name, arguments, arrays = next(cases())
    outputs, targets = (torch.tensor(arrays[key]).float() for key in ("outputs", "targets"))

    class Validated(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.metric = Device(NAMES, **arguments)

        def validation_step(self, batch: Any, index: int) -> None:
            self.metric.update(*batch)

        def on_validation_epoch_end(self) -> None:
            self.counts = self.metric.counts()
            self.log_dict(self.metric.compute())

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(outputs, targets), batch_size=2)
    module = Validated()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, default_root_dir=tmp_path, enable_checkpointing=False, **quiet
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # it would have more workers read the data
        (found,) = trainer.validate(module, loader, verbose=False)
    check(name, module.counts, found, expected(arguments, arrays))


DDP = """
import json, sys
import numpy as np, torch, torch.distributed as dist
from torch_impl.metrics import SegmentationMetrics
rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
data = np.load(folder + "/case.npz")
metric = SegmentationMetrics(**json.loads(str(data["arguments"])))
for i in range(rank, len(data["outputs"]), world):
    metric.update(*(torch.tensor(data[key][i : i + 1]) for key in ("outputs", "targets", "valid")))
own = int(metric.totals[0])
found = {key: float(value) for key, value in metric.compute().items()}
counts = {key: value.tolist() for key, value in metric.counts().items()}
assert int(metric.totals[0]) == own, "the process's own totals must come back"
print(json.dumps([found, counts]))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_torch_adds_up_over_processes(tmp_path: Path) -> None:
    torchmetrics_needed()
    name, arguments, arrays = list(cases())[2]
    np.savez(tmp_path / "case.npz", arguments=json.dumps({"classes": NAMES, **arguments}), **arrays)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", DDP, str(rank), "2", str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        out, err = rank.communicate(timeout=120)
        assert rank.returncode == 0, err[-2000:]
        found, counts = json.loads(out)
        check(name, counts, found, expected(arguments, arrays))


# ---- Keras, on any backend ------------------------------------------------------------------------------------


def last(array: np.ndarray) -> np.ndarray:
    """Channels last, where there are channels."""
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def check_keras(names: set[str]) -> int:
    """Compare the Keras half with the definition; returns the number of cases."""
    import keras

    from tf_impl.metrics import SegmentationMetrics as Device

    number = 0
    for name, arguments, arrays in cases():
        if name not in names:
            continue
        number += 1
        metric = Device(NAMES, **arguments)
        own = {key: last(value) for key, value in arrays.items()}
        own["outputs"] = own["outputs"].astype("float32")
        for part in (slice(0, 2), slice(2, 5)):
            valid = own["valid"][part] if "valid" in own else None
            metric.update_state(own["targets"][part], own["outputs"][part], sample_weight=valid)
        found = {key: float(value) for key, value in metric.result().items()}
        check(name, metric.counts(), found, expected(arguments, arrays))
        again = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert again.get_config() == metric.get_config()
        metric.reset_state()
        assert not keras.ops.convert_to_numpy(metric.totals).any()
    return number


def check_keras_fit(jit: bool) -> None:
    """Inside compile and evaluate, one case (compiling takes seconds); the network hands its input on.

    test_losses.py runs this on JAX too.
    """
    import keras

    from tf_impl.metrics import SegmentationMetrics as Device

    for name, arguments, arrays in cases():
        if name != ("values" if jit else "labels"):
            continue
        metric = Device(NAMES, **arguments)
        model = keras.Sequential([keras.Input((12, 17, 4)), keras.layers.Identity()])
        where = "weighted_metrics" if "valid" in arrays else "metrics"
        model.compile(loss=lambda true, out: keras.ops.mean(out), jit_compile=jit, **{where: [metric]})
        own = {key: last(value).astype("float32") for key, value in arrays.items()}
        found = model.evaluate(
            own["outputs"],
            own["targets"],
            sample_weight=own.get("valid"),
            batch_size=2,
            verbose=0,
            return_dict=True,
        )
        found.pop("loss")
        check(name, metric.counts(), found, expected(arguments, arrays))


@pytest.mark.slow
def test_keras_equals_the_definition() -> None:
    needs("keras")
    names = {name for name, _, _ in cases()}
    assert check_keras(names) == len(names) == 6


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
def test_keras_inside_fit(jit: bool) -> None:
    needs("keras")
    check_keras_fit(jit)


def test_keras_counts_beyond_what_float32_holds() -> None:
    """After 2^24 pixels a float32 total would stand still."""
    needs("keras")
    from tf_impl.metrics import LIMB
    from tf_impl.metrics import SegmentationMetrics as Device

    metric = Device(1, boundary_width=0)
    start = np.zeros((2, 5), "float32")
    start[:, 0] = LIMB - 1, 2**20
    metric.totals.assign(start)
    ones = np.ones((1, 1, 3, 1), "float32")
    for _ in range(2):
        metric.update_state(ones, ones)
    assert metric.counts()["pixels"] == 2**40 + LIMB - 1 + 6


# ---- errors ---------------------------------------------------------------------------------------------------


def test_shapes_that_do_not_fit_are_refused() -> None:
    torchmetrics_needed()
    needs("keras")
    import torch

    from tf_impl.metrics import SegmentationMetrics as Keras
    from torch_impl.metrics import SegmentationMetrics as Torch

    good, turned = np.zeros((1, 4, 5, 4), "float32"), np.zeros((1, 5, 4, 4), "float32")
    with pytest.raises(ValueError, match="outputs must be"):
        Keras(4).update_state(turned, good)
    with pytest.raises(ValueError, match="outputs must be"):
        Keras(3).update_state(good, good)
    with pytest.raises(ValueError, match="sample_weight must be"):
        Keras(4).update_state(good, good, sample_weight=np.ones(1))
    with pytest.raises(ValueError, match="outputs must be"):
        Torch(4)(torch.tensor(good), torch.tensor(turned))
    with pytest.raises(ValueError, match="valid must be"):
        Torch(4)(torch.tensor(good), torch.tensor(good), torch.ones(1))
    for half in (Keras, Torch):
        with pytest.raises(ValueError, match="needs mask_values"):
            half(4, "values")
        with pytest.raises(ValueError, match="boundary_width"):
            half(4, boundary_width=-2)
