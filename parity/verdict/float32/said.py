"""What is said of float32 within the models: one line where both sides have it, a finding where one side alone has."""

from __future__ import annotations

from collections.abc import Sequence

from parity.adapters.sites.running import place_of
from parity.core.finding import Finding, Fix, Kind
from parity.pairing.pair import Pairing
from parity.verdict.float32.places import OUTPUT, Placed

SHOWN = 3
"""Lines of code in one sentence."""


def note_of(asked: Sequence[Placed]) -> str:
    """The line for requests that both sides make."""
    places = {path for one in asked for path in one.reaches}
    layers = "1 layer" if len(places) == 1 else f"{len(places)} layers"
    return f"both sides compute in float32 within {layers}{_at(asked)}; judged in float64 with these casts lifted"


def _at(asked: Sequence[Placed]) -> str:
    """The lines of code, in brackets."""
    lines = lines_of(asked)
    more = len(lines) - SHOWN
    shown = ", ".join(lines[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f" ({shown})" if lines else ""


def lines_of(asked: Sequence[Placed]) -> list[str]:
    """file:line of each request, once."""
    spots = dict.fromkeys(one.request.spot for one in asked if one.request.spot is not None)
    return list(dict.fromkeys(str(place_of(spot)) for spot in spots))


def findings_of(
    alone: Sequence[Placed], pairing: Pairing, gap: float, agree: bool, tried: bool
) -> list[Finding]:
    """A finding for each pair at which one side alone computes in float32.

    Args:
        alone: the requests.
        pairing: which layer is which.
        gap: how far the outputs are apart, relative to their scale.
        agree: whether both sides agree with every request lifted.
        tried: whether they do on another input and with other weights too.
    """
    partners = {pair.keras: ", ".join(pair.torch) for pair in pairing.pairs}
    order = {path: number for number, path in enumerate(partners)}
    found: dict[tuple[str, str, bool], list[Placed]] = {}
    for one in alone:
        first = min(one.reaches, key=lambda path: order.get(path, len(order)), default=OUTPUT)
        found.setdefault((one.side, first, one.softmax), []).append(one)
    return [
        _finding(key[1], partners.get(key[1]), asked, gap, agree, tried)
        for key, asked in sorted(found.items(), key=lambda item: order.get(item[0][1], len(order)))
    ]


def _finding(
    keras: str, torch: str | None, asked: Sequence[Placed], gap: float, agree: bool, tried: bool
) -> Finding:
    side, second = ("Keras", "torch") if asked[0].side == "keras" else ("torch", "Keras")
    cause = "softmax-precision" if all(one.softmax for one in asked) else "float32-cast"
    within = any(one.request.place and torch and one.request.place in torch.split(", ") for one in asked)
    within = within or any(one.request.place == keras for one in asked)
    kind = Kind.OUTPUT if torch is None else Kind.LAYER if within else Kind.WIRING
    what = "its softmax" if cause == "softmax-precision" else "a part"
    text = f"the {side} side computes {what} in float32{_at(asked)}, the {second} side does not"
    text += (
        f"; that moves the output by {gap:.2g} of its scale in float64, and with the casts lifted both sides agree"
        if agree
        else "; judged with the casts lifted"
    )
    lines = lines_of(asked)
    where = f" at {lines[0]}" if lines else ""
    out, too = (
        f"leave out the cast to float32 on the {side} side{where}",
        f"compute the same part in float32 in {second}",
    )
    fix = Fix(out, too) if side == "Keras" else Fix(too, out, f"{out}, or {too}")
    at = lines[0] if lines else None
    return Finding(
        None if keras == OUTPUT else keras, torch, kind, cause, text, fix, tried,
        keras_at=at if side == "Keras" else None, torch_at=at if side == "torch" else None, effect=gap if agree else None,
    )  # fmt: skip
