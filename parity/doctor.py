"""Looks at the environment: what is installed, how it is set, and which known trouble it invites."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from parity.adapters.frameworks import triton_state
from parity.around import Check, around
from parity.core.environment import environment, jax_tf32, torch_tf32

OPTIONAL = {
    "safetensors": "reading and writing .safetensors",
    "h5py": "reading and writing .weights.h5",
    "skimage": "the photograph that models are checked on",
    "PIL": "the pictures in a report's page",
    "matplotlib": "the colours of these pictures",
}

TRITON = (
    "parity works in either order; a script that imports keras and torch without parity must import "
    "triton before keras, or its first torch optimizer ends the process"
)


def examine() -> tuple[dict[str, str], list[Check]]:
    """The environment's facts, after importing both frameworks, and every check."""
    checks = [
        _framework("torch", "pip install 'segparity[torch]'"),
        _framework("keras", "pip install 'segparity[tf]'"),
    ]
    usable = all(check.ok for check in checks)
    checks += around(Path.cwd())
    if usable:
        checks += [_triton(), _keras_backend(), _float64(), _torchvision(), _build(), _reduced_precision()]
    for name, use in OPTIONAL.items():
        checks.append(_optional(name, use))
    return environment(), checks


def _framework(name: str, install: str) -> Check:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return Check(
            False, name, f"cannot be imported: {error}", f"{install}; parity check needs both frameworks"
        )
    return Check(True, name, str(module.__version__))


def _triton() -> Check:
    """Triton after TensorFlow ends a process that does not know `triton_import`."""
    if triton_state() == "absent":
        return Check(True, "triton", "not installed; torch's CUDA build brings it")
    try:
        module = importlib.import_module("triton")
    except ImportError as error:
        advice = "import triton before keras; if it fails then too, install torch again"
        return Check(False, "triton", f"installed but fails to import: {error}", advice)
    advice = "" if triton_state() == "loaded without TensorFlow" else TRITON
    return Check(True, "triton", f"{module.__version__}, {triton_state()}", advice)


def _optional(name: str, use: str) -> Check:
    if importlib.util.find_spec(name) is None:
        return Check(True, name, f"not installed; needed for {use}")
    return Check(True, name, f"installed ({use})")


def _keras_backend() -> Check:
    import keras

    backend = keras.config.backend()
    if backend == "torch":
        return Check(
            True, "Keras backend", "torch",
            "this backend normalises in float32 under a float64 policy (about 1e-6): judge on tensorflow or jax",
        )  # fmt: skip
    return Check(True, "Keras backend", backend)


def _float64() -> Check:
    """Whether a Keras convolution really computes in float64 here."""
    import keras
    import numpy as np

    from parity.adapters import adapt

    layer = keras.layers.Conv2D(1, 1, use_bias=False)
    layer.build((None, None, None, 1))
    adapter = adapt(layer)
    with adapter.precision("float64"):
        adapter.write("kernel", np.ones((1, 1, 1, 1)))
        value = adapter.forward([np.full((1, 1, 1, 1), 1.0 + 2.0**-40)])[0][1]
    exact = value.dtype == np.float64 and value.item() == 1.0 + 2.0**-40
    return Check(
        exact,
        "Keras in float64",
        "exact" if exact else "rounds to float32",
        "" if exact else "use another backend",
    )


def _torchvision() -> Check:
    """An installed torchvision that cannot be imported breaks what imports it (torchmetrics, Lightning)."""
    if importlib.util.find_spec("torchvision") is None:
        return Check(True, "torchvision", "not installed; not needed")
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # its compiled part fails in several ways
        text = " ".join(str(error).split())[:120]
        advice = "uninstall it, or install the build that fits torch; torchmetrics and Lightning import it"
        return Check(False, "torchvision", f"installed but fails to import: {text}", advice)
    return Check(True, "torchvision", "importable")


def _build() -> Check:
    """PyTorch's CUDA build takes 3.5 GB more of disk than the CPU build, and brings triton."""
    import torch

    if torch.version.cuda is None or torch.cuda.is_available():
        return Check(True, "torch's build", f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU")
    return Check(
        True, "torch's build", f"CUDA {torch.version.cuda}, and no GPU is found",
        "the CPU build takes 3.5 GB less of disk: PyTorch's install page gives its command",
    )  # fmt: skip


def _reduced_precision() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check(True, "GPU", "none; --device gpu is not available")
    advice = []
    if "on" in torch_tf32(torch).values():
        advice.append("set allow_tf32 of torch.backends.cuda.matmul and torch.backends.cudnn to False")
    jax = sys.modules.get("jax")
    if jax is not None and jax.default_backend() == "gpu" and jax_tf32(jax) == "on":
        advice.append("JAX_DEFAULT_MATMUL_PRECISION=highest")
    found = "on: float32 results are about 1e-3 off" if advice else "off"
    return Check(True, "TF32", found, f"for parity: {'; '.join(advice)}" if advice else "")
