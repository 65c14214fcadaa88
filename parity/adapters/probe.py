"""Adversarial probes: inputs with unequal, odd sizes, and weights that hide nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.adapters import side_of
from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.layout import activation_to_torch
from parity.core.types import Array, Side

BATCH = 2
# Sizes where the model leaves them open, by how many it leaves: H != W, one even and one odd, and such that
# halving (rounded up) meets even sizes again and again: at sizes of 1 modulo 32 the padding of stride-2
# layers agrees where it should not. Then sizes for networks that take multiples of 8 or of 32 alone.
OPEN_SIZES: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((92,), (96,)),
    2: ((66, 95), (72, 104), (64, 96)),
    3: ((20, 23, 14), (32, 64, 32)),
}


def as_list(inputs: Any) -> list[Array]:
    """One array, or a list of them, as a list."""
    values = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    return [np.asarray(value) for value in values]


def build(model: Any, inputs: Any) -> None:
    """Run a Keras model that has no weights yet once on the sample input; others are left alone."""
    if side_of(model) == "keras" and not model.built and inputs is not None:
        values = as_list(inputs)
        model(values if len(values) > 1 and getattr(model, "inputs", None) else values[0])


def random_inputs(keras: Adapter, seed: int = 0) -> list[list[Array]]:
    """Random inputs from the Keras model's own input specification, in the Keras layout.

    Returns:
        Inputs to try in turn: a model may refuse odd sizes, and what it was built with is the last resort.

    Raises:
        UsageError: the model does not say what it takes.
    """
    alternatives = keras.input_specs()
    if not alternatives:
        raise UsageError(
            "a model's input shape must be known; got a Keras model that does not declare one and was never called. "
            "Pass inputs= (NumPy arrays in the Keras layout), or --input 2x65x96x3 on the command line."
        )
    tables = [layer.tensors[0].shape[0] for layer in keras.layers().values() if layer.family == "embedding"]
    drawn: list[list[Array]] = []
    for specs in alternatives:
        for choice in range(1 + max(len(OPEN_SIZES.get(shape.count(None), ((),))) - 1 for shape, _ in specs)):
            rng = np.random.default_rng(seed)
            drawn.append(
                [_random(rng, shape, dtype, min(tables, default=2), choice) for shape, dtype in specs]
            )
    return drawn


def declared(values: Sequence[Array], keras: Adapter) -> list[Array]:
    """Whole numbers as float32 where the model declares floating inputs: images of bytes, which it exactly holds."""
    specs = next(iter(keras.input_specs()), [])
    dtypes = [dtype for _, dtype in specs] if len(specs) == len(values) else [""] * len(values)
    return [
        value.astype(np.float32)
        if value.dtype.kind in "ub" and dtype.startswith(("float", "bfloat"))
        else value
        for value, dtype in zip(values, dtypes, strict=True)
    ]


def _random(
    rng: np.random.Generator, shape: Sequence[int | None], dtype: str, tokens: int, choice: int
) -> Array:
    choices = OPEN_SIZES.get(list(shape).count(None), ((),))
    sizes = iter(choices[min(choice, len(choices) - 1)])
    full = (BATCH, *(next(sizes, 64) if size is None else size for size in shape))
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, tokens, full).astype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, full).astype(bool)
    return rng.standard_normal(full).astype(np.float32)


def to_torch_inputs(inputs: Sequence[Array], keras: Adapter) -> list[Array]:
    """Inputs as the torch side takes them: images channels first, vectors and tokens as they are.

    Arrays of rank 3 are (length, channels) signals where the Keras model holds one-dimensional
    convolutions or poolings, and token sequences otherwise.
    """
    layers = keras.layers().values()
    signals = any("1D" in layer.kind for layer in layers)
    channels_first = any(layer.settings.get("data_format") == "channels_first" for layer in layers)
    return [
        value if channels_first or (value.ndim == 3 and not signals) else activation_to_torch(value)
        for value in inputs
    ]


def flattened_images(keras: Adapter, inputs: Any = None) -> Mapping[str, tuple[int, ...]]:
    """(H, W, C) of the image that was flattened in front of a Keras layer, by the layer's path.

    Dense layers after a flattening read H, W, C in Keras and C, H, W in torch. Found by running the
    model once; models without dense layers, or with nothing to flatten, are not run.
    """
    layers = list(keras.layers().values())
    dense = any(layer.family in {"dense", "batchnorm", "layernorm"} for layer in layers)
    spatial = any(layer.kind in {"Flatten", "Reshape"} for layer in layers) or (
        any(layer.family == "dense" for layer in layers)
        and any(re.search("[123]D", layer.kind) for layer in layers)
    )
    if not dense or not spatial or not keras.may_flatten():  # type: ignore[attr-defined]
        return {}
    if inputs is None and not keras.input_specs():
        return {}
    candidates = [as_list(inputs)] if inputs is not None else random_inputs(keras)
    for values in candidates:
        try:
            return keras.flattened_images(values)  # type: ignore[attr-defined, no-any-return]
        except Exception:  # any model, any error: these sizes are not for it
            continue
    return {}


def randomise(model: Adapter, seed: int = 0) -> None:
    """Give every tensor random values that keep activations in scale and hide no fault.

    Zero biases, unit variances and zero means hide lost biases and swapped slots: normalisation
    statistics and affine terms are drawn at random, kernels at the He scale, biases around zero.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers().values():
        for tensor in layer.tensors:
            if tensor.dtype.startswith(("float", "bfloat")):
                value = _random_weight(
                    rng, tensor.name, tensor.shape, _fan_in(model.side, layer.family, tensor.shape)
                )
                model.write(tensor.path, value.astype(model.read(tensor.path).dtype))


def _fan_in(side: Side, family: str | None, shape: tuple[int, ...]) -> int:
    """Products summed into one output value, from the kernel's shape."""
    if len(shape) < 2:
        return 1
    transposed = family == "conv_transpose"
    if side == "torch":
        outputs = shape[1 if transposed else 0]
    elif family == "depthwise":
        outputs = shape[-1] * shape[-2]
    else:
        outputs = shape[-2 if transposed else -1]
    return max(int(np.prod(shape)) // max(outputs, 1), 1)


def _random_weight(rng: np.random.Generator, name: str, shape: tuple[int, ...], fan_in: int) -> Array:
    if name in {"running_var", "moving_variance"}:
        return rng.uniform(0.5, 2.0, shape)
    if name in {"gamma", "scale"} or (name == "weight" and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape)
    if len(shape) < 2:
        return rng.normal(0.0, 0.3, shape)
    return rng.normal(0.0, np.sqrt(2.0 / fan_in), shape)
