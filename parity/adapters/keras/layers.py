"""How a Keras model is put together: its layers by path, and the variables and tensors that each one owns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import keras

from parity.adapters.keras.recurrent.part import FAMILIES as CELLS
from parity.adapters.keras.recurrent.part import cells_of
from parity.core.adapter import joined
from parity.core.types import KERNELS, TRAINED_BUFFERS, LayerInfo, TensorInfo

L = keras.layers
CLASSES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose), "conv_transpose"),
    ((L.SeparableConv1D, L.SeparableConv2D), "separable"),
    ((L.DepthwiseConv1D, L.DepthwiseConv2D), "depthwise"),
    ((L.Conv1D, L.Conv2D, L.Conv3D), "conv"),
    ((L.Dense,), "dense"),
    ((L.BatchNormalization,), "batchnorm"),
    ((L.LayerNormalization,), "layernorm"),
    ((L.GroupNormalization,), "groupnorm"),
    ((L.Embedding,), "embedding"),
    ((L.PReLU,), "prelu"),
    *(((cell,), family) for cell, family in CELLS),
    ((keras.Sequential,), "sequence"),
)
ATTENTION = (L.MultiHeadAttention, L.GroupQueryAttention)
COMPOSITES = (L.RNN, *ATTENTION)
"""Layers with sublayers that are one step all the same."""
WITH_ACTIVATION = tuple(cls for classes, family in CLASSES if family in KERNELS for cls in classes)
SETTINGS = (
    "strides", "stride", "padding", "output_padding", "dilation_rate", "dilation", "groups", "epsilon",
    "momentum", "axis", "negative_slope", "kernel_size", "pool_size", "size", "interpolation", "data_format", "dims",
    "depth_multiplier", "rate", "return_sequences", "go_backwards", "reset_after", "mask_zero",
)  # fmt: skip


def layers_of(model: Any) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Every layer by its path, and by the same path its aliases; a shared layer is listed once.

    Paths are made of attribute names, or of layer names in functional and sequential models.
    """
    layers: dict[str, Any] = {}
    aliases: dict[str, list[str]] = {}
    paths: dict[int, str] = {}

    def walk(layer: Any, path: str, more: tuple[str, ...]) -> None:
        known = paths.get(id(layer))
        if known is not None:  # a shared layer keeps its first path
            aliases[known].extend([path, *more])
            return
        layers[path], paths[id(layer)] = layer, path
        aliases[path] = list(more)
        for names, child in children(layer):
            first, *rest = [joined(stem, name) for name in names for stem in (path, *more)]
            walk(child, first, tuple(rest))

    walk(model, "", ())
    return layers, aliases


def layer_info(path: str, layer: Any, aliases: list[str]) -> LayerInfo:
    """What parity knows of one layer."""
    made_fixed = {id(variable) for variable in layer._non_trainable_variables}  # whatever is frozen now
    return LayerInfo(
        path=path,
        kind=type(layer).__name__,
        family=_family(layer),
        tensors=tuple(
            TensorInfo(
                joined(path, name),
                name,
                tuple(int(n) for n in variable.shape),
                str(variable.dtype),
                more,
                fixed=id(variable) in made_fixed and name not in TRAINED_BUFFERS,
            )
            for name, more, variable in own_variables(layer)
        ),
        leaf=not layer._layers,
        aliases=tuple(aliases),
        settings={name: getattr(layer, name) for name in SETTINGS if hasattr(layer, name)},
        whole=is_composite(layer),
    )


def _family(layer: Any) -> str | None:
    """The kind of a layer; none where it is several: an embedding with a second matrix, for the way back."""
    family = next((family for classes, family in CLASSES if isinstance(layer, classes)), None)
    matrices = sum(len(variable.shape) > 1 for _, _, variable in own_variables(layer))
    return None if family == "embedding" and matrices > 1 else family


def is_composite(layer: Any) -> bool:
    """Whether a layer is one step although it has layers inside, and is not taken apart."""
    return isinstance(layer, COMPOSITES) and not cells_of(layer)


