"""A torch module, seen through parity's one interface. Imported only when a torch module is in hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from parity.adapters.patching import restored
from parity.adapters.reorder import copy_into
from parity.adapters.torch.trace import framework, tensors_of, tracing
from parity.adapters.trace_builder import TraceBuilder
from parity.core.adapter import Blueprint, Observer
from parity.core.errors import UsageError
from parity.core.trace import NodeObserver, Trace, flattened_images
from parity.core.types import Array, LayerInfo, Side, TensorInfo

FAMILIES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "conv_transpose"),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), "conv"),
    ((nn.Linear,), "dense"),
    ((nn.modules.batchnorm._BatchNorm,), "batchnorm"),
    ((nn.LayerNorm,), "layernorm"),
    ((nn.GroupNorm,), "groupnorm"),
    ((nn.Embedding,), "embedding"),
    ((nn.PReLU,), "prelu"),
    ((nn.Sequential,), "sequence"),
)
SETTINGS = (
    "stride", "padding", "output_padding", "dilation", "groups", "padding_mode", "eps", "momentum",
    "num_groups", "negative_slope", "kernel_size", "ceil_mode", "count_include_pad", "scale_factor", "mode",
    "align_corners", "approximate", "p",
)  # fmt: skip
# Bookkeeping with no counterpart in Keras: with momentum set, torch counts batches but never uses the count.
IGNORED_BUFFERS = {"num_batches_tracked"}


def to_numpy(tensor: torch.Tensor) -> Array:
    """A copy of the tensor's values; bfloat16 widens to float32, which is exact."""
    return np.array(_looked_at(tensor), copy=True)


def _looked_at(tensor: torch.Tensor) -> Array:
    """The tensor's own memory where NumPy can look at it, else a copy."""
    value = tensor.detach().cpu()
    if value.dtype == torch.bfloat16:
        value = value.float()
    return np.asarray(value.resolve_conj().resolve_neg().numpy())


