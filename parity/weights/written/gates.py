"""A Keras recurrent cell and a cell that torch code writes out: which tensors correspond, for one order of gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, permutations, product

from parity.core.layout import GATES, Layout, Rows
from parity.core.types import LayerInfo, Side
from parity.pairing.evidence import Evidence
from parity.pairing.pairs import LayerPair
from parity.pairing.recurrent.loops import CellColumns, Loop
from parity.pairing.slots import Constant, Slot

CONVOLUTIONAL = "ConvLSTMCell"
"""Keras' class of the cells of which it has a layer and torch has none."""
USUAL = {4: ((0, 1, 2, 3), (0, 1, 3, 2)), 3: ((1, 0, 2), (0, 1, 2))}
"""Orders of gates that are tried first, by the number of gates: which block of torch stands where in Keras."""
MATCHES = 24
"""Ways to match like cells that are tried."""
Assigned = tuple[tuple[LayerInfo, Loop], ...]


def cells_of(layers: Mapping[str, LayerInfo]) -> list[LayerInfo]:
    """The recurrent cells of a Keras model, in its order."""
    return [layer for layer in layers.values() if gates_of(layer) and _shape(layer, "recurrent_kernel")]


def gates_of(cell: LayerInfo) -> int:
    """How many gates a cell has; zero where it is none."""
    return 4 if cell.kind == CONVOLUTIONAL else len(GATES.get(str(cell.family), ()))


def resets_alike(cell: LayerInfo) -> bool:
    """Whether a cell resets its state behind the product, as far as its tensors show that; others reset nothing."""
    return cell.family != "gru" or len(_shape(cell, "bias") or ()) == 2


def orders(count: int) -> Iterator[tuple[int, ...]]:
    """The orders of so many gates, the usual ones first."""
    usual = USUAL.get(count, ())
    yield from usual
    yield from (order for order in permutations(range(count)) if order not in usual)


def fits(cell: LayerInfo, loop: Loop) -> bool:
    """Whether a loop has weights of the cell's shapes."""
    kernels = _shape(cell, "kernel"), _shape(cell, "recurrent_kernel")
    return kernels == (loop.of_input.keras_shape, loop.of_state.keras_shape)


def assignments(cells: Sequence[LayerInfo], loops: Sequence[Loop]) -> list[Assigned]:
    """Which loop may be which cell, in their order first; none where shapes or numbers do not agree."""
    groups: dict[object, tuple[list[LayerInfo], list[Loop]]] = {}
    for cell in cells:
        key = (_shape(cell, "kernel"), _shape(cell, "recurrent_kernel"))
        groups.setdefault(key, ([], []))[0].append(cell)
    for loop in loops:
        key = (loop.of_input.keras_shape, loop.of_state.keras_shape)
        if key in groups:
            groups[key][1].append(loop)
    if not groups or any(len(alike[0]) != len(alike[1]) for alike in groups.values()):
        return []
    ways = [
        [tuple(zip(alike[0], turned, strict=True)) for turned in islice(permutations(alike[1]), MATCHES)]
        for alike in groups.values()
    ]
    return [tuple(pair for group in chosen for pair in group) for chosen in islice(product(*ways), MATCHES)]


def written_pair(cell: LayerInfo, loop: Loop, order: tuple[int, ...]) -> LayerPair | None:
    """The pair of a cell and a loop for one order of gates; None where their biases cannot correspond.

    Args:
        cell: the Keras cell.
        loop: the torch modules, whose weights have the cell's shapes.
        order: which block of torch's rows stands where in Keras.
    """
    gates = None if order == tuple(sorted(order)) else order
    paths = {tensor.name: tensor.path for tensor in cell.tensors}
    slots = [
        Slot(paths["kernel"], loop.of_input.weight, _kernel(loop.of_input, gates)),
        Slot(paths["recurrent_kernel"], loop.of_state.weight, _kernel(loop.of_state, gates)),
    ]
    constants: list[Constant] = []
    biases = [bias for bias in (loop.of_input.bias, loop.of_state.bias) if bias is not None]
    shape, size = _shape(cell, "bias"), loop.of_state.shape[0]
    plain = Layout((size,), (size,), (0,), (size,), gates=gates)
    if shape is None:
        constants += [Constant("torch", bias, 0.0, (cell.path,)) for bias in biases]
    elif len(shape) == 2:  # Keras has both biases in one tensor
        if len(biases) < 2:
            return None
        for row, bias in enumerate(biases):
            index = tuple(range(row * size, (row + 1) * size))
            rows = Rows((2, size), (0, 1), (2 * size,), index)
            slots.append(
                Slot(paths["bias"], bias, Layout((size,), (size,), (0,), (size,), None, rows, gates))
            )
    elif not biases:
        constants.append(Constant("keras", paths["bias"], 0.0, loop.modules))
    else:
        second: tuple[Side, str] | None = ("torch", biases[1]) if len(biases) > 1 else None
        slots.append(Slot(paths["bias"], biases[0], plain, second, summed=second is not None))
        if second:
            constants.append(Constant("torch", biases[1], 0.0, (cell.path,), folded=True))
    return LayerPair(cell.path, loop.modules, tuple(slots), Evidence.WRITTEN, tuple(constants))


def _kernel(part: CellColumns, gates: tuple[int, ...] | None) -> Layout:
    """The rule for the columns of a torch weight that are a Keras kernel of their own."""
    outputs, columns, *window = part.shape
    split = (outputs, part.end - part.first, *window)
    order = (*range(2, len(split)), 1, 0)
    if part.whole:
        return Layout(part.shape, split, order, part.keras_shape, gates=gates)
    index = tuple(row * columns + column for row in range(outputs) for column in range(part.first, part.end))
    axes = tuple(range(len(part.shape)))
    rows = Rows(part.shape, axes, (outputs * columns, *window), index)
    return Layout((len(index), *window), split, order, part.keras_shape, torch_rows=rows, gates=gates)


def _shape(cell: LayerInfo, name: str) -> tuple[int, ...] | None:
    return next((tensor.shape for tensor in cell.tensors if tensor.name == name), None)
