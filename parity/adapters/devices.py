"""Where a model is evaluated: the "cpu" or the "gpu" that was asked for, as its framework names it, or an error.

No framework refuses by itself in plain words: PyTorch's CPU build ends in an assertion, and TensorFlow takes the
CPU where there is no GPU, in silence.
"""

from __future__ import annotations

import warnings
from typing import Any

from parity.core.errors import UsageError

DEVICES = ("cpu", "gpu")


def torch_device(device: str) -> Any:
    """The `torch.device`.

    Raises:
        UsageError: it is neither "cpu" nor "gpu", or PyTorch can use no GPU.
    """
    import torch

    _checked(device)
    if device == "gpu" and not _torch_has_gpu():
        raise UsageError(_NO_GPU.format("PyTorch", f"torch {torch.__version__} without one"))
    return torch.device("cuda" if device == "gpu" else "cpu")


def keras_device(device: str) -> Any:
    """What `keras.device` takes.

    Raises:
        UsageError: it is neither "cpu" nor "gpu", or Keras' backend can use no GPU.
    """
    import keras

    _checked(device)
    name = keras.config.backend()
    if name == "jax":
        return _jax_device(device)
    if device == "gpu" and not _has_gpu(name):
        raise UsageError(_NO_GPU.format(f"Keras on {name}", "none"))
    return f"{device}:0"


_NO_GPU = (
    "device='gpu' needs a GPU that {} can use; got {}. Leave device out, or install a build of the framework "
    "that finds the GPU."
)


def _checked(device: str) -> None:
    if device not in DEVICES:
        raise UsageError(f"device must be 'cpu' or 'gpu'; got {device!r}. Choose one of them.")


def _jax_device(device: str) -> Any:
    """The device itself: names differ ("gpu", "cuda"), and the first one need not have the number 0."""
    import jax

    try:
        return jax.local_devices(backend=device)[0]
    except RuntimeError as error:
        if device == "gpu":
            raise UsageError(_NO_GPU.format("Keras on jax", f"devices {jax.devices()}")) from error
        raise UsageError(
            f"device='cpu' needs JAX's CPU; got devices {jax.devices()}. Add cpu to JAX_PLATFORMS."
        ) from error


def _has_gpu(backend: str) -> bool:
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    return backend != "torch" or _torch_has_gpu()


def _torch_has_gpu() -> bool:
    import torch

    with warnings.catch_warnings():  # a CUDA build without a driver warns, and answers
        warnings.simplefilter("ignore")
        return bool(torch.cuda.is_available())
