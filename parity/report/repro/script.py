"""The text of the script that reproduces one finding; it needs NumPy, safetensors, torch and Keras, not parity."""

from __future__ import annotations

import ast
import math
import pprint
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from parity.core.errors import UsageError
from parity.core.types import Array
from parity.report.gaps import compared, gap_of
from parity.report.repro.checking import KerasLayer, Reported, TorchModule

HEAD = '''"""{title}

{evidence}

Written by parity {version} from {source}. It needs numpy, safetensors, torch and keras, not parity.
{does}
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", {backend!r})
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_ENABLE_X64", "1")

{imports}
import numpy as np
from safetensors.numpy import load_file

SAVED = load_file(Path(__file__).with_suffix(".safetensors"))
{reported}

def saved(start):
    """The saved tensors whose names begin with `start`, by the rest of their names."""
    return {{name[len(start):]: value for name, value in SAVED.items() if name.startswith(start)}}


def in_order(start):
    """The same as a list, in the order of their numbers."""
    found = saved(start)
    return [found[name] for name in sorted(found, key=int)]


def as_keras(value, wanted):
    """A torch tensor, channels first, in the Keras layout, or as it is where that alone fits or fits better."""
    readings = [value, np.moveaxis(value, 1, -1)] if value.ndim > 2 else [value]
    fitting = [reading for reading in readings if reading.shape == wanted.shape]
    gaps = [np.nan_to_num(np.abs(reading - wanted), nan=np.inf).max(initial=0) for reading in fitting]
    return fitting[int(np.argmin(gaps))] if fitting else None
'''

KERAS = '''

KERAS_LAYER = {config}


def keras_side():
    """What the Keras layer gives for the input, in float64."""
    keras.config.set_floatx("float64")
    layer = keras.layers.deserialize(KERAS_LAYER)
    inputs = [keras.ops.convert_to_tensor(value) for value in in_order("keras_input.")]
    layer({call})
    layer.set_weights(in_order("keras_weight."))
    return keras.ops.convert_to_numpy(layer({call}))
'''

KERAS_SAVED = '''

def keras_side():
    """The saved tensor: {why}."""
    return SAVED["{key}"]
'''

TORCH = '''

def torch_side():
    """What the torch module gives for the same input, in float64."""
    module = nn.Sequential({modules}).double().eval()
    module.load_state_dict({{name: torch.from_numpy(value) for name, value in saved("torch_weight.").items()}})
    with torch.no_grad():
        return module({inputs}).numpy()
'''

TORCH_SAVED = '''

def torch_side():
    """The saved tensor: {why}."""
    return SAVED["{key}"]
'''

VALUES = '''

def main():
    """Print the greatest difference and where it is, and check that it is the reported one."""
    keras_value, torch_value = keras_side(), torch_side()
    print("{what}: Keras", keras_value.shape, "torch", torch_value.shape)
    torch_value = as_keras(torch_value, keras_value)
    assert torch_value is not None, "the shapes do not fit"
    gap = np.where(keras_value == torch_value, 0.0, np.abs(keras_value - torch_value))
    gap = np.where(np.isnan(gap), np.inf, gap)
    at = tuple(map(int, np.unravel_index(np.argmax(gap), gap.shape)))
    print(f"greatest difference {{gap[at]:.6g}} at {{at}}: Keras {{keras_value[at]:.9g}}, torch {{torch_value[at]:.9g}}")
    assert np.isclose(gap[at], REPORTED, rtol=1e-3, atol=0), f"reported {{REPORTED}}; got {{gap[at]}}"
    print(f"the reported difference ({{REPORTED:.6g}}) is reproduced")


if __name__ == "__main__":
    main()
'''

SHAPES = '''

def main():
    """Print both shapes, and check that they do not fit."""
    keras_value, torch_value = keras_side(), torch_side()
    print("{what}: Keras", keras_value.shape, "torch", torch_value.shape)
    assert as_keras(torch_value, keras_value) is None, "the shapes fit"
    print("the reported difference of shapes is reproduced")


if __name__ == "__main__":
    main()
'''

REASONS = {
    "wiring": "this is what arrived at the layer; the fault lies between it and the layers before it",
    "layer": "the layer cannot be built here: its class is not the framework's own, was changed, or did more in the model",
}


