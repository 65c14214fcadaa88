"""Numbers in a call: an epsilon, a factor, an exponent, a limit. What other number would give a wanted result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from parity.adapters.torch.edits.edit import Called, Edit
from parity.adapters.torch.edits.tape import CallChange
from parity.adapters.torch.tensors import leaves_of

SMALL = 2e-2
"""Up to this a number that is added, or a least value, is an epsilon."""
EPSILONS = (1e-3, 1e-5, 1e-6, 1e-12, 1e-8, 1e-7, 1.001e-5, 1e-4, 1e-2, 1e-10, 1e-9, 1e-16, 0.0)
ADDITIONS = {"add", "iadd", "radd", "sub", "isub"}
LIMITS = {"clamp", "clip", "clamp_min", "clamp_max", "maximum", "minimum", "hardtanh", "threshold"}
FACTORS = {"mul", "imul", "rmul", "multiply", "div", "idiv", "truediv", "itruediv", "rtruediv", "rdiv", "divide", "pow",
           "ipow", "rpow", "reciprocal", *ADDITIONS}  # fmt: skip
BY_NAME = {
    "layer_norm": "layernorm-epsilon", "group_norm": "groupnorm-epsilon", "instance_norm": "groupnorm-epsilon",
    "batch_norm": "batchnorm-epsilon", "rms_norm": "rmsnorm-epsilon", "normalize": "epsilon-value",
    "leaky_relu": "leaky-relu-slope", "scaled_dot_product_attention": "attention-scale",
}  # fmt: skip
"""What another number in these functions is called."""
ROOTS = {"sqrt", "rsqrt"}
PRODUCTS = {"mul", "imul", "multiply", "div", "truediv", "divide"}


@dataclass(frozen=True)
class Setting:
    """A number in a call.

    Attributes:
        cause: what it is called where another one settles a difference.
        value: the number.
        name: what to call it.
        put: the change that puts another number in its place.
        trials: numbers that are likely.
        own: what the call does as it is, where that is not to have this number.
    """

    cause: str
    value: float
    name: str
    put: Callable[[float], CallChange]
    trials: tuple[float, ...] = ()
    own: str = ""

    def edit(self, value: float) -> Edit:
        """Another number in its place."""
        own = self.own or f"{self.name} {self.value:.7g}"
        return Edit(self.cause, f"{self.name} {value:.12g}", own, self.put(value))


def numbers(step: Called) -> Iterator[Setting]:
    """The numbers of a call."""
    leaves, _ = pytree.tree_flatten((step.args, step.kwargs))
    arithmetic = step.name in FACTORS
    for place, leaf in enumerate(leaves):
        whole = isinstance(leaf, int) and not isinstance(leaf, bool)
        if (
            isinstance(leaf, float)
            or (whole and (arithmetic or step.name in LIMITS))
            or (arithmetic and isinstance(leaf, torch.Tensor) and leaf.ndim == 0 and leaf.is_floating_point())
        ):
            yield _number(step, place, float(leaf))
    if step.name in {"rms_norm", "scaled_dot_product_attention"} and step.x is not None:
        key = "eps" if step.name == "rms_norm" else "scale"
        if step.given(key, 3 if key == "eps" else 6) is None:
            own = torch.finfo(step.x.dtype).eps if key == "eps" else step.x.shape[-1] ** -0.5
            yield Setting(
                BY_NAME[step.name],
                own,
                key,
                lambda value: _keyword(key, value),
                EPSILONS if key == "eps" else (),
            )


def _keyword(key: str, value: float) -> CallChange:
    def change(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        place = {"eps": 3, "scale": 6}[key]
        return function(*args[:place], **{**kwargs, key: value})

    return change


def tied(calls: Sequence[Called]) -> Iterator[dict[int, Setting]]:
    """Numbers of one size that stand at several places of the calls, by the calls' numbers: x / 5, 5 * x, clip(-5, 5)."""
    found: dict[float, dict[int, list[tuple[int, float]]]] = {}
    for step in calls:
        for place, leaf in enumerate(pytree.tree_flatten((step.args, step.kwargs))[0]):
            known = (
                isinstance(leaf, float | int) and not isinstance(leaf, bool) and step.name in FACTORS | LIMITS
            )
            if known and abs(leaf) not in (0.0, 1.0):
                found.setdefault(abs(float(leaf)), {}).setdefault(step.number, []).append(
                    (place, float(leaf))
                )
    for size, places in found.items():
        if sum(map(len, places.values())) > 1:
            yield {number: _of_size(size, held) for number, held in places.items()}


