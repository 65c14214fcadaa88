"""What a path given as a side holds, told from its name and its first bytes; no framework is imported."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path

from parity.adapters.spec import read_spec
from parity.core.errors import UsageError
from parity.core.types import Side
from parity.weights.saved.pickles import foreign_names, members

LARGEST = 2**24
"""Bytes of a config.json that is read."""


class Saved(Enum):
    """What can be a side by itself."""

    KERAS = ".keras, or a whole model in .h5"
    PROGRAM = ".pt2, a program of torch.export"
    PRETRAINED = "a Hugging Face folder: config.json and .safetensors"
    PRESET = "a folder of keras-hub: config.json and weights of Keras"


SIDES: dict[Saved, tuple[Side, ...]] = {
    Saved.KERAS: ("keras",),
    Saved.PROGRAM: ("torch",),
    Saved.PRETRAINED: ("keras", "torch"),
    Saved.PRESET: ("keras",),
}
SUFFIXES = (
    ".keras",
    ".h5",
    ".hdf5",
    ".pt2",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".safetensors",
    ".onnx",
    ".pb",
    ".tflite",
)
STATE = (
    "a side must be a model; got {path}, which holds a state_dict, tensors by name without the class that computes with "
    "them. Name both: --torch module:Class --torch-weights {path}."
)
WHOLE = (
    "a side must be one that can be read without running code from the file; got {path}, which holds a module saved whole, "
    "as a pickle that calls {names}. Reading it would run whatever its writer put there. Save module.state_dict(), and give "
    "--torch module:Class --torch-weights FILE; or save torch.export.export(module, inputs) as .pt2."
)
SCRIPT = (
    "torch's side must be a Python module, whose layers can be watched; got TorchScript in {path}. Save its state_dict, and "
    "give --torch module:Class --torch-weights FILE; or torch.export's .pt2."
)
WEIGHTS = (
    "a side must be a model; got {path}, which holds weights without the layers. Name the function that builds them: "
    "--keras module:build --keras-weights {path}."
)
SAVED_MODEL = (
    "a side must have layers that can be paired; got the SavedModel {path}, which holds traced functions and variables, and "
    "no layers. Give the .keras file, or the function that builds the model with its weights: --keras module:build "
    "--keras-weights FILE.weights.h5."
)
ELSE = (
    "a side must be a Keras model or a torch module; got {path}, which is neither. Give module:attribute, or one of: "
    "{known}."
)


def saved_kind(spec: str, side: Side) -> Saved | None:
    """What a side that is a path holds; None where it is "module:attribute".

    Args:
        spec: what --keras or --torch says.
        side: which of them.

    Raises:
        UsageError: a path that is no side: the reason, and what works.
        OSError: it cannot be read.
    """
    path = Path(spec)
    named = path.suffix.lower() in SUFFIXES and not path.suffix.startswith(".py") and ":" not in path.name
    if not named and not path.is_dir():
        return None
    if not path.exists():
        raise UsageError(f"the file of a side must exist; got {spec!r} for --{side}. Check the path.")
    kind = _folder(path) if path.is_dir() else _file(path, side)
    if side not in SIDES[kind]:
        wanted = " or ".join(SIDES[kind])
        raise UsageError(
            f"--{side} must name a {side} model; got {spec!r}, {kind.value}, which is one for {wanted}. Swap them."
        )
    return kind


def read_side(spec: str, side: Side, weights: Path | None = None) -> None:
    """See that a side names something, before a framework is imported.

    Args:
        spec: "module:attribute", or a path.
        side: "keras" or "torch".
        weights: a file of weights for it.

    Raises:
        UsageError: it does not.
        OSError: a file cannot be read.
    """
    kind = saved_kind(spec, side)
    if kind is None:
        read_spec(spec)
    elif weights is not None:
        raise UsageError(
            f"--{side}-weights must go with module:attribute; got {spec!r}, which has its weights. Leave one of them out."
        )
    if weights is None:
        return
    if not weights.is_file():
        raise UsageError(
            f"--{side}-weights must name a file that exists; got {str(weights)!r}. Check the path."
        )
    if weights.suffix in (".pt", ".pth"):
        _refuse_pickles(weights)


def _folder(path: Path) -> Saved:
    if (path / "saved_model.pb").is_file():
        raise UsageError(SAVED_MODEL.format(path=path))
    config = path / "config.json"
    if not config.is_file():
        raise UsageError(ELSE.format(path=path, known=", ".join(kind.value for kind in Saved)))
    if "registered_name" in config_of(path):
        return Saved.PRESET
    if not any(path.glob("*.safetensors")):
        raise UsageError(
            f"a Hugging Face folder must have its weights as .safetensors; got none in {path}. Pickled weights "
            "(.bin) are not read: save the model again with save_pretrained(FOLDER, safe_serialization=True)."
        )
    return Saved.PRETRAINED


def config_of(path: Path) -> dict[str, object]:
    """The config.json of a folder.

    Raises:
        UsageError: it is no JSON object, or too large.
    """
    file = path / "config.json"
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} must be a JSON object; got: {error}. Get the folder again.") from error
    return found


def _file(path: Path, side: Side) -> Saved:
    suffix = path.suffix.lower()
    if path.name.endswith(".weights.h5"):
        raise UsageError(WEIGHTS.format(path=path))
    if suffix in (".keras", ".h5", ".hdf5"):
        return Saved.KERAS
    if suffix == ".pt2":
        names = foreign_names(path)
        if names:
            raise UsageError(WHOLE.format(path=path, names=", ".join(names[:3])))
        return Saved.PROGRAM
    if suffix == ".safetensors":
        raise UsageError(STATE.format(path=path))
    if suffix in (".pt", ".pth", ".bin", ".ckpt"):
        _refuse_pickles(path)
        raise UsageError(STATE.format(path=path))
    raise UsageError(ELSE.format(path=path, known=", ".join(kind.value for kind in Saved)))


def _refuse_pickles(path: Path) -> None:
    """Refuse TorchScript, and modules that were saved whole.

    Raises:
        UsageError: it is one of them.
    """
    if any(name.endswith(("/constants.pkl", "/code/__torch__.py")) for name in members(path)):
        raise UsageError(SCRIPT.format(path=path))
    names = foreign_names(path)
    if names:
        raise UsageError(WHOLE.format(path=path, names=", ".join(names[:3])))
