"""Ports of small torch modules, written, run and proved in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from parity.core.verdict import Verdict
from parity.porting.port import Port, port


def proved(build: Callable[[], Any], *inputs: Any, seed: int = 0, **asked: Any) -> Port:
    """The port of a module, which must be whole and EQUAL.

    Args:
        build: makes the module.
        inputs: shapes in the Keras layout, or arrays.
        seed: of the inputs that are drawn.
        asked: further arguments of `parity.port`.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(size=x).astype("float32") if isinstance(x, tuple) else x for x in inputs]
    made = port(build, drawn if len(drawn) > 1 else drawn[0], **{"quick": True, **asked})
    said = [*map(str, made.unwritten), *map(str, made.proofs), *map(str, made.modules)]
    assert made.verdict is Verdict.EQUAL, "\n".join([*said, made.text])
    return made
