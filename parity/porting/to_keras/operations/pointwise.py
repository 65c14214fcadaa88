"""Operations on each element: the order of axes stays."""

from __future__ import annotations

from collections.abc import Callable

from parity.porting.to_keras.layout.casts import dtype_text, promoted
from parity.porting.to_keras.layout.operands import Operand, atom
from parity.porting.to_keras.operations.broadcast import together
from parity.porting.to_keras.operations.step import RULES, BodyStep, NoRuleError, rule

_ONE = """abs arccos arcsin arctan arctanh ceil cos cosh erf erfinv exp expm1 floor isfinite isinf isnan log log10
    log1p log2 logical_not relu relu6 round rsqrt sigmoid sign silu sin sinh softplus softsign sqrt square tan tanh"""
SAME = dict.fromkeys(_ONE.split(), "") | {
    "acos": "arccos",
    "asin": "arcsin",
    "atan": "arctan",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_silu",
    "logsigmoid": "log_sigmoid",
    "neg": "negative",
    "reciprocal": "reciprocal",
    "selu": "selu",
    "tanhshrink": "tanh_shrink",
    "bitwise_not": "logical_not",
}
TWO = {
    "add": "+",
    "sub": "-",
    "subtract": "-",
    "mul": "*",
    "multiply": "*",
    "div": "/",
    "true_divide": "/",
    "divide": "/",
    "floor_divide": "//",
    "remainder": "%",
    "pow": "**",
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
}
TWO_NAMED = ("maximum", "minimum", "logical_and", "logical_or", "logical_xor", "arctan2")


def _simple(keras_name: str) -> Callable[[BodyStep], Operand]:
    return lambda step: step.gives(f"ops.{keras_name}({step.tensor.text})")


def _operator(sign: str) -> Callable[[BodyStep], Operand]:
    def apply(step: BodyStep) -> Operand:
        left, right = step.argument(0, "input"), step.argument(1, "other", "exponent")
        if left is None or right is None or "rounding_mode" in step.named:
            raise NoRuleError(f"{step.name} with these arguments")
        texts, layout = together(step, [left, right])
        a, b = promoted([Operand(o.value, t) for o, t in zip((left, right), texts, strict=True)], step.value)
        factor = step.argument(2, "alpha")
        b = atom(b) if factor is None else f"{atom(factor.text)} * {atom(b)}"
        return step.gives(f"{atom(a)} {sign} {b}", layout)

    return apply


def _named(keras_name: str) -> Callable[[BodyStep], Operand]:
    def apply(step: BodyStep) -> Operand:
        if len(step.operands) + len(step.named) != 2:
            raise NoRuleError(f"{step.name} with these arguments")
        texts, layout = together(step, [*step.operands, *step.named.values()])
        return step.gives(f"ops.{keras_name}({', '.join(texts)})", layout)

    return apply


RULES.update({name: _simple(keras_name or name) for name, keras_name in SAME.items()})
RULES.update({name: _operator(sign) for name, sign in TWO.items()})
RULES.update({name: _named(name) for name in TWO_NAMED})


@rule("contiguous", "clone", "detach", "requires_grad", "alias", "identity", "cpu", "resolve_conj")
def keep(step: BodyStep) -> Operand:
    """What only concerns torch's storage."""
    return step.gives(step.tensor.text)


@rule("to", "type", "type_as", "float", "double", "half", "bool", "int", "long")
def cast(step: BodyStep) -> Operand:
    """A change of the dtype; a floating one goes to Keras' own."""
    tensor = step.tensor
    after = step.value.dtype
    if after == tensor.value.dtype or (_floats(after) and _floats(tensor.value.dtype)):
        return step.gives(tensor.text, tensor.layout)
    return step.gives(f"ops.cast({tensor.text}, {dtype_text(after)})", tensor.layout)


def _floats(dtype: str) -> bool:
    return "float" in dtype


@rule("gelu")
def gelu(step: BodyStep) -> Operand:
    """The exact function, unless its approximation is asked for."""
    exact = step.constant(1, "approximate", default="none") == "none"
    return step.gives(f"ops.gelu({step.tensor.text}, approximate={not exact})")


