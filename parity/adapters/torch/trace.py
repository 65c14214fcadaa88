"""Traces a torch module: its leaf modules, and every function, method and operator between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode, _pop_mode_temporarily

from parity.adapters.patching import restored
from parity.adapters.torch.forward import uncompiled
from parity.adapters.torch.layers import ATTENTION, is_composite
from parity.adapters.torch.recurrent.lowered import lowered
from parity.adapters.torch.recurrent.part import RecurrentPart
from parity.adapters.torch.tensors import leaves_of
from parity.adapters.trace_builder import Framework, TraceBuilder
from parity.core.adapter import joined
from parity.core.trace import canonical
from parity.core.types import LayerInfo

REVERSED = {"__rsub__", "__rdiv__", "__rtruediv__", "__rmatmul__", "__rpow__", "__rfloordiv__", "__rmod__"}
TENSOR_PROPERTIES = {"T", "mT", "H", "mH", "data", "real", "imag"}
INQUIRIES = {"size", "dim", "ndimension", "numel", "nelement", "stride", "item", "tolist", "untyped_storage",
             "data_ptr", "is_contiguous", "is_floating_point", "is_complex", "element_size", "storage_offset"}  # fmt: skip
"""Methods that give no tensor."""
NUMBERS = frozenset({int, float, bool, str, type(None)})
"""Classes of attributes that are no tensor and hold none."""


def framework(to_numpy: Any, looked_at: Any, replaced: Any) -> Framework:
    """What the builder needs to know of torch."""
    return Framework(
        side="torch",
        is_tensor=lambda value: isinstance(value, torch.Tensor),
        leaves=leaves_of,
        to_numpy=to_numpy,
        looked_at=looked_at,
        replaced=replaced,
        version=lambda tensor: int(tensor._version),
        storage=lambda tensor: int(tensor.untyped_storage()._cdata),
    )


def tensors_of(modules: Mapping[str, nn.Module]) -> tuple[dict[int, str], set[int]]:
    """Identities of all parameters and buffers with their paths, and of tensors that are plain attributes."""
    parameters: dict[int, str] = {}
    constants: set[int] = set()
    for path, module in modules.items():
        for name, value in {**module._parameters, **module._buffers}.items():
            if value is not None:
                parameters.setdefault(id(value), joined(path, name))
        values = [
            value
            for name, value in vars(module).items()
            if type(value) not in NUMBERS and not name.startswith("_")
        ]
        constants.update(id(value) for value in leaves_of(values) if isinstance(value, torch.Tensor))
    return parameters, constants


@contextmanager
def tracing(
    builder: TraceBuilder,
    modules: Mapping[str, nn.Module],
    layers: Mapping[str, LayerInfo],
    inside: bool = False,
    attention: bool = False,
) -> Iterator[None]:
    """While this is open, whatever torch runs goes into the builder's graph."""
    by_id = {id(module): path for path, module in modules.items()}
    original = nn.Module.__call__

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        path = by_id.get(id(module))
        if builder.opaque or path is None:
            return original(module, *args, **kwargs)
        layer = layers[path]
        if not is_step(module, layer, inside, attention):
            with builder.scope(path):
                return original(module, *args, **kwargs)

        def run(*args: Any, **kwargs: Any) -> Any:
            with nullcontext() if is_composite(module) else functions.off():
                return original(module, *args, **kwargs)

        kind = layer.family or canonical(layer.kind)
        return builder.layer(path, kind, layer.settings, run, args, kwargs)

    functions = Functions(builder)
    with uncompiled(), lowered(modules), restored(nn.Module, "__call__", call), functions:
        yield


def is_step(module: nn.Module, layer: LayerInfo, inside: bool = False, attention: bool = False) -> bool:
    """Whether a call is one step: a leaf with weights of one step, or a leaf that torch itself defines.

    With `inside`, a leaf with weights whose class is not known is none: what it runs are the steps. Nor is an
    attention layer, with `inside` or `attention`.
    """
    if isinstance(module, RecurrentPart):
        return True
    if is_composite(module):
        return not ((inside or attention) and isinstance(module, ATTENTION))
    if inside and layer.family is None and layer.tensors:
        return False
    own = type(module).__module__.startswith("torch.nn.")
    return layer.leaf and (own or (bool(layer.tensors) and not layer.several_steps))


class Functions(TorchFunctionMode):
    """Sees torch functions, tensor methods and operators."""

    def __init__(self, builder: TraceBuilder) -> None:
        super().__init__()
        self._builder = builder

    @contextmanager
    def off(self) -> Iterator[None]:
        """While this is open, what runs is not looked at, which costs less; where another mode came later, it is.

        An attention layer takes a short cut where nothing looks at what it runs: it is no layer to do this for.
        """
        if _get_current_function_mode() is not self:
            yield
            return
        with _pop_mode_temporarily():
            yield

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name in {"__get__", "__set__"}:  # x.T, x.data, x.shape
            name = getattr(getattr(func, "__self__", None), "__name__", name)
            if name not in TENSOR_PROPERTIES:
                return func(*args, **kwargs)
        if self._builder.opaque or name in INQUIRIES:
            return func(*args, **kwargs)
        if func is F.multi_head_attention_forward:  # what it calls in turn are the steps
            with restored(F, "has_torch_function", lambda tensors: False), self:
                return func(*args, **kwargs)
        return self._builder.op(name, func, args, kwargs, name in REVERSED)
