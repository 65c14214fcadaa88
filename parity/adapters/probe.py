"""Adversarial probes: inputs with unequal, odd sizes, and weights that hide nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from parity.adapters import side_of
from parity.adapters.inputs.names import both_names, keras_form
from parity.adapters.inputs.orders import usual
from parity.adapters.inputs.padding import masks_zero, padded_like
from parity.adapters.inputs.truths import truths
from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.types import RECURRENT, Array, Side

BATCH = 2
# Sizes where the model leaves them open, by how many it leaves: H != W, one even and one odd, and such that
# halving (rounded up) meets even sizes again and again: at sizes of 1 modulo 32 the padding of stride-2
# layers agrees where it should not. Then sizes for networks that take multiples of 8, 32 or 64 alone, or lose
# their borders.
OPEN_SIZES: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((92,), (96,), (128,), (512,)),
    2: ((66, 95), (72, 104), (64, 96), (128, 192), (188, 204), (224, 256)),
    3: ((20, 23, 14), (24, 32, 16), (32, 64, 32)),
}


def as_list(inputs: Any, keras: Adapter | None = None) -> list[Array]:
    """One array, a list of them, or a dictionary in the order that the Keras side has settled, as a list."""
    if isinstance(inputs, Mapping):
        inputs = [inputs[key] for key in (keras.keys if keras is not None else ()) or inputs]
    values = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    return [np.asarray(value) for value in values]


def build(model: Any, inputs: Any) -> None:
    """Run a Keras model that has no weights yet once on the sample input; others are left alone."""
    if side_of(model) != "keras" or model.built or inputs is None:
        return
    from parity.adapters.keras.forward import call, taken

    if isinstance(inputs, Mapping):
        form, order = keras_form([both_names(key)[0] for key in inputs], taken(model))
        keys = list(inputs)
        call(model, as_list([inputs[keys[i]] for i in order]), False, form)
        return
    values = as_list(inputs)
    call(model, values if len(values) > 1 else values[:1], False)


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
    takes = keras.takes()
    drawn: list[list[Array]] = []
    for specs in alternatives:
        names = takes.names if takes.ordered and len(takes.names) == len(specs) else ("",) * len(specs)
        for choice in range(1 + max(len(OPEN_SIZES.get(shape.count(None), ((),))) - 1 for shape, _ in specs)):
            rows = [min(tables, default=2)] * len(specs)
            values = _random(specs, names, rows, choice, seed)
            if len(set(tables)) > 1 and any(value.dtype.kind in "iu" for value in values):
                values = _random(specs, names, _rows(keras, values, rows), choice, seed)
            if masks_zero(keras.layers()):
                values = [padded_like(value) for value in values]
            drawn.append(values)
    return drawn


def _rows(keras: Adapter, values: Sequence[Array], least: list[int]) -> list[int]:
    """How many different numbers each input may hold: the rows of the table that it is looked up in."""
    try:
        trace = keras.trace(values)[1]
    except Exception:  # any model, any error: these sizes are not for it
        return least
    layers = keras.layers()
    found = list(least)
    for number, source in enumerate(trace.inputs):
        own = [
            layers[node.path].tensors[0].shape[0]
            for node in trace.nodes
            if node.path in layers
            and layers[node.path].family == "embedding"
            and any(one.node == source for one in node.inputs)
        ]
        found[number] = min(own, default=found[number])
    return found


def declared(values: Sequence[Array], keras: Adapter) -> list[Array]:
    """Inputs in the dtype that the model declares, where they are whole numbers, which it holds exactly.

    Images of bytes become float32 for floating inputs, and 3.0 becomes 3 for tokens.
    """
    specs = next(iter(keras.input_specs()), [])
    dtypes = [dtype for _, dtype in specs] if len(specs) == len(values) else [""] * len(values)
    return [_declared(value, dtype) for value, dtype in zip(values, dtypes, strict=True)]


def _declared(value: Array, dtype: str) -> Array:
    if value.dtype.kind in "ub" and dtype.startswith(("float", "bfloat")):
        return value.astype(np.float32)
    if value.dtype.kind == "f" and dtype.startswith(("int", "uint")):
        return value.astype(dtype) if np.array_equal(value, np.rint(value)) else value
    return value


def in_keras_layout(values: Sequence[Array], keras: Adapter) -> None:
    """Refuse inputs that fit what the Keras model declares only with their channels moved.

    Raises:
        UsageError: they do.
    """
    alternatives = [
        [shape for shape, _ in specs] for specs in keras.input_specs() if len(specs) == len(values)
    ]
    if not alternatives or any(_fit(values, shapes) for shapes in alternatives):
        return
    for source, target, where in ((1, -1, "axis 1"), (-1, 1, "the last axis")):
        moved = [np.moveaxis(value, source, target) if value.ndim > 2 else value for value in values]
        shapes = next((shapes for shapes in alternatives if _fit(moved, shapes)), None)
        if shapes is not None:
            wrong_layout(
                [value.shape for value in values],
                where,
                str(shapes[0]).replace("None", "any"),
                source,
                target,
            )


def wrong_layout(
    shapes: Sequence[tuple[int, ...]], where: str, wanted: str, source: int, target: int
) -> NoReturn:
    """Say that inputs have their channels in the wrong place.

    Raises:
        UsageError: always.
    """
    got = ", ".join(map(str, shapes))
    raise UsageError(
        f"inputs must be in the Keras layout, in which the model takes {wanted} behind the batch; got {got}, "
        f"whose channels are in {where}. Give np.moveaxis(x, {source}, {target}); parity turns them for torch itself."
    )


def _fit(values: Sequence[Array], shapes: Sequence[Sequence[int | None]]) -> bool:
    return all(
        len(shape) == value.ndim - 1
        and all(size in (None, own) for size, own in zip(shape, value.shape[1:], strict=True))
        for value, shape in zip(values, shapes, strict=True)
    )


def _random(
    specs: Sequence[tuple[tuple[int | None, ...], str]],
    names: Sequence[str],
    rows: Sequence[int],
    choice: int,
    seed: int,
) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [
        _random_input(
            rng, shape, "mask" if "mask" in name and dtype.startswith("int") else dtype, count, choice
        )
        for (shape, dtype), name, count in zip(specs, names, rows, strict=True)
    ]


def _random_input(
    rng: np.random.Generator, shape: Sequence[int | None], dtype: str, tokens: int, choice: int
) -> Array:
    choices = OPEN_SIZES.get(list(shape).count(None), ((),))
    sizes = iter(choices[min(choice, len(choices) - 1)])
    full = (BATCH, *(next(sizes, 64) if size is None else size for size in shape))
    if dtype == "mask":
        return truths(rng, full).astype("int32")
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, tokens, full).astype(dtype)
    return truths(rng, full) if dtype == "bool" else rng.standard_normal(full).astype(np.float32)


def to_torch_inputs(inputs: Sequence[Array], keras: Adapter) -> list[Array]:
    """Inputs as the torch side takes them: in the orders that were settled, or else in the usual ones."""
    orders = keras.orders
    if [len(order) for order in orders] != [value.ndim for value in inputs]:
        orders = tuple(usual(inputs, keras))
    return [value.transpose(order) for value, order in zip(inputs, orders, strict=True)]


def flattened_images(keras: Adapter, inputs: Any = None) -> tuple[Mapping[str, tuple[int, ...]], set[str]]:
    """(H, W, C) of the image that was flattened in front of a Keras layer, by path; what else may be in doubt.

    Dense layers after a flattening read H, W, C in Keras and C, H, W in torch. Found by running the
    model once; models without dense layers, or with nothing to flatten, are not run.
    """
    layers = list(keras.layers().values())
    dense = any(layer.family in {"dense", "batchnorm", "layernorm", "conv", *RECURRENT} for layer in layers)
    spatial = any(layer.kind in {"Flatten", "Reshape"} for layer in layers) or (
        any(layer.family == "dense" for layer in layers)
        and any(re.search("[123]D", layer.kind) for layer in layers)
    )
    if not dense or not spatial or not keras.may_flatten():  # type: ignore[attr-defined]
        return {}, set()
    if inputs is None and not keras.input_specs():
        return {}, set()
    candidates = [as_list(inputs, keras)] if inputs is not None else random_inputs(keras)
    for values in candidates:
        try:
            return keras.flattened_images(values)  # type: ignore[attr-defined, no-any-return]
        except Exception:  # any model, any error: these sizes are not for it
            continue
    return {}, set()


def randomise(model: Adapter, seed: int = 0) -> None:
    """Give every tensor random values that keep activations in scale and hide no fault.

    Zero biases, unit variances and zero means hide lost biases and swapped slots: normalisation
    statistics and affine terms are drawn at random, kernels at the He scale, biases around zero. What training never
    changes stays: another table or mask is another model.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers().values():
        for tensor in layer.tensors:
            if tensor.dtype.startswith(("float", "bfloat")) and not tensor.fixed:
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
