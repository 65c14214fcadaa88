"""What the comparison ran on: versions, backend, threads, devices. Imports nothing that is not loaded."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

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
        if torch.cuda.is_available():
            facts["gpu"] = torch.cuda.get_device_name(0)
            facts["tf32"] = (
                f"matmul {torch.backends.cuda.matmul.allow_tf32}, cudnn {torch.backends.cudnn.allow_tf32}"
            )
    return facts
