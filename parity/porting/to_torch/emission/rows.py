"""Bodies that are nothing but a row of modules: nn.Sequential instead of a class."""

from __future__ import annotations

import re
from typing import Any

from parity.porting.to_torch.emission.merge import made_of
from parity.porting.to_torch.emission.source import ClassSource
from parity.porting.to_torch.piece import ClassBody, ModuleText, Piece, filled

MODULES = {
    "F.relu": "nn.ReLU", "F.relu6": "nn.ReLU6", "torch.sigmoid": "nn.Sigmoid", "torch.tanh": "nn.Tanh",
    "F.silu": "nn.SiLU", "F.elu": "nn.ELU", "F.selu": "nn.SELU", "F.softplus": "nn.Softplus", "F.gelu": "nn.GELU",
    "F.hardsigmoid": "nn.Hardsigmoid", "F.hardswish": "nn.Hardswish", "F.leaky_relu": "nn.LeakyReLU",
    "F.softmax": "nn.Softmax", "F.max_pool2d": "nn.MaxPool2d", "F.avg_pool2d": "nn.AvgPool2d",
    "F.max_pool1d": "nn.MaxPool1d", "F.avg_pool1d": "nn.AvgPool1d", "F.interpolate": "nn.Upsample",
}  # fmt: skip


def as_row(bodies: list[ClassBody]) -> bool:
    """Whether all of the bodies are rows; what makes each of them is then noted in it."""
    rows = [_row(body) for body in bodies]
    if any(row is None for row in rows):
        return False
    for body, row in zip(bodies, rows, strict=True):
        body.made = ModuleText("nn.Sequential", {}, (), {}, row)  # type: ignore[attr-defined,arg-type]
    return True


def _row(body: ClassBody) -> dict[str, ModuleText] | None:
    if not ClassSource(body.owner).is_row() or len(body.inputs) != 1 or not body.pieces:
        return None
    row: dict[str, ModuleText] = {}
    before = body.inputs[0][1]
    for piece in body.pieces:
        modules = _modules(piece)
        if modules is None or set(piece.inputs) != {before} or len(piece.outputs) != 1:
            return None
        for made in modules:
            row[str(len(row))] = made
        before = piece.outputs[0]
    return row if body.returned == [before] and re.fullmatch("\x01i0\x01", body.result) else None


def _modules(piece: Piece) -> list[ModuleText] | None:
    """The modules that stand for one piece, applied one behind the other."""

    def fill(kind: str, number: int) -> str:
        if kind == "c":
            return repr(piece.constants[number].value)
        return f"\x01{kind}{number}\x01"

    text = filled(piece.template, fill)
    found: list[ModuleText] = []
    while True:
        if text in ("\x01i0\x01", "\x01a0\x01"):
            return found[::-1]
        call = re.fullmatch(
            r"([\w.]+|\x01m\d\x01)\((\x01[ia]0\x01|.*\))((?:, [^()]+|, \w+=\([^()]*\)|, \([^()]*\))*)\)", text
        )
        flat = re.fullmatch(r"(.*)\.flatten\(1\)", text)
        cut = re.fullmatch(r"(.*)\.unflatten\(1, (\([\d, ]+\))\)", text)
        if cut is not None:
            found.append(ModuleText("nn.Unflatten", {"dim": 1, "sizes": _Text(cut[2])}, ("dim", "sizes")))
            text = cut[1]
            continue
        if flat is not None:
            found.append(ModuleText("nn.Flatten", {}))
            text = flat[1]
            continue
        if call is None:
            return None
        name, text, more = call[1], call[2], call[3]
        if name.startswith("\x01m") and not more:
            made: Any = made_of(piece.members[int(name[2])].made)
            found.append(made)
        elif name in MODULES:
            values = [part for part in re.split(r", (?![^(]*\))", more) if part]
            arguments: dict[str, Any] = {}
            for n, part in enumerate(values):
                key, _, value = part.rpartition("=")
                arguments[key or f"_{n}"] = _Text(value)
            found.append(
                ModuleText(MODULES[name], arguments, tuple(key for key in arguments if key.startswith("_")))
            )
        else:
            return None


class _Text:
    """A value's own text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
