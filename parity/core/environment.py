"""What the comparison ran on: versions, backend, threads, devices. Imports nothing that is not loaded."""

from __future__ import annotations

import os
import platform
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

PACKAGES = ("segparity", "numpy", "keras", "tensorflow", "jax", "torch", "triton", "safetensors", "h5py")


def environment() -> dict[str, str]:
    """Versions and settings that a result depends on, as text by name."""
    facts = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    facts["cpus"] = str(os.cpu_count())
    keras = sys.modules.get("keras")
    if keras is not None:
        facts["keras backend"] = keras.config.backend()
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["torch threads"] = str(torch.get_num_threads())
        if _has_gpu(torch):
            facts["gpu"] = torch.cuda.get_device_name(0)
            facts["tf32"] = (
                f"matmul {torch.backends.cuda.matmul.allow_tf32}, cudnn {torch.backends.cudnn.allow_tf32}"
            )
    return facts


def _has_gpu(torch: ModuleType) -> bool:
    """Whether torch can use a GPU.

    Without one, torch's CUDA build warns where TensorFlow looked for a GPU before torch was imported. A question
    that only describes the machine must not fail where warnings are errors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(torch.cuda.is_available())
