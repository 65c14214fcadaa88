"""The tensors of a recurrent cell: gates in another order, and two biases in torch where Keras has one.

| cell | Keras | torch |
|---|---|---|
| LSTM | gates i, f, c, o; one bias | i, f, g, o; two biases that are added up |
| GRU | gates z, r, h; two biases, or one where it resets before the product | r, z, n; two biases |
| SimpleRNN | one bias | two biases that are added up |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from parity.core.layout import Layout, recurrent
from parity.core.types import RECURRENT, LayerInfo, TensorInfo

KERNELS = (("kernel", "weight_ih"), ("recurrent_kernel", "weight_hh"))
BIASES = ("bias_ih", "bias_hh")


@dataclass(frozen=True)
class CellTensor:
    """A tensor of a Keras cell and one of a torch cell; `added` is the torch tensor that is added to it, by its path."""

    keras: TensorInfo
    torch: TensorInfo
    layout: Layout | None
    added: str | None = None


def are_cells(keras: LayerInfo, torch: LayerInfo) -> bool:
    """Whether both are recurrent cells of one kind, or passes of one along a sequence."""
    return keras.family in RECURRENT and keras.family == torch.family


def cell_within(keras: Mapping[str, LayerInfo], path: str, torch: LayerInfo | None) -> str | None:
    """The cell of a recurrent Keras layer, where the layer is named for a torch cell or one pass of it; else None."""
    layer = keras.get(path)
    if torch is None or torch.family not in RECURRENT or layer is None or layer.leaf or layer.tensors:
        return None
    cells = [name for name, part in keras.items() if name.startswith(f"{path}.") and part.family in RECURRENT]
    return cells[0] if len(cells) == 1 else None


def step_by_step(pairs: Iterable[tuple[str, tuple[str, ...]]], torch: Mapping[str, LayerInfo]) -> set[str]:
    """Paths of the Keras cells whose torch partner is a cell that is called for each step.

    Args:
        pairs: (Keras path, torch paths).
        torch: torch's layers by path.
    """
    return {
        path
        for path, partners in pairs
        if torch[partners[0]].family in RECURRENT and torch[partners[0]].kind.endswith("Cell")
    }


def cell_tensors(keras: LayerInfo, torch: LayerInfo) -> Iterator[CellTensor]:
    """Which tensors of two cells correspond, whether their shapes fit or not.

    Args:
        keras: a Keras cell.
        torch: a torch cell, or one layer of a recurrent module in one direction.
    """
    variables = {variable.name: variable for variable in keras.tensors}
    tensors = {tensor.name: tensor for tensor in torch.tensors}
    family = str(keras.family)
    for keras_name, torch_name in KERNELS:
        if keras_name in variables and torch_name in tensors:
            tensor = tensors[torch_name]
            yield CellTensor(variables[keras_name], tensor, recurrent(family, tensor.shape))
    bias = variables.get("bias")
    first, second = (tensors.get(name) for name in BIASES)
    if bias is None or first is None or second is None:
        return
    if len(bias.shape) == 1:
        yield CellTensor(bias, first, recurrent(family, first.shape), added=second.path)
    else:
        for row, tensor in enumerate((first, second)):
            yield CellTensor(bias, tensor, recurrent(family, tensor.shape, row))


def cell_layout(
    families: tuple[str | None, str | None], keras: TensorInfo, torch: TensorInfo
) -> Layout | None:
    """The rule between two tensors of recurrent cells by their names; None where they are not such, or have other names."""
    family = families[0]
    if family not in RECURRENT or families[1] != family:
        return None
    named = (keras.name, torch.name) in KERNELS or (keras.name == "bias" and torch.name in BIASES)
    row = BIASES.index(torch.name) if torch.name in BIASES and len(keras.shape) > 1 else None
    return recurrent(family, torch.shape, row) if named else None
