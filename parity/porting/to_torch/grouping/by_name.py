"""Blocks by the names of their layers: conv2_block1_1_conv and conv2_block1_2_conv belong to conv2_block1."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from parity.porting.to_torch.grouping.group import StepGroup, automatic, bounds, tensors_in, tensors_out
from parity.porting.to_torch.naming import camel
from parity.porting.to_torch.values import kinds

BlockKey = tuple[str, str]
"""A kind of key (conv#_block#), and the key itself (conv2_block1)."""


def keys(name: str) -> Iterator[BlockKey]:
    """Every key that a layer's name may have: what stands up to a number, a first word and a number, a last number."""
    tokens = re.split(r"[_./]", name)
    for end in range(1, len(tokens)):
        if re.search(r"\d", tokens[end - 1]):
            key = "_".join(tokens[:end])
            yield _kind(key), key
    digits = [n for n, token in enumerate(tokens) if token.isdigit()]
    if digits and digits[0] > 1:
        yield f"{tokens[0]}_*_#", f"{tokens[0]}_{tokens[digits[0]]}"
    if len(tokens) > 2 and tokens[-1].isdigit():
        if len(tokens) > 3:
            yield f"*_{_kind(tokens[-2])}_#", f"{tokens[-2]}_{tokens[-1]}"
        yield "*_#", f"cell_{tokens[-1]}"


def _kind(key: str) -> str:
    tokens = [re.sub(r"\d+[a-z]?$|\d+", "#", token) for token in key.split("_")]
    return "_".join(tokens)


def numbered(names: list[str]) -> dict[str, list[BlockKey]]:
    """The keys of every name; expanded_conv_project goes with expanded_conv_1_project, as number 0."""
    found = {name: list(keys(name)) for name in names}
    stems = {
        key.rsplit("_", 1)[0]
        for all_ in found.values()
        for kind, key in all_
        if re.fullmatch(r"[a-z]+(_[a-z]+)*_#", kind)
    }
    for name in names:
        for stem in stems:
            rest = name.removeprefix(f"{stem}_")
            if rest != name and not rest[:1].isdigit():
                found[name].append((f"{_kind(stem)}_#", stem))
    return found


def candidates(steps: list[Any], outputs: list[Any]) -> dict[str, list[StepGroup]]:
    """For every kind of key, the groups of steps whose names have one."""
    named = [step for step in steps if not automatic(step)]
    known = numbered([step.name for step in named])
    by_kind: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for step in named:
        for kind, key in known[step.name]:
            by_kind[kind][key].append(step)
    found: dict[str, list[StepGroup]] = {}
    for kind, by_key in by_kind.items():
        taken: set[int] = set()
        groups = []
        for key, members in by_key.items():
            for part in _runs(members, steps):
                grown = adopted(part, steps, outputs, taken)
                limits = bounds(grown, steps, outputs)
                if limits is not None and limits[1] and len(limits[0]) <= 3 and len(limits[1]) <= 2:
                    groups.append(StepGroup(_title(kind), key, grown, *limits))
                    taken |= {id(step) for step in grown}
        if groups:
            found[kind] = groups
    return found


def _title(kind: str) -> str:
    tokens = [token.replace("#", "") for token in kind.split("_")]
    words = [token for token in tokens if token and token != "*"]
    last = [token.replace("#", "") for token in kind.split("_") if "#" in token and token != "#"]
    if last and last[-1]:
        return camel(last[-1])
    return camel("_".join(words)) if words else "Cell"


def _is_activation(step: Any) -> bool:
    return any(
        kind in ("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Relu") for kind in kinds(step.operation)
    )


def _runs(members: list[Any], steps: list[Any]) -> list[list[Any]]:
    """The members of one key, apart where they hang together over no tensor."""
    place = {id(step): n for n, step in enumerate(steps)}
    runs: list[list[Any]] = []
    for step in sorted(members, key=lambda step: place[id(step)]):
        if runs and place[id(step)] - place[id(runs[-1][-1])] <= 12:
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def adopted(members: list[Any], steps: list[Any], outputs: list[Any], taken: set[int]) -> list[Any]:
    """The members with the steps of made-up names that belong to them."""
    home = {id(tensor): step for step in steps for tensor in tensors_out(step)}
    users: dict[int, list[Any]] = defaultdict(list)
    for step in steps:
        for tensor in tensors_in(step):
            users[id(tensor)].append(step)
    ends = {id(tensor) for tensor in outputs}
    inside = {id(step) for step in members}

    def free(step: Any) -> bool:
        return automatic(step) and id(step) not in taken

    def from_entries(step: Any, entries: set[int], seen: list[Any]) -> bool:
        """Whether all that it takes comes from the members or the entries, over free steps alone."""
        if id(step) in inside:
            return True
        if not free(step) or len(seen) > 40:
            return False
        seen.append(step)
        return all(
            id(tensor) in entries or (id(tensor) in home and from_entries(home[id(tensor)], entries, seen))
            for tensor in tensors_in(step)
        )

    changed = True
    while changed:
        changed = False
        made = {id(t) for step in steps if id(step) in inside for t in tensors_out(step)}
        entries = {id(t) for step in steps if id(step) in inside for t in tensors_in(step)} - made
        for step in steps:
            if id(step) in inside or not free(step):
                continue
            taken_in = [id(t) for t in tensors_in(step)]
            given = [id(t) for t in tensors_out(step)]
            within = all(users[key] and all(id(user) in inside for user in users[key]) for key in given)
            within = within and not any(key in ends for key in given)
            within = within and bool(taken_in)
            follows = any(key in made and len(users[key]) == 1 and key not in ends for key in taken_in)
            follows = follows and (len(set(taken_in)) > 1 or _is_activation(step))
            seen: list[Any] = []
            if (within or follows) and from_entries(step, entries, seen):
                inside |= {id(more) for more in seen} | {id(step)}
                changed = True
                break
    return [step for step in steps if id(step) in inside]
