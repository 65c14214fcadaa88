"""What the caller leaves out of the pairing: patterns of paths, as `ignore=` and `--ignore` take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from parity.core.errors import UsageError
from parity.core.types import LayerInfo
from parity.pairing.leftover.listing import listed
from parity.pairing.names import stems
from parity.pairing.pairs import Pairing
from parity.pairing.problems.problem import Problem

Layers = Mapping[str, LayerInfo]


def patterns_of(ignore: object) -> tuple[str, ...]:
    """The patterns, from one string or several.

    Raises:
        UsageError: it is neither.
    """
    if ignore is None:
        return ()
    given = ignore if isinstance(ignore, Iterable) and not isinstance(ignore, str) else (ignore,)
    found = tuple(one for one in given if isinstance(one, str) and one)
    if wrong := [one for one in given if one not in found]:
        raise UsageError(
            "ignore must be a pattern of paths such as 'aux.*', or several; "
            f"got {wrong[0]!r}. Name layers or tensors of either model."
        )
    return found


def without_ignored(pairing: Pairing, sides: tuple[Layers, Layers], patterns: Sequence[str]) -> Pairing:
    """The pairing without what the patterns name; a partner of what is ignored is left out with it.

    A pattern names a layer, with all that lies below it, or a tensor, on either side. `*` stands for any characters.

    Args:
        pairing: of the whole models.
        sides: the layers of the Keras side and of the torch side.
        patterns: of paths.

    Raises:
        UsageError: a pattern names nothing in either model.
    """
    if not patterns:
        return pairing
    named = [_named(layers, patterns) for layers in sides]
    nothing = [pattern for pattern in patterns if not any(_named(layers, (pattern,)) for layers in sides)]
    if nothing:
        raise UsageError(
            f"every pattern of ignore must name a layer or a tensor of a model; got {nothing[0]!r}, which names none. "
            "A path is that of model.named_modules() in torch, and of attributes or layer names in Keras."
        )
    pairs = []
    for item in pairing.pairs:
        left = [slot for slot in item.slots if slot.keras in named[0] or slot.torch in named[1]]
        named[0].update(slot.keras for slot in left)
        named[1].update(slot.torch for slot in left)
        kept = tuple(slot for slot in item.slots if slot not in left)
        constants = tuple(c for c in item.constants if c.path not in named[c.side == "torch"])
        if kept or not item.slots:
            pairs.append(replace(item, slots=kept, constants=constants))
    free = [problem for problem in pairing.problems if not _concerns(problem, named[0], named[1], sides)]
    return replace(
        pairing,
        pairs=pairs,
        problems=free,
        unmatched_keras=[path for path in pairing.unmatched_keras if path not in named[0]],
        unmatched_torch=[path for path in pairing.unmatched_torch if path not in named[1]],
        constants=tuple(path for path in pairing.constants if path[1] not in named[path[0] == "torch"]),
        ignored=(tuple(sorted(named[0])), tuple(sorted(named[1]))),
        notes=[*pairing.notes, *_said(named)],
    )


def _named(layers: Layers, patterns: Sequence[str]) -> set[str]:
    """Paths of the tensors that the patterns name: themselves, or by a layer that they lie in."""
    found = set()
    for layer in layers.values():
        for tensor in layer.tensors:
            names = (tensor.path, *stems(tensor.path), *layer.aliases)
            if any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
                found.add(tensor.path)
    return found


def _concerns(problem: Problem, keras: set[str], torch: set[str], sides: tuple[Layers, Layers]) -> bool:
    """Whether a problem is one of what is ignored: of its tensors, or of a layer all of whose tensors are."""
    if problem.held:
        return any(tensor.path in (keras if tensor.side == "keras" else torch) for tensor in problem.held)
    for path, layers, named in ((problem.keras, sides[0], keras), (problem.torch, sides[1], torch)):
        tensors = layers[path].tensors if path is not None and path in layers else ()
        if tensors and all(tensor.path in named for tensor in tensors):
            return True
    return False


def _said(named: Sequence[set[str]]) -> list[str]:
    found = []
    for side, paths in zip(("Keras", "torch"), named, strict=True):
        if paths:
            found.append(f"ignored, neither copied nor compared: {side} {listed(sorted(paths))}")
    return found
