"""The losses of both halves equal their definition in float64, and their gradients equal each other's."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.scores import losses as definition
from tests.conftest import needs

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = {
    "MSELoss": definition.mse,
    "BCEDiceLoss": definition.bce_dice,
    "CrossEntropyLoss": definition.cross_entropy,
    "CrossEntropyDiceLoss": definition.cross_entropy_dice,
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("MSELoss", {}),
    ("BCEDiceLoss", {}),
    ("BCEDiceLoss", {"bce_weight": 0.3, "dice_weight": 2.0, "smooth": 0.5}),
    ("BCEDiceLoss", {"bce_weight": 0.0}),
    ("BCEDiceLoss", {"bce_weight": 0.0, "absent": False}),
    ("CrossEntropyLoss", {}),
    ("CrossEntropyLoss", {"ignore_index": None}),
    ("CrossEntropyLoss", {"average": "images"}),
    ("CrossEntropyDiceLoss", {}),
    ("CrossEntropyDiceLoss", {"ignore_index": None, "average": "images", "dice_weight": 0.3, "smooth": 2.0}),
]


def arrays(name: str, arguments: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (4, 3, 5, 7) and targets; logits of 0 and of 40, an empty mask, an image with no label."""
    rng = np.random.default_rng(len(name) + len(arguments))
    outputs = rng.normal(0, 3, (4, 3, 5, 7))
    outputs[0, 0, 0, :3] = 0, 40, -40
    masks = (rng.random(outputs.shape) > 0.6).astype(float)
    masks[1, 2] = 0
    if name == "MSELoss":
        return outputs * 50, masks * 150
    if name == "BCEDiceLoss":
        return outputs, masks
    labels = rng.integers(0, 3, (4, 5, 7))
    labels[1] %= 2  # nothing of the last class
    if "ignore_index" not in arguments:
        labels[rng.random(labels.shape) < 0.3] = 255
        labels[2] = 255
    return outputs, labels


def torch_loss(name: str, arguments: dict[str, Any], outputs: Any, targets: Any) -> tuple[float, np.ndarray]:
    import torch

    from torch_impl import losses

    x = torch.tensor(outputs, requires_grad=True)
    loss = getattr(losses, name)(**arguments)(x, torch.tensor(targets))
    (gradient,) = torch.autograd.grad(loss, x)
    return loss.item(), gradient.numpy()


def keras_loss(name: str, arguments: dict[str, Any], outputs: Any, targets: Any) -> tuple[float, np.ndarray]:
    """On TensorFlow or JAX, whichever is set."""
    import keras

    from tf_impl import losses

    function = getattr(losses, name)(**arguments)
    own = np.moveaxis(outputs, 1, -1)
    targets = np.moveaxis(targets, 1, -1) if targets.ndim == 4 else targets
    if keras.config.backend() == "jax":
        import jax

        loss, gradient = jax.jit(jax.value_and_grad(lambda x: function(targets, x)))(own)
    else:
        import tensorflow as tf

        x = tf.constant(own)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = function(targets, x)
        gradient = tape.gradient(loss, x)
    assert keras.backend.standardize_dtype(loss.dtype) == str(own.dtype)
    return float(loss), np.moveaxis(np.asarray(gradient), -1, 1)


def check_keras() -> int:
    """Values and gradients against the definition and against torch's."""
    for name, arguments in CASES:
        outputs, targets = arrays(name, arguments)
        loss, gradient = keras_loss(name, arguments, outputs, targets)
        wanted = FUNCTIONS[name](outputs, targets, **arguments)
        assert abs(loss - wanted) <= 1e-12 * abs(wanted), (name, arguments, loss, wanted)
        other, expected = torch_loss(name, arguments, outputs, targets)
        assert abs(other - wanted) <= 1e-12 * abs(wanted)
        np.testing.assert_allclose(
            gradient, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max(), err_msg=f"{name} {arguments}"
        )
        assert np.isfinite(expected).all()
        assert np.abs(expected).max() > 0
    return len(CASES)


def test_both_halves_equal_the_definition_and_each_other() -> None:
    needs("torch")
    needs("keras")
    assert check_keras() == len(CASES)


