"""Tensors that a body makes from numbers and sizes."""

from __future__ import annotations

from parity.porting.to_keras.layout.axes import identity
from parity.porting.to_keras.layout.casts import dtype_text
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, numbers
from parity.porting.to_keras.operations.step import BodyStep, NoRuleError, rule


def _dtype(step: BodyStep) -> str:
    return dtype_text(step.value.dtype)


def _natural(step: BodyStep) -> AxisLayout:
    return AxisLayout(identity(len(step.value.shape)))


@rule("zeros", "ones", "empty")
def filled(step: BodyStep) -> Operand:
    """A new tensor; sizes one by one or as a tuple."""
    name = "zeros" if step.name == "empty" else step.name
    sizes = step.several(0, "size")
    whole = step.argument(0, "size")
    if whole is not None and isinstance(whole.value, list | tuple) and whole.items is None:
        shape = whole.text
    else:
        shape = numbers([operand.text for operand in sizes])
    return step.gives(f"ops.{name}({shape}, dtype={_dtype(step)})", _natural(step))


@rule("new_zeros", "new_ones", "new_empty", "new_full", "full")
def new(step: BodyStep) -> Operand:
    """A new tensor, as a method of one whose dtype it has."""
    first = 1 if step.name.startswith("new_") else 0
    shape = numbers([operand.text for operand in step.several(first, "size")])
    whole = step.argument(first, "size")
    if whole is not None and isinstance(whole.value, list | tuple) and whole.items is None:
        shape = whole.text
    if step.name.endswith("full"):
        fill = step.text(first + 1, "fill_value")
        return step.gives(f"ops.full({shape}, {fill}, dtype={_dtype(step)})", _natural(step))
    name = step.name.removeprefix("new_").replace("empty", "zeros")
    return step.gives(f"ops.{name}({shape}, dtype={_dtype(step)})", _natural(step))


@rule("generate_square_subsequent_mask")
def look_ahead_mask(step: BodyStep) -> Operand:
    """The mask of nn.Transformer: zeros, and minus infinity above the diagonal."""
    step.helpers.add("look_ahead_mask")
    return step.gives(f"look_ahead_mask({step.text(0, 'sz')})", _natural(step))


@rule("zeros_like", "ones_like", "empty_like", "full_like")
def like(step: BodyStep) -> Operand:
    """A new tensor with the shape of another."""
    if step.name == "full_like":
        return step.gives(f"ops.full_like({step.tensor.text}, {step.text(1, 'fill_value')})")
    return step.gives(f"ops.{step.name.replace('empty', 'zeros')}({step.tensor.text})")


@rule("rand", "randn", "rand_like", "randn_like")
def drawn(step: BodyStep) -> Operand:
    """Random values: other ones than torch's, with the same distribution."""
    name = "normal" if step.name.startswith("randn") else "uniform"
    if step.name.endswith("_like"):
        return step.gives(
            f"keras.random.{name}(ops.shape({step.tensor.text}), dtype={_dtype(step)})", step.tensor.layout
        )
    whole = step.argument(0, "size")
    sizes = [operand.text for operand in step.several(0, "size")]
    shape = whole.text if whole is not None and isinstance(whole.value, list | tuple) else numbers(sizes)
    return step.gives(f"keras.random.{name}({shape}, dtype={_dtype(step)})", _natural(step))


@rule("one_hot")
def one_hot(step: BodyStep) -> Operand:
    """A new last axis with a one at the place that each number says."""
    count = step.constant(1, "num_classes", default=-1)
    if count == -1:
        raise NoRuleError("one_hot without the number of classes")
    order = (*step.tensor.order, len(step.tensor.order))
    text = f'ops.one_hot({step.tensor.text}, {step.text(1, "num_classes")}, dtype="int64")'
    return step.gives(text, AxisLayout(order))


@rule("arange")
def arange(step: BodyStep) -> Operand:
    """Numbers in a row."""
    named = [f"{name}={step.named[name].text}" for name in ("start", "end", "step") if name in step.named]
    parts = [operand.text for operand in step.operands] + [part.replace("end=", "stop=") for part in named]
    return step.gives(f"ops.arange({', '.join(parts)}, dtype={_dtype(step)})", _natural(step))


@rule("linspace")
def linspace(step: BodyStep) -> Operand:
    """Numbers in a row, by their count."""
    texts = [step.text(0, "start"), step.text(1, "end"), step.text(2, "steps")]
    return step.gives(f"ops.linspace({', '.join(texts)}, dtype={_dtype(step)})", _natural(step))


@rule("eye")
def eye(step: BodyStep) -> Operand:
    """The identity matrix."""
    return step.gives(
        f"ops.eye({', '.join(o.text for o in step.operands)}, dtype={_dtype(step)})", _natural(step)
    )


@rule(
    "tensor", "as_tensor", "scalar_tensor", "from_numpy", "Tensor", "FloatTensor", "LongTensor", "BoolTensor"
)
def constant(step: BodyStep) -> Operand:
    """Numbers as a tensor."""
    first = step.operands[0]
    if first.is_tensor:
        return step.gives(first.text, first.layout)
    return step.gives(f"ops.array({first.text}, dtype={_dtype(step)})", _natural(step))


@rule("meshgrid")
def meshgrid(step: BodyStep) -> Operand:
    """Coordinates of a grid; torch's default is ij."""
    indexing = step.constant(99, "indexing", default="ij")
    operands = list(step.operands)
    texts = [o.text if o.is_tensor else f"*{o.text}" for o in operands]
    rank = len(step.value[0].shape)
    return step.gives(f'ops.meshgrid({", ".join(texts)}, indexing="{indexing}")', AxisLayout(identity(rank)))


@rule("bernoulli")
def bernoulli(step: BodyStep) -> Operand:
    """Ones with a probability."""
    probability = step.argument(1, "p")
    if probability is None:
        raise NoRuleError("bernoulli of probabilities in a tensor")
    step.helpers.add("bernoulli")
    return step.gives(f"bernoulli({step.tensor.text}, {probability.text})")


@rule("zero", "fill")
def refilled(step: BodyStep) -> Operand:
    """A tensor whose values are all replaced."""
    if step.name == "zero":
        return step.gives(f"ops.zeros_like({step.tensor.text})")
    return step.gives(f"ops.full_like({step.tensor.text}, {step.text(1, 'value')})")
