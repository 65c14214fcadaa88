"""Which layer is which: the ways to pair, and what is never guessed. No framework is needed."""

from __future__ import annotations

from typing import Any

import pytest

from parity.core.errors import UsageError
from parity.core.types import LayerInfo, TensorInfo
from parity.pairing.pair import Pairing, pair


class Model:
    """A model as parity sees it: layers by path, each (family, {tensor: shape})."""

    def __init__(
        self, side: str, layers: dict[str, Any], aliases: dict[str, tuple[str, ...]] | None = None
    ) -> None:
        self.side, self._layers = side, {}
        paths = ["", *layers]
        for path in paths:
            family, tensors = layers.get(path, (None, {}))
            stem = f"{path}." if path else ""
            self._layers[path] = LayerInfo(
                path=path, kind=family or "Block", family=family,
                tensors=tuple(TensorInfo(stem + name, name, shape, "float32") for name, shape in tensors.items()),
                leaf=not any(other.startswith(stem) and other != path for other in paths),
                aliases=(aliases or {}).get(path, ()),
            )  # fmt: skip

    def layers(self) -> dict[str, LayerInfo]:
        return dict(self._layers)

    def storage(self, path: str) -> Any:
        return path


def conv(side: str, size: int = 3) -> tuple[str, dict[str, tuple[int, ...]]]:
    if side == "keras":
        return "conv", {"kernel": (3, 3, size, 4), "bias": (4,)}
    return "conv", {"weight": (4, size, 3, 3), "bias": (4,)}


K, T = conv("keras"), conv("torch")
BLOCK: tuple[None, dict[str, Any]] = (None, {})
SEQUENCE: tuple[str, dict[str, Any]] = ("sequence", {})


def paired(
    keras: dict[str, Any],
    torch: dict[str, Any],
    mapping: Any = None,
    aliases: dict[str, tuple[str, ...]] | None = None,
) -> Pairing:
    return pair(Model("keras", keras, aliases), Model("torch", torch), mapping)  # type: ignore[arg-type]


PAIRED: dict[str, tuple[Pairing, dict[str, str], str]] = {
    "same paths": (paired({"a": K, "b": K}, {"b": T, "a": T}), {"a": "a", "b": "b"}, "path"),
    "punctuation": (paired({"block_0_conv": K}, {"block": BLOCK, "block.0": BLOCK, "block.0.conv": T}),
                    {"block_0_conv": "block.0.conv"}, "path"),
    "an alias": (paired({"s.conv2d_7": K}, {"s": BLOCK, "s.0": T}, aliases={"s.conv2d_7": ("s.0",)}),
                 {"s.conv2d_7": "s.0"}, "path"),
    "the only one of its kind": (paired({"x": K}, {"y": T}), {"x": "y"}, "shape"),
    "of two sizes": (paired({"x": K, "z": conv("keras", 7)}, {"p": conv("torch", 7), "q": T}),
                     {"x": "q", "z": "p"}, "shape"),
    "order in sequences, not numbers": (
        paired({"s": SEQUENCE, "s.c": K, "s.d": K}, {"s": SEQUENCE, "s.0": T, "s.2": T},
               aliases={"s.c": ("s.0",), "s.d": ("s.1",)}),
        {"s.c": "s.0", "s.d": "s.2"}, "path"),
    "the mapping first": (paired({"a": K, "b": K}, {"a": T, "b": T}, {"a": "b", "b": "a"}), {"a": "b", "b": "a"}, "mapping"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRED)
def test_pairs(name: str) -> None:
    pairing, wanted, how = PAIRED[name]
    assert pairing.complete, pairing.problems
    assert {item.keras: item.torch[0] for item in pairing.pairs} == wanted
    assert {item.how for item in pairing.pairs} == {how}
    assert all(len(item.slots) == 2 for item in pairing.pairs)


UNPAIRED: dict[str, tuple[Pairing, int]] = {
    "two of a kind": (paired({"a": K, "b": K}, {"x": T, "y": T}), 8),
    "another kind": (paired({"a": K}, {"a": ("batchnorm", {"weight": (4,), "bias": (4,)})}), 4),
    "one tensor more": (paired({"a": ("conv", {"kernel": (3, 3, 3, 4)})}, {"a": T}), 1),
    "two names for one": (paired({"a_b": K}, {"a": BLOCK, "a.b": T, "a-b": T}), 6),
    "misshapen": (paired({"a": conv("keras", 5)}, {"a": T}), 1),
    "unknown in the mapping": (paired({"a": K}, {"a": T}, {"q": "a"}), 1),
    "mapped twice": (paired({"a": K, "b": K}, {"a": T, "b": T}, [("a", "a"), ("b", "a")]), 1),
}


@pytest.mark.parametrize("name", UNPAIRED)
def test_what_is_not_guessed(name: str) -> None:
    pairing, problems = UNPAIRED[name]
    assert not pairing.complete
    assert len(pairing.problems) == problems, pairing.problems


@pytest.mark.parametrize("mapping", [{"a": 1}, {1: "a"}, {"a": ()}, ["ab"], [("a", "b", "c")], {"a": [1]}])
def test_a_mapping_must_be_made_of_paths(mapping: Any) -> None:
    with pytest.raises(UsageError, match="a mapping must go"):
        paired({"a": K}, {"a": T}, mapping)
