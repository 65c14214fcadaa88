"""Finds the images that a Keras model flattens: the layer behind reads H, W, C where torch's reads C, H, W."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import keras
from keras.src import backend

from parity.adapters.patching import restored

L = keras.layers
TURNS = ("transpose", "moveaxis", "swapaxes")
"""Operations that may put the channels of an image first, so that it is flattened as torch flattens it."""


def may_flatten(layer: Any) -> bool:
    """Whether the layer may turn an image into a vector: by its kind, by an operation of its graph, or by its own code."""
    own_code = not type(layer).__module__.startswith("keras.") or "call" in vars(layer)
    steps = [layer, *getattr(layer, "operations", ())]
    return own_code or any(
        isinstance(step, L.Lambda)
        or any(word in type(step).__name__ for word in ("Flatten", "Reshape", "Ravel"))
        for step in steps
    )


def flattened_images(
    layers: Mapping[str, Any], evaluate: Callable[[], Any], in_training: Callable[[], Any]
) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """(H, W, C) of the image whose flattening a layer receives, by path; found while `evaluate` runs the model.

    Where dense layers never ran, as in heads that help training alone, `in_training` runs it once more.

    With it comes what else both sides may count in another order: "image" where a vector became one or the model turns
    axes itself, and "features" where some axes of an image became these.

    Flattened tensors are followed by identity, through layers that keep the shape (dropout,
    activations, normalisation). One that went through plain operations is known by its size, once.
    """
    images: dict[int, tuple[int, ...]] = {}
    pending: dict[int, tuple[int, ...]] = {}
    made: set[int] = set()
    doubts: set[str] = set()
    kept: list[Any] = []  # an id is only good while its tensor lives
    found: dict[str, tuple[int, ...]] = {}
    by_id = {id(layer): path for path, layer in layers.items()}
    idle = {path for path, layer in layers.items() if isinstance(layer, L.Dense)}
    original, plain_reshape = L.Layer.__call__, backend.numpy.reshape

    def turning(function: Callable[..., Any]) -> Callable[..., Any]:
        def turned(x: Any, *args: Any, **kwargs: Any) -> Any:
            if len(getattr(x, "shape", ())) > 3:
                doubts.add("image")
            return function(x, *args, **kwargs)

        return turned

    def reshape(x: Any, newshape: Any) -> Any:
        output = plain_reshape(x, newshape)
        before, after = tuple(getattr(x, "shape", ())), tuple(output.shape)
        if len(before) > 2 and len(after) == 2 and before[0] == after[0]:
            images[id(output)] = pending[after[1]] = before[1:]
            kept.append(output)
        if len(before) == 2 and len(after) > 2 and before[0] == after[0]:
            doubts.add("image")
        if 2 < len(after) < len(before) and len(before) > 3 and before[-1] != after[-1]:
            doubts.add("features")
        return output

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = original(layer, *args, **kwargs)
        idle.discard(by_id.get(id(layer), ""))
        if id(layer) not in by_id or len(args) != 1 or not keras.ops.is_tensor(args[0]):
            return outputs
        shape = tuple(args[0].shape)
        image = images.get(id(args[0]))
        if image is None and len(shape) == 2 and id(args[0]) not in made and isinstance(layer, L.Dense):
            image = pending.get(shape[1])
        if image is not None:
            found[by_id[id(layer)]] = image
            pending.pop(shape[1], None)
        if keras.ops.is_tensor(outputs):
            if image is not None and tuple(outputs.shape) == shape and not isinstance(layer, L.Dense):
                images[id(outputs)] = image
            elif id(outputs) not in images:
                made.add(id(outputs))
            kept.extend([args[0], outputs])
        return outputs

    with ExitStack() as stack:
        stack.enter_context(restored(L.Layer, "__call__", call))
        stack.enter_context(restored(backend.numpy, "reshape", reshape))
        for name in TURNS:
            stack.enter_context(restored(backend.numpy, name, turning(getattr(backend.numpy, name))))
        evaluate()
        if idle:
            with suppress(Exception):  # any model, any error: it does not train on these inputs
                in_training()
    return found, doubts