@pytest.mark.slow
def test_losses_and_metrics_on_jax() -> None:
    """One process for both: JAX takes its time to start."""
    needs("jax")
    needs("torch")
    code = (
        "import tests.unit.test_losses as t, tests.unit.test_device_metrics as m; m.check_keras_fit(True)\n"
    )
    code += "print(t.check_keras())"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == str(len(CASES))


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_gradients_are_the_definitions(name: str, arguments: dict[str, Any]) -> None:
    """Central differences of the NumPy definition at a few places, 0 and the extremes among them."""
    needs("torch")
    outputs, targets = arrays(name, arguments)
    _, gradient = torch_loss(name, arguments, outputs, targets)
    for place in [(0, 0, 0, 0), (0, 0, 0, 1), (1, 2, 3, 4), (2, 1, 1, 1), (3, 0, 4, 6)]:
        step = np.zeros_like(outputs)
        step[place] = 1e-4
        ends = [FUNCTIONS[name](outputs + sign * step, targets, **arguments) for sign in (1, -1)]
        np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / 2e-4, rtol=1e-5, atol=1e-9)


def test_worked_numbers() -> None:
    outputs = np.array([0.0, math.log(3)]).reshape(1, 1, 1, 2)
    targets = np.array([0.0, 1]).reshape(1, 1, 1, 2)
    # p = 1/2 and 3/4: the cross-entropies are log 2 and log 4/3, the overlap 3/4, the sizes 5/4 and 1.
    assert definition.bce_dice(outputs, targets, dice_weight=0) == pytest.approx(math.log(8 / 3) / 2)
    assert definition.bce_dice(outputs, targets, bce_weight=0) == pytest.approx(1 - 2.5 / 3.25)
    assert definition.mse(outputs, targets) == pytest.approx((math.log(3) - 1) ** 2 / 2)
    logits = np.log(np.array([1.0, 3])).reshape(1, 2, 1, 1)
    both = np.concatenate([logits, logits], axis=3)
    assert definition.cross_entropy(both, np.array([[[1, 255]]])) == pytest.approx(math.log(4 / 3))
    assert definition.cross_entropy(both, np.array([[[1, 0]]])) == pytest.approx(math.log(16 / 3) / 2)
    assert definition.cross_entropy(both, np.array([[[255, 255]]])) == 0
    # One pixel counts, of class 1 with p = 3/4: its Dice loss is 1 - (3/2 + 1) / (3/4 + 1 + 1), class 0 is absent.
    found = definition.cross_entropy_dice(both, np.array([[[1, 255]]]))
    assert found == pytest.approx(math.log(4 / 3) + 1 - 2.5 / 2.75)
    assert definition.cross_entropy_dice(both, np.array([[[255, 255]]])) == 0


def test_an_empty_mask_that_nobody_predicts_costs_nothing() -> None:
    outputs, targets = np.full((1, 2, 4, 4), -50.0), np.zeros((1, 2, 4, 4))
    assert definition.bce_dice(outputs, targets) < 1e-15
    outputs[0, 0], targets[0, 0] = 0.0, 0.0  # half a chance everywhere, and nothing is there
    nothing = 1 - 1 / (outputs[0, 0].size / 2 + 1)
    count = outputs.shape[0] * outputs.shape[1]
    assert definition.bce_dice(outputs, targets, bce_weight=0) == pytest.approx(nothing / count)
    assert definition.bce_dice(outputs, targets, bce_weight=0, absent=False) < 1e-15


@pytest.mark.parametrize(
    ("name", "arguments"),
    [case for case in CASES if not case[0].startswith("Cross") or case[1].get("average") == "images"],
)
def test_a_batch_is_the_mean_of_its_shares(name: str, arguments: dict[str, Any]) -> None:
    """What several processes average is the loss of the whole batch."""
    outputs, targets = arrays(name, arguments)
    whole = FUNCTIONS[name](outputs, targets, **arguments)
    shares = [FUNCTIONS[name](outputs[at], targets[at], **arguments) for at in (slice(0, 2), slice(2, 4))]
    assert np.mean(shares) == pytest.approx(whole, rel=1e-13)


