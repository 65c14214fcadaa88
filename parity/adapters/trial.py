"""Tries a layer with other weights and settings, on either side, and puts everything back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from parity.adapters.patching import restored
from parity.core.adapter import Adapter, joined
from parity.core.types import Array


def trial(
    adapter: Adapter,
    path: str,
    layer: Any,
    inputs: Sequence[Array],
    weights: Mapping[str, Array],
    settings: Mapping[str, Any],
) -> list[Array] | None:
    """What one layer gives with other weights and attributes; None where it lacks one of them, or refuses them.

    Args:
        adapter: the side.
        path: of the layer.
        layer: the framework's own object.
        inputs: what the layer gets.
        weights: values of the layer's own tensors, by name.
        settings: values of the layer's attributes, by name.
    """
    if not all(hasattr(layer, name) for name in settings):
        return None
    before = {name: adapter.read(joined(path, name)) for name in weights}
    with ExitStack() as stack:
        for name, value in settings.items():
            stack.enter_context(restored(layer, name, value))
        try:
            for name, value in weights.items():
                adapter.write(joined(path, name), value)
            return adapter.run_layer(path, inputs)
        except Exception:  # any layer, any error: the trial says nothing
            return None
        finally:
            for name, value in before.items():
                adapter.write(joined(path, name), value)
