"""Settings of Keras and its backend for the length of a run."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator

import keras

POLICIES = {"float32": "float32", "float64": "float64", "bfloat16": "mixed_bfloat16"}


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Make new layers, optimizers, losses and metrics compute in `dtype`.

    A network's own dtype leaves the learning rate and the loss in Keras' floatx, 6e-8 off in float32.
    """
    before = keras.config.floatx(), keras.config.dtype_policy()
    if dtype == "float64" and keras.config.backend() == "jax":
        import jax  # Keras has no name of its own for this setting

        jax.config.update("jax_enable_x64", True)  # JAX rounds to float32 otherwise; it is for good
    keras.config.set_floatx("float64" if dtype == "float64" else "float32")
    keras.config.set_dtype_policy(POLICIES[dtype])
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def make_deterministic() -> None:
    """Have the backend refuse or replace operations whose result may change from run to run."""
    if keras.config.backend() == "tensorflow":
        importlib.import_module("tensorflow").config.experimental.enable_op_determinism()
    elif keras.config.backend() == "torch":
        importlib.import_module("torch").use_deterministic_algorithms(True)
    elif "xla_gpu_deterministic_ops" not in os.environ.get("XLA_FLAGS", ""):  # on a CPU XLA always is
        os.environ["XLA_FLAGS"] = (
            f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        )
