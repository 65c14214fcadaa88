"""Tensors of both sides, held against each other, each in its own layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.layout import activation_to_torch, aligned, as_torch, from_torch
from parity.core.tolerance import difference, limits
from parity.core.types import Array
from parity.replay.border import framed, starts
from parity.replay.located import Apart, Call, Compared, Located


@dataclass(frozen=True)
class PairSpread:
    """How far one rounding everywhere moves some tensors of both sides, each in its own layout; empty: not measured."""

    keras: Sequence[Array] = ()
    torch: Sequence[Array] = ()

    def limit(self, number: int, keras: Array, torch: Array, layout: str) -> Array:
        """How far the number-th tensors may differ at each element, in the Keras layout."""
        found = np.zeros(keras.shape)
        if number < len(self.keras) and self.keras[number].size == keras.size:
            found = np.maximum(found, self.keras[number].reshape(keras.shape))
        if number < len(self.torch) and self.torch[number].shape == torch.shape:
            spread = self.torch[number]
            moved = from_torch(spread, layout).reshape(keras.shape)
            found = np.maximum(found, moved)
        return limits(keras, found)


def compare(
    keras: Sequence[Array],
    torch: Sequence[Array],
    one_pixel: bool = False,
    spread: PairSpread | None = None,
    every: bool = False,
) -> Compared:
    """Compare two lists of tensors, each in its own framework's layout.

    Where one side has more of them (a layer that gives its state too), the first ones correspond.

    Args:
        keras: of the Keras side.
        torch: of the torch side.
        one_pixel: ranks may differ, as those of one pixel and a vector: (N, 1, 1, C) and (N, C); see `_otherwise`.
        spread: each element is judged by its own rounding and its spread; without, by the tensor's scale.
        every: the two must be as many.
    """
    replacement = []
    texts = []
    greatest, misshapen = 0.0, False
    if len(keras) != len(torch) and (every or not min(len(keras), len(torch))):
        text = f"{len(keras)} tensors in Keras, {len(torch)} in torch"
        return Compared(True, text, None, float("inf"))
    for number, (keras_value, torch_value) in enumerate(zip(keras, torch, strict=False)):
        fit = aligned(keras_value, torch_value)
        if fit is None and one_pixel:
            fit, keras_value = _otherwise(keras_value, torch_value)
        if fit is None:
            texts.append(f"shape {keras_value.shape} in Keras, {torch_value.shape} in torch")
            replacement.append(_as_channels_say(keras_value, torch_value))
            greatest, misshapen = float("inf"), True
            continue
        value, layout = fit
        limit = None if spread is None else spread.limit(number, keras_value, torch_value, layout)
        gap = difference(keras_value, value, limit=limit)
        greatest = max(greatest, gap.max_rel)
        if gap.mismatched:
            texts.append(str(gap))
        replacement.append(as_torch(keras_value, layout))
    replacement += torch[len(replacement) :]
    return Compared(bool(texts), "; ".join(texts), replacement, greatest, misshapen)


def _as_channels_say(keras: Array, torch: Array) -> Array:
    """The Keras tensor with its channels where torch's of another size has as many; an image's first, where both fit."""
    if keras.ndim != torch.ndim or keras.ndim < 3:
        return keras
    first, last = (size == keras.shape[-1] for size in (torch.shape[1], torch.shape[-1]))
    return activation_to_torch(keras) if first > last or (first == last and keras.ndim > 3) else keras


WITHIN: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "silu": lambda x: x / (1.0 + np.exp(-np.clip(x, -700.0, 700.0))),
}
"""Activations that a torch layer of an own class may apply within, where Keras has a layer for each."""
NEARER = 1e-2
"""A result with its activation is so much nearer than without, where a layer applies one."""


def compare_within(
    call: Call, outputs: Sequence[Array], behind: Sequence[Call], spread: PairSpread | None
) -> tuple[Compared, str] | None:
    """Compare with what the activation layer makes that Keras has right behind, where torch's layer has it within.

    Args:
        call: the Keras call.
        outputs: what the torch layer gave.
        behind: calls of Keras layers without weights.
        spread: of both sides' results.
    """
    if len(call.outputs) != 1 or len(outputs) != 1 or call.outputs[0].dtype.kind != "f":
        return None
    plain = call.outputs[0]
    for name, function in WITHIN.items():
        value = function(plain)
        if any(
            len(step.inputs) == 1
            and step.inputs[0].shape == plain.shape == step.outputs[0].shape
            and np.array_equal(step.inputs[0], plain)
            and np.allclose(step.outputs[0], value, rtol=1e-12, atol=0.0)
            for step in behind
        ):
            return compare([value], outputs, spread=spread), name
    return None


def regrouped(keras: Sequence[Array], torch: Sequence[Array]) -> Sequence[Array]:
    """The Keras tensors, those that differ from torch's by split or merged axes alone in torch's shape.

    That goes for tokens, whose features one side holds by heads and the other in one axis, and for a grid of tokens,
    which one side holds as (N, H, W, C) and the other as (N, L, C).
    """
    found = list(keras)
    for number, (keras_value, torch_value) in enumerate(zip(keras, torch, strict=False)):
        if aligned(keras_value, torch_value) is not None:
            continue
        if _merges(keras_value.shape, torch_value.shape):
            found[number] = keras_value.reshape(torch_value.shape)
        elif (grid := _as_grid(keras_value, torch_value)) is not None:
            found[number] = grid
    return keras if all(a is b for a, b in zip(found, keras, strict=True)) else found


def _merges(keras: tuple[int, ...], torch: tuple[int, ...]) -> bool:
    """Whether one shape of tokens is the other with neighbouring axes in one."""
    fine, coarse = sorted((keras, torch), key=len, reverse=True)
    if len(coarse) < 3 or len(fine) == len(coarse) or fine[:2] != coarse[:2] or prod(fine) != prod(coarse):
        return False
    ends = {prod(fine[:i]) for i in range(len(fine) + 1)}
    return all(prod(coarse[:i]) in ends for i in range(len(coarse)))


def _as_grid(keras: Array, torch: Array) -> Array | None:
    """The Keras tensor with the places of a grid in as many axes as torch has; None where the two are no such pair.

    Where torch's channels may be first or last, the nearer reading counts: a wrong one of equal tensors is never nearer.
    """
    if keras.ndim == torch.ndim or min(keras.ndim, torch.ndim) < 3 or keras.shape[0] != torch.shape[0]:
        return None
    shapes = [
        (len(torch), *places, channels)
        for places, channels in ((torch.shape[1:-1], torch.shape[-1]), (torch.shape[2:], torch.shape[1]))
        if channels == keras.shape[-1] and prod(places) == prod(keras.shape[1:-1])
    ]
    readings = [keras.reshape(shape) for shape in dict.fromkeys(shapes)]
    return min(readings, key=lambda reading: _away(reading, torch), default=None)


def _away(keras: Array, torch: Array) -> float:
    fit = aligned(keras, torch)
    if fit is None:
        return float("inf")
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.abs(fit[0] - keras), nan=np.inf).max(initial=0.0))


def without_borders(keras: Sequence[Array], torch: Sequence[Array]) -> tuple[bool, Compared] | None:
    """Compare images of which one has a border that the other side adds later; None where that is not so.

    Returns:
        Whether they are alike otherwise, and how they differ, each Keras image framed as torch's is.
    """
    if len(keras) != len(torch):
        return None
    frames = [
        framed(activation_to_torch(keras_value), torch_value)
        for keras_value, torch_value in zip(keras, torch, strict=True)
    ]
    images = [frame.image for frame in frames if frame is not None]
    if len(images) < len(frames):
        return None
    gaps = [difference(image, torch_value) for image, torch_value in zip(images, torch, strict=True)]
    beyond = [gap for gap in gaps if not gap.within()]
    text = "; ".join(map(str, beyond))
    return not beyond, Compared(bool(beyond), text, images, max(gap.max_rel for gap in gaps))


def compare_result(
    call: Call, outputs: Sequence[Array], spread: PairSpread | None = None, linear: PairSpread | None = None
) -> tuple[Compared, Sequence[Array]]:
    """Compare with the layer's output, or with what it was before the layer's built-in activation.

    Args:
        call: the Keras call.
        outputs: what the torch layer gave.
        spread: of both sides' results; linear: the same with the Keras side's before its activation.

    Returns:
        What differs, and which Keras result it was held against.
    """
    compared = compare(call.outputs, outputs, one_pixel=True, spread=spread)
    if compared.differs and call.linear is not None:
        plain = compare(call.linear, outputs, one_pixel=True, spread=linear)
        if not plain.misshapen:  # torch applies the activation as a step of its own
            return plain, call.linear
    return compared, call.outputs


def is_cut(keras: Array, torch: Array) -> bool:
    """Whether one side's image is a part of the other's: one may be cut behind the layer, the other within it."""
    whole = activation_to_torch(keras)
    large, small = (whole, torch) if whole.size > torch.size else (torch, whole)
    for start in starts(large.shape, small.shape) if large.size > small.size else ():
        window = tuple(slice(a, a + size) for a, size in zip(start, small.shape[2:], strict=True))
        if difference(large[(slice(None), slice(None), *window)], small).within():
            return True
    return False


def _otherwise(keras: Array, torch: Array) -> tuple[tuple[Array, str] | None, Array]:
    """How torch's tensor fits in the Keras layout, and the Keras tensor in its shape, where the ranks differ.

    Heads may be an axis of their own on one side alone, (N, T, H, C) and (N, T, H * C); tokens (N, L, C) may be a grid
    (N, H, W, C). An image of one pixel may be a vector. What is the same for each example, as positions are, may be held
    once.
    """
    if _one_pixel(keras, torch):
        return (torch, "as it is"), keras.reshape(torch.shape)
    if keras.ndim == torch.ndim + 1 or (keras.ndim == torch.ndim and len(torch) == 1 < len(keras)):
        once = keras[:1] if keras.ndim == torch.ndim else keras[0]
        if len(keras) and once.shape == torch.shape and (keras == keras[:1]).all():
            return (torch, "as it is"), once
    fits: list[tuple[float, tuple[Array, str], Array]] = []
    for reading in ("channels first", "as it is"):
        value = from_torch(torch, reading)
        if value.ndim != keras.ndim and same_groups(keras.shape, value.shape):
            regrouped = keras.reshape(value.shape)
            gap = float(np.nan_to_num(np.abs(value - regrouped), nan=np.inf).max(initial=0))
            fits.append((gap, (value, reading), regrouped))
    best = min(fits, key=lambda item: item[0], default=None)
    return (None, keras) if best is None else best[1:]


def same_groups(first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether one shape is the other with neighbouring axes merged, the examples' axis excepted."""
    fine, coarse = sorted((tuple(first), tuple(second)), key=len, reverse=True)
    if len(coarse) < 2 or fine[0] != coarse[0] or prod(fine) != prod(coarse):
        return False
    ends = {prod(fine[1:i]) for i in range(1, len(fine) + 1)}
    return all(prod(coarse[1:i]) in ends for i in range(1, len(coarse) + 1))


