"""The device that is asked for, and the switches of a GPU: in plain words, complete, and put back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from parity import catalog
from parity.core.errors import UsageError
from tests.conftest import needs

NO_GPU = r"device='gpu' needs a GPU that {} can use; got .*Leave device out"


@pytest.fixture(autouse=True)
def _torch() -> None:
    needs("torch")


def test_a_missing_gpu_is_said_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow would take the CPU in silence, and PyTorch's CPU build ends in an assertion."""
    needs("keras")
    import keras
    import torch

    from parity.adapters import adapt

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    with pytest.raises(UsageError, match=NO_GPU.format("PyTorch")):
        adapt(torch.nn.Linear(3, 2), "gpu")
    with pytest.raises(UsageError, match=NO_GPU.format("Keras on .*")):
        adapt(layer, "gpu")
    for model in (layer, torch.nn.Linear(3, 2)):
        with pytest.raises(UsageError, match="device must be 'cpu' or 'gpu'; got 'cuda:1'"):
            adapt(model, "cuda:1")


ON_THE_DEVICE = """
import jax, keras, numpy as np
from parity.adapters import adapt
import parity.adapters.devices as devices

first, second = jax.devices("cpu")
L = keras.layers
image = keras.Input((8, 9, 3))
x = L.BatchNormalization()(L.Conv2D(4, 3, strides=2)(image))
model = keras.Model(image, L.Dense(2)(L.GlobalAveragePooling2D()(L.ReLU()(x))))
places = {str(v.value.devices()) for v in model.variables}
assert places == {str({first})}, places

devices._jax_device = lambda device: {"cpu": first, "gpu": second}[device]
adapter = adapt(model, "gpu")
seen = []
plain = L.Conv2D.call
def call(self, inputs):
    outputs = plain(self, inputs)
    seen.extend(outputs.devices())
    return outputs
L.Conv2D.call = call
image = np.random.default_rng(0).standard_normal((2, 8, 9, 3))
for dtype in ("float64", "float32", "bfloat16"):
    with adapter.precision(dtype):
        (_, there), = adapter.forward([image.astype(np.float32 if dtype == "bfloat16" else dtype)])
        adapter.trace([image])
        adapter.in_turn([[image], [image]])
        adapter.write("conv2d.bias", np.ones(4))
    assert seen and set(seen) == {second}, seen
    assert there.dtype == (np.float32 if dtype == "bfloat16" else dtype)
    seen.clear()
assert {str(v.value.devices()) for v in model.variables} == places
"""


@pytest.mark.slow
def test_jax_computes_on_the_device_that_is_asked_for() -> None:
    """A second CPU device stands in for the GPU: weights lie on the first, and go back there."""
    needs("jax")
    needs("keras")
    flags = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", ON_THE_DEVICE],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


class OnTheCpu:
    """A forward pass that makes a tensor without asking where."""

    def __call__(self, x: Any) -> Any:
        import torch

        return x + torch.zeros(x.shape)


def outputs_elsewhere(module: Any, shape: tuple[int, ...]) -> list[Any]:
    """The outputs of a forward pass in each mode, on the device "meta", which no tensor of a CPU can be mixed with."""
    import torch
    from torch.utils import _pytree as pytree

    count, height, width, channels = shape
    module = module.to("meta")
    found = []
    for training in (False, True):
        x = torch.empty(count, channels, height, width, device="meta")
        found += pytree.tree_leaves(module.train(training)(x))
    return found


@pytest.mark.parametrize("name", [entry.name for entry in catalog.ENTRIES])
def test_every_torch_network_runs_where_its_weights_are(name: str) -> None:
    from parity.adapters.spec import load_model

    entry = catalog.find(name)
    spec = entry.torch.partition("(")[0] + entry.quick if entry.quick else entry.torch
    outputs = outputs_elsewhere(load_model(spec, "torch"), entry.input)
    assert outputs
    assert {output.device.type for output in outputs} == {"meta"}


