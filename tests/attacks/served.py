"""Two models that the command line finds by name: `parity check --keras tests.attacks.served:keras_model ...`."""

from __future__ import annotations

from typing import Any

PAIR: list[Any] = []
"""The Keras model and the torch module."""


def keras_model() -> Any:
    return PAIR[0]


def torch_module() -> Any:
    return PAIR[1]
