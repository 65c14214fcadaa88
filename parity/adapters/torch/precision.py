"""Holds a torch module in another dtype temporarily, and multiplies without reduced precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

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
        yield


@contextmanager
def full_multiplication() -> Iterator[bool]:
    """Multiply without TF32 and bfloat16 passes while this is open; yields whether these were allowed."""
    flags = [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32")]
    setting = torch.get_float32_matmul_precision()
    reduced = setting != "highest" or any(getattr(owner, name) for owner, name in flags)
    with ExitStack() as stack:
        stack.callback(torch.set_float32_matmul_precision, setting)
        torch.set_float32_matmul_precision("highest")
        for owner, name in flags:
            stack.enter_context(restored(owner, name, False))
        yield reduced