def _one_pixel(keras: Array, torch: Array) -> bool:
    """Whether both hold one vector for each example: (N, C), or an image of one pixel."""
    image = activation_to_torch(keras)
    if min(image.ndim, torch.ndim) < 2 or image.shape[:2] != torch.shape[:2]:
        return False
    return image.size == torch.size == image.shape[0] * image.shape[1]


def output_findings(
    keras: Sequence[Array], forced: Sequence[Array], end: int, spread: PairSpread, names: Sequence[str] = ()
) -> list[Located]:
    """What differs behind the last paired layer, where every layer gave the Keras values: one finding, or none.

    Args:
        keras: outputs of the Keras side.
        forced: outputs of the torch side with the Keras values.
        end: how many calls there were.
        spread: how far rounding moves the outputs.
        names: of the Keras outputs.
    """
    compared = compare(keras, forced, spread=spread, every=True)
    if not compared.differs:
        return []
    text = compared.text
    if len(keras) == len(forced) > 1:
        text = "; ".join(_of_each_output(keras, forced, spread, names))
    evidence = f"after the last paired layer, with all layers giving the Keras values: {text}"
    kind = Kind.SHAPE if compared.misshapen else Kind.OUTPUT
    tensors = {f"keras_input.{i}": value for i, value in enumerate(keras)}
    tensors |= {f"torch_input.{i}": value for i, value in enumerate(forced)}
    greatest = float("inf") if compared.greatest is None else compared.greatest
    apart = Apart(end + 1.0, Call("", 0, keras), Kind.OUTPUT, evidence, forced, [], keras, 0, greatest)
    effect = greatest if np.isfinite(greatest) else None
    finding = Finding(None, None, kind, None, evidence, tensors=tensors, effect=effect)
    return [Located(end + 1.0, finding, apart)]


def _of_each_output(
    keras: Sequence[Array], forced: Sequence[Array], spread: PairSpread, names: Sequence[str]
) -> Iterator[str]:
    """What differs in each of several outputs, with the output's number and Keras' name for it."""
    for i, (keras_value, torch_value) in enumerate(zip(keras, forced, strict=True)):
        one = PairSpread(spread.keras[i : i + 1], spread.torch[i : i + 1])
        compared = compare([keras_value], [torch_value], spread=one, every=True)
        if compared.differs:
            name = f" ({names[i]})" if i < len(names) and names[i] else ""
            yield f"output {i + 1} of {len(keras)}{name}: {compared.text}"
