"""Every layer of keras.layers is written in torch and computes the same, or is refused with its name."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

import parity
from parity.porting.to_torch.write import write
from tests.layer_rows import IMAGE, ROWS, SEQUENCE, VECTOR, WORDS, LayerRow

ABSTRACT = {"Layer", "Wrapper", "InputLayer"}
FOREIGN = {"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"}
"""Layers that hold a model of another package."""
TABLES = {
    "CategoryEncoding", "Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup",
    "TextVectorization", "MaxNumBoundingBoxes",
}  # fmt: skip
"""What belongs to the data, in front of a model: texts, and tables of their words."""
SIGNALS = {"MelSpectrogram", "STFTSpectrogram"}
PICTURES = {
    "AugMix", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "CutMix", "Equalization", "MixUp",
    "Pipeline", "RandAugment", "Solarization", *(name for name in dir(L) if name.startswith("Random")),
}  # fmt: skip
"""What is done to pictures in training."""


def classes() -> set[str]:
    """The names of all layers, each once."""
    found = {value for value in vars(L).values() if isinstance(value, type) and issubclass(value, L.Layer)}
    return {
        next(name for name in (one.__name__,) if hasattr(L, name))
        for one in found
        if hasattr(L, one.__name__)
    }


def test_every_layer_has_a_row_or_a_reason() -> None:
    covered = {name for row in ROWS.values() for name in row.classes.split()}
    assert classes() - covered - ABSTRACT - FOREIGN - TABLES - SIGNALS - PICTURES == set()
    assert all(hasattr(L, name) for name in covered)


def made(text: str) -> Any:
    """The model of a port."""
    module = ModuleType("a_port")
    sys.modules["a_port"] = module
    exec(compile(text, "a_port.py", "exec"), module.__dict__)
    return module.build().eval()


def values(row: LayerRow) -> Any:
    """Inputs: words with zeros behind them, or numbers of which the last steps of an example are zero."""
    drawn = np.random.default_rng(3)
    found = []
    for shape in row.shapes:
        if row.words:
            value = drawn.integers(1, 20, (3, *shape)).astype("int32")
            value[0, 6:], value[1, 4:] = 0, 0
        else:
            value = drawn.normal(size=(3, *shape)).astype("float32")
            if row.classes == "Masking":
                value[0, 7:], value[1, 5:] = 0, 0
        found.append(value)
    return found if len(found) > 1 else found[0]


def randomised(model: Any) -> None:
    """Weights and statistics that hide nothing."""
    drawn = np.random.default_rng(4)
    for variable in model.variables:
        if "float" in variable.dtype:
            positive = "variance" in variable.path
            variable.assign(np.abs(drawn.normal(0.8, 0.3, variable.shape)) + 0.1 if positive else
                            drawn.normal(0.2 if "gamma" in variable.path else 0, 0.5, variable.shape))  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@pytest.mark.parametrize("name", ROWS)
def test_a_layer_computes_the_same(name: str) -> None:
    row = ROWS[name]
    model, inputs = row.model(), values(row)
    randomised(model)
    port = write(model, inputs)
    assert not port.unwritten, port.unwritten
    torch_model = made(port.text)
    parity.transfer(model, torch_model, inputs=inputs, layout=port.layouts)
    report = parity.compare(model, torch_model, inputs, quick=True, layout=port.layouts)
    assert report, report.findings


REFUSED: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "Hashing": (lambda: L.Hashing(20), WORDS, "Hashing"),
    "a change of colours": (lambda: L.Solarization(), IMAGE, "Solarization"),
    "a statistic that leaves masked steps out": (
        lambda: keras.Sequential([L.Masking(), L.BatchNormalization()]), SEQUENCE, "BatchNormalization",
    ),
    "renorm": (lambda: L.BatchNormalization(renorm=True), IMAGE, "BatchNormalization"),
    "bicubic": (lambda: L.UpSampling2D(2, interpolation="bicubic"), IMAGE, "UpSampling2D"),
    "an activation of one's own": (lambda: L.Dense(3, activation=lambda x: x * 2), VECTOR, "Dense"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_be_written_is_refused_with_its_name(name: str) -> None:
    make, shape, kind = REFUSED[name]
    inputs = keras.Input(shape, dtype="int32" if shape == WORDS else "float32")
    model = keras.Model(inputs, make()(inputs))
    port = write(model, np.ones((2, *shape), "int32" if shape == WORDS else "float32"))
    assert port.unwritten
    assert f"keras.layers.{kind}" in str(port.unwritten[0])
    assert "raise NotImplementedError" in port.text