def children(layer: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Sublayers with their names, the main name first."""
    if isinstance(layer, keras.Sequential) or is_functional(layer):
        sublayers = [child for child in layer.layers if not isinstance(child, L.InputLayer)]
        numbered = isinstance(layer, keras.Sequential)
        for index, child in enumerate(sublayers):
            yield ((child.name, str(index)) if numbered else (child.name,)), child
        return
    seen: set[int] = set()
    for name, value in vars(layer).items():
        if name.startswith("_"):
            continue
        for suffix, child in _layers_in(value):
            seen.add(id(child))
            yield (f"{name}{suffix}",), child
    for child in layer._layers:
        if id(child) not in seen:
            attribute = next((name for name, value in vars(layer).items() if value is child), None)
            names = (attribute.lstrip("_"), child.name) if attribute else (child.name,)
            yield tuple(dict.fromkeys(names)), child


def is_functional(layer: Any) -> bool:
    """Whether the model is a graph of layers (keras.Model(inputs, outputs))."""
    return (
        isinstance(layer, keras.Model)
        and hasattr(layer, "_nodes_by_depth")
        and bool(getattr(layer, "inputs", None))
    )


def _layers_in(value: Any) -> Iterator[tuple[str, Any]]:
    """Layers in an attribute: the layer itself, or those in lists and dictionaries, however nested."""
    if isinstance(value, L.Layer):
        yield "", value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from ((f".{i}{suffix}", child) for suffix, child in _layers_in(item))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from ((f".{key}{suffix}", child) for suffix, child in _layers_in(item))


def own_variables(layer: Any) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """(name, further names, variable) of the variables that the layer itself owns.

    A variable is known by its own name and by the attribute that holds it; one without either, by its place among
    those of its layer. Random-seed states are not weights.
    """
    if isinstance(layer, L.SpectralNormalization):
        return  # a vector that estimates a norm in training, and the kernel of the layer inside
    variables = [*layer._trainable_variables, *layer._non_trainable_variables]
    if not variables:
        return
    attributes = {id(value): name for name, value in vars(layer).items() if isinstance(value, keras.Variable)}
    used: set[str] = set()
    unnamed = count()
    for variable in variables:
        attribute = attributes.get(id(variable))
        name = variable.name
        if re.fullmatch(r"variable(_\d+)?", name):  # Keras made it up, and numbers it on through the process
            number = next(unnamed)
            name = attribute or (f"variable_{number}" if number else "variable")
        while name in used:
            name = f"{name}_"
        used.add(name)
        yield name, (attribute,) if attribute and attribute != name else (), variable


EVERY = frozenset(
    {
        *vars(L.Layer(name="every")), *vars(keras.Model(name="every")),
        "_functional", "_inputs", "_inputs_struct", "_nodes", "_nodes_by_depth", "_operations", "_operations_by_depth",
        "_outputs", "_outputs_struct",
    }
)  # fmt: skip
"""Attributes that every layer or model has, or every graph of layers."""


def attributes(layer: Any) -> dict[str, Any]:
    """What a layer holds of its own: attributes that not every layer has, its variables among them."""
    return {
        name: value
        for name, value in vars(layer).items()
        if name not in EVERY and not name.startswith("_self_")  # TensorFlow's own bookkeeping
    }


def plain_tensors(layer: Any) -> list[str]:
    """Attributes that hold a floating tensor which is no variable."""
    return [
        name
        for name, value in vars(layer).items()
        if hasattr(value, "dtype")  # a quick test that few values pass
        and not isinstance(value, keras.Variable)  # TensorFlow counts variables among the tensors
        and keras.ops.is_tensor(value)
        and keras.backend.is_float_dtype(_dtype(value))
    ]


def _dtype(value: Any) -> str:
    return str(keras.backend.standardize_dtype(value.dtype))


def declared_inputs(model: Any) -> list[list[tuple[tuple[int | None, ...], str]]]:
    """What the model says of its inputs: alternatives, the one that leaves most open first.

    A functional model declares its inputs. Any other model has its input_spec, and the shapes that it was built
    with; the sizes between batch and channels may then differ.
    """
    if getattr(model, "inputs", None):
        return [[(tuple(tensor.shape[1:]), _dtype(tensor)) for tensor in model.inputs]]
    alternatives = []
    built = [tuple(shape) for shape in _shapes_in(getattr(model, "_build_shapes_dict", None) or {})]
    if built:
        tokens = any(isinstance(layer, L.Embedding) for layer in model._flatten_layers())
        dtypes = ["int32" if tokens and len(shape) == 2 else "float32" for shape in built]
        open_shapes = [(*(None for _ in shape[1:-1]), shape[-1]) for shape in built]
        for shapes in (open_shapes, [shape[1:] for shape in built]):
            alternatives.append(list(zip(shapes, dtypes, strict=True)))
    spec = getattr(model, "input_spec", None)
    if isinstance(spec, keras.InputSpec):
        shape = _spec_shape(spec)
        if shape:
            alternatives.insert(0, [(shape, "float32")])
    return [alternative for i, alternative in enumerate(alternatives) if alternative not in alternatives[:i]]


def _spec_shape(spec: Any) -> tuple[int | None, ...] | None:
    """The shape that a layer's InputSpec pins, without the batch axis."""
    if spec.shape is not None:
        return tuple(spec.shape[1:])
    rank = spec.ndim or spec.min_ndim
    if not rank or not spec.axes:
        return None
    shape: list[int | None] = [None] * rank
    for axis, size in spec.axes.items():
        shape[axis] = size
    return tuple(shape[1:])


def _shapes_in(value: Any) -> Iterator[tuple[int | None, ...]]:
    """Shapes in a structure of shapes."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _shapes_in(item)
    elif isinstance(value, list | tuple) and value and all(n is None or isinstance(n, int) for n in value):
        yield tuple(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _shapes_in(item)