def test_a_tensor_made_on_the_cpu_is_found() -> None:
    import torch

    class Fault(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return OnTheCpu()(x)

    with pytest.raises(RuntimeError, match="is not on the expected device"):
        outputs_elsewhere(Fault(), (2, 5, 6, 3))


# Each case sets switches of PyTorch in a process of its own: they cannot all be unset again.
SWITCHES = {
    "as it comes": "pass",
    "medium": "torch.set_float32_matmul_precision('medium')",
    "high": "torch.set_float32_matmul_precision('high')",
    "old": "torch.backends.cuda.matmul.allow_tf32 = True",
    "old, against the setting": "torch.set_float32_matmul_precision('high'); torch.backends.cuda.matmul.allow_tf32 = False",
    "new, products": "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "new, convolutions": "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "new, everything": "torch.backends.fp32_precision = 'tf32'",
    "new, on the CPU": "torch.backends.mkldnn.conv.fp32_precision = 'bf16'",
    "off": "torch.backends.cudnn.allow_tf32 = False",
}
AROUND = """
import os, sys, torch
from parity.adapters.torch.precision import full_multiplication
from parity.core.environment import torch_tf32

def state():
    backends = torch.backends
    found = {"generic": backends.fp32_precision, "tf32": torch_tf32(torch)}
    for name, owner in (("cuda", backends.cuda.matmul), ("conv", backends.cudnn.conv), ("rnn", backends.cudnn.rnn),
                        ("cpu", backends.mkldnn.matmul), ("cpu conv", backends.mkldnn.conv)):
        found[name] = owner.fp32_precision
    for name, ask in (("setting", torch.get_float32_matmul_precision),
                      ("matmul", lambda: backends.cuda.matmul.allow_tf32), ("cudnn", lambda: backends.cudnn.allow_tf32)):
        try:
            found[name] = ask()
        except RuntimeError:
            found[name] = "cannot be read"
    return found

for name, code in {cases!r}.items():
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0, name
        continue
    try:
        exec(code)
        before = state()
        with full_multiplication() as reduced:
            inside = state()
        assert reduced == (name != "off"), (name, reduced)
        assert inside["setting"] == "highest" and not inside["matmul"] and not inside["cudnn"], (name, inside)
        assert set(inside["tf32"].values()) == {"off"}, (name, inside)
        assert {inside[place] for place in ("cuda", "conv", "rnn", "cpu", "cpu conv")} == {"ieee"}, (name, inside)
        assert state() == before, (name, before, state())
    except BaseException:
        import traceback; traceback.print_exc(); sys.stderr.flush(); os._exit(1)
    os._exit(0)
"""


def test_tf32_is_switched_off_however_it_was_switched_on() -> None:
    """PyTorch 2.9 and later raise where an old switch is read after a new one was set."""
    import torch

    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("PyTorch before 2.9 has the old switches alone")
    done = subprocess.run(
        [sys.executable, "-c", AROUND.replace("{cases!r}", repr(SWITCHES))],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_environment_says_whether_tf32_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from parity.adapters.patching import restored
    from parity.core.environment import environment

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    for allowed, said in ((True, "matmul on, cudnn on"), (False, "matmul off, cudnn off")):
        with (
            restored(torch.backends.cuda.matmul, "allow_tf32", allowed),
            restored(torch.backends.cudnn, "allow_tf32", allowed),
        ):
            assert environment()["tf32"] == said


def test_a_gpu_sums_in_one_order_while_parity_evaluates() -> None:
    import torch

    from parity.adapters.torch.precision import repeatable

    def state() -> tuple[bool, ...]:
        return (
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
        )

    before = state()
    torch.backends.cudnn.benchmark = True
    try:
        with repeatable():
            assert state() == (True, False, True, True, False)
        assert state() == (before[0], True, *before[2:])
    finally:
        torch.backends.cudnn.benchmark = before[1]


def test_noise_of_a_repeatable_model_is_none() -> None:
    import torch

    from parity.adapters import adapt
    from parity.adapters.torch.precision import repeatable

    model = adapt(torch.nn.Conv2d(3, 4, 3))
    image = np.random.default_rng(0).standard_normal((2, 3, 9, 8)).astype(np.float32)
    (_, plain), (_, again) = model.forward([image])[0], model.forward([image])[0]
    with repeatable():
        ((_, inside),) = model.forward([image])
    np.testing.assert_array_equal(plain, again)
    np.testing.assert_array_equal(plain, inside)
