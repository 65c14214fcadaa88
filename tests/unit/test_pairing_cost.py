"""Pairing costs in proportion to the model: its work is counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.keras.layers import layers_of
from parity.core.layout import permuted
from parity.core.types import LayerInfo, TensorInfo
from parity.pairing import alike, by_name, unit_slots
from parity.pairing.alike import Alike
from parity.pairing.by_name import Matcher
from parity.pairing.dataflow.colours.refinement import Refinement, numbered
from parity.pairing.dataflow.distance import Positions
from parity.pairing.dataflow.frontier import MARGIN, Frontier
from parity.pairing.dataflow.graph import SUM, SUMMED, graph_of
from parity.pairing.dataflow.isomorphism import own_colours
from parity.pairing.dataflow.units import Unit
from parity.pairing.dataflow.values import EqualValues

LINEAR = 1.2
"""Times linear that is taken for linear."""


def infos(count: int, shape: Any, torch: bool) -> dict[str, LayerInfo]:
    """Dense layers whose names say nothing; `shape` gives (inputs, outputs) of each."""
    found = {}
    for i in range(count):
        path = f"{'t' if torch else 'k'}{i}.unit"
        size = shape(i)[::-1] if torch else shape(i)
        name = "weight" if torch else "kernel"
        tensors = (TensorInfo(f"{path}.{name}", name, size, "float32"),)
        found[path] = LayerInfo(path, "Dense", "dense", tensors, True)
    return found


def compared(count: int, shape: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many pairs of layers were asked for their tensors, and how many were paired."""
    calls = []
    for module in (alike, by_name):
        plain = module.slots_of
        monkeypatch.setattr(module, "slots_of", lambda *given, plain=plain: calls.append(1) or plain(*given))
    matcher = Matcher(infos(count, shape, False), infos(count, shape, True), {})
    matcher.by_signature()
    monkeypatch.undo()
    return len(calls), len(matcher.pairing.pairs)


