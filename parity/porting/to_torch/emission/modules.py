"""How modules are made in a constructor: their arguments, lists of modules, parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.porting.to_torch.emission.arguments import ABSENT, ClassArguments, same
from parity.porting.to_torch.emission.merge import unified
from parity.porting.to_torch.piece import ModuleText
from parity.porting.to_torch.use import literal

DEFAULTS: dict[str, Any] = {
    "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "output_padding": 0, "affine": True,
    "elementwise_affine": True, "depth_multiplier": 1, "bias_shape": None, "bidirectional": False, "dropout": 0.0,
}  # fmt: skip
OF_KIND: dict[str, dict[str, Any]] = {
    "nn.BatchNorm": {"eps": 1e-5, "momentum": 0.1}, "nn.LayerNorm": {"eps": 1e-5}, "nn.GroupNorm": {"eps": 1e-5},
    "nn.utils.parametrizations.spectral_norm": {"n_power_iterations": 1}, "Looped": {"recurrent_dropout": 0.0},
    "ResetFirst": {"recurrent_dropout": 0.0}, "SeparableConv": {"padding": "valid"},
    "ConvLSTM": {"padding": "valid", "return_sequences": False},
    "torch_impl.layers.Conv2DTranspose": {"padding": "valid", "output_padding": None},
}  # fmt: skip


def default(kind: str, name: str) -> Any:
    """The default of an argument of torch or a helper; ABSENT where there is none."""
    for stem, known in OF_KIND.items():
        if kind.startswith(stem) and name in known:
            return known[name]
    if name == "bias" and kind.startswith(("nn.GRU", "nn.LSTM", "nn.RNN")):
        return True
    return DEFAULTS.get(name, ABSENT)


def making(
    mades: list[ModuleText | None],
    attribute: str,
    arguments: ClassArguments,
    expression: Callable[[str, list[Any]], str | None],
) -> tuple[str, list[str]]:
    """The text that makes a module, and the lines behind it.

    Args:
        mades: what each instance makes; None where it makes nothing.
        attribute: the attribute's name.
        arguments: of the class.
        expression: the source's text for one of torch's arguments, where it has these values.
    """
    known = [made for made in mades if made is not None]
    kind, port = unified(known), known[0].port
    names = list(dict.fromkeys(name for made in known for name in made.arguments))
    parts, behind = [], []
    for name in names:
        if kind.endswith("Same") and kind[:4] == "Conv" and name == "padding":
            continue
        unsaid = known[0].defaults.get(name, ABSENT) if port else default(kind, name)
        values = [ABSENT if made is None else made.arguments.get(name, unsaid) for made in mades]
        if name == "frozen":
            what = next(value for value in values if value is not ABSENT)
            behind.append(f"self.{attribute}.{what}.requires_grad_(False)")
            continue
        present = [value for value in values if value is not ABSENT]
        if all(same(value, unsaid) for value in present):
            continue
        text = arguments.text(values, name, attribute, expression(name, values), unsaid)
        positional = all(name in made.positional for made in known)
        parts.append(text if positional else f"{name}={text}")
    if kind == "torch.tensor":
        return f"torch.tensor({', '.join(parts)})", behind
    return f"{kind}({', '.join(parts)})", behind


def parameter(name: str, made: ModuleText, first: str, text: str) -> list[str]:
    """The lines that make a parameter of the shape `text`, which begins as `first` says: "ones", "full 0.1", ..."""
    how, _, value = first.partition(" ")
    how = f"torch.{how}"
    if value:
        shape = text if text == "()" else f"({text},)" if "," not in text else f"({text})"
        text = f"{shape}, {value}"
    if made.arguments["trainable"]:
        lines = [f"self.{name} = nn.Parameter({how}({text}))"]
        if how == "torch.empty":
            lines.append(f"nn.init.normal_(self.{name}, std=0.02)")
        return lines
    how = how if how != "torch.empty" else "torch.zeros"
    return [f'self.register_buffer("{name}", {how}({text}))']


def sequence(inner: list[str]) -> str:
    """A row of modules."""
    return f"nn.Sequential({', '.join(inner)})"


def shape_text(shape: Any) -> str:
    """A shape as arguments."""
    return ", ".join(literal(int(n)) for n in shape)
