"""Layers that merge several tensors, and what the frameworks' broadcasting makes of different ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parity.porting.to_torch.axes import TorchAxes, plain
from parity.porting.to_torch.use import RefusedError, StepUse, literal
from parity.porting.to_torch.values import is_tensor, is_variable


def aligned(use: StepUse, values: Sequence[Any], atom: bool = False) -> tuple[list[str], TorchAxes]:
    """The texts of operands that are broadcast together, and the layout of the result."""
    tensors = [value for value in values if is_tensor(value)]
    rank = max(len(tensor.shape) for tensor in tensors)
    tops = [tensor for tensor in tensors if len(tensor.shape) == rank and not is_variable(tensor)]
    axes = use.axes(tops[0]) if tops else plain(rank)
    if axes.flat and any(use.axes(tensor) != axes for tensor in tops):
        axes = plain(rank)
    lower = [tensor for tensor in tensors if len(tensor.shape) < rank]
    if not axes.same and any(len(tensor.shape) > 1 for tensor in lower):
        axes = plain(rank)
    return [_operand(use, value, axes, atom) for value in values], axes


def _operand(use: StepUse, value: Any, axes: TorchAxes, atom: bool) -> str:
    if not is_tensor(value):
        return use.numbers(value, axes) if getattr(value, "shape", ()) else literal(value)
    rank = len(value.shape)
    if rank == axes.rank:
        return use.take(value, axes, atom)
    if rank == 1 and not axes.same and not axes.flat:  # one number for each channel
        behind = axes.rank - 1 - axes.torch(axes.rank - 1)
        return (
            f"{use.plainly(value, atom=True)}[:{', None' * behind}]" if behind else use.plainly(value, atom)
        )
    return use.plainly(value, atom)


def _flat(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def merged(use: StepUse, atom: bool = False) -> tuple[list[str], TorchAxes]:
    """The texts of what a merging layer takes: those of a lower rank get axes behind the batch."""
    rank = max(len(tensor.shape) for tensor in use.tensors)
    if all(len(tensor.shape) == rank for tensor in use.tensors):
        return aligned(use, use.tensors, atom)
    if any(len(tensor.shape) < 2 for tensor in use.tensors):
        raise RefusedError("a merging layer with a tensor that has a batch alone")
    axes = next(use.axes(tensor) for tensor in use.tensors if len(tensor.shape) == rank)
    axes = plain(rank) if axes.flat else axes
    return [_grown(use, tensor, axes, atom) for tensor in use.tensors], axes


def _grown(use: StepUse, tensor: Any, axes: TorchAxes, atom: bool) -> str:
    """The text of a tensor whose axes are the last ones of `axes`, the missing ones behind its batch."""
    missing = axes.rank - len(tensor.shape)
    if not missing:
        return use.take(tensor, axes, atom)
    held = [axis for axis in axes.order if axis == 0 or axis > missing]
    order = TorchAxes(tuple(axis - missing if axis else 0 for axis in held))
    keys = [":" if axis in held else "None" for axis in axes.order]
    while len(keys) > 1 and keys[-1] == ":":
        keys.pop()
    return f"{use.take(tensor, order, atom=True)}[{', '.join(keys)}]"


def joined(sign: str) -> Any:
    """Tensors with an operator between them."""

    def rule(use: StepUse) -> None:
        texts, axes = merged(use, atom=True)
        use.give(f" {sign} ".join(texts), axes, atom=False)

    return rule


def average(use: StepUse) -> None:
    """Average."""
    texts, axes = merged(use, atom=True)
    use.give(f"({' + '.join(texts)}) / {len(texts)}", axes, atom=False)


def chosen(function: str) -> Any:
    """The greatest or smallest of several tensors."""

    def rule(use: StepUse) -> None:
        texts, axes = merged(use)
        text = texts[0]
        for more in texts[1:]:
            text = f"torch.{function}({text}, {more})"
        use.give(text, axes)

    return rule


def concatenate(use: StepUse) -> None:
    """Concatenate, the layer and the operation."""
    axes = use.axes(use.tensors[0])
    if axes.flat:
        axes = plain(axes.rank)
    texts = [use.take(tensor, axes) for tensor in use.tensors]
    use.give(f"torch.cat(({', '.join(texts)}), dim={axes.torch(int(use.get('axis', -1)))})", axes)


def dot(use: StepUse) -> None:
    """Dot along one axis of each tensor."""
    first, second = use.tensors
    along = use.layer.axes if isinstance(use.layer.axes, list | tuple) else (use.layer.axes,) * 2
    left = list("abcdef"[: len(first.shape)])
    right = ["a", *"uvwxyz"[: len(second.shape) - 1]]
    left[along[0] % len(left)] = right[along[1] % len(right)] = "k"
    result = [letter for letter in left if letter != "k"] + [letter for letter in right[1:] if letter != "k"]
    text = f'torch.einsum("{"".join(left)},{"".join(right)}->{"".join(result)}", '
    texts = [use.plainly(tensor) for tensor in (first, second)]
    if use.layer.normalize:
        texts = [f"F.normalize({t}, dim={axis}, eps=1e-6)" for t, axis in zip(texts, along, strict=True)]
    text += f"{texts[0]}, {texts[1]})"
    if len(result) == 1:
        return use.give(f"{text}[:, None]", plain(2))
    return use.give(text, plain(len(result)))


RULES = {
    "Add": joined("+"), "Subtract": joined("-"), "Multiply": joined("*"), "Average": average,
    "Maximum": chosen("maximum"), "Minimum": chosen("minimum"), "Concatenate": concatenate, "Dot": dot,
}  # fmt: skip
