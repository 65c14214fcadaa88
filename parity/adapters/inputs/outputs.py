"""NamedOutputs by what they are: the torch side's in the order of Keras', where names or shapes say which is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

from parity.core.adapter import Adapter
from parity.core.layout import aligned
from parity.core.types import Array

NamedOutputs = list[tuple[str, Array]]
KINDS = {
    "sequence": ("sequence_output", "last_hidden_state", "hidden_state", "features"),
    "pooled": ("pooled_output", "pooler_output", "pooled", "pooler"),
    "logits": ("logits", "scores"),
    "loss": ("loss",),
}
"""What the two frameworks' users call one output; each with encoder_ or decoder_ in front too."""
MOST = 5
"""NamedOutputs whose orders are tried by their shapes."""


def in_keras_order(torch: Adapter, keras: NamedOutputs, given: NamedOutputs) -> NamedOutputs:
    """torch's outputs in the order of Keras', and by Keras' names; the adapter gives them so from now on.

    Equal names decide, else names of the same kind (`pooled_output` and `pooler_output`). Where the shapes do not fit one
    another in the order that is there, the only order in which they fit is taken.
    """
    order = _by_name(keras, given) or _by_kind(keras, given) or _by_shape(keras, given)
    if order is None or list(order) == list(range(len(keras))):
        return given
    renamed = tuple((given[i][0], name) for i, (name, _) in zip(order, keras, strict=True))
    torch.form = replace(torch.form, renamed=renamed)
    return [(name, given[i][1]) for i, (name, _) in zip(order, keras, strict=True)]


def _by_name(keras: NamedOutputs, torch: NamedOutputs) -> Sequence[int] | None:
    names = [name for name, _ in torch]
    same = len(set(names)) == len(names) and sorted(names) == sorted(name for name, _ in keras)
    return [names.index(name) for name, _ in keras] if same else None


def _by_kind(keras: NamedOutputs, torch: NamedOutputs) -> Sequence[int] | None:
    kinds = [_kinds([name for name, _ in outputs]) for outputs in (keras, torch)]
    if any(None in side or len(set(side)) < len(side) for side in kinds) or sorted(
        map(str, kinds[0])
    ) != sorted(map(str, kinds[1])):
        return None
    return [kinds[1].index(kind) for kind in kinds[0]]


def _kinds(names: Sequence[str]) -> list[tuple[str, str] | None]:
    """(part, kind) of each name; the one without a part is the decoder's where another is the encoder's."""
    parts = ["encoder" if "encoder" in name else "decoder" if "decoder" in name else "" for name in names]
    found: list[tuple[str, str] | None] = []
    for part, name in zip(parts, names, strict=True):
        plain = name.removeprefix("encoder_").removeprefix("decoder_")
        kind = next((kind for kind, known in KINDS.items() if plain in known), None)
        whose = "decoder" if not part and "encoder" in parts and kind == "sequence" else part
        found.append(None if kind is None else (whose, kind))
    return found


def _by_shape(keras: NamedOutputs, torch: NamedOutputs) -> Sequence[int] | None:
    """The only order in which shapes fit, where they do not as they are."""
    if len(keras) != len(torch) or not 1 < len(keras) <= MOST:
        return None
    fits = [[aligned(value, candidate) is not None for _, candidate in torch] for _, value in keras]
    if all(fits[i][i] for i in range(len(keras))):
        return None
    found = [
        order for order in permutations(range(len(torch))) if all(fits[i][k] for i, k in enumerate(order))
    ]
    return found[0] if len(found) == 1 else None
