"""The networks that the training scripts know, by name: nothing here imports a framework."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets.errors import SettingsError


@dataclass(frozen=True)
class Network:
    """What a script must know of a network. Its name is its class's name in both packages.

    Attributes:
        fixed: arguments that RGB images ask for.
        multiple: height and width must be multiples of this.
        output: the one layer whose bias is added to the output last, if there is such a layer.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    multiple: int = 1
    output: str | None = None


NETWORKS = {
    "mUnet": Network(multiple=8, output="conv_out"),
    "FCN": Network(output="upsample"),
    "VGGFCN": Network(),
    "UNet": Network({"in_channels": 3}, output="head"),
    "DilatedFCN": Network(),
    "DeepLabV2": Network(),
    "DeepLabV3": Network(),
    "DeepLabV3Plus": Network(),
    "BuildingNet": Network(),
}


def named(text: str) -> tuple[str, dict[str, Any]]:
    """A network's name and arguments, of "DeepLabV3(backbone='resnet18', width=32)"; capitals do not matter.

    Raises:
        SettingsError: no such network, or arguments that are no constants given by name.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        function = call.func if isinstance(call, ast.Call) else call
        keywords = call.keywords if isinstance(call, ast.Call) else []
        if not isinstance(function, ast.Name) or (isinstance(call, ast.Call) and call.args):
            raise ValueError
        arguments = {str(item.arg): ast.literal_eval(item.value) for item in keywords}
        if "None" in arguments:  # **rest
            raise ValueError
    except (SyntaxError, ValueError) as error:
        raise SettingsError(
            f"model must be a name, or a name with arguments as in UNet(width=16, padded=True); got model={text!r}. "
            "Put it in quotes."
        ) from error
    known = {name.lower(): name for name in NETWORKS}
    if function.id.lower() not in known:
        raise SettingsError(
            f"model must be one of {', '.join(NETWORKS)}; got model={function.id!r}. Choose one."
        )
    return known[function.id.lower()], arguments