def script(reported: Reported, tensors: Mapping[str, Array], backend: str, source: str) -> str:
    """The whole script; what a report says stands in it as comments and literals, and nothing of it runs.

    Args:
        reported: the finding, checked.
        tensors: of the finding, as they will lie next to the script.
        backend: of Keras, one of `KERAS_BACKENDS`.
        source: where the finding comes from, in words.

    Raises:
        UsageError: the script would hold a name that is not its own.
    """
    pair = compared(dict(tensors))
    gap = gap_of(dict(tensors))
    what = "output" if "keras_output.0" in tensors and "torch_output.0" in tensors else "input"
    why = REASONS["layer" if what == "output" else "wiring"]
    key = _differing(tensors, pair, what)
    if key != "output.0":
        reported = replace(reported, keras=None, torch=None)
    rebuilt = [side for side in ("keras", "torch") if getattr(reported, side) is not None]
    greatest = ""
    if gap is not None:
        number = float(gap.max(initial=0.0))
        greatest = f"REPORTED = {number!r}\n" if math.isfinite(number) else 'REPORTED = float("inf")\n'
    imports = ["import torch  # before Keras", "from torch import nn"] if "torch" in rebuilt else []
    imports += ["import keras"] if "keras" in rebuilt else []
    head = HEAD.format(
        title=_plain(reported.title),
        evidence=_plain(reported.evidence),
        version=version("segparity"),
        source=_plain(source),
        does=_does(rebuilt, what),
        backend=backend,
        reported=greatest,
        imports="\n".join(imports),
    )
    keras_part = _keras(reported.keras) if reported.keras else KERAS_SAVED.format(why=why, key=f"keras_{key}")
    torch_part = _torch(reported.torch) if reported.torch else TORCH_SAVED.format(why=why, key=f"torch_{key}")
    end = (SHAPES if gap is None else VALUES).format(what=what)
    text = head + keras_part + torch_part + end
    _check_names(text, reported)
    return text


def _differing(tensors: Mapping[str, Array], pair: tuple[Array, Array] | None, what: str) -> str:
    """Which output or input the script compares: the one that differs."""
    if pair is None:
        return f"{what}.0"
    return next(f"{what}.{i}" for i in range(len(tensors)) if tensors.get(f"keras_{what}.{i}") is pair[0])


def _plain(text: str) -> str:
    """Text that can stand in a docstring: neither a mark of Python's nor what an editor shows as another text."""
    letters = ("'" if letter == '"' else "/" if letter == "\\" else letter for letter in text)
    return textwrap.fill("".join(letter if letter.isprintable() else " " for letter in letters), 110)


def _does(rebuilt: list[str], what: str) -> str:
    if len(rebuilt) == 2:
        return "Both layers are built again and run in float64 on one input; the reported difference must be there."
    if rebuilt:
        return f"The {rebuilt[0]} layer is built again and run in float64; the {what} of the other side is the saved one."
    return f"It compares the saved {what}s alone."


def _keras(layer: KerasLayer) -> str:
    call = "inputs" if layer.list else "*inputs"
    call += ", training=False" if layer.training else ""
    config = pprint.pformat(layer.config, width=100, sort_dicts=False)
    return KERAS.format(config=config, call=call)


def _torch(modules: tuple[TorchModule, ...]) -> str:
    calls = [
        f"nn.{module.name}({', '.join(f'{name}={_tuple(value)!r}' for name, value in module.arguments.items())})"
        for module in modules
    ]
    whole = modules[0].name.startswith("Embedding")
    inputs = 'torch.from_numpy(SAVED["torch_input.0"])' + (".long()" if whole else ".double()")
    return TORCH.format(modules=", ".join(calls), inputs=inputs)


def _tuple(value: Any) -> Any:
    """JSON has lists where torch wants tuples."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _check_names(text: str, reported: Reported) -> None:
    """See that a script has no name but the templates' and the modules' classes: a second wall behind the first.

    Raises:
        UsageError: it has, or it is no Python.
    """
    blank = dict.fromkeys(
        ("title", "evidence", "version", "source", "does", "backend", "reported", "imports"), ""
    )
    inputs = 'torch.from_numpy(SAVED["torch_input.0"]).long().double()'
    template = HEAD.format(**blank) + KERAS.format(config="{}", call="*inputs") + VALUES.format(what="")
    known = _names(template + TORCH.format(modules="", inputs=inputs) + 'REPORTED = float("inf")')
    known |= {("attr", module.name) for module in reported.torch or ()}
    try:
        used = _names(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"the finding must make a script that is Python; got {type(error).__name__}: {error}. "
            "Write the report anew."
        ) from error
    if strange := sorted(used - known):
        raise UsageError(
            f"a script must use its own names alone; got {strange[0][1]!r} from the report. Write it anew."
        )


def _names(text: str) -> set[tuple[str, str]]:
    """Every variable, function and attribute that a program names."""
    return {
        (kind, name)
        for node in ast.walk(ast.parse(text))
        for kind in ("id", "attr")
        if isinstance(name := getattr(node, kind, None), str)
    }
