"""Why a layer with a kernel differs: how it used the kernel, where its windows lie, and what it adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import gcd

import numpy as np

from parity.causes.case import Case, Explanation
from parity.causes.kernels.computation import Computation, agreement, hypers_of
from parity.causes.kernels.convolution import describe_convolution
from parity.causes.kernels.dense import describe_dense
from parity.causes.kernels.transposed import describe_transposed
from parity.causes.steps.pooling import numbers
from parity.causes.table import CAUSES
from parity.core.finding import Fix
from parity.core.layout import aligned
from parity.core.types import Array
from parity.replay.border import framed


def explain_kernel(case: Case) -> Iterator[Explanation]:
    """The causes at a convolution, a transposed one, or a dense layer."""
    keras, torch = _describe(case)
    if keras is not None and torch is None:
        yield from _few_digits(case, keras)
    if keras is None or torch is None:
        return
    found = [*_kernels(case, keras, torch), *_places(case, keras, torch), *_biases(case, keras, torch)]
    together = "" if len(found) == 1 else f" together with {len(found) - 1} more"
    x = case.torch_in[0] if case.torch_in[0].shape == case.channels_first[0].shape else None
    for cause, evidence, fix in found:
        shown = _verified(case, keras, x)
        text = f"{evidence}; with that changed{together} the layer agrees to {shown:.1g}"
        strides = (keras.stride, torch.stride) if cause == "stride-value" else None
        yield Explanation(cause, text, fix, True, strides)


def _few_digits(case: Case, keras: Computation) -> Iterator[Explanation]:
    """The torch result comes from operands rounded to the 10 bits of mantissa that TF32 keeps."""
    weights = {**case.weights[1], "weight": rounded_to_tf32(case.weights[1]["weight"])}
    case = replace(case, torch_in=[rounded_to_tf32(case.torch_in[0])], weights=(weights, weights))
    _, torch = _describe(case)
    if torch is not None and torch == keras:
        yield Explanation("tf32", "the torch result is that of operands rounded to 10 bits of mantissa, to the last digit",
                          "multiply in full precision: torch.backends.cuda.matmul.allow_tf32 = "
                          "torch.backends.cudnn.allow_tf32 = False", True)  # fmt: skip


def rounded_to_tf32(value: Array) -> Array:
    """Rounded to 10 bits of mantissa."""
    mantissa, exponent = np.frexp(value)
    return np.asarray(np.ldexp(np.round(mantissa * 2.0**11) / 2.0**11, exponent))


def _verified(case: Case, keras: Computation, x: Array | None) -> float:
    """How well the computation that was identified repeats the Keras result."""
    image = case.channels_first[0] if x is None else x
    if keras.size == ():
        return agreement(case.keras_out, keras.run(case.keras_in[0]))
    return agreement(case.channels_first[1], keras.run(image))


def _describe(case: Case) -> tuple[Computation | None, Computation | None]:
    """What each side computed, with the Keras kernel as the measure of both."""
    weight, torch_weight = case.weights[0].get("weight"), case.weights[1].get("weight")
    if weight is None or torch_weight is None or weight.shape != torch_weight.shape:
        return None, None
    another = None if np.array_equal(weight, torch_weight) else torch_weight
    if weight.ndim == 2:
        return _describe_dense(case, weight, another)
    x, y = case.channels_first
    if {x.ndim, case.torch_in[0].ndim, case.torch_out.ndim} != {weight.ndim}:
        return None, None
    pads = _paddings(case, x.ndim - 2)
    found = []
    transposed = "conv_transpose" in case.families
    describe = describe_transposed if transposed else describe_convolution
    for image, result, side, kernel in ((x, y, 0, None), (case.torch_in[0], case.torch_out, 1, another)):
        settings = [dict(case.settings[side]), dict(case.settings[1 - side])]
        hypers = hypers_of(settings, image, result, transposed)
        found.append(describe(image, result, weight, kernel, hypers, pads))
    return found[0], found[1]


def _describe_dense(
    case: Case, weight: Array, another: Array | None
) -> tuple[Computation | None, Computation | None]:
    fit = aligned(case.keras_out, case.torch_out)
    torch_out = case.torch_out if fit is None else fit[0]
    # Flattened images reach both sides as torch orders them, where the layers were replayed.
    torch = describe_dense(case.torch_in[0], torch_out, weight, another, case.images)
    keras = describe_dense(case.keras_in[0], case.keras_out, weight, None, case.images)
    if keras is None:
        keras = describe_dense(case.torch_in[0], case.keras_out, weight, None, case.images)
    return keras, torch


def _paddings(case: Case, rank: int) -> list[int]:
    found = [numbers(settings.get("padding"), rank) for settings in case.settings]
    return sorted({value for pads in found if pads for value in pads if value > 0} | {1, 2})


def _kernels(case: Case, keras: Computation, torch: Computation) -> Iterator[tuple[str, str, str]]:
    """Differences in how the kernel was used."""
    for cause in sorted(set(keras.mistakes) ^ set(torch.mistakes)):
        side, path = ("torch", case.torch) if cause in torch.mistakes else ("Keras", case.keras)
        text = {
            "kernel-flip": "uses the kernel turned by 180 degrees",
            "kernel-hw-swap": "uses the kernel with height and width exchanged",
            "kernel-io-swap": "uses the kernel with in and out channels exchanged",
            "channel-order": "reads the input channels in the opposite order",
            "flatten-order": "has the places of the image, flattened or not yet an image, in the other order",
            "depthwise-multiplier-order": "has the output channels as m * channels + channel, not channel * multiplier + m",
            "group-layout": "has the kernel's output channels in another order of groups",
            "weight-not-copied": "has another kernel",
        }[cause]
        yield cause, f"the {side} layer {path} {text}", _fix(cause, side, path)


def _fix(cause: str, side: str, path: str) -> str:
    return f"{CAUSES[cause].fix} ({side} layer {path})"


def _places(case: Case, keras: Computation, torch: Computation) -> Iterator[tuple[str, str, str]]:
    """Differences in stride, dilation, padding and crop."""
    transposed = "conv_transpose" in case.families
    gridded = transposed and any(
        max(side.stride, default=1) > 1 and max(side.dilation, default=1) > 1 for side in (keras, torch)
    )
    for name, cause, a, b in (("stride", "stride-value", keras.stride, torch.stride),
                              ("dilation", "dilation-value", keras.dilation, torch.dilation)):  # fmt: skip
        if a != b:
            yield ("dilation-stride-grid" if gridded else cause,
                   f"{name} {a} on the Keras side, {b} on the torch side, as the results show",
                   Fix(f"set {name}={b} on Keras layer {case.keras}",
                       f"{name}={a} on torch layer {case.torch}"))  # fmt: skip
    if keras.stride != torch.stride or keras.dilation != torch.dilation or not keras.stride:
        return
    if keras.padding != torch.padding:
        yield ("padding-size", f"padding is {keras.padding} in Keras, {torch.padding} in torch",
               "give both layers the same padding mode")  # fmt: skip
    shift = _shift(case)
    start = tuple(b + s for b, s in zip(torch.start, shift, strict=True))
    if not transposed and (keras.start != start or keras.size != torch.size):
        yield _windows(case, keras, torch, start)
    if transposed:
        yield from _crops(case, keras, torch, gridded)


def _shift(case: Case) -> tuple[int, ...]:
    """Where the torch layer's input begins in the Keras layer's, where one side pads in front."""
    keras, torch = case.channels_first[0], case.torch_in[0]
    frame = framed(keras, torch)
    if frame is not None:
        return frame.offset
    return tuple((a - b) // 2 for a, b in zip(keras.shape[2:], torch.shape[2:], strict=True))


def _windows(
    case: Case, keras: Computation, torch: Computation, start: tuple[int, ...]
) -> tuple[str, str, str]:
    first = tuple(a - s for a, s in zip(keras.start, _shift(case), strict=True))  # a step in front may pad
    text = (f"the first window begins at pixel {first} in Keras and {torch.start} in torch (padding in front "
            f"{_negated(first)} and {_negated(torch.start)}), sizes {keras.size} and {torch.size}")  # fmt: skip
    same_padding = case.settings[0].get("padding") == "same" or case.settings[1].get("padding") == "same"
    strided = max(keras.stride) > 1
    uneven = any(abs(a - b) == 1 for a, b in zip(keras.start, start, strict=True))
    in_torch = f"torch layer {case.torch}: padding=0 behind F.pad(x, {_around(case, keras)}), as Keras pads"
    in_keras = f"Keras layer {case.keras}: padding='valid' behind a ZeroPadding layer that pads as torch does"
    if keras.size == torch.size and uneven and (same_padding or strided):
        return "same-padding-asymmetry", text, Fix(in_keras, in_torch, f"{in_torch}; or {in_keras}")
    return "padding-size", text, Fix(in_keras, in_torch, in_torch)


def _around(case: Case, keras: Computation) -> tuple[int, ...]:
    """What Keras pads of the torch layer's input, as F.pad takes it: the last axis first, begin and end."""
    kernel, image = case.weights[0]["weight"].shape[2:], case.torch_in[0].shape[2:]
    ahead = _shift(case)  # padded by a step in front, in Keras
    flat: list[int] = []
    for axis in reversed(range(len(kernel))):
        span = keras.dilation[axis] * (kernel[axis] - 1) + 1
        start = keras.start[axis] - ahead[axis]
        flat += [-start, start + (keras.size[axis] - 1) * keras.stride[axis] + span - image[axis]]
    return tuple(flat)