def test_keras_in_fit_with_low_precision_and_weights() -> None:
    """bf16 outputs are summed in float32; an image's weight multiplies its loss; the loss can be stored."""
    needs("keras")
    import keras

    from tf_impl.losses import BCEDiceLoss, CrossEntropyLoss, MSELoss

    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(2, 4, 5, 3)).astype("float32"), np.ones((2, 4, 5, 3), "float32")
    low = keras.ops.cast(outputs, "bfloat16")
    rounded = np.moveaxis(keras.ops.convert_to_numpy(keras.ops.cast(low, "float32")), -1, 1)
    loss = MSELoss()(targets, low)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(definition.mse(rounded, np.moveaxis(targets, -1, 1)), rel=1e-6)
    weighted = MSELoss()(targets, outputs, sample_weight=np.array([0, 2.0]))
    assert float(weighted) == pytest.approx(float(np.mean((outputs[1] - 1) ** 2)), rel=1e-6)
    with pytest.raises(ValueError, match="sample_weight must be one number an image"):
        MSELoss()(targets, outputs, sample_weight=np.ones((2, 4, 5)))
    for loss in (MSELoss(), BCEDiceLoss(0.5, 2, 3), CrossEntropyLoss(7, "images")):
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert again.get_config() == loss.get_config()
    model = keras.Sequential([keras.Input((4, 5, 3)), keras.layers.Identity()])
    model.compile(loss=CrossEntropyLoss())
    labels = rng.integers(0, 3, (2, 4, 5)).astype("uint8")
    found = model.evaluate(outputs, labels, verbose=0)
    assert found == pytest.approx(definition.cross_entropy(np.moveaxis(outputs, -1, 1), labels), rel=1e-6)


REPLICAS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from datasets.losses import bce_dice
from datasets.metrics import SegmentationMetrics, decide, flat
from tf_impl.losses import BCEDiceLoss
from tf_impl.metrics import SegmentationMetrics as Device
rng = np.random.default_rng(0)
outputs, targets = rng.normal(size=(8, 6, 7, 2)).astype("float32"), rng.integers(0, 2, (8, 6, 7, 2)).astype("uint8")
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([keras.Input((6, 7, 2)), keras.layers.Identity()])
    model.compile(loss=BCEDiceLoss(), metrics=[Device(2)], jit_compile=False)
found = model.evaluate(outputs, targets, batch_size=4, verbose=0, return_dict=True)
first = [np.moveaxis(one, -1, 1) for one in (outputs, targets)]
metrics = SegmentationMetrics(2)
metrics.update(decide(first[0]), first[1] > 0)
wanted = {**flat(metrics.result()), "loss": bce_dice(*first)}
for name, value in found.items():
    np.testing.assert_allclose(value, wanted[name], rtol=1e-6, err_msg=name)
print("equal", len(found))
"""


@pytest.mark.slow
def test_losses_and_metrics_on_two_replicas() -> None:
    """MirroredStrategy adds the replicas' losses up: each must be its share of the mean."""
    needs("keras")
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-2:] == ["equal", "11"]


def test_torch_sums_low_precision_in_float32() -> None:
    needs("torch")
    import torch

    from torch_impl import losses

    for name, arguments in CASES:
        outputs, targets = arrays(name, arguments)
        low = torch.tensor(outputs).bfloat16()
        found = getattr(losses, name)(**arguments)(low, torch.tensor(targets))
        assert found.dtype == torch.float32
        wanted = FUNCTIONS[name](low.double().numpy(), targets, **arguments)
        assert float(found) == pytest.approx(wanted, rel=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    needs("torch")
    needs("keras")
    import torch

    from tf_impl import losses as keras_losses
    from torch_impl import losses as torch_losses

    for half in (keras_losses, torch_losses):
        with pytest.raises(ValueError, match="got bce_weight=-1"):
            half.BCEDiceLoss(bce_weight=-1)
        with pytest.raises(ValueError, match="got bce_weight=0, dice_weight=0"):
            half.BCEDiceLoss(0, 0)
        with pytest.raises(ValueError, match="smooth must be above 0"):
            half.BCEDiceLoss(smooth=0)
        with pytest.raises(ValueError, match="average='all'"):
            half.CrossEntropyLoss(average="all")
        make = torch.ones if half is torch_losses else np.ones
        for name in FUNCTIONS:
            with pytest.raises(ValueError, match="same N, H, W"):
                getattr(half, name)()(make((2, 4, 4, 4)), make((1, 4, 4, 4)))
