"""Which order of axes the torch side takes: tried on it, and decided by what both sides compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from parity.adapters.inputs.orders import AxisOrder, asked, name_of, readings, usual
from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter, Observer
from parity.core.layout import aligned
from parity.core.types import Array
from parity.pairing.pair import MappingLike, Pairing, pair_layers
from parity.weights.copying import copy
from parity.weights.traced import traced

CLOSE = 1e-3
"""Outputs of one layer are the same where they differ by less of their scale: rounding in float32 is far below it."""

Named = list[tuple[str, Array]]


def settle(
    keras: Adapter, torch: Adapter, values: Sequence[Array], layout: Any, mapping: MappingLike | None = None
) -> bool | None:
    """Settle in which order of axes the torch side takes these inputs, and keep it in the Keras adapter.

    The usual order is tried first, then the others. Of those that the torch side takes, the ones whose outputs have
    Keras' shapes are left; of several of these the one in which, with one side's weights in both, most layers give the
    same.

    Args:
        keras: the Keras side.
        torch: the torch side. Its weights are changed for a moment where several orders fit.
        values: inputs in the Keras layout.
        layout: what the caller asked for; None finds it.
        mapping: the caller's pairs of layers.

    Returns:
        Whether the torch side takes the inputs; None where that was not tried.

    Raises:
        UsageError: no such layout.
    """
    first, wanted = usual(values, keras), asked(layout, values, keras)
    if wanted is not None:
        _keep(keras, wanted, "as asked")
        return None
    keras.orders = tuple(first)
    if all(value.ndim < 3 for value in values):
        return None
    taken = list(_taken(keras, torch, values))
    if not taken:
        keras.orders = tuple(first)
        return False
    _keep(keras, *_decided(keras, torch, values, taken, mapping), silent=first)
    return True


def _keep(keras: Adapter, orders: Sequence[AxisOrder], why: str, silent: Sequence[AxisOrder] = ()) -> None:
    """Keep the orders, and say those that are not every image's."""
    keras.orders = tuple(orders)
    said = []
    for number, order in enumerate(orders):
        if len(order) < 3 or (len(order) > 3 and list(orders) == list(silent) and why != "as asked"):
            continue
        name = str(keras.keys[number]) if number < len(keras.keys) else str(number)
        said.append(f"input {name}: torch takes its axes {name_of(order)} {order} ({why})")
    keras.said = (*(text for text in keras.said if not text.startswith("input ")), *said)


def _taken(
    keras: Adapter, torch: Adapter, values: Sequence[Array]
) -> Iterator[tuple[list[AxisOrder], Named]]:
    """The readings that the torch side takes, each with what it gave."""
    seen = set[tuple[tuple[int, ...], ...]]()
    for orders in readings(values, keras):
        keras.orders = tuple(orders)
        if keras.orders in seen:
            continue
        seen.add(keras.orders)
        try:
            found = torch.forward(to_torch_inputs(values, keras))
        except Exception:  # any module, any error: it does not take this reading
            continue
        yield orders, found


def _decided(
    keras: Adapter,
    torch: Adapter,
    values: Sequence[Array],
    taken: Sequence[tuple[list[AxisOrder], Named]],
    mapping: MappingLike | None,
) -> tuple[list[AxisOrder], str]:
    """The reading that is right, and why."""
    if len(taken) == 1:
        return taken[0][0], "torch takes no other order"
    try:
        shapes = [value.shape for _, value in keras.forward(values)]
    except Exception:  # any model, any error: it does not take these sizes
        return taken[0][0], "by custom: torch takes others too"
    fitting = [one for one in taken if _fits(shapes, one[1])] or list(taken)
    if len(fitting) == 1:
        return fitting[0][0], "the outputs have Keras' shapes in this order alone"
    scores = [_score(keras, torch, values, orders, mapping) for orders, _ in fitting]
    best = max(range(len(fitting)), key=lambda i: scores[i])  # the first of equal ones
    others = [score for i, score in enumerate(scores) if i != best]
    if scores[best] > max(others):
        return fitting[best][0], "with the same weights most layers agree in this order"
    return fitting[best][0], "by custom: nothing tells it from another"


def _fits(shapes: Sequence[tuple[int, ...]], found: Named) -> bool:
    """Whether outputs have these shapes, in one layout or the other."""
    return len(shapes) == len(found) and all(
        aligned(np.broadcast_to(0.0, shape), np.broadcast_to(0.0, value.shape)) is not None
        for shape, (_, value) in zip(shapes, found, strict=True)
    )


# --- with the same weights in both -----------------------------------------------------------------------


class _First(Observer):
    """Keeps the first tensor that each layer gives in its first call."""

    def __init__(self) -> None:
        self.found: dict[str, Array] = {}

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> list[Array] | None:
        """Keep it."""
        if outputs and path not in self.found:
            self.found[path] = np.array(outputs[0])
        return None


def _score(
    keras: Adapter,
    torch: Adapter,
    values: Sequence[Array],
    orders: Sequence[AxisOrder],
    mapping: MappingLike | None,
) -> tuple[int, int, int]:
    """How much speaks for a reading: outputs that agree, layers that agree, tensors that are paired."""
    keras.orders = tuple(orders)
    try:
        traces = traced(keras, list(values)), traced(torch, to_torch_inputs(values, keras))
        pairing = pair_layers(keras, torch, mapping, traces[0].flattened, traces)
        slots = sum(len(item.slots) for item in pairing.pairs)
        with _same_weights(keras, torch, pairing):
            return *_agreeing(keras, torch, values, pairing), slots - len(pairing.problems)
    except Exception:  # any model, any error: nothing speaks for it
        return (-1, -1, -1)


@contextmanager
def _same_weights(keras: Adapter, torch: Adapter, pairing: Pairing) -> Iterator[None]:
    """The torch side with the Keras side's weights, where they are paired."""
    before = {
        tensor.path: torch.read(tensor.path) for layer in torch.layers().values() for tensor in layer.tensors
    }
    try:
        copy(pairing, keras, torch)
        yield
    finally:
        for path, value in before.items():
            torch.write(path, value)


def _agreeing(keras: Adapter, torch: Adapter, values: Sequence[Array], pairing: Pairing) -> tuple[int, int]:
    """How many outputs, and how many paired layers, give the same on both sides."""
    pairs = [(item.keras, item.torch[-1]) for item in pairing.pairs]
    seen = _First(), _First()
    with keras.watched(seen[0], {pair[0] for pair in pairs}):
        outputs = keras.forward(values)
    with torch.watched(seen[1], {pair[1] for pair in pairs}):
        results = torch.forward(to_torch_inputs(values, keras))
    layers = sum(
        first in seen[0].found
        and second in seen[1].found
        and _same(seen[0].found[first], seen[1].found[second])
        for first, second in pairs
    )
    return sum(_same(a, b) for (_, a), (_, b) in zip(outputs, results, strict=False)), layers


def _same(keras: Array, torch: Array) -> bool:
    fit = aligned(keras, torch)
    if fit is None or not keras.size:
        return False
    scale = float(np.abs(keras).max())
    return bool(np.all(np.abs(fit[0] - keras) <= CLOSE * scale)) and scale > 0.0