def _negated(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(-value for value in values)


def _crops(
    case: Case, keras: Computation, torch: Computation, gridded: bool
) -> Iterator[tuple[str, str, str]]:
    """Differences in which part of a transposed convolution's result was kept."""
    for side, path, at_input, at_output in (
        ("torch", case.torch, torch, keras),
        ("Keras", case.keras, keras, torch),
    ):
        added = at_input.crop < 0 or all(
            start < 0 and start % s == 0 for start, s in zip(at_input.start, at_input.stride, strict=True)
        )
        cut_too = at_output.crop or any(start < 0 for start in at_output.start)
        if (at_input.crop != 0 or added) and not cut_too:
            verb = "crops" if at_input.crop > 0 else "pads"
            text = (f"the {side} layer {verb} its input and keeps the result from row {at_input.start}; "
                    f"the other side crops the result, from row {at_output.start}")  # fmt: skip
            yield (
                "transpose-padding-is-crop",
                text,
                f"crop the output of {side} layer {path} by the padding, not its input",
            )
            return
    if keras.start != torch.start:
        steps = [gcd(s, d) for s, d in zip(keras.stride, keras.dilation, strict=True)]
        off_grid = gridded and any(
            (a - b) % step for a, b, step in zip(keras.start, torch.start, steps, strict=True)
        )
        text = f"the result is kept from row {keras.start} of the whole one in Keras, from {torch.start} in torch"
        yield ("dilation-stride-grid" if off_grid else "transpose-crop-offset", text,
               Fix(f"crop {torch.start} rows and columns at the start of Keras layer {case.keras}, as torch does",
                   f"crop {keras.start} rows and columns at the start of torch layer {case.torch}, as Keras does",
                   f"crop both alike: {keras.start} rows and columns at the start, as the Keras layer does"))  # fmt: skip
    elif keras.size != torch.size:
        text = (
            f"both keep the result from row {keras.start}, {keras.size} of it in Keras, {torch.size} in torch"
        )
        more = tuple(a - b for a, b in zip(keras.size, torch.size, strict=True))
        in_torch = f"raise output_padding of torch layer {case.torch} by {more}"
        in_keras = f"raise output_padding of Keras layer {case.keras} by {_negated(more)}"
        yield "output-padding", text, Fix(in_keras, in_torch, in_torch)


def _biases(case: Case, keras: Computation, torch: Computation) -> Iterator[tuple[str, str, str]]:
    """Differences in the constant of each channel."""
    a, b = keras.bias, torch.bias
    if a.shape != b.shape:
        return
    scale = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)), 1e-300)
    apart = np.abs(a - b) > 1e-9 * scale
    if not apart.any() or (
        torch.mistakes
        and (torch.mistakes, torch.variant) != (keras.mistakes, keras.variant)
        and np.allclose(np.sort(a), np.sort(b), rtol=1e-9)
    ):
        return
    size = f"{int(apart.sum())} of {apart.size} channels, by up to {np.abs(a - b).max():.3g}"
    for side, path, lacking, having in (("Keras", case.keras, a, b), ("torch", case.torch, b, a)):
        if not lacking.any() and having.any():
            yield ("missing-bias", f"the {side} layer {path} adds no bias ({size})",
                   f"copy the bias to {side} layer {path}")  # fmt: skip
            return
    # A bias that was never copied differs everywhere; a kernel that was not copied either says so itself.
    if "weight-not-copied" in torch.mistakes:
        return
    cause = "missing-bias" if apart.all() else "weight-not-copied"
    yield (
        cause,
        f"the bias differs in {size}, the kernel does not",
        f"copy the bias of {case.keras} to {case.torch}",
    )
