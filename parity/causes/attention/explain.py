"""Why two attentions differ: scale, mask, number of heads, positions, and the precision of the softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from parity.causes.attention.rotary import Turning, explain_turning
from parity.causes.attention.sites import Site, softmax
from parity.causes.case import Explanation
from parity.core.finding import Fix
from parity.core.types import Array

EXACT = 1e-9
"""How closely a fix must reproduce the other side's result, relative to its scale."""
ROUGH = 1e-5
"""The same where one side rounds to float32."""
MEANING = "True keeps a position in Keras and in scaled_dot_product_attention, and masks it in nn.MultiheadAttention"
ONE_DTYPE = "cast to one dtype on both sides, or leave the cast out"
WHOLE = {"float64": EXACT, "float32": ROUGH}


@dataclass(frozen=True)
class Scores:
    """What a site's shares say of its scores: `scale` times query by key, plus `added`, where nothing is masked."""

    product: Array
    scale: float
    masked: Array
    plain: bool


def explain_site(
    keras: Site,
    torch: Site,
    place: tuple[str, str],
    turnings: Callable[[], tuple[Turning | None, Turning | None]],
) -> list[Explanation]:
    """The causes that tell two attentions apart, all of them together; empty where none is known, or they agree.

    Args:
        keras: the Keras side's attention.
        torch: the torch side's, of the same inputs.
        place: what to call it on either side.
        turnings: how query and key were turned by their positions, on either side.
    """
    loose = WHOLE[min(keras.dtype, torch.dtype, key=lambda name: (name != "float32", name))] if {
        keras.dtype, torch.dtype} <= WHOLE.keys() else ROUGH  # fmt: skip
    if keras.shares.shape != torch.shares.shape or keras.heads != torch.heads:
        return list(_heads(keras, torch, place))
    if not close(keras.value, torch.value, EXACT) or close(keras.result, torch.result, 1e-12):
        return []
    known = _scores(keras, loose), _scores(torch, loose)
    if not (known[0].plain and known[1].plain):
        return []
    ratio = _ratio(known[0].product, known[1].product, EXACT)
    found: list[Explanation] = []
    product = known[1].product
    if ratio is None:
        turned = explain_turning(keras, torch, place, *turnings())
        if turned is None:
            return []
        explanations, product = turned
        found += explanations
        ratio = _ratio(known[0].product, product, EXACT)
        if ratio is None:
            return []
    factor = known[1].scale * ratio / known[0].scale
    if abs(factor - 1.0) > 10 * loose:
        found.append(_scale(factor, keras, place))
    if not np.array_equal(known[0].masked, known[1].masked):
        found.append(_mask(known[0].masked, known[1].masked, place))
    if keras.dtype != torch.dtype:
        found.append(_precision(keras, torch, place))
    mended = softmax(np.where(known[0].masked, -np.inf, product * (known[0].scale / ratio))) @ torch.value
    worked = close(keras.result, mended, loose)
    return [replace(item, verified=worked) for item in found]


def close(a: Array, b: Array, bound: float) -> bool:
    """Whether two tensors agree, relative to their scale."""
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0.0) <= bound * np.abs(a).max(initial=0.0))


def _scores(site: Site, loose: float) -> Scores:
    """The scores up to a constant in each row, as the shares say them."""
    product = site.query @ np.swapaxes(site.key, -1, -2)
    masked = site.shares <= 0.0
    logs = np.log(np.where(masked, 1.0, site.shares))
    x, y = _centred(product, masked), _centred(logs, masked)
    scale = float((x * y).sum() / max((x * x).sum(), 1e-300))
    rest = np.abs(y - scale * x).max(initial=0.0)
    return Scores(product, scale, masked, bool(rest <= 1e3 * loose * max(np.abs(y).max(initial=0.0), 1.0)))


def _centred(value: Array, masked: Array) -> Array:
    count = np.maximum((~masked).sum(-1, keepdims=True), 1)
    mean = np.where(masked, 0.0, value).sum(-1, keepdims=True) / count
    return np.where(masked, 0.0, value - mean)


def _ratio(a: Array, b: Array, bound: float) -> float | None:
    """How many times a is b; None where it is no multiple."""
    total = float((a * a).sum())
    factor = float((a * b).sum()) / total if total else 0.0
    return factor if factor and close(factor * a, b, bound) else None


def _scale(factor: float, keras: Site, place: tuple[str, str]) -> Explanation:
    size = keras.query.shape[-1]
    known = {size**0.5: f"the square root of the head size {size}", float(size): f"the head size {size}",
             (size * keras.heads) ** 0.5: f"the square root of the model size {size * keras.heads}"}  # fmt: skip
    text = f"torch's scores are {factor:.6g} times Keras'"
    for value, name in known.items():
        if abs(factor / value - 1) < 1e-6 or abs(factor * value - 1) < 1e-6:
            text += f" ({'' if factor > 1 else '1 over '}{name})"
            break
    in_torch = f"multiply the scores of torch {place[1]} by {1 / factor:.6g}"
    fix = Fix(f"multiply the scores of Keras {place[0]} by {factor:.6g}", in_torch, in_torch)
    return Explanation("attention-scale", text, fix)