class TorchModel:
    """Adapter for `torch.nn.Module`."""

    side: Side = "torch"

    def __init__(self, module: nn.Module, device: str = "cpu") -> None:
        self.module = module
        self.device = torch.device(device)
        self._compute: torch.dtype | None = None
        self._modules: dict[str, nn.Module] = dict(module.named_modules())
        uninitialised = [
            name
            for name, value in module.named_parameters()
            if isinstance(value, nn.parameter.UninitializedParameter)
        ]
        if uninitialised:
            raise UsageError(
                f"every lazy torch module must have run once; got uninitialised {', '.join(uninitialised)}. "
                "Call the module on a sample input first."
            )

    def layers(self) -> dict[str, LayerInfo]:
        """Every module by path, a shared module once, under its first path."""
        aliases: dict[int, list[str]] = {}
        for path, module in self.module.named_modules(remove_duplicate=False):
            aliases.setdefault(id(module), []).append(path)
        return {
            path: LayerInfo(
                path=path,
                kind=type(module).__name__,
                family=next((family for classes, family in FAMILIES if isinstance(module, classes)), None),
                tensors=tuple(_own_tensors(path, module)),
                leaf=not any(True for _ in module.children()),
                aliases=tuple(aliases[id(module)][1:]),
                settings={name: getattr(module, name) for name in SETTINGS if hasattr(module, name)},
            )
            for path, module in self._modules.items()
        }

    def _tensor(self, path: str) -> torch.Tensor:
        layer, _, name = path.rpartition(".")
        module = self._modules[layer]
        found = module._parameters.get(name), module._buffers.get(name)
        return next(value for value in found if value is not None)

    def read(self, path: str) -> Array:
        """The value of a parameter or buffer."""
        return to_numpy(self._tensor(path))

    def peek(self, path: str) -> Array:
        """The same without a copy, where that can be."""
        return _looked_at(self._tensor(path))

    def write(self, path: str, value: Array) -> None:
        """Set a parameter or buffer in place."""
        target = self._tensor(path).detach()
        same = str(target.dtype) == f"torch.{value.dtype}"
        if same and target.device.type == "cpu" and target.is_contiguous():
            copy_into(target.numpy(), value.reshape(target.shape))  # straight into the tensor's memory
        else:
            target.copy_(torch.from_numpy(np.array(value)).reshape(target.shape))

    def storage(self, path: str) -> int:
        """An identity that tied tensors share."""
        return self._tensor(path).data_ptr()

    def input_specs(self) -> list[list[tuple[tuple[int | None, ...], str]]]:
        """Nothing: a torch module does not say what it takes."""
        return []

    def forward(self, inputs: Sequence[Array], *, training: bool = False) -> list[tuple[str, Array]]:
        """Evaluate the module; flags for train and eval mode are put back afterwards."""
        with nullcontext() if training else _statistics_kept(self.module):
            outputs = self._run([self._from_numpy(value) for value in inputs], training)
        return [(name, to_numpy(tensor)) for name, tensor in _named_tensors(outputs)]

    def trace(
        self, inputs: Sequence[Array], observer: NodeObserver | None = None
    ) -> tuple[list[tuple[str, Array]], Trace]:
        """Evaluate the module once, in eval mode, and record what is run."""
        tensors = [self._from_numpy(value) for value in inputs]
        builder = TraceBuilder(framework(to_numpy, _replaced), observer, *tensors_of(self._modules))
        builder.feed(tensors)
        kept = _statistics_kept(self.module)  # opened first: no part of what is traced
        with kept, tracing(builder, self._modules, self.layers()):
            outputs = _named_tensors(self._run(tensors, False))
        trace = builder.finish(outputs)
        trace.flattened = flattened_images(trace)
        return [(name, to_numpy(tensor)) for name, tensor in outputs], trace

    def _run(self, tensors: Sequence[torch.Tensor], training: bool) -> Any:
        modes = {path: module.training for path, module in self._modules.items()}
        self.module.train(training)
        try:
            with torch.no_grad():
                return self.module(*tensors)
        finally:
            for path, mode in modes.items():
                self._modules[path].training = mode

    def _from_numpy(self, value: Array) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(value))  # NumPy has no bfloat16: the cast is made here
        return tensor.to(
            self.device, (self._compute or self._own_dtype()) if tensor.is_floating_point() else None
        )

    def _own_dtype(self) -> torch.dtype | None:
        """What the module's weights are in: Keras casts what comes in, torch refuses it."""
        weights = self.module.parameters()
        return next((weight.dtype for weight in weights if weight.is_floating_point()), None)

    def run_layer(self, path: str, inputs: Sequence[Array]) -> list[Array]:
        """Evaluate one module alone, in eval mode, unseen by its hooks."""
        module = self._modules[path]
        modes = [(child, child.training) for child in module.modules()]
        module.eval()
        try:
            with torch.no_grad(), _statistics_kept(module):
                outputs = module.forward(*[self._from_numpy(value) for value in inputs])
        finally:
            for child, mode in modes:
                child.training = mode
        return [to_numpy(tensor) for _, tensor in _named_tensors(outputs)]

    def trial(
        self, path: str, inputs: Sequence[Array], weights: Mapping[str, Array], settings: Mapping[str, Any]
    ) -> list[Array] | None:
        """Evaluate one module with other weights and attributes, put back afterwards; None where it has no such."""
        module = self._modules[path]
        if not all(hasattr(module, name) for name in settings):
            return None
        prefix = f"{path}." if path else ""
        before = {name: self.read(prefix + name) for name in weights}
        with ExitStack() as stack:
            for name, value in settings.items():
                stack.enter_context(restored(module, name, value))
            try:
                for name, value in weights.items():
                    self.write(prefix + name, value)
                return self.run_layer(path, inputs)
            except Exception:  # any module, any error: the trial says nothing
                return None
            finally:
                for name, value in before.items():
                    self.write(prefix + name, value)

    @contextmanager
    def watched(self, observer: Observer, paths: set[str]) -> Iterator[None]:
        """Forward hooks on the modules at `paths`."""
        counts: dict[str, int] = {}
        arrived: dict[str, list[tuple[int, list[Array]]]] = {}
        handles = []

        def install(path: str, module: nn.Module) -> None:
            def before(_: nn.Module, args: Any, kwargs: Any) -> Any:
                index = counts.get(path, 0)
                counts[path] = index + 1
                values = _arrays((args, kwargs))
                arrived.setdefault(path, []).append((index, values))
                replacement = observer.before(path, index, values)
                return None if replacement is None else _replaced((args, kwargs), replacement)

            def after(_: nn.Module, args: Any, kwargs: Any, outputs: Any) -> Any:
                index, values = arrived[path].pop()
                replacement = observer.after(path, index, values, _arrays(outputs), None)
                return None if replacement is None else _replaced(outputs, replacement)

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))

        for path in paths:
            install(path, self._modules[path])
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def blueprint(self, path: str) -> Blueprint | None:
        """How to build one layer anew, and its weights; None for anything but the framework's own layers."""
        from parity.adapters.torch.blueprint import torch_blueprint

        return torch_blueprint(self._modules[path])

    @contextmanager
    def full_multiplication(self) -> Iterator[bool]:
        """Multiply without reduced precision (TF32, bfloat16 passes); yields whether it was switched on."""
        flags = [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32")]
        setting = torch.get_float32_matmul_precision()
        reduced = setting != "highest" or any(getattr(owner, name) for owner, name in flags)
        with ExitStack() as stack:
            stack.callback(torch.set_float32_matmul_precision, setting)
            torch.set_float32_matmul_precision("highest")
            for owner, name in flags:
                stack.enter_context(restored(owner, name, False))
            yield reduced

    @contextmanager
    def precision(self, dtype: str) -> Iterator[None]:
        """Hold the same weights in another dtype for the time being, on this adapter's device."""
        wanted = getattr(torch, dtype)
        default = torch.get_default_dtype()
        with ExitStack() as stack:
            stack.enter_context(restored(self, "_compute", wanted))
            for tensor in [*self.module.parameters(), *self.module.buffers()]:
                stack.callback(setattr, tensor, "data", tensor.data)
                tensor.data = tensor.data.to(self.device, wanted if tensor.is_floating_point() else None)
            for module in self._modules.values():
                for name, value in list(
                    vars(module).items()
                ):  # tensors that are neither parameter nor buffer
                    if isinstance(value, torch.Tensor) and value.is_floating_point():
                        stack.callback(vars(module).__setitem__, name, value)
                        vars(module)[name] = value.to(self.device, wanted)
            if wanted in (torch.float32, torch.float64):
                stack.callback(torch.set_default_dtype, default)
                torch.set_default_dtype(wanted)
            yield


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """A module that was left in training mode moves its statistics in a pass: they are put back."""
    kept = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            if not torch.equal(buffer, value):
                with torch.no_grad():
                    buffer.copy_(value)


def _own_tensors(path: str, module: nn.Module) -> Iterator[TensorInfo]:
    prefix = f"{path}." if path else ""
    persistent = set(module._buffers) - module._non_persistent_buffers_set - IGNORED_BUFFERS
    owned = {
        **module._parameters,
        **{name: module._buffers[name] for name in module._buffers if name in persistent},
    }
    for name, value in owned.items():
        if value is not None:
            yield TensorInfo(
                f"{prefix}{name}", name, tuple(value.shape), str(value.dtype).removeprefix("torch.")
            )


def _named_tensors(outputs: Any) -> list[tuple[str, torch.Tensor]]:
    if isinstance(outputs, dict):
        return [
            (f"{key}.{name}" if name else str(key), value)
            for key, item in outputs.items()
            for name, value in _named_tensors(item)
        ]
    if isinstance(outputs, list | tuple):
        return [
            (f"{i}.{name}" if name else str(i), value)
            for i, item in enumerate(outputs)
            for name, value in _named_tensors(item)
        ]
    return [("", outputs)] if isinstance(outputs, torch.Tensor) else []


def _arrays(structure: Any) -> list[Array]:
    return [to_numpy(leaf) for leaf in pytree.tree_leaves(structure) if isinstance(leaf, torch.Tensor)]


def _replaced(structure: Any, values: Sequence[Array]) -> Any:
    """The same structure with its tensors replaced, in order; dtypes and devices stay."""
    leaves, spec = pytree.tree_flatten(structure)
    remaining = iter(values)
    fresh = [
        torch.from_numpy(np.array(next(remaining), order="C")).to(leaf.device, leaf.dtype)
        if isinstance(leaf, torch.Tensor)
        else leaf
        for leaf in leaves
    ]
    return pytree.tree_unflatten(fresh, spec)
