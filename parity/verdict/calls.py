"""Which layers are held against each other, and the calls that one side alone makes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.trace import Trace
from parity.core.types import RECURRENT, Array, LayerInfo
from parity.pairing.evidence import Evidence
from parity.pairing.names import Names
from parity.pairing.pair import Pairing
from parity.replay.located import Call, Located


def watched_pairs(keras: Adapter, torch: Adapter, pairing: Pairing) -> dict[str, tuple[str, ...]]:
    """Pairs that can be held against each other: those with weights, and leaves with mirrored paths.

    Attention and recurrent layers count as one layer, where both sides have one.
    """
    keras_layers, torch_layers = keras.layers(), torch.layers()
    pairs: dict[str, tuple[str, ...]] = {}
    single = _single(keras_layers), _single(torch_layers)
    partners: tuple[dict[str, set[str]], dict[str, set[str]]] = {}, {}
    for item in pairing.pairs:
        for path in item.torch:
            partners[0].setdefault(item.keras, set()).add(path)
            partners[1].setdefault(path, set()).add(item.keras)
    for item in pairing.pairs:
        within = within_whole(torch_layers, item.torch[0])
        partial = any(slot.layout.partial for slot in item.slots)
        partial &= (
            keras_layers[item.keras].family not in RECURRENT
        )  # Keras holds both biases of one GRU in one tensor
        if (
            within is None
            and not partial
            and item.evidence is not Evidence.WRITTEN  # a module of it is no whole cell
            and item.keras in single[0]
            and item.torch[0] in single[1]
            and len(partners[0][item.keras]) == len(item.torch)  # else its parameters are layers of their own
            and len(partners[1][item.torch[0]]) == 1
        ):
            pairs[item.keras] = item.torch
    pairs |= _whole_pairs(keras_layers, torch_layers, pairing)
    taken = {path for paths in pairs.values() for path in paths}
    for path, torch_path in mirrored(keras_layers, torch_layers).items():
        if (
            torch_path not in taken
            and path not in pairs
            and weightless(keras_layers[path])
            and weightless(torch_layers[torch_path])
        ):
            pairs[path] = (torch_path,)
    return pairs


def _single(layers: Mapping[str, LayerInfo]) -> set[str]:
    """Layers that are one layer: leaves, and those with weights of their own alone, whatever is inside."""
    holders = {stem for path, layer in layers.items() if layer.tensors for stem in _stems(path)[:-1]}
    weighty = any(layer.tensors for path, layer in layers.items() if path)
    own = {
        path
        for path, layer in layers.items()
        if layer.tensors and path not in holders and (path or not weighty)
    }
    return own | {path for path, layer in layers.items() if layer.leaf}


def within_whole(layers: Mapping[str, LayerInfo], path: str) -> str | None:
    """The outermost layer that computes as one step and holds this one, or is it."""
    return next((stem for stem in _stems(path) if stem in layers and layers[stem].whole), None)


def _whole_pairs(
    keras: Mapping[str, LayerInfo], torch: Mapping[str, LayerInfo], pairing: Pairing
) -> dict[str, tuple[str, ...]]:
    """Layers that compute as one step on both sides, each with the one that has its tensors and gives the same."""
    found: dict[str, set[str | None]] = {}
    takers: dict[str | None, set[str | None]] = {}
    for item in pairing.pairs:
        path = within_whole(keras, item.keras)
        for torch_path in item.torch:
            partner = within_whole(torch, torch_path)
            takers.setdefault(partner, set()).add(path)
            if path is not None:
                found.setdefault(path, set()).add(partner)
    pairs: dict[str, tuple[str, ...]] = {}
    for path, partners in found.items():
        (partner, *more) = partners
        sequence = keras[path].settings.get("return_sequences", True)
        if partner is not None and not more and takers[partner] == {path} and sequence:
            pairs[path] = (partner,)
    return pairs


def mirrored(keras: Mapping[str, LayerInfo], torch: Mapping[str, LayerInfo]) -> dict[str, str]:
    """Keras path -> torch path of layers and blocks whose names are the same, punctuation aside.

    Numbers in a sequence say less than names: they count where the two are of like kinds.
    """
    by_name = {name: path for path, layer in torch.items() for name in (*layer.aliases, path)}
    loose = {re.sub(r"[^0-9a-zA-Z]+", "_", name): path for name, path in by_name.items()}
    names = Names(keras, torch)
    names.count_anew()
    found = {}
    for path, layer in keras.items():
        own, *aliases = names.of(path)
        torch_path = by_name.get(own) or loose.get(re.sub(r"[^0-9a-zA-Z]+", "_", own))
        if torch_path is None:
            known = [by_name[name] for name in aliases if name in by_name]
            torch_path = next(
                (name for name in known if not layer.leaf or _alike(layer.kind, torch[name].kind)), None
            )
        if torch_path is not None and path:
            found[path] = torch_path
    return found


def _alike(keras: str, torch: str) -> bool:
    """MaxPooling2D and MaxPool2d, ZeroPadding2D and ZeroPad2d, UpSampling2D and Upsample."""
    kinds = [
        re.sub(r"\dd$", "", kind.lower()).replace("average", "avg").replace("ing", "")
        for kind in (keras, torch)
    ]
    plain = [kind.replace("padd", "pad").replace("sampl", "sample").removesuffix("e") for kind in kinds]
    return plain[0] == plain[1]


def weightless(layer: LayerInfo) -> bool:
    """Whether a layer is a leaf without tensors of its own."""
    return layer.leaf and not layer.tensors


def one_sided_calls(
    keras_calls: Sequence[Call],
    torch_calls: Sequence[Call],
    match: dict[tuple[str, int], int],
    pairs: dict[str, tuple[str, ...]],
    keras: Adapter,
    torch: Adapter,
    inputs: Mapping[str, Sequence[Array]],
) -> list[Located]:
    """Calls that only one side makes, gathered under the outermost block that is missing as a whole.

    A call that changes nothing is none. A layer with weights is missing only where the other side's trace shows that
    it uses them less often: a function may compute with a layer's weights, and call no layer.
    """
    matched = set(match.values())
    missing: list[tuple[float, str]] = [
        (position, call.path)
        for position, call in enumerate(keras_calls)
        if position not in matched and not call.idle
    ]
    extra: list[tuple[float, str]] = []
    last = -1
    for call in torch_calls:
        position = match.get((call.path, call.index))
        if position is None and not call.idle:
            extra.append((last + 0.5, call.path))
        elif position is not None:
            last = position
    keras_made, torch_made = (_counted(calls) for calls in (keras_calls, torch_calls))
    used = Uses(torch, inputs), Uses(keras, inputs)
    missing = [item for item in missing if used[0].fewer(pairs[item[1]][-1], keras_made[item[1]])]
    extra = [(order, pairs[path][-1]) for order, path in extra if used[1].fewer(path, torch_made[path])]
    located = []
    names = mirrored(keras.layers(), torch.layers()) | {path: paths[0] for path, paths in pairs.items()}
    for kind, calls, everything, verb in (
        (Kind.MISSING_CALL, missing, [call.path for call in keras_calls], ("Keras", "torch")),
        (Kind.EXTRA_CALL, extra, [pairs[call.path][-1] for call in torch_calls], ("torch", "Keras")),
    ):
        for block, order in _blocks(calls, everything).items():
            text = f"{verb[0]} runs it here, {verb[1]} does not"
            partner = _partner(block, kind, names)
            names_of = (block, partner) if kind is Kind.MISSING_CALL else (partner, block)
            located.append(Located(order - 0.5, Finding(names_of[0], names_of[1], kind, None, text)))
    return located


class Uses:
    """How often a side runs its layers, whether it calls them or computes with their weights; traced when asked."""

    def __init__(self, model: Adapter, inputs: Mapping[str, Sequence[Array]]) -> None:
        self._model, self._inputs = model, inputs[model.side]

    @cached_property
    def _trace(self) -> Trace | None:
        try:
            return self._model.trace(self._inputs)[1]
        except Exception:  # any model, any error: then nothing is proven
            return None

    def fewer(self, path: str, count: int) -> bool:
        """Whether the layer surely runs less often than this; calls of layers without weights are all seen."""
        layer = self._model.layers()[path]
        if not layer.tensors and not layer.whole:
            return True
        return self._trace is not None and self._of(self._trace, path) < count

    @staticmethod
    def _of(trace: Trace, path: str) -> int:
        """Calls of a layer, and steps that take one of its weights."""
        users = trace.users()
        taken = [
            len(users[node.id])
            for node in trace.nodes
            if node.sort == "parameter" and node.path is not None and f"{node.path}.".startswith(f"{path}.")
        ]
        return len(trace.calls(path)) + max(taken, default=0)


def _counted(calls: Sequence[Call]) -> Counter[str]:
    return Counter(call.path for call in calls)


def _blocks(calls: Sequence[tuple[float, str]], everything: Sequence[str]) -> dict[str, float]:
    """The outermost containers all of whose calls are among these, with the first place of each."""
    total: dict[str, int] = {}
    gone: dict[str, int] = {}
    for path in everything:
        for stem in _stems(path):
            total[stem] = total.get(stem, 0) + 1
    for _, path in calls:
        for stem in _stems(path):
            gone[stem] = gone.get(stem, 0) + 1
    blocks: dict[str, float] = {}
    for order, path in calls:
        outermost = next((stem for stem in _stems(path) if gone[stem] == total[stem]), path)
        blocks.setdefault(outermost, order)
    return blocks


def _stems(path: str) -> list[str]:
    """a, a.b, a.b.c for a.b.c."""
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _partner(block: str, kind: Kind, names: Mapping[str, str]) -> str | None:
    """The other side's name of a layer or block, where it has one."""
    if kind is Kind.MISSING_CALL:
        return names.get(block)
    return {torch_path: path for path, torch_path in names.items()}.get(block)