@rule("leaky_relu", "elu", "celu")
def slope(step: BodyStep) -> Operand:
    """Activations with one number."""
    name, default = ("negative_slope", "0.01") if step.name == "leaky_relu" else ("alpha", "1.0")
    keras_name = "negative_slope" if step.name == "leaky_relu" else "alpha"
    return step.gives(
        f"ops.{step.name}({step.tensor.text}, {keras_name}={step.text(1, name, default=default)})"
    )


@rule("glu")
def glu(step: BodyStep) -> Operand:
    """One half of an axis, gated by the second."""
    return step.gives(
        f"ops.glu({step.tensor.text}, axis={step.axis(step.tensor, step.argument(1, 'dim'), -1)})"
    )


@rule("mish")
def mish(step: BodyStep) -> Operand:
    """Keras has it as an activation."""
    return step.gives(f"keras.activations.mish({step.tensor.text})")


@rule("hardtanh", "clamp", "clip", "clamp_min", "clamp_max")
def clamp(step: BodyStep) -> Operand:
    """Values between two bounds, each of which may be missing."""
    low, high = step.argument(1, "min", "min_val"), step.argument(2, "max", "max_val")
    if step.name == "hardtanh":
        return step.gives(
            f"ops.clip({step.tensor.text}, {step.text(1, 'min_val', default='-1.0')}, "
            f"{step.text(2, 'max_val', default='1.0')})"
        )
    if step.name == "clamp_max":
        low, high = None, low
    low = None if low is None or low.value is None else low
    high = None if high is None or high.value is None else high
    if low is not None and high is not None:
        return step.gives(f"ops.clip({step.tensor.text}, {low.text}, {high.text})")
    if low is not None:
        return step.gives(f"ops.maximum({step.tensor.text}, {low.text})")
    if high is not None:
        return step.gives(f"ops.minimum({step.tensor.text}, {high.text})")
    raise NoRuleError("clamp without a bound")


@rule("where")
def where(step: BodyStep) -> Operand:
    """Two tensors by a condition."""
    operands = list(step.operands)
    if len(operands) != 3:
        raise NoRuleError("where with a condition alone")
    texts, layout = together(step, operands)
    return step.gives(f"ops.where({', '.join(texts)})", layout)


@rule("masked_fill")
def masked_fill(step: BodyStep) -> Operand:
    """A value where a mask is true."""
    mask = step.argument(1, "mask")
    if mask is None:
        raise NoRuleError("masked_fill without a mask")
    (tensor, chosen), layout = together(step, [step.tensor, mask])
    return step.gives(f"ops.where({chosen}, {step.text(2, 'value')}, {tensor})", layout)


@rule("addcmul", "addcdiv")
def addcmul(step: BodyStep) -> Operand:
    """x + value * a * b, or a / b."""
    first, second = step.argument(1, "tensor1"), step.argument(2, "tensor2")
    if first is None or second is None:
        raise NoRuleError(f"{step.name} with these arguments")
    (x, a, b), layout = together(step, [step.tensor, first, second])
    factor = step.named.get("value")
    sign = "*" if step.name == "addcmul" else "/"
    product = f"{atom(a)} {sign} {atom(b)}"
    return step.gives(
        f"{atom(x)} + {product if factor is None else f'{atom(factor.text)} * {product}'}", layout
    )


@rule("lerp")
def lerp(step: BodyStep) -> Operand:
    """From one tensor to another."""
    end, weight = step.argument(1, "end"), step.argument(2, "weight")
    if end is None or weight is None:
        raise NoRuleError("lerp with these arguments")
    (a, b, w), layout = together(step, [step.tensor, end, weight])
    return step.gives(f"{atom(a)} + {atom(w)} * ({atom(b)} - {atom(a)})", layout)


@rule("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout")
def dropout(step: BodyStep) -> Operand:
    """Dropout as a function, in training alone."""
    if step.name == "alpha_dropout":
        raise NoRuleError("alpha_dropout as a function")
    step.helpers.add("random_dropout")
    rate = step.text(1, "p", default="0.5")
    training = step.text(2, "training", default="training")
    axes = ""
    if step.name not in ("dropout",):
        rank = len(step.tensor.value.shape)
        axes = f", shared_axes={tuple(place for place, axis in enumerate(step.tensor.order) if 2 <= axis < rank)}"
    return step.gives(f"random_dropout({step.tensor.text}, {rate}, training={training}{axes})")
