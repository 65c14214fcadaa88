"""Arithmetic element by element: operators, functions of one tensor, comparisons."""

from __future__ import annotations

from collections.abc import Callable

from parity.porting.to_torch.axes import plain
from parity.porting.to_torch.leaves.activations import relu
from parity.porting.to_torch.leaves.merging import aligned
from parity.porting.to_torch.piece import Name
from parity.porting.to_torch.use import RefusedError, StepUse, literal
from parity.porting.to_torch.values import is_tensor

SIGNS = {
    "Add": "+", "Subtract": "-", "Multiply": "*", "Divide": "/", "TrueDivide": "/", "FloorDivide": "//", "Mod": "%",
    "Power": "**", "Greater": ">", "GreaterEqual": ">=", "Less": "<", "LessEqual": "<=", "Equal": "==",
    "NotEqual": "!=", "LogicalAnd": "&", "LogicalOr": "|", "BitwiseAnd": "&", "BitwiseOr": "|",
}  # fmt: skip
FUNCTIONS = {
    "Absolute": "torch.abs", "Exp": "torch.exp", "Log": "torch.log", "Log1p": "torch.log1p", "Expm1": "torch.expm1",
    "Sqrt": "torch.sqrt", "Rsqrt": "torch.rsqrt", "Square": "torch.square", "Sin": "torch.sin", "Cos": "torch.cos",
    "Tan": "torch.tan", "Tanh": "torch.tanh", "Sinh": "torch.sinh", "Cosh": "torch.cosh", "Arctan": "torch.atan",
    "Sign": "torch.sign", "Floor": "torch.floor", "Ceil": "torch.ceil", "Round": "torch.round", "Erf": "torch.erf",
    "Sigmoid": "torch.sigmoid", "Relu": "F.relu", "Relu6": "F.relu6", "Silu": "F.silu", "Softplus": "F.softplus",
    "Softsign": "F.softsign", "LogSigmoid": "F.logsigmoid", "HardSigmoid": "F.hardsigmoid", "HardSilu": "F.hardswish",
    "Selu": "F.selu", "TanhShrink": "F.tanhshrink", "HardTanh": "F.hardtanh", "Reciprocal": "torch.reciprocal",
    "OnesLike": "torch.ones_like", "ZerosLike": "torch.zeros_like", "LogicalNot": "torch.logical_not",
    "Isnan": "torch.isnan", "Arcsin": "torch.asin", "Arccos": "torch.acos", "Log2": "torch.log2",
    "Log10": "torch.log10", "Arctanh": "torch.atanh", "Exp2": "torch.exp2", "Trunc": "torch.trunc",
    "Isfinite": "torch.isfinite", "Isinf": "torch.isinf", "Arcsinh": "torch.asinh", "Arccosh": "torch.acosh",
}  # fmt: skip


def operator(use: StepUse) -> None:
    """An operator between two operands."""
    values = [*use.args, *use.kwargs.values()][:2]
    sign = SIGNS[use.piece.kind]
    texts, axes = aligned(use, values, atom=True)
    texts = [_number(text, value) for text, value in zip(texts, values, strict=True)]
    use.give(f"{texts[0]} {sign} {texts[1]}", axes, atom=False)


def _number(text: str, value: object) -> str:
    """A number in an operator: a negative one in brackets, a well-known fraction as it is written by hand."""
    if is_tensor(value):
        return text
    if isinstance(value, float) and value == 1 / 6:
        return "(1 / 6)"
    return f"({text})" if text.startswith("-") else text


def negative(use: StepUse) -> None:
    """The sign turned round."""
    use.give(f"-{use.take(use.x, atom=True)}", use.axes(use.x), atom=False)


def chosen(name: str) -> Callable[[StepUse], None]:
    """Maximum and minimum; torch has `clamp` for a number."""

    def rule(use: StepUse) -> None:
        values = [*use.args, *use.kwargs.values()][:2]
        numbers = [value for value in values if not is_tensor(value) and not getattr(value, "shape", ())]
        if numbers:
            bound = "min" if name == "maximum" else "max"
            text = use.take(use.x, atom=True)
            return use.give(f"{text}.clamp({bound}={literal(numbers[0])})", use.axes(use.x))
        texts, axes = aligned(use, values)
        return use.give(f"torch.{name}({', '.join(texts)})", axes)

    return rule


def function(use: StepUse) -> None:
    """A function of one tensor."""
    name = Name(FUNCTIONS[use.piece.kind])
    text = use.constant("activation", name) if name.text.startswith("F.") else name.text
    use.give(f"{text}({use.take(use.x)})", use.axes(use.x))