@pytest.mark.parametrize(
    ("shape", "paired"),
    [(lambda i: (3, 5), 0), (lambda i: (i + 2, 997), 1), (lambda i: (3 + i % 7, 5), 0)],
    ids=["equal", "distinct", "repeated"],
)
def test_layers_are_held_against_their_like(shape: Any, paired: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the layers, four times the comparisons at most; what occurs once is paired."""
    few, many = compared(50, shape, monkeypatch), compared(200, shape, monkeypatch)
    assert many[0] <= max(4 * LINEAR * few[0], 60)
    assert (few[1], many[1]) == (50 * paired, 200 * paired)


def test_unique_asks_for_one_choice_on_both_sides() -> None:
    """One Keras layer and two torch layers of its kind are no pair, nor are two and one."""
    one, two = infos(1, lambda i: (3, 5), False), infos(2, lambda i: (3, 5), True)
    assert Alike({}).unique([*one.values()], [*two.values()]) == []
    assert Alike({}).unique([*infos(2, lambda i: (3, 5), False).values()], [*two.values()][:1]) == []
    assert Alike({}).unique([*one.values()], [*two.values()][:1]) == [("k0.unit", "t0.unit")]


class Counting(list[list[tuple[int, int, int]]]):
    """Neighbours that count how often they are looked at."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        """One vertex' neighbours."""
        self.looks += 1
        return super().__getitem__(index)


def chain(length: int) -> Counting:
    """Each vertex feeds the next."""
    near = Counting([] for _ in range(length))
    for i in range(length - 1):
        list.__getitem__(near, i).append((1, 0, i + 1))
        list.__getitem__(near, i + 1).append((0, 0, i))
    return near


def test_a_chain_of_equal_vertices_is_refined_in_linear_work() -> None:
    """Whatever its length, each vertex is looked at a few times, and all are told apart."""
    looks = []
    for length in (200, 800):
        near = chain(length)
        assert len(set(Refinement([0] * length, near).colour)) == length
        looks.append(near.looks)
    assert looks[1] <= 4 * LINEAR * looks[0]


def naive(start: list[int], near: list[list[tuple[int, int, int]]]) -> list[int]:
    """The same colouring by looking at every vertex in every round."""
    colour = numbered(start)
    while True:
        finer = numbered(
            (colour[i], tuple(sorted((way, mark, colour[j]) for way, mark, j in found)))
            for i, found in enumerate(near)
        )
        if len(set(finer)) == len(set(colour)):
            return colour
        colour = finer


def graphs() -> Iterator[tuple[list[int], list[list[tuple[int, int, int]]]]]:
    """Random graphs with few kinds and marks, so that much is alike."""
    rng = Random(0)
    for _ in range(200):
        size = rng.randint(1, 14)
        near: list[list[tuple[int, int, int]]] = [[] for _ in range(size)]
        for _ in range(rng.randint(0, 2 * size)):
            a, b, mark = rng.randrange(size), rng.randrange(size), rng.randrange(2)
            near[a].append((1, mark, b))
            near[b].append((0, mark, a))
        yield [rng.randrange(2) for _ in range(size)], near


def test_refinement_is_that_of_every_round() -> None:
    """The same vertices share a colour, also after some were set apart."""
    for start, near in graphs():
        refinement = Refinement(start, near)
        assert numbered(refinement.colour) == numbered(naive(start, near))
        chosen = [0, len(start) - 1]
        expected = [-1 if i in chosen else colour for i, colour in enumerate(refinement.colour)]
        refinement.set_apart(list(dict.fromkeys(chosen)))
        assert numbered(refinement.colour) == numbered(naive(expected, near))


def residual(blocks: int) -> Any:
    """A stream to which every block adds."""
    x = image = keras.Input((4, 4, 2))
    for _ in range(blocks):
        x = L.Add()([x, L.Conv2D(2, 3, padding="same", use_bias=False)(x)])
    return keras.Model(image, x)


def test_a_residual_stream_has_as_many_edges_as_blocks() -> None:
    """A sum of very many is a vertex of its own; few are seen through as ever."""
    edges = []
    for blocks in (2 * SUMMED, 4 * SUMMED):
        adapter = adapt(residual(blocks))
        graph = graph_of(
            adapter.trace([keras.ops.convert_to_numpy(keras.ops.ones((1, 4, 4, 2)))])[1], adapter.layers()
        )
        edges.append(len(graph.edges))
        assert any(vertex.label[0] == SUM for vertex in graph.vertices)
        assert len(set(own_colours(graph))) == len(graph.vertices)
    assert edges[1] <= 2 * LINEAR * edges[0]


def test_names_of_the_layers_below_follow() -> None:
    """A renamed container renames what is below it, and nothing whose name only starts alike."""
    keras_model = keras.Sequential([keras.Input((3,)), L.Dense(2, name="a"), L.Dense(2, name="ab")])
    matcher = Matcher(adapt(keras_model).layers(), adapt(nn.Sequential(nn.Linear(3, 2))).layers(), {})
    matcher.names.rename("a", "z", own=False)
    assert matcher.names.of("a")[0] == "z"
    assert matcher.names.of("ab")[0] == "ab"


def test_a_shared_layer_keeps_its_first_path() -> None:
    """Layers are known by their identity, found at once."""
    shared = L.Dense(3, name="one")

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = shared

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    model = Model()
    model(keras.ops.ones((1, 3)))
    layers, aliases = layers_of(model)
    assert [path for path, layer in layers.items() if layer is shared] == ["first"]
    assert "second" in aliases["first"]


def with_one_more(count: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """A stack of equal dense layers, one more in torch: how often two layers were asked for their tensors or scored."""
    model = keras.Sequential([keras.Input((4,)), *(L.Dense(4) for _ in range(count))])
    module = nn.Sequential(*(nn.Linear(4, 4) for _ in range(count + 1)))
    asked: list[int] = []
    for owner, name in ((unit_slots, "slots_of"), (Positions, "distance")):
        plain = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, plain=plain: asked.append(1) or plain(*given))
    assert not parity.pair(model, module).complete
    monkeypatch.undo()
    return len(asked)


def test_a_refusal_costs_in_proportion_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the layers, four times the work at most, though no layer has a name or a shape of its own."""
    few, many = with_one_more(20, monkeypatch), with_one_more(80, monkeypatch)
    assert many <= 4 * LINEAR * few


Scores = dict[Unit, dict[Unit, float]]


def choices(scores: Scores) -> tuple[list[Any], list[Any]]:
    """The best choices by looking at every score."""
    rivals: dict[Unit, list[float]] = {}
    for found in scores.values():
        for torch_unit, score in found.items():
            rivals.setdefault(torch_unit, []).append(score)
    sure, tied = [], []
    for unit, found in scores.items():
        top = max(found.values(), default=0.0)
        near = [torch_unit for torch_unit, score in found.items() if score > top - MARGIN]
        for torch_unit in near:
            claims = [score for score in rivals[torch_unit] if score > top - MARGIN]
            if len(near) == 1 and len(claims) == 1:
                sure.append((top, unit, torch_unit, near))
            elif max(claims) <= top + MARGIN:
                tied.append((top, unit, torch_unit, near))
    return sure, tied


def test_choices_are_those_of_every_score() -> None:
    """However scores change and units are taken, what is kept up to date is what a fresh look gives."""
    rng = Random(0)
    for _ in range(60):
        units = [[Unit(f"{side}{i}") for i in range(rng.randint(1, 7))] for side in "kt"]
        points: Scores = {
            unit: {other: float(rng.randrange(3)) for other in rng.sample(units[1], rng.randint(0, len(units[1])))}
            for unit in units[0]
        }  # fmt: skip
        frontier = Frontier(units[0], lambda unit, points=points: dict(points[unit]))
        while True:
            assert (frontier.sure(), frontier.tied()) == choices(points)
            if not points or not units[1]:
                break
            if rng.random() < 0.5:
                unit = rng.choice(list(points))
                points[unit] = {other: float(rng.randrange(3)) for other in units[1] if rng.random() < 0.5}
                frontier.touched(unit)
                continue
            unit, other = rng.choice(list(points)), units[1].pop(rng.randrange(len(units[1])))
            del points[unit]
            for found in points.values():
                found.pop(other, None)
            frontier.taken(unit, other)


def test_values_are_equal_whatever_their_layout() -> None:
    """Each tensor is read once for all that it is held against; one with NaN equals none, and zeros have no sign."""
    kernel = np.array([[1.0, -0.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
    for value, other, equal in (
        (kernel, np.where(kernel == 0, 0, kernel), True), (kernel, kernel + 1, False), (kernel * np.nan,) * 2 + (False,),
    ):  # fmt: skip
        model, module = keras.Sequential([keras.Input((2,)), L.Dense(3)]), nn.Linear(2, 3)
        sides = adapt(model), adapt(module)
        path = next(path for path in sides[0].variables if path.endswith("kernel"))
        sides[0].write(path, value)
        sides[1].write("weight", np.ascontiguousarray(other.T))
        assert EqualValues(*sides).same(path, "weight", permuted((3, 2), (1, 0))) is equal
