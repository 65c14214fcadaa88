"""Holds a torch module in another dtype temporarily, and multiplies without reduced precision."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from parity.adapters.patching import restored
from parity.adapters.torch.layers import plain_tensors


@contextmanager
def precision(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Hold and compute with the same weights in another dtype, on this device, while this is open.

    The module itself is changed and put back, not a copy of it: whatever was done to the object
    (patched methods, edited attributes) is what gets measured.
    """
    default = torch.get_default_dtype()
    with ExitStack() as stack:
        for tensor in [*module.parameters(), *module.buffers()]:
            stack.callback(setattr, tensor, "data", tensor.data)
            tensor.data = tensor.data.to(device, dtype if tensor.is_floating_point() else None)
        for child in module.modules():
            for name, value in plain_tensors(child).items():
                stack.callback(vars(child).__setitem__, name, value)
                vars(child)[name] = value.to(device, dtype)
        if dtype in (torch.float32, torch.float64):
            stack.callback(torch.set_default_dtype, default)
            torch.set_default_dtype(dtype)
        if device.type == "cuda":
            stack.enter_context(repeatable())
        yield


@contextmanager
def repeatable() -> Iterator[None]:
    """Let a GPU sum in one order while this is open, where PyTorch knows how: noise would hide what differs.

    An operation that knows only its fastest kernel still runs; parity then reports that the model is not repeatable.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "(?s).*determinis", UserWarning)  # what runs all the same
        for name, value in (("deterministic", True), ("benchmark", False)):
            stack.enter_context(restored(torch.backends.cudnn, name, value))
        stack.enter_context(restored(torch.utils.deterministic, "fill_uninitialized_memory", False))
        stack.callback(
            torch.use_deterministic_algorithms,
            torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        if not torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(True, warn_only=True)
        yield


@contextmanager
def full_multiplication() -> Iterator[bool]:
    """Multiply without TF32 and bfloat16 passes while this is open; yields whether these were allowed.

    Since 2.9 PyTorch has two sets of switches. Whoever sets the new ones can no longer read the old ones: the
    question itself raises. Here both are set, and what could be read is put back.
    """
    old = [(owner, name, value) for owner, name in _OLD if (value := _readable(owner, name)) is not None]
    new = [(owner, owner.fp32_precision) for owner in _new_switches()]
    setting = _matmul_setting()
    reduced = setting not in (None, "highest") or any(value for _, _, value in old)
    with ExitStack() as stack:
        for switch, mode in new:
            stack.callback(setattr, switch, "fp32_precision", mode)
        if setting is not None:
            stack.callback(torch.set_float32_matmul_precision, setting)
        for owner, name, value in old:  # put back first: it forgets whether the setting was "medium"
            stack.callback(setattr, owner, name, value)
        torch.set_float32_matmul_precision("highest")
        for owner, name in _OLD:
            setattr(owner, name, False)
        for switch, _ in new:
            switch.fp32_precision = "ieee"
        yield reduced or any(mode in {"tf32", "bf16"} for _, mode in new)


_OLD = ((torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32"))


def _new_switches() -> list[Any]:
    """Each place's own switch; none before PyTorch 2.9."""
    places: list[Any] = [torch.backends.cuda.matmul]
    for backend in (torch.backends.cudnn, torch.backends.mkldnn):
        places += [getattr(backend, name, None) for name in ("matmul", "conv", "rnn")]
    return [place for place in places if hasattr(place, "fp32_precision")]


def _readable(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except RuntimeError:  # the new switches were set
        return None


def _matmul_setting() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # the new switches were set
        return None