def gelu(use: StepUse) -> None:
    """GELU, exact or by tanh."""
    more = ', approximate="tanh"' if use.get("approximate", True) else ""
    use.give(f"F.gelu({use.take(use.x)}{more})", use.axes(use.x))


def sloped(name: str, setting: str) -> Callable[[StepUse], None]:
    """Functions with one number."""

    def rule(use: StepUse) -> None:
        use.give(f"F.{name}({use.take(use.x)}, {literal(float(use.get(setting)))})", use.axes(use.x))

    return rule


def thresholded(use: StepUse) -> None:
    """One value for all that are not above a threshold."""
    numbers = f"{literal(float(use.get('threshold')))}, {literal(float(use.get('default_value')))}"
    use.give(f"F.threshold({use.take(use.x)}, {numbers})", use.axes(use.x))


def helped(name: str) -> Callable[[StepUse], None]:
    """A function of one tensor that the port brings with it."""

    def rule(use: StepUse) -> None:
        use.give(f"{use.helper(name)}({use.take(use.x)})", use.axes(use.x))

    return rule


def sparsemax(use: StepUse) -> None:
    """sparsemax along one axis."""
    axes = use.axes(use.x)
    axes = plain(axes.rank) if axes.flat else axes
    use.give(
        f"{use.helper('sparsemax')}({use.take(use.x, axes)}, dim={axes.torch(use.get('axis', -1))})", axes
    )


def gated(use: StepUse) -> None:
    """GLU: one half of an axis weighs the half before it."""
    axes = use.axes(use.x)
    axes = plain(axes.rank) if axes.flat else axes
    use.give(f"F.glu({use.take(use.x, axes)}, dim={axes.torch(use.get('axis', -1))})", axes)


def clip(use: StepUse) -> None:
    """Values between two bounds."""
    text = use.take(use.x, atom=True)
    use.give(f"{text}.clamp({literal(use.get('x_min'))}, {literal(use.get('x_max'))})", use.axes(use.x))


DTYPES = {
    "float32": "float", "float64": "double", "float16": "half", "bfloat16": "bfloat16", "int32": "int", "int64": "long",
    "bool": "bool",
}  # fmt: skip


def cast(use: StepUse) -> None:
    """Another dtype; between floats, it follows the tensor that the model computes with."""
    before, after = str(use.x.dtype), str(use.step.outputs.dtype)
    text, axes = use.take(use.x, atom=True), use.axes(use.x)
    if before == after or (before.startswith("float") and after == "float32"):
        return use.give(text, axes, alias=True)
    if after not in DTYPES:
        raise RefusedError(f"a cast to {after}")
    if after == "float32":
        return use.give(f"{text}.to(torch.get_default_dtype())", axes)
    return use.give(f"{text}.{DTYPES[after]}()", axes)


def unchanged(use: StepUse) -> None:
    """Operations that give what they get."""
    use.give(use.take(use.x), use.axes(use.x), alias=True)


def detached(use: StepUse) -> None:
    """No gradient flows back."""
    use.give(f"{use.take(use.x, atom=True)}.detach()", use.axes(use.x))


def where(use: StepUse) -> None:
    """One of two values, by a condition."""
    values = [*use.args, *use.kwargs.values()][:3]
    texts, axes = aligned(use, values)
    use.give(f"torch.where({', '.join(texts)})", axes)


def divide_no_nan(use: StepUse) -> None:
    """A quotient that is zero where the divisor is."""
    texts, axes = aligned(use, [*use.args][:2], atom=True)
    use.give(f"torch.where({texts[1]} == 0, 0.0, {texts[0]} / {texts[1]})", axes)


RULES = {
    **dict.fromkeys(SIGNS, operator), **dict.fromkeys(FUNCTIONS, function), "Negative": negative, "Gelu": gelu,
    "Maximum": chosen("maximum"), "Minimum": chosen("minimum"), "LeakyRelu": sloped("leaky_relu", "negative_slope"),
    "Elu": sloped("elu", "alpha"), "Celu": sloped("celu", "alpha"),
    "SoftShrink": sloped("softshrink", "threshold"),
    "HardShrink": sloped("hardshrink", "threshold"), "Glu": gated,
    "Threshold": thresholded, "ReLU": relu, "Squareplus": helped("squareplus"), "SparsePlus": helped("sparse_plus"),
    "SparseSigmoid": helped("sparse_sigmoid"), "Sparsemax": sparsemax, "Clip": clip, "Cast": cast, "Where": where,
    "ConvertToTensor": unchanged, "Copy": unchanged, "StopGradient": detached, "DivideNoNan": divide_no_nan,
}  # fmt: skip