def _mask(keras: Array, torch: Array, place: tuple[str, str]) -> Explanation:
    words = [_kind(masked) for masked in (keras, torch)]
    text = f"Keras masks {words[0]}, torch {words[1]}"
    if np.array_equal(keras, ~torch):
        return Explanation(
            "attention-mask", f"torch masks what Keras keeps, and keeps what Keras masks: {text}",
            Fix(f"turn the mask of Keras {place[0]} round (logical_not): {MEANING}",
                f"turn the mask of torch {place[1]} round (~mask): {MEANING}",
                f"turn the mask of torch {place[1]} round (~mask): {MEANING}"),
        )  # fmt: skip
    causal = [word for word in words if "later" in word]
    if len(causal) == 1:
        return Explanation("attention-mask", text, _causal("later" in words[0]))
    in_torch = f"mask the same positions in torch {place[1]} as in Keras"
    return Explanation(
        "attention-mask",
        text,
        Fix(f"mask the same positions in Keras {place[0]} as in torch", in_torch, in_torch),
    )


def _causal(in_keras: bool) -> Fix:
    """What to do where one side alone hides the future."""
    having, lacking = ("Keras", "torch") if in_keras else ("torch", "Keras")
    add = f"mask later positions on the {lacking} side too (a causal mask)"
    leave = f"leave the causal mask out on the {having} side"
    return Fix(leave, add, add) if in_keras else Fix(add, leave, add)


def _kind(masked: Array) -> str:
    """What a mask hides, in words."""
    if not masked.any():
        return "nothing"
    later = np.triu(np.ones(masked.shape[-2:], bool), 1)
    if (masked == later).all():
        return "later positions"
    if (masked & later == later).all():
        return "later positions and some more"
    if (masked == masked[:, :1]).all():
        return "some keys for every query"
    return "some keys"


def _precision(keras: Site, torch: Site, place: tuple[str, str]) -> Explanation:
    side, low, other = ("torch", torch.dtype, keras.dtype)
    if keras.dtype in {"float32", "float16"}:
        side, low, other = "Keras", keras.dtype, torch.dtype
    at = place[1] if side == "torch" else place[0]
    return Explanation(
        "softmax-precision", f"{side} computes the softmax of {at} in {low}, the other side in {other}",
        Fix(f"leave the cast to {low} out in Keras {place[0]}", f"cast to {low} in torch {place[1]} too", ONE_DTYPE)
        if side == "Keras"
        else Fix(f"cast to {low} in Keras {place[0]} too", f"leave the cast to {low} out in torch {place[1]}", ONE_DTYPE),
    )  # fmt: skip


def _heads(keras: Site, torch: Site, place: tuple[str, str]) -> Iterator[Explanation]:
    """Another number of heads: the same query, key and value, once the heads are merged again."""
    merged = [
        [_merged(array, site.batch) for array in (site.query, site.key, site.value)]
        for site in (keras, torch)
    ]
    if keras.heads == torch.heads or any(a.shape != b.shape for a, b in zip(*merged, strict=True)):
        return
    if not close(merged[0][2], merged[1][2], EXACT) or _ratio(merged[0][0], merged[1][0], EXACT) is None:
        return
    q, k, v = (_split(array, keras.heads) for array in merged[1])
    known, mine = _scores(keras, EXACT), q @ np.swapaxes(k, -1, -2)
    ratio = _ratio(known.product, mine, EXACT)
    if ratio is None or not known.plain:
        return
    mended = softmax(np.where(known.masked, -np.inf, mine * known.scale / ratio)) @ v
    yield Explanation(
        "head-count", f"Keras has {keras.heads} heads of {keras.query.shape[-1]}, torch {torch.heads} of "
        f"{torch.query.shape[-1]}, of the same queries, keys and values",
        Fix(f"give Keras {place[0]} {torch.heads} heads", f"give torch {place[1]} {keras.heads} heads",
            f"give torch {place[1]} {keras.heads} heads"), close(keras.result, mended, EXACT),
    )  # fmt: skip


def _merged(array: Array, batch: int) -> Array:
    """(N, T, d) -> (batch, T, heads * d)."""
    heads = len(array) // batch
    return np.moveaxis(array.reshape(batch, heads, *array.shape[1:]), 1, 2).reshape(batch, array.shape[1], -1)


def _split(array: Array, heads: int) -> Array:
    """(batch, T, heads * d) -> (N, T, d)."""
    batch, length, _ = array.shape
    return np.moveaxis(array.reshape(batch, length, heads, -1), 2, 1).reshape(batch * heads, length, -1)
