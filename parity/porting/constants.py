"""Constants that both sides compute while they are made, and that differ by the rounding of the frameworks' functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

ROUNDING = 1e-5
"""How far float32 values may be apart, relative to the greatest, and still be the same constant."""
RENAMED = "{}_"
"""A port's attribute where Keras has one of the source's name."""


def part_at(model: Any, path: str) -> Any | None:
    """The part of a model that attributes and positions lead to: "layer1.0.conv1"; None where there is none."""
    for name in path.split(".") if path else ():
        if name.isdigit():
            steps = getattr(model, "layers", model) if not isinstance(model, list | tuple) else model
            try:
                model = steps[int(name)]
            except (IndexError, TypeError, KeyError):
                return None
        elif isinstance(model, Mapping):
            model = model.get(name)
        else:
            model = getattr(model, name, None)
    return model


def settle(source: Any, port: Any) -> list[str]:
    """Give a torch source the port's constants where these are the same up to rounding; the paths of those.

    A sine in float32 is another one in each framework's last bit. Constants that differ by more stay apart, and the
    comparison finds them.

    Args:
        source: what was ported; its buffers that are not saved, and its plain tensors, are changed.
        port: its Keras port.
    """
    settled = []
    for path, module, name, value in _constants(source):
        part = part_at(port, path)
        own = getattr(part, name, None)
        own = getattr(part, RENAMED.format(name), None) if own is None or callable(own) else own
        if own is None or not hasattr(own, "dtype"):
            continue
        other, mine = np.asarray(own), value.detach().cpu().numpy()
        if other.shape != mine.shape or other.dtype.kind != "f" or np.array_equal(other, mine):
            continue
        finite = np.isfinite(mine)
        scale = float(np.abs(mine[finite]).max(initial=0.0))
        with np.errstate(invalid="ignore"):
            close = np.where(finite, np.abs(other - mine) <= ROUNDING * scale, other == mine)
        if close.all():
            (module._buffers if name in module._buffers else vars(module))[name] = value.new_tensor(other)
            settled.append(f"{path}.{name}" if path else name)
    return settled


def _constants(source: Any) -> Iterator[tuple[str, Any, str, Any]]:
    """(path, module, name, tensor) of what a torch module holds and does not save."""
    for path, module in source.named_modules() if hasattr(source, "named_modules") else ():
        for name in module._non_persistent_buffers_set:
            if module._buffers.get(name) is not None and module._buffers[name].is_floating_point():
                yield path, module, name, module._buffers[name]
        for name, value in list(vars(module).items()):
            if hasattr(value, "is_floating_point") and value.is_floating_point():
                yield path, module, name, value
