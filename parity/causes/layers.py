"""Why one layer differs on identical inputs: both sides' results are identified, and the descriptions compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd
from typing import Any

import numpy as np

from parity.adapters.base import Array
from parity.causes import norms
from parity.causes.compare_steps import explain_steps
from parity.causes.kernels import (
    Computation,
    agreement,
    describe_convolution,
    describe_dense,
    describe_transposed,
    hypers_of,
)
from parity.causes.norms import Normalisation
from parity.causes.steps import IDENTITY, Step, identify, numbers, permutation, plain_number, same
from parity.layout import activation_to_torch, aligned
from parity.tolerance import difference


@dataclass(frozen=True)
class Explanation:
    """One cause of one finding.

    `strides` are those of both layers, where they are what differs; `layers` are the layers without weights that
    were found to be the place, where two of them are.
    """

    cause: str
    evidence: str
    fix: str
    verified: bool = False
    strides: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    layers: tuple[str | None, str | None] | None = None


@dataclass
class Case:
    """One call of one paired layer: what both sides made of identical inputs.

    Attributes:
        keras: path of the Keras layer; torch: path of the torch module.
        families: kinds of the two layers, None where not known.
        settings: of the Keras and the torch layer.
        keras_in, keras_out: in the Keras layout; the result is the one before a built-in activation.
        torch_in, torch_out: in the torch layout.
        weights: of the Keras and the torch layer, by torch's names, in torch's layout.
        images: (C, *space) of images that may have been flattened in front.
        rerun: runs the torch layer on its inputs with other weights (by torch's names) and attributes.
    """

    keras: str
    torch: str
    families: tuple[str | None, str | None]
    settings: tuple[Mapping[str, Any], Mapping[str, Any]]
    keras_in: Sequence[Array]
    keras_out: Array
    torch_in: Sequence[Array]
    torch_out: Array
    weights: tuple[Mapping[str, Array], Mapping[str, Array]]
    images: Sequence[tuple[int, ...]] = ()
    rerun: Callable[[Mapping[str, Array], Mapping[str, Any]], Array | None] = field(
        default=lambda weights, settings: None
    )

    @property
    def channels_first(self) -> tuple[Array, Array]:
        """The Keras input and result, channels first."""
        if self.settings[0].get("data_format") == "channels_first":
            return self.keras_in[0], self.keras_out
        return activation_to_torch(self.keras_in[0]), activation_to_torch(self.keras_out)

    def agrees(self, weights: Mapping[str, Array], settings: Mapping[str, Any]) -> float | None:
        """How well the torch layer itself, so changed, agrees with the Keras result; None where it does not."""
        value = self.rerun(weights, settings)
        fit = None if value is None else aligned(self.keras_out, value)
        gap = None if fit is None else difference(self.keras_out, fit[0])
        return gap.max_rel if gap is not None and gap.within() else None


def explain_layer(case: Case) -> list[Explanation]:
    """Every cause that the tensors show; empty where they show none of the known ones."""
    if len(case.keras_in) != 1 or len(case.torch_in) != 1:
        return list(_other_weights(case))
    family = case.families[0] or case.families[1]
    known: dict[str, Callable[[Case], Iterator[Explanation]]] = {
        "conv": _kernel_layer, "depthwise": _kernel_layer, "conv_transpose": _kernel_layer, "dense": _kernel_layer,
        "batchnorm": _batchnorm, "layernorm": _grouped, "groupnorm": _grouped,
    }  # fmt: skip
    found = list(known[family](case)) if family in known else []
    if not found and not (case.weights[0] or case.weights[1]):
        found = list(_weightless(case))
    return found or list(_other_weights(case)) or list(_steps_behind(case))


def _steps_behind(case: Case) -> Iterator[Explanation]:
    """A step that only one side's layer does to its result."""
    _, y = case.channels_first
    fit = aligned(case.keras_out, case.torch_out)
    if fit is not None and fit[1] == "as it is":
        y = case.keras_out
    ahead, back = identify(y, case.torch_out), identify(case.torch_out, y)
    for x, mine, other in ((y, IDENTITY, ahead), (case.torch_out, back, IDENTITY)):
        if mine is not None and other is not None and "affine" not in (mine.kind, other.kind):
            place = case.keras, case.torch
            for cause, evidence, fix in explain_steps(x, y, case.torch_out, mine, other, place):
                yield Explanation(cause, f"behind the layer's own work, {evidence}", fix, verified=True)
            return


# --- layers without weights -----------------------------------------------------------------------


def _weightless(case: Case) -> Iterator[Explanation]:
    x, y = case.channels_first
    hints = (dict(case.settings[0]), dict(case.settings[1]))
    steps = identify(x, y, hints), identify(case.torch_in[0], case.torch_out, hints)
    if steps[0] is not None and steps[1] is not None and steps[0].kind == steps[1].kind == "pool":
        steps = _from_one_corner(steps[0], x, steps[1], case.torch_in[0])
    for cause, evidence, fix in explain_steps(
        x, y, case.torch_out, steps[0], steps[1], (case.keras, case.torch)
    ):
        yield Explanation(cause, evidence, fix, verified=True)


def _from_one_corner(ours: Step, x: Array, theirs: Step, other: Array) -> tuple[Step, Step]:
    """Two poolings of which one has its padding in front as a step of its own: that padding counts."""
    ahead = [(a - b) // 2 for a, b in zip(x.shape[2:], other.shape[2:], strict=True)]
    if not any(ahead):
        return ours, theirs
    step, sign = (ours, 1) if max(ahead) > 0 else (theirs, -1)
    pads = [
        (begin + sign * extra, end) for (begin, end), extra in zip(step.settings["pads"], ahead, strict=True)
    ]
    moved = replace(step, settings={**step.settings, "pads": pads, "count": True},
                    name=f"{step.name} behind a padding of {[abs(extra) for extra in ahead]}")  # fmt: skip
    return (moved, theirs) if step is ours else (ours, moved)


# --- layers with a kernel -------------------------------------------------------------------------


def _kernel_layer(case: Case) -> Iterator[Explanation]:
    ours, theirs = _describe(case)
    if ours is not None and theirs is None:
        yield from _few_digits(case, ours)
    if ours is None or theirs is None:
        return
    found = [*_kernels(case, ours, theirs), *_places(case, ours, theirs), *_biases(case, ours, theirs)]
    together = "" if len(found) == 1 else f" together with {len(found) - 1} more"
    x = case.torch_in[0] if case.torch_in[0].shape == case.channels_first[0].shape else None
    for cause, evidence, fix in found:
        shown = _verified(case, ours, x)
        text = f"{evidence}; with that changed{together} the layer agrees to {shown:.1g}"
        strides = (ours.stride, theirs.stride) if cause == "stride-value" else None
        yield Explanation(cause, text, fix, True, strides)


def _few_digits(case: Case, ours: Computation) -> Iterator[Explanation]:
    """The torch result comes from operands rounded to the 10 bits of mantissa that TF32 keeps."""
    weights = {**case.weights[1], "weight": rounded_to_tf32(case.weights[1]["weight"])}
    case = replace(case, torch_in=[rounded_to_tf32(case.torch_in[0])], weights=(weights, weights))
    _, theirs = _describe(case)
    if theirs is not None and theirs == ours:
        yield Explanation("tf32", "the torch result is that of operands rounded to 10 bits of mantissa, to the last digit",
                          "multiply in full precision: torch.backends.cuda.matmul.allow_tf32 = "
                          "torch.backends.cudnn.allow_tf32 = False", True)  # fmt: skip


def rounded_to_tf32(value: Array) -> Array:
    """Rounded to 10 bits of mantissa."""
    mantissa, exponent = np.frexp(value)
    return np.asarray(np.ldexp(np.round(mantissa * 2.0**11) / 2.0**11, exponent))


def _verified(case: Case, ours: Computation, x: Array | None) -> float:
    """How well the computation that was identified repeats the Keras result."""
    own = case.channels_first[0] if x is None else x
    if ours.size == ():
        return agreement(case.keras_out, ours.run(case.keras_in[0]))
    return agreement(case.channels_first[1], ours.run(own))


def _describe(case: Case) -> tuple[Computation | None, Computation | None]:
    """What each side computed, with the Keras kernel as the measure of both."""
    ours, theirs = case.weights[0].get("weight"), case.weights[1].get("weight")
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return None, None
    other = None if np.array_equal(ours, theirs) else theirs
    x, y = case.channels_first
    if ours.ndim == 2:
        fit = aligned(case.keras_out, case.torch_out)
        mine = describe_dense(case.keras_in[0], case.keras_out, ours, None, case.images)
        torch_out = case.torch_out if fit is None else fit[0]
        # Flattened images reach both sides as torch orders them, where the layers were replayed.
        back = describe_dense(case.torch_in[0], torch_out, ours, other, case.images)
        if mine is None:
            mine = describe_dense(case.torch_in[0], case.keras_out, ours, None, case.images)
        return mine, back
    if x.ndim != ours.ndim or case.torch_in[0].ndim != ours.ndim or case.torch_out.ndim != ours.ndim:
        return None, None
    pads = _paddings(case, x.ndim - 2)
    sides = []
    transposed = "conv_transpose" in case.families
    for image, result, own, kernel in ((x, y, 0, None), (case.torch_in[0], case.torch_out, 1, other)):
        settings = [dict(case.settings[own]), dict(case.settings[1 - own])]
        hypers = hypers_of(settings, image, result, transposed)
        describe = describe_transposed if transposed else describe_convolution
        sides.append(describe(image, result, ours, kernel, hypers, pads))
    return sides[0], sides[1]


def _paddings(case: Case, rank: int) -> list[int]:
    found = [numbers(settings.get("padding"), rank) for settings in case.settings]
    return sorted({value for pads in found if pads for value in pads if value > 0} | {1, 2})


def _kernels(case: Case, ours: Computation, theirs: Computation) -> Iterator[tuple[str, str, str]]:
    """Differences in how the kernel was used."""
    mine, other = (
        set(side.kernel.split()) - {"as", "it", "is", "reversed", "rolled"} for side in (ours, theirs)
    )
    for cause in sorted(mine ^ other):
        side, path = ("torch", case.torch) if cause in other else ("Keras", case.keras)
        text = {
            "kernel-flip": "uses the kernel turned by 180 degrees",
            "kernel-hw-swap": "uses the kernel with height and width exchanged",
            "kernel-io-swap": "uses the kernel with in and out channels exchanged",
            "channel-order": "reads the input channels in the opposite order",
            "flatten-order": "reads the flattened image in the other order",
            "depthwise-multiplier-order": "has the output channels as m * channels + channel, not channel * multiplier + m",
            "group-layout": "has the kernel's output channels in another order of groups",
            "weight-not-copied": "has another kernel",
        }[cause]
        yield cause, f"the {side} layer {path} {text}", _fix(cause, side, path)


def _fix(cause: str, side: str, path: str) -> str:
    from parity.causes.table import CAUSES

    return f"{CAUSES[cause].fix} ({side} layer {path})"


def _places(case: Case, ours: Computation, theirs: Computation) -> Iterator[tuple[str, str, str]]:
    """Differences in stride, dilation, padding and crop."""
    transposed = "conv_transpose" in case.families
    gridded = transposed and any(
        max(side.stride, default=1) > 1 and max(side.dilation, default=1) > 1 for side in (ours, theirs)
    )
    for name, cause, a, b in (("stride", "stride-value", ours.stride, theirs.stride),
                              ("dilation", "dilation-value", ours.dilation, theirs.dilation)):  # fmt: skip
        if a != b:
            yield ("dilation-stride-grid" if gridded else cause,
                   f"{name} {a} on the Keras side, {b} on the torch side, as the results show",
                   f"set {name}={b} on Keras layer {case.keras}, or {name}={a} on torch layer {case.torch}")  # fmt: skip
    if ours.stride != theirs.stride or ours.dilation != theirs.dilation or not ours.stride:
        return
    if ours.padding != theirs.padding:
        yield ("padding-size", f"padding is {ours.padding} in Keras, {theirs.padding} in torch",
               "give both layers the same padding mode")  # fmt: skip
    shift = _shift(case)
    start = tuple(b + s for b, s in zip(theirs.start, shift, strict=True))
    if not transposed and (ours.start != start or ours.size != theirs.size):
        yield _windows(case, ours, theirs, start)
    if transposed:
        yield from _crops(case, ours, theirs, gridded)


def _shift(case: Case) -> tuple[int, ...]:
    """Where the torch layer's input begins in the Keras layer's, where one side pads in front."""
    sizes = case.channels_first[0].shape[2:], case.torch_in[0].shape[2:]
    return tuple((a - b) // 2 for a, b in zip(*sizes, strict=True))


def _windows(
    case: Case, ours: Computation, theirs: Computation, start: tuple[int, ...]
) -> tuple[str, str, str]:
    text = (f"the first window begins at pixel {ours.start} in Keras and {theirs.start} in torch (padding in front "
            f"{_negated(ours.start)} and {_negated(theirs.start)}), sizes {ours.size} and {theirs.size}")  # fmt: skip
    same_padding = case.settings[0].get("padding") == "same" or case.settings[1].get("padding") == "same"
    strided = max(ours.stride) > 1
    uneven = any(abs(a - b) == 1 for a, b in zip(ours.start, start, strict=True))
    fix = f"torch layer {case.torch}: padding=0 behind F.pad(x, {_around(case, ours)}), as Keras pads"
    if ours.size == theirs.size and uneven and (same_padding or strided):
        fix += f"; or Keras layer {case.keras}: padding='valid' behind a ZeroPadding layer that pads as torch does"
        return "same-padding-asymmetry", text, fix
    return "padding-size", text, fix


def _around(case: Case, ours: Computation) -> tuple[int, ...]:
    """What Keras pads of the torch layer's input, as F.pad takes it: the last axis first, begin and end."""
    kernel, image = case.weights[0]["weight"].shape[2:], case.channels_first[0].shape[2:]
    ahead = _shift(case)  # padded by a step in front, in Keras
    flat: list[int] = []
    for axis in reversed(range(len(kernel))):
        span = ours.dilation[axis] * (kernel[axis] - 1) + 1
        end = ours.start[axis] + (ours.size[axis] - 1) * ours.stride[axis] + span - image[axis]
        flat += [ahead[axis] - ours.start[axis], end + ahead[axis]]
    return tuple(flat)


def _negated(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(-value for value in values)


def _crops(
    case: Case, ours: Computation, theirs: Computation, gridded: bool
) -> Iterator[tuple[str, str, str]]:
    """Differences in which part of a transposed convolution's result was kept."""
    for (side, path), mine, other in (
        (("torch", case.torch), theirs, ours),
        (("Keras", case.keras), ours, theirs),
    ):
        added = mine.crop < 0 or all(
            start < 0 and start % s == 0 for start, s in zip(mine.start, mine.stride, strict=True)
        )
        if (mine.crop != 0 or added) and not (other.crop or any(start < 0 for start in other.start)):
            text = (f"the {side} layer {'crops' if mine.crop > 0 else 'pads'} its input and keeps the result from row "
                    f"{mine.start}; the other crops the result, from row {other.start}")  # fmt: skip
            yield (
                "transpose-padding-is-crop",
                text,
                f"crop the output of {side} layer {path} by the padding, not its input",
            )
            return
    if ours.start != theirs.start:
        steps = [gcd(s, d) for s, d in zip(ours.stride, ours.dilation, strict=True)]
        off_grid = gridded and any(
            (a - b) % step for a, b, step in zip(ours.start, theirs.start, steps, strict=True)
        )
        text = f"the result is kept from row {ours.start} of the whole one in Keras, from {theirs.start} in torch"
        yield ("dilation-stride-grid" if off_grid else "transpose-crop-offset", text,
               f"crop both alike: {ours.start} rows and columns at the start, as the Keras layer does")  # fmt: skip
    elif ours.size != theirs.size:
        text = (
            f"both keep the result from row {ours.start}, {ours.size} of it in Keras, {theirs.size} in torch"
        )
        more = tuple(a - b for a, b in zip(ours.size, theirs.size, strict=True))
        yield "output-padding", text, f"raise output_padding of torch layer {case.torch} by {more}"


def _biases(case: Case, ours: Computation, theirs: Computation) -> Iterator[tuple[str, str, str]]:
    """Differences in the constant of each channel."""
    a, b = ours.bias, theirs.bias
    if a.shape != b.shape:
        return
    scale = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)), 1e-300)
    apart = np.abs(a - b) > 1e-9 * scale
    if not apart.any() or (
        theirs.kernel not in ("as it is", ours.kernel) and np.allclose(np.sort(a), np.sort(b), rtol=1e-9)
    ):
        return
    size = f"{int(apart.sum())} of {apart.size} channels, by up to {np.abs(a - b).max():.3g}"
    for side, path, value, other in (("Keras", case.keras, a, b), ("torch", case.torch, b, a)):
        if not value.any() and other.any():
            yield ("missing-bias", f"the {side} layer {path} adds no bias ({size})",
                   f"copy the bias to {side} layer {path}")  # fmt: skip
            return
    # A bias that was never copied differs everywhere; a kernel that was not copied either says so itself.
    if "weight-not-copied" in theirs.kernel.split():
        return
    cause = "missing-bias" if apart.all() else "weight-not-copied"
    yield (
        cause,
        f"the bias differs in {size}, the kernel does not",
        f"copy the bias of {case.keras} to {case.torch}",
    )


# --- normalisations -------------------------------------------------------------------------------


def _batchnorm(case: Case) -> Iterator[Explanation]:
    x, y = (
        case.channels_first
        if case.settings[0].get("axis") in (None, -1, x_axis(case))
        else (case.keras_in[0], case.keras_out)
    )
    ours = norms.describe_batchnorm(x, y, [("keras", case.weights[0])])
    theirs = norms.describe_batchnorm(
        case.torch_in[0], case.torch_out, [("keras", case.weights[0]), ("torch", case.weights[1])]
    )
    if ours is None or theirs is None:
        yield from _epsilon_as_set(case, "batchnorm-epsilon")
        return
    yield from _normalisations(case, ours, theirs, "batchnorm-epsilon")


def _epsilon_as_set(case: Case, cause: str) -> Iterator[Explanation]:
    """For results from which epsilon cannot be solved (single pixels): with the other's setting the layer agrees."""
    a, b = case.settings[0].get("epsilon"), case.settings[1].get("eps")
    agreed = case.agrees({}, {"eps": a}) if a is not None and b is not None and a != b else None
    if agreed is not None:
        text = f"epsilon is {a:g} in Keras and {b:g} in torch; with eps={a:g} the torch layer agrees to {agreed:.1g}"
        fix = f"epsilon={b:g} on Keras layer {case.keras}, or eps={a:g} on torch layer {case.torch}"
        yield Explanation(cause, text, fix, True)


def x_axis(case: Case) -> int:
    """The last axis of the Keras input, which holds the channels."""
    return case.keras_in[0].ndim - 1


def _grouped(case: Case) -> Iterator[Explanation]:
    sources = [("keras", case.weights[0])], [("keras", case.weights[0]), ("torch", case.weights[1])]
    groups = case.settings[1].get("num_groups", case.settings[0].get("groups"))
    if "groupnorm" in case.families:
        x, y = case.channels_first
        pair = ((x, y, sources[0]), (case.torch_in[0], case.torch_out, sources[1]))
        found = [norms.describe_grouped(*item, int(groups or 1)) for item in pair]
        cause = "groupnorm-epsilon"
    else:
        fit = aligned(case.keras_out, case.torch_out)
        if fit is None:
            return
        inside = aligned(case.keras_in[0], case.torch_in[0])
        pair = ((case.keras_in[0], case.keras_out, sources[0]),
                (inside[0] if inside else case.torch_in[0], fit[0], sources[1]))  # fmt: skip
        found = [norms.describe_grouped(*item, None) for item in pair]
        cause = "layernorm-epsilon"
    if found[0] is not None and found[1] is not None:
        yield from _normalisations(case, found[0], found[1], cause)
    else:
        yield from _epsilon_as_set(case, cause)


def _normalisations(
    case: Case, ours: Normalisation, theirs: Normalisation, epsilon_cause: str
) -> Iterator[Explanation]:
    found: list[tuple[str, str, str]] = []
    settings: dict[str, Any] = {}
    if abs(ours.epsilon - theirs.epsilon) > 1e-6 * max(ours.epsilon, theirs.epsilon) + 1e-12:
        a, b = _short(ours.epsilon), _short(theirs.epsilon)
        settings["eps"] = a
        found.append((epsilon_cause, f"epsilon is {a:g} in Keras and {b:g} in torch, as solved from the results",
                      f"epsilon={b:g} on Keras layer {case.keras}, or eps={a:g} on torch layer {case.torch}"))  # fmt: skip
    if ours.statistics != theirs.statistics:
        side, path = ("torch", case.torch) if theirs.statistics == "batch" else ("Keras", case.keras)
        found.append(("train-mode-left-on", f"the {side} layer {path} normalises by the statistics of the batch",
                      f"run {side} layer {path} in inference mode"))  # fmt: skip
    weights = dict(case.weights[0]) if theirs.source == "torch" or ours.order != theirs.order else {}
    found += _vectors(case, ours, theirs)
    agreed = case.agrees(weights, settings) if found else None
    shown = "with that changed on the torch layer it agrees" + ("" if agreed is None else f" to {agreed:.1g}")
    if agreed is None:  # the module does not read its own attributes: the formula was held against the result
        shown = "with that changed the layer's formula gives the Keras result"
    for cause, evidence, fix in found:
        yield Explanation(cause, f"{evidence}; {shown}", fix, True)


def _short(value: float) -> float:
    return plain_number(float(f"{value:.7g}"))


def _vectors(case: Case, ours: Normalisation, theirs: Normalisation) -> Iterator[tuple[str, str, str]]:
    """Differences in which vector stands where."""
    if theirs.source == "keras" and ours.order != theirs.order:
        dropped = {name for name in theirs.order if name.startswith("no ")} ^ {
            n for n in ours.order if n.startswith("no ")
        }
        if dropped:
            side, path = (
                ("torch", case.torch) if any(n in theirs.order for n in dropped) else ("Keras", case.keras)
            )
            names = ", ".join(sorted(name.removeprefix("no ") for name in dropped))
            cause = "missing-bias" if dropped == {"no bias"} else "weight-not-copied"
            yield cause, f"the {side} layer {path} has no {names}", f"copy {names} to {side} layer {path}"
            return
        text = (
            f"the vectors stand as {', '.join(ours.order)} in Keras and as {', '.join(theirs.order)} in torch"
        )
        yield "batchnorm-slots-swapped", text, f"copy each vector to its own slot of torch layer {case.torch}"
    elif theirs.source == "torch":
        mine, other = case.weights
        differing = [name for name in other if name in mine and not np.array_equal(mine[name], other[name])]
        swapped = [(name, twin) for name in differing for twin in mine
                   if twin != name and np.array_equal(other[name], mine[twin])]  # fmt: skip
        names = ", ".join(differing)
        if swapped:
            text = "; ".join(f"torch's {name} holds what Keras has as {twin}" for name, twin in swapped)
            yield (
                "batchnorm-slots-swapped",
                text,
                f"copy each vector to its own slot of torch layer {case.torch}",
            )
        elif differing == ["bias"] and (not other["bias"].any() or not mine["bias"].any()):
            side = "torch" if not other["bias"].any() else "Keras"
            yield "missing-bias", f"the {side} layer's bias is zero", f"copy the bias to the {side} layer"
        elif differing:
            yield (
                "weight-not-copied",
                f"{names} are not the same",
                f"copy {names} from {case.keras} to {case.torch}",
            )


# --- any layer ------------------------------------------------------------------------------------


def _other_weights(case: Case) -> Iterator[Explanation]:
    """For layers of any kind: with the Keras weights, the torch layer itself agrees."""
    mine, other = case.weights
    differing = {
        name: mine[name] for name in other if name in mine and not np.array_equal(mine[name], other[name])
    }
    agreed = case.agrees(differing, {}) if differing else None
    if agreed is None:
        yield from _permuted(case)
        return
    names = ", ".join(differing)
    zero = [name for name in differing if not other[name].any() or not mine[name].any()]
    only_bias = set(differing) == {"bias"} and (
        bool(zero) or not np.isclose(mine["bias"], other["bias"]).any()
    )
    cause = "missing-bias" if only_bias else "weight-not-copied"
    yield Explanation(cause, f"{names} differ; with the Keras values the torch layer agrees to {agreed:.1g}",
                      f"copy {names} from {case.keras} to {case.torch}", True)  # fmt: skip


def _permuted(case: Case) -> Iterator[Explanation]:
    """The same result with its channels in another order: no cause is named without a reason, but one is shown."""
    _, y = case.channels_first
    order = permutation(case.torch_out, y) if y.shape == case.torch_out.shape else None
    if order is not None and "depthwise" in case.families and same(y, np.take(case.torch_out, order, 1)):
        yield Explanation("depthwise-multiplier-order", f"the torch result's channels in the order {order} agree",
                          "order the output channels as channel * multiplier + m", True)  # fmt: skip
