"""mUnet's training step in one half against DLStudio's own, in turns, and both against the card's peak.

The peak is measured, not looked up: a large matrix product in the same precision, in the same turns. The step's
operations are counted on DLStudio's network, whatever a contender saves or adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.gpu.modes import multiplication
from benchmarks.gpu.plan import Step
from benchmarks.turns import Spread, ratios, side_by_side

BASE, PEAK = "DLStudio", "matrix product"
PRODUCT = {"gpu": 8192, "cpu": 512}  # rows and columns
TOGETHER = {
    "gpu": 10,
    "cpu": 1,
}  # steps that are timed together, so that the card is not waited for after each
Row = dict[str, Any]


def measure(step: Step, device: str, turns: int) -> Iterator[Row]:
    """Two rows: DLStudio's step, and the contender's.

    Args:
        step: what to measure.
        device: "cpu" or "gpu".
        turns: how often each is timed, after one call that is not.
    """
    from parity.adapters.frameworks import import_frameworks

    import_frameworks()
    import torch

    torch.backends.cudnn.benchmark = True
    with multiplication(step.precision == "tf32", device):
        contender, base = _contender(step, device), _base(step, device)
        work = operations(base)
        compared = {PEAK: product(step, device), BASE: base, step.network: contender}
        count = TOGETHER[device]
        times = side_by_side({name: _together(each, count, device) for name, each in compared.items()}, turns)
    peak = Spread.of([2.0 * PRODUCT[device] ** 3 * count / seconds for seconds in times[PEAK]]).median
    for name in (BASE, step.network):
        spread = Spread.of([1000.0 * seconds / count for seconds in times[name]])
        speed = work / spread.median * 1000.0
        faster = ratios(times, BASE, name)
        yield {
            "network": name,
            "against": step.network,
            "precision": step.precision,
            "batch": step.batch,
            "depth": step.depth,
            "size": step.size,
            "ms": spread.median,
            "ms_quartiles": [spread.low, spread.high],
            "times_dlstudio": faster.median,
            "times_dlstudio_quartiles": [faster.low, faster.high],
            "operations": work,
            "tflops": speed / 1e12,
            "peak_tflops": peak / 1e12,
            "share_of_peak": speed / peak,
        }


def operations(action: Callable[[], Any]) -> int:
    """Floating point operations of the convolutions and matrix products of one call."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        action()
    return int(counter.get_total_flops())


def product(step: Step, device: str) -> Callable[[], Any]:
    """A square matrix product in the step's precision, of random values: zeros would be faster."""
    import torch

    dtype = torch.bfloat16 if step.precision == "bfloat16" else torch.float32
    where = "cuda" if device == "gpu" else "cpu"
    square = torch.randn(PRODUCT[device], PRODUCT[device], device=where, dtype=dtype)
    return lambda: square @ square


def _base(step: Step, device: str) -> Callable[[], Any]:
    from benchmarks.contenders import dlstudio

    where = "cuda" if device == "gpu" else "cpu"
    return dlstudio(step.batch, step.size, step.depth, step.precision == "bfloat16", where).step


def _contender(step: Step, device: str) -> Callable[[], Any]:
    from benchmarks.contenders import ours_torch

    bf16 = step.precision == "bfloat16"
    if step.network == "tf_impl":
        return keras_step(step.batch, step.size, step.depth, bf16, device)
    where = "cuda" if device == "gpu" else "cpu"
    return ours_torch(step.batch, step.size, step.depth, bf16, "compiled" in step.network, where).step


def keras_step(batch: int, size: int, depth: int, bf16: bool, device: str) -> Callable[[], Any]:
    """tf_impl's mUnet on JAX: one compiled function, with the network's state on the device from step to step."""
    import jax
    import keras
    import numpy as np

    import tf_impl
    from benchmarks.contenders import RATE, pictures
    from parity.adapters.devices import keras_device

    with keras.device(keras_device(device)):
        network = tf_impl.mUnet(depth=depth, dtype="mixed_bfloat16" if bf16 else "float32")
        images, targets = (
            keras.ops.convert_to_tensor(np.ascontiguousarray(np.moveaxis(each, 1, -1)))
            for each in pictures(batch, size)
        )
        network(images[:1])
        optimizer = keras.optimizers.SGD(RATE, momentum=0.9)
        optimizer.build(network.trainable_variables)
    groups = network.trainable_variables, network.non_trainable_variables, optimizer.variables
    state = tuple([variable.value for variable in group] for group in groups)

    def loss_of(trained: Any, kept: Any) -> Any:
        outputs, kept = network.stateless_call(trained, kept, images, training=True)
        error = keras.ops.cast(outputs, "float32") - targets
        return keras.ops.mean(keras.ops.square(error)), kept

    def one(trained: Any, kept: Any, moments: Any) -> Any:
        (loss, kept), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained, kept)
        trained, moments = optimizer.stateless_apply(moments, gradients, trained)
        return loss, (trained, kept, moments)

    compiled = jax.jit(one, donate_argnums=(0, 1, 2))

    def step() -> Any:
        nonlocal state
        loss, state = compiled(*state)
        return loss

    return step


def _together(action: Callable[[], Any], count: int, device: str) -> Callable[[], Any]:
    """Several calls, and the wait until the device has finished them."""
    import torch

    def several() -> None:
        for _ in range(count):
            last = action()
        if hasattr(last, "block_until_ready"):
            last.block_until_ready()
        elif device == "gpu":
            torch.cuda.synchronize()

    return several
