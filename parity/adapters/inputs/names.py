"""Inputs by name: which argument of each side takes which of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parity.core.adapter import Adapter, Form, Takes
from parity.core.errors import UsageError

ROLES: tuple[frozenset[str], ...] = (
    frozenset({"ids", "tokens", "token_ids", "input_ids", "input_tokens", "input_token_ids"}),
    frozenset({"mask", "padding_mask", "attention_mask", "input_mask", "attn_mask"}),
    frozenset({"segments", "segment_ids", "token_type_ids", "token_types", "type_ids"}),
    frozenset({"positions", "position_ids", "positions_ids"}),
    frozenset({"image", "images", "pixels", "pixel_values", "picture", "pictures"}),
    frozenset({"features", "encoder_features", "input_features", "audio"}),
)
"""Names that the two frameworks' users give to one input; each with decoder_ in front too."""


def name_inputs(keras: Adapter, torch: Adapter, inputs: Any) -> None:
    """Settle how each side is called with these inputs, and keep it in the adapters.

    A key is a name that both sides have, or (Keras name, torch name). A name that a side has not stands for its
    argument of the same role (`token_ids` and `input_ids`), or for the only one that is left. Where a side takes one
    argument alone and none of the names, it gets a dictionary. Inputs without names go by position.

    Args:
        keras: the Keras side.
        torch: the torch side.
        inputs: what the caller gave; None leaves it to the Keras model's own inputs.

    Raises:
        UsageError: a key that no argument of a side takes.
    """
    takes = {"keras": keras.takes(), "torch": torch.takes()}
    if isinstance(inputs, Mapping):
        pairs = [both_names(key) for key in inputs]
        keys = dict(zip(pairs, inputs, strict=True))
    elif inputs is None and (pairs := _own(takes["keras"], takes["torch"])):
        keys = {}
    else:
        return
    keras.form, order = keras_form([pair[0] for pair in pairs], takes["keras"])
    pairs = [pairs[i] for i in order]
    keras.keys = tuple(keys[pair] for pair in pairs) if keys else tuple(pair[0] for pair in pairs)
    torch.form = _form(
        _matched([pair[1] for pair in pairs], takes["torch"], "torch"), takes["torch"], torch.form.constants
    )


def keras_form(names: Sequence[str], takes: Takes) -> tuple[Form, list[int]]:
    """How the Keras side is called with inputs of these names, and their order in the call.

    Raises:
        UsageError: a name that it does not take.
    """
    own = _matched(names, takes, "keras")
    order = list(range(len(names)))
    if not _as_dict(own, takes):
        order.sort(key=lambda i: _place(own[i], takes))
    return _form([own[i] for i in order], takes, {}), order


def both_names(key: Any) -> tuple[str, str]:
    """The name on the (Keras, torch) side."""
    names = key if isinstance(key, tuple) else (key, key)
    if len(names) != 2 or not all(isinstance(name, str) and name for name in names):
        raise UsageError(
            f"a key of inputs must be a name, or (Keras name, torch name); got {key!r}. "
            "Give for example inputs={'ids': array}."
        )
    return names


def _own(keras: Takes, torch: Takes) -> list[tuple[str, str]]:
    """The names that the Keras model itself gives to several inputs, where the torch side has them too."""
    if not keras.ordered or (len(keras.names) < 2 and not keras.by_key):
        return []
    names = [(name, name) for name in keras.names]
    if any(_alike(name, torch.names) is None for name in keras.names):
        return names if keras.by_key and torch.lone and len(names) > 1 else []
    if not keras.by_key and not set(keras.names) <= set(torch.names):
        return []
    return names


def _place(name: str, takes: Takes) -> int:
    return takes.names.index(name) if name in takes.names else len(takes.names)


def _alike(name: str, names: Sequence[str]) -> str | None:
    """The one among the names that is the same, or has the same role; None where none has, or several have."""
    if name in names:
        return name
    part = "decoder_" if name.startswith("decoder_") else ""
    plain = name.removeprefix("decoder_").removeprefix("encoder_")
    role = next((role for role in ROLES if plain in role), frozenset())
    found = [own for own in names if own.removeprefix(part) in role and own.startswith(part)]
    return found[0] if len(found) == 1 else None


def _matched(names: Sequence[str], takes: Takes, side: str) -> list[str]:
    """The side's own name of each input.

    Raises:
        UsageError: there is none.
    """
    found = {name: alike for name in names if (alike := _alike(name, takes.names)) is not None}
    left = [name for name in names if name not in found]
    free = [name for name in takes.names if name not in found.values()]
    if not left or takes.more or (takes.lone and not found and len(names) > 1):
        return [found.get(name, name) for name in names]  # further keywords, or the keys of one dictionary
    if len(left) == 1 and (len(free) == 1 or (takes.lone and takes.names[0] in free)):
        return [found.get(name, takes.names[0] if takes.names[0] in free else free[0]) for name in names]
    if len(set(found.values())) < len(found) or left:
        raise UsageError(
            f"each input must have a name that the {side} model takes ({', '.join(takes.names) or 'none'}); "
            f"got {', '.join(left) or ', '.join(names)}. Give (Keras name, torch name) as the key, or "
            "--input KERAS,TORCH=... on the command line."
        )
    return [found[name] for name in names]


def _as_dict(names: Sequence[str], takes: Takes) -> bool:
    return not takes.ordered and takes.lone and not takes.more and not set(names) & set(takes.names)


def _form(names: Sequence[str], takes: Takes, constants: Mapping[str, Any]) -> Form:
    """How a side is called with inputs of these names, of which it takes each."""
    if len(set(names)) < len(names):
        raise UsageError(
            f"inputs must have different names; got {', '.join(names)}. Name each with (Keras name, torch name)."
        )
    if takes.ordered:
        if missing := [name for name in takes.names if name not in names]:
            raise UsageError(
                f"every input of the Keras model must be given; got none for {', '.join(missing)}. Add it."
            )
        return Form(None, False, constants)
    return Form(tuple(names), _as_dict(names, takes), constants)
