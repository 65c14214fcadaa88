"""Both sides' expressions between the last tensors that agree and the first that do not, with where they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parity.adapters.sites.running import site_of
from parity.causes.regions.region import Region
from parity.core.adapter import Adapter
from parity.core.trace import CodePlace, Node
from parity.core.types import Side

MOST = 5
"""Expressions of one side that are written out."""


@dataclass(frozen=True)
class Shown:
    """A region for readers.

    Attributes:
        text: both sides' expressions.
        at: where the first of them is written, Keras first.
        layers: paths of the layers whose steps they are, Keras first; None where the model itself takes the step.
    """

    text: str
    at: tuple[CodePlace | None, CodePlace | None]
    layers: tuple[str | None, str | None]


def shown(known: Region, sides: tuple[Adapter, Adapter]) -> Shown:
    """The expressions of a region side by side.

    Args:
        known: the region.
        sides: both models.
    """
    texts = [f"{name} takes {_expressions(known.nodes(model.side), model)}"
             for name, model in zip(("Keras", "torch"), sides, strict=True)]  # fmt: skip
    starts = [_start(nodes) for nodes in known.starts]
    return Shown(
        f"from {' / '.join(dict.fromkeys(filter(None, starts))) or 'the last tensors that agree'}: {texts[0]}, {texts[1]}",
        (_first(known, "keras", sides[0]), _first(known, "torch", sides[1])),
        (_layer(known.keras), _layer(known.torch)),
    )


def _start(nodes: Sequence[Node]) -> str | None:
    """What to call the last tensor that agrees."""
    if not nodes:
        return None
    node = nodes[-1]
    return node.label if node.sort == "input" else f"the output of {node.label}"


def _expressions(nodes: Sequence[Node], model: Adapter) -> str:
    """The steps as the user wrote them, each line once, the nested ones in the whole expression."""
    if not nodes:
        return "no step"
    found: dict[str, None] = {}
    for node in nodes:
        site = site_of_step(node, model)
        text = site.text if site is not None and site.text else node.label
        found.setdefault(f"`{text}`" + ("" if site is None else f" ({site})"))
    parts = list(found)
    kept = parts if len(parts) <= MOST else [*parts[: MOST - 1], f"{len(parts) - MOST} more", parts[-1]]
    return ", ".join(kept)


def site_of_step(node: Node, model: Adapter) -> CodePlace | None:
    """Where a step is written: the expression that runs it, else the layer that was made to do it."""
    if node.spot is not None:
        return site_of(node)
    path = node.path if node.sort == "layer" else node.scope
    return model.made_at(path) if path else None


def _first(known: Region, side: Side, model: Adapter) -> CodePlace | None:
    """Where the first of the steps is written, or the one in front of them."""
    nodes = [*known.nodes(side), *reversed(known.starts[0 if side == "keras" else 1])]
    sites = (site_of_step(node, model) for node in nodes)
    return next((site for site in sites if site is not None), None)


def _layer(nodes: Sequence[Node]) -> str | None:
    """The layer that takes the steps, where one does."""
    if not nodes:
        return None
    paths = {node.path if node.sort == "layer" else node.scope for node in nodes}
    return (
        nodes[0].path
        if nodes[0].sort == "layer"
        else paths.pop()
        if len(paths) == 1 and "" not in paths
        else None
    )