def _of_size(size: float, held: Sequence[tuple[int, float]]) -> Setting:
    """All the numbers of one size in one call."""

    def put(value: float) -> CallChange:
        def change(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            leaves, spec = pytree.tree_flatten((args, kwargs))
            for place, old in held:
                leaves[place] = value if old > 0 else -value
            fresh = pytree.tree_unflatten(leaves, spec)
            return function(*fresh[0], **fresh[1])

        return change

    return Setting("constant-value", size, "the number", put, (size * 2, size / 2, size**0.5, size**2))


def _number(step: Called, place: int, value: float) -> Setting:
    small = 0.0 <= value <= SMALL
    if step.name in BY_NAME:
        cause = BY_NAME[step.name]
    elif small and step.name in ADDITIONS | LIMITS:
        cause = epsilon_of(step)
    else:
        cause = "constant-value"
    likely = (
        EPSILONS if small else (1.0, 0.5, 2.0, 0.0, -1.0, value * 2, value / 2, value**2, abs(value) ** 0.5)
    )
    name = "epsilon" if cause.endswith(("epsilon", "epsilon-value")) else f"{step.name} with"

    def put(tried: float) -> CallChange:
        def change(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            leaves, spec = pytree.tree_flatten((args, kwargs))
            old = leaves[place]
            leaves[place] = torch.full_like(old, tried) if isinstance(old, torch.Tensor) else tried
            fresh = pytree.tree_unflatten(leaves, spec)
            return function(*fresh[0], **fresh[1])

        return change

    return Setting(cause, value, name, put, likely)


def adds_epsilon(step: Called) -> bool:
    """Whether a call adds a small number alone: without it, it has another epsilon, which may be too small to show."""
    leaves = leaves_of((step.args, step.kwargs))
    small = [leaf for leaf in leaves if isinstance(leaf, float) and 0.0 < leaf <= SMALL]
    return step.name in ADDITIONS and len(step.tensors) == 1 and bool(small)


def epsilon_of(step: Called) -> str:
    """Which normalisation an epsilon belongs to, by what it is added to: the mean of squares along one axis."""
    variance = step.x
    weights = {slot for slot in step.tape.first if slot not in step.tape.data}
    for call in step.tape.calls[step.number :]:
        for slot in call.takes if call.name in PRODUCTS else ():
            x = step.tape.base[slot]
            if slot in weights or variance is None or x.dtype != variance.dtype or x.ndim < 2:
                continue
            for axis in range(1, x.ndim):
                square = x.square().mean(axis, keepdim=True)
                if square.shape == variance.shape and torch.allclose(square, variance, rtol=1e-9, atol=0.0):
                    centred = x.mean(axis).abs().max() < 1e-9 * x.abs().max()
                    return "layernorm-epsilon" if centred else "rmsnorm-epsilon"
    return "epsilon-value"


# --- where an epsilon is added --------------------------------------------------------------------


def changed_places(step: Called) -> Iterator[Setting]:
    """The epsilon of a call inside or outside of the root, or as a least value; it may be another one as well."""
    tensors = [leaf for leaf in leaves_of((step.args, step.kwargs)) if isinstance(leaf, torch.Tensor)]
    own = next((n for n in numbers(step) if 0.0 < n.value <= SMALL), None)
    if own is None or len([t for t in tensors if t.ndim]) != 1 or step.name not in ADDITIONS | LIMITS:
        return
    users = step.tape.users(step.call.gives[0])
    rooted = bool(users) and all(user.name in ROOTS or _half(user.kwargs, user.args) for user in users)
    forms: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
        "added to the variance": lambda v, e: v + e,
        "as the least variance": lambda v, e: v.clamp_min(e),
        "added to the root": lambda v, e: (v.sqrt() + e).square(),
        "as the least root": lambda v, e: v.sqrt().clamp_min(e).square(),
    } if rooted else {
        "added to the root": lambda v, e: v + e,
        "as the least root": lambda v, e: v.clamp_min(e),
        "added to the variance": lambda v, e: (v.square() + e).sqrt(),
        "as the least variance": lambda v, e: v.square().clamp_min(e).sqrt(),
    }  # fmt: skip
    now = list(forms)[0 if step.name in ADDITIONS else 1]
    for text, form in forms.items():
        if text != now:
            trials = (own.value, *EPSILONS[:9])
            yield Setting("epsilon-place", own.value, f"epsilon {text}:", _formed(form), trials,
                         f"epsilon {now}: {own.value:.7g}")  # fmt: skip


def _half(kwargs: dict[str, Any], args: tuple[Any, ...]) -> bool:
    return any(isinstance(value, float) and abs(value) == 0.5 for value in (*args, *kwargs.values()))


def _formed(form: Callable[[torch.Tensor, float], torch.Tensor]) -> Callable[[float], CallChange]:
    def put(value: float) -> CallChange:
        def change(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            found = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            return form(next((leaf for leaf in found if leaf.ndim), found[0]), value)

        return change

    return put
