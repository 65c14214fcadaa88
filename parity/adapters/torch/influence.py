"""Which weights of a torch module move its outputs: the gradient of a random mix of them, by one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from parity.adapters.patching import restored
from parity.adapters.torch.adapter import TorchAdapter
from parity.adapters.torch.tensors import as_array
from parity.adapters.torch.weights import to_numpy
from parity.core.adapter import joined
from parity.core.trace import Look, NodeObserver, Trace
from parity.core.types import Array

STATISTICS = ("running_mean", "running_var")

Moved = dict[str, Array]
Leaves = dict[str, torch.Tensor]


def influence(
    adapter: TorchAdapter,
    inputs: Sequence[Array],
    fresh: Callable[[], NodeObserver],
    wanted: Container[str] | None = None,
) -> tuple[list[tuple[str, Array]], Moved | None, Trace | None]:
    """Evaluate the module once, in eval mode, and say which elements of its weights move the outputs.

    Args:
        adapter: the module, held in float64.
        inputs: its inputs, in its own layout.
        fresh: makes an observer, which sees the steps of one pass; the last one made has seen the pass that counts.
        wanted: paths of the tensors that are asked for, so that no other gradient is computed; None asks for all.

    Returns:
        The outputs; by a tensor's path where its elements have a gradient, None where none could be made; and the trace,
        None where there is none.
    """
    leaves = _leaves(adapter, wanted)
    try:
        return _with_gradient(adapter, inputs, fresh(), leaves)
    except Exception:  # any model, any error: what it changes in place has no gradient, and the like
        plain = adapter.forward(inputs)  # raises where it is the model's own error
    parameters: Leaves = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, nn.Parameter)}
    for some in (parameters, {}):
        try:
            return _with_gradient(adapter, inputs, fresh(), some)
        except Exception:  # the same
            continue
    return plain, None, None


def _leaves(adapter: TorchAdapter, wanted: Container[str] | None) -> Leaves:
    """Floating parameters and saved buffers by path, without running statistics, which have no gradient in torch.

    What is wanted of these is read from the offset behind them.
    """

    def asked(path: str) -> bool:
        owner = path.rpartition(".")[0]
        needed = [path, *(joined(owner, name) for name in STATISTICS)]
        return wanted is None or any(one in wanted for one in needed[: 3 if path.endswith("bias") else 1])

    return {
        tensor.path: adapter._tensor(tensor.path)
        for path, layer in adapter.layers().items()
        for tensor in layer.tensors
        if asked(tensor.path)
        and adapter._tensor(tensor.path).is_floating_point()
        and not (tensor.name in STATISTICS and _normalises(adapter.objects[path]))
    }


def _normalises(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._NormBase)


def _with_gradient(
    adapter: TorchAdapter,
    inputs: Sequence[Array],
    observer: NodeObserver | None,
    leaves: Leaves,
) -> tuple[list[tuple[str, Array]], Moved | None, Trace]:
    with ExitStack() as stack:
        for leaf in leaves.values():
            stack.enter_context(restored(leaf, "requires_grad", True))
        taps = stack.enter_context(_taps())
        outputs, (trace,) = adapter.traced(inputs, [Look(observer)], gradients=bool(leaves))
        values = [(name, as_array(leaf)) for name, leaf in outputs]
        mixed = _mixed([leaf for _, leaf in outputs if isinstance(leaf, torch.Tensor)])
        if mixed is None:
            return values, None, trace
        found = _nonzero_gradients(mixed, [*leaves.values(), *taps.values()])
    moved = dict(zip(leaves, found, strict=False))
    tapped = dict(zip(taps, found[len(leaves) :], strict=True))
    return values, moved | _statistics(adapter, moved, tapped), trace


def _nonzero_gradients(mixed: torch.Tensor, leaves: Sequence[torch.Tensor]) -> list[Array]:
    """Where each tensor has a gradient; each is looked at as it comes and let go, so that all share their memory."""
    found: dict[int, Array] = {}

    def hook(number: int) -> Callable[[torch.Tensor], torch.Tensor | None]:
        def look(gradient: torch.Tensor) -> torch.Tensor | None:
            found[number] = _nonzero(leaves[number], gradient)
            return None if gradient.is_sparse else gradient.new_zeros(()).expand(gradient.shape)

        return look

    with ExitStack() as stack:
        for number, leaf in enumerate(leaves):
            stack.callback(leaf.register_hook(hook(number)).remove)
        torch.autograd.grad(mixed, leaves, allow_unused=True)
    return [found[i] if i in found else _nonzero(leaf, None) for i, leaf in enumerate(leaves)]


def _mixed(outputs: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """The sum of all finite output elements, each multiplied by a random number; None where nothing has a gradient."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for value in outputs:
        if value.is_floating_point() and value.requires_grad:
            mix = torch.rand(value.shape, generator=generator, dtype=torch.float64).add_(0.5).to(value.device)
            parts.append((torch.where(torch.isfinite(value), value, 0.0) * mix).sum())
    return torch.stack(parts).sum() if parts else None


def _nonzero(leaf: torch.Tensor, gradient: torch.Tensor | None) -> Array:
    if gradient is None:
        return np.zeros(tuple(leaf.shape), dtype=bool)
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    moved = gradient != 0
    if not bool(torch.isfinite(gradient.sum())):  # looking at every element costs more than the sum
        moved &= torch.isfinite(gradient)
    return np.asarray(to_numpy(moved))


@contextmanager
def _taps() -> Iterator[dict[int, torch.Tensor]]:
    """While this is open, a batch norm without an offset gets one of zeros; by the identity of its running mean."""
    plain, taps = F.batch_norm, dict[int, torch.Tensor]()

    def batch_norm(input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
                   *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        if bias is None and running_mean is not None:
            bias = torch.zeros_like(running_mean).requires_grad_()
            taps[id(running_mean)] = bias
        return plain(input, running_mean, running_var, weight, bias, *args, **kwargs)

    with restored(F, "batch_norm", batch_norm):
        yield taps


def _statistics(adapter: TorchAdapter, moved: Moved, tapped: dict[int, Array]) -> Moved:
    """Running means and variances move the outputs where the offset behind them does and the scale is not zero."""
    found: Moved = {}
    for path, module in adapter.objects.items():
        mean, weight = getattr(module, "running_mean", None), getattr(module, "weight", None)
        if not _normalises(module) or not isinstance(mean, torch.Tensor):
            continue
        offset = moved.get(
            joined(path, "bias"), tapped.get(id(mean), np.zeros(tuple(mean.shape), dtype=bool))
        )
        if isinstance(weight, torch.Tensor):
            offset = offset & (to_numpy(weight) != 0)
        found |= {joined(path, name): offset for name in STATISTICS}
    return found
