"""The helpers that a port carries stand alone: their text runs without parity."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from parity.porting.to_keras.leaves.carried import carried, helper_names


def run(names, package="mine"):
    text, imports = carried(names, package)
    space: dict = {}
    exec("\n".join(sorted(imports)) + "\n" + text, space)
    return space, text


def test_every_helper_runs_without_parity() -> None:
    pytest.importorskip("keras")
    names = helper_names()
    assert {"PaddedConv2D", "resize", "StackedLSTM", "MultiheadAttention"} <= names
    space, text = run(names)
    assert "parity" not in text
    assert names <= set(space)
    assert 'package="mine"' in text


def test_what_is_needed_comes_along_and_first() -> None:
    pytest.importorskip("keras")
    text, imports = carried(["PaddedConv2D"])
    defined = [node.name for node in ast.parse(text).body]
    assert {"_extend", "pad", "_ExplicitPadding", "_PaddedConv"} <= set(defined)
    assert defined[-1] == "PaddedConv2D"
    assert imports == {"import keras", "from keras import ops"}
    space, _ = run(["PaddedConv2D"])
    assert space["PaddedConv2D"](3, 3, strides=2, padding=1)(np.zeros((1, 8, 8, 2), "float32")).shape == (
        1,
        4,
        4,
        3,
    )


def test_an_unknown_helper_is_refused() -> None:
    with pytest.raises(KeyError):
        carried(["NoSuchLayer"])
