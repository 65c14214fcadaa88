"""Names of classes, attributes and arguments, made of the names in Keras."""

from __future__ import annotations

import keyword
import re

_TAKEN = {
    "forward",
    "train",
    "eval",
    "half",
    "float",
    "double",
    "type",
    "apply",
    "parameters",
    "modules",
    "children",
}


def identifier(name: str) -> str:
    """A name as an attribute: lower case where it was a title, no other signs than letters, digits and lines."""
    text = re.sub(r"\W+", "_", name).strip("_") or "layer"
    if text[0].isdigit():
        text = f"layer_{text}"
    return f"{text}_" if keyword.iskeyword(text) or text in _TAKEN else text


def snake(name: str) -> str:
    """ConvBlock -> conv_block."""
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()


def camel(name: str) -> str:
    """conv_block -> ConvBlock; a title stays."""
    parts = [part for part in re.split(r"[\W_]+", name) if part]
    text = "".join(part[0].upper() + part[1:] for part in parts) or "Model"
    return f"Model{text}" if text[0].isdigit() else text
