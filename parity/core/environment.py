"""What the comparison ran on: versions, backend, threads, devices. Imports nothing that is not loaded."""

from __future__ import annotations

import os
import platform
import sys
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

PACKAGES = ("segparity", "numpy", "keras", "tensorflow", "jax", "torch", "triton", "safetensors", "h5py")


def environment() -> dict[str, str]:
    """Versions and settings that a result depends on, as text by name."""
    facts = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    facts |= _versions()
    facts["cpus"] = str(os.cpu_count())
    keras = sys.modules.get("keras")
    if keras is not None:
        facts["keras backend"] = keras.config.backend()
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["torch threads"] = str(torch.get_num_threads())
        if _has_gpu(torch):
            facts["gpu"] = torch.cuda.get_device_name(0)
            facts["tf32"] = ", ".join(f"{place} {mode}" for place, mode in torch_tf32(torch).items())
    jax = sys.modules.get("jax")
    if jax is not None and facts.get("keras backend") == "jax":
        facts["jax device"] = str(jax.devices()[0].device_kind)
        facts["jax tf32"] = jax_tf32(jax)
    return facts


@cache
def _versions() -> dict[str, str]:
    """Versions of the packages that are installed; they are read from files."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def torch_tf32(torch: ModuleType) -> dict[str, str]:
    """ "on" or "off" for what may use TF32 on a GPU: "matmul" and "cudnn".

    PyTorch 2.9 and later refuse to read the old switches once the new ones were set, so the new ones are asked first.
    """
    backends = torch.backends
    places = {
        "matmul": (backends.cuda.matmul, backends.cuda.matmul),
        "cudnn": (backends.cudnn, getattr(backends.cudnn, "conv", None)),
    }
    found = {}
    for place, (old, new) in places.items():
        mode = getattr(new, "fp32_precision", None)
        if mode == "none":  # as for everything
            mode = backends.fp32_precision
        allowed = old.allow_tf32 if mode is None else mode == "tf32"
        found[place] = "on" if allowed else "off"
    return found


def _has_gpu(torch: ModuleType) -> bool:
    """Whether torch can use a GPU.

    Without one, torch's CUDA build warns where TensorFlow looked for a GPU before torch was imported. A question
    that only describes the machine must not fail where warnings are errors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(torch.cuda.is_available())


def jax_tf32(jax: ModuleType) -> str:
    """ "on" or "off": whether JAX may use TF32 on a GPU; it does unless the precision is set to the highest."""
    return "off" if jax.config.jax_default_matmul_precision in {"highest", "float32"} else "on"
