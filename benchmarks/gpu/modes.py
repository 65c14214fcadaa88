"""Both frameworks in one mode: whether they may multiply with TF32, and the environment that they start in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
ENVIRONMENT = {
    "KERAS_BACKEND": "jax",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # JAX would take three quarters of the card, and PyTorch needs some
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS need not give the same bits twice
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONUNBUFFERED": "1",
}


def share_cores(jobs: int) -> None:
    """Leave each of so many processes its part of the cores, unless OMP_NUM_THREADS says something else."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // jobs, 1)))


def set_environment(device: str, deterministic: bool = True) -> None:
    """Set what the frameworks read when they start; processes that are started from here inherit it.

    Args:
        device: "cpu" or "gpu"; on "cpu" JAX does not even look for a GPU.
        deterministic: let XLA choose kernels that give the same bits each time.
    """
    os.environ |= ENVIRONMENT
    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    elif "cpu" not in os.environ.get("JAX_PLATFORMS", "cpu"):
        os.environ["JAX_PLATFORMS"] += ",cpu"  # weights are carried over there
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag != DETERMINISTIC]
    os.environ["XLA_FLAGS"] = " ".join([*flags, DETERMINISTIC] if deterministic else flags)


@contextmanager
def multiplication(tf32: bool, device: str) -> Iterator[None]:
    """Allow or forbid TF32 on both sides while this is open. A CPU has none: there a stand-in rounds as TF32 does."""
    import jax
    import torch

    from benchmarks.gpu.standin import rounding

    old = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [owner.allow_tf32 for owner in old]
    try:
        for owner in old:
            owner.allow_tf32 = tf32
        standin = rounding() if tf32 and device == "cpu" else nullcontext()
        with jax.default_matmul_precision("tensorfloat32" if tf32 else "highest"), standin:
            yield
    finally:
        for owner, value in zip(old, before, strict=True):
            owner.allow_tf32 = value
