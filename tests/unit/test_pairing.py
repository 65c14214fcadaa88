"""Which layer is which: the ways to pair, and what is never guessed. No framework is needed."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from parity.core.errors import PairingError, UsageError
from parity.core.types import LayerInfo, TensorInfo
from parity.pairing.evidence import Evidence
from parity.pairing.pair import Pairing, pair_layers
from parity.pairing.problems.grouped import LONGEST, grouped, pairing_error
from parity.pairing.problems.problem import Problem, ProblemKind
from parity.pairing.problems.sentences import sentence


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
    return pair_layers(Model("keras", keras, aliases), Model("torch", torch), mapping)  # type: ignore[arg-type]


PAIRED: dict[str, tuple[Pairing, dict[str, str], Evidence]] = {
    "same paths": (paired({"a": K, "b": K}, {"b": T, "a": T}), {"a": "a", "b": "b"}, Evidence.PATH),
    "punctuation": (paired({"block_0_conv": K}, {"block": BLOCK, "block.0": BLOCK, "block.0.conv": T}),
                    {"block_0_conv": "block.0.conv"}, Evidence.PATH),
    "an alias": (paired({"s.conv2d_7": K}, {"s": BLOCK, "s.0": T}, aliases={"s.conv2d_7": ("s.0",)}),
                 {"s.conv2d_7": "s.0"}, Evidence.PATH),
    "the only one of its kind": (paired({"x": K}, {"y": T}), {"x": "y"}, Evidence.SHAPE),
    "of two sizes": (paired({"x": K, "z": conv("keras", 7)}, {"p": conv("torch", 7), "q": T}),
                     {"x": "q", "z": "p"}, Evidence.SHAPE),
    "order in sequences, not numbers": (
        paired({"s": SEQUENCE, "s.c": K, "s.d": K}, {"s": SEQUENCE, "s.0": T, "s.2": T},
               aliases={"s.c": ("s.0",), "s.d": ("s.1",)}),
        {"s.c": "s.0", "s.d": "s.2"}, Evidence.PATH),
    "the mapping first": (paired({"a": K, "b": K}, {"a": T, "b": T}, {"a": "b", "b": "a"}),
                          {"a": "b", "b": "a"}, Evidence.MAPPING),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRED)
def test_pairs(name: str) -> None:
    pairing, wanted, evidence = PAIRED[name]
    assert pairing.complete, pairing.problems
    assert {item.keras: item.torch[0] for item in pairing.pairs} == wanted
    assert {item.evidence for item in pairing.pairs} == {evidence}
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


# --- what is said of it --------------------------------------------------------------------------------


def texts(pairing: Pairing) -> list[str]:
    return [sentence(problem) for problem in pairing.problems]


def test_a_tensor_without_a_counterpart_is_said_with_path_shape_and_class() -> None:
    assert texts(paired({"a": K}, {"a": T, "b": conv("torch", 7)})) == [
        "torch b.weight (4, 7, 3, 3) (conv) has no counterpart in the Keras model",
        "torch b.bias (4,) (conv) has no counterpart in the Keras model",
    ]


@pytest.mark.parametrize(
    ("layer", "call"),
    [
        ("features.0", "remove_parametrizations(module.features[0], 'weight')"),
        ("head", "remove_parametrizations(module.head, 'weight')"),
        ("", "remove_parametrizations(module, 'weight')"),
    ],
)
def test_what_computes_a_weight_is_said_of_that_weight_alone(layer: str, call: str) -> None:
    stem = f"{layer}.".lstrip(".")
    held = {f"{stem}parametrizations.weight": ("conv", {"original0": (4, 1, 1, 1)}), "plain": T}
    parametrized, *others = texts(paired({}, {path: held[path] for path in held}))
    assert call in parametrized
    assert len(others) == 2
    assert not any("parametriz" in text for text in others)
    assert call in grouped(paired({}, {path: held[path] for path in held}).problems)


def test_a_lone_bias_is_known_by_its_fields() -> None:
    (problem,) = paired({"a": ("conv", {"kernel": (3, 3, 3, 4)})}, {"b": T}, {"a": "b"}).problems
    assert (problem.lacks, problem.torch, problem.partner) == ("bias", "b", ("a",))
    assert "in Keras a, with which its layer is paired" in sentence(problem)
    (misfit,) = paired({"a": conv("keras", 5)}, {"a": T}).problems
    assert misfit.lacks is None
    assert misfit.misfit == ("a.kernel", "a.weight")
    assert misfit.wanted == (3, 3, 3, 4)


def test_a_wrong_path_of_a_mapping_says_what_is_meant_or_what_there_is() -> None:
    def said(mapping: dict[str, str]) -> list[str]:
        return texts(paired({"conv1": K}, {"conv1": T}, mapping))

    assert "did you mean conv1" in said({"conv_1": "conv1"})[0]
    assert "did you mean conv1.bias" in said({"conv1.bais": "conv1.bias"})[0]
    assert "torch path 'xyz'; the torch model has conv1" in said({"conv1": "xyz"})[0]
    assert len(said({"conv_1": "conv_2"})) == 2


def many(count: int, length: int = 6) -> dict[str, Any]:
    """Layers of other sizes on each side, under long paths."""
    name = "block".ljust(length, "k")
    return {
        "keras": {f"{name}{i}.conv": conv("keras", 7 + i) for i in range(count)},
        "torch": {f"{name}{i}.c": conv("torch", 1007 + i) for i in range(count)},
    }


def test_many_problems_are_grouped_counted_and_kept() -> None:
    problems = paired(**many(39, 5)).problems
    error = pairing_error(problems)
    text = str(error)
    assert len(error.problems) == len(problems) == 156
    assert len(text) <= LONGEST
    for said in ("got 156 problems", "Keras tensors with no counterpart in torch: 78, of 39 layers",
                 "torch tensors with no counterpart in Keras: 78, of 39 layers",
                 "block0.conv (conv): kernel (3, 3, 7, 4), bias (4,)", "and 33 more layers", "mapping={",
                 "strict=False", ".problems holds all"):  # fmt: skip
        assert said in text, said


TWICE = [("a", "a"), ("b", "a"), ("q" * 900, "z"), ("a.bias", "b")]
EVERY_KIND = [
    *paired(**many(20, 400)).problems,
    *paired({"a": K, "b": K}, {"a": T, "b": T}, TWICE).problems,
    *[problem for i in range(9) for problem in paired({"a" * 300: conv("keras", 5 + i)}, {"a" * 300: T}).problems],
    *[Problem(ProblemKind.SEVERAL, f"p{i}", candidates=("u" * 300, "v" * 300)) for i in range(9)],
    *[Problem(ProblemKind.TIED, paths=("t" * 300, "s" * 300)) for i in range(9)],
]  # fmt: skip


@pytest.mark.parametrize("unrun", [None, "on input (2, 3) torch said " + "so " * 300])
def test_whatever_there_is_the_text_stays_short_and_says_what_to_do(unrun: str | None) -> None:
    text = grouped(EVERY_KIND, unrun)
    assert len(text) <= LONGEST
    for said in ("mapping that cannot be followed: 4", "Keras tensors with no", "torch tensors with no",
                 "shapes do not correspond: 9",
                 "several possible counterparts: 9", "Tied tensors of the target: 9", "Correct the mapping",
                 "strict=False", ".problems holds all"):  # fmt: skip
        assert said in text, said
    assert ("inputs=" in text) == (unrun is not None)


def test_a_side_that_lacks_something_is_named() -> None:
    lone = grouped(paired({"a": ("conv", {"kernel": (3, 3, 3, 4)})}, {"a": T}).problems)
    assert "a (conv, paired with a): bias (4,)" in lone
    assert "Add to the Keras model what it lacks" in lone
    assert "mapping=" not in lone
    assert "no counterpart in Keras: 1, of 1 layer" in lone


def test_layers_of_like_names_are_the_example() -> None:
    named = grouped(paired({"up.convT1": K, "up.convT2": K}, {"up.convoT1": T, "up.convoT2": T}).problems)
    assert "mapping={'up.convT1': 'up.convoT1'}" in named


def test_the_error_comes_whole_out_of_another_process() -> None:
    error = pairing_error(paired(**many(9)).problems)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, PairingError)
    assert (again.problems, str(again)) == (error.problems, str(error))
