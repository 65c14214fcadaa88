"""Makes a model of what a side names: a path, or "module:attribute" with or without a file of weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parity.adapters.spec import load_model
from parity.core.errors import UsageError
from parity.core.types import Side
from parity.weights.checkpoint import load_weights, side_of_file
from parity.weights.keras_file import check_whole_keras, is_weights_alone
from parity.weights.saved.kinds import WEIGHTS, Saved, config_of, saved_kind

INSTALL = {"transformers": "transformers safetensors", "keras_hub": "keras-hub sentencepiece"}


def load_side(spec: str, side: Side, weights: Path | None = None) -> Any:
    """The model of one side.

    Args:
        spec: "module:attribute", a file (.keras, .h5, .pt2), or a folder of Hugging Face or keras-hub.
        side: "keras" or "torch".
        weights: a file of weights that is read into it.

    Raises:
        UsageError: it is no model of this side, or cannot be read.
        OSError: a file cannot be read.
    """
    kind = saved_kind(spec, side)
    if kind is None:
        model = load_model(spec, side)
        if weights is not None:
            _read(model, side, weights)
        return model
    path = Path(spec)
    if kind is Saved.KERAS:
        return _keras_file(path)
    if kind is Saved.PROGRAM:
        return _program(path)
    return _pretrained(path) if side == "torch" else _backbone(path)


def _read(model: Any, side: Side, path: Path) -> None:
    if side == "keras" and path.suffix in (".h5", ".hdf5") and not path.name.endswith(".weights.h5"):
        check_whole_keras(path)
        _told(lambda: model.load_weights(str(path)), path, "hold the weights of this model, layer by layer")
        return
    if side_of_file(path) != side:
        raise UsageError(
            f"--{side}-weights must be a file of {side}; got {path}. `parity convert` writes it for the other framework."
        )
    load_weights(model, path)


def _keras_file(path: Path) -> Any:
    """A whole model, its configuration included; lambdas and code in the file are refused by Keras."""
    import keras

    check_whole_keras(path)
    if is_weights_alone(path):
        raise UsageError(WEIGHTS.format(path=path))
    return _told(
        lambda: keras.saving.load_model(str(path), compile=False, safe_mode=True),
        path,
        "hold a model of Keras' own layers. Classes of your own, and lambdas, are in no file: give the function that "
        f"builds the model, --keras module:build --keras-weights {path}",
    )


def _program(path: Path) -> Any:
    import torch

    return _told(lambda: torch.export.load(str(path)), path, "be a program that torch.export.save wrote")


def _pretrained(path: Path) -> Any:
    """A model of transformers, of the class that the configuration names."""
    _installed("transformers", path)
    import transformers

    config = config_of(path)
    names = config.get("architectures") or []
    name = str(names[0]) if isinstance(names, list) and names else "AutoModel"
    made = _told(lambda: getattr(transformers, name, None), path, f"be read by transformers' {name}")
    if made is None or not hasattr(made, "from_pretrained"):
        raise UsageError(
            f"a Hugging Face folder must name a class that transformers {transformers.__version__} has; got {name!r} in "
            f"{path}. Code that comes with a folder is not run: name the class, --torch module:Class --torch-weights FILE."
        )
    return _told(
        lambda: made.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False, use_safetensors=True
        ).eval(),
        path,
        f"be a folder that {name}.from_pretrained reads",
    )


def _backbone(path: Path) -> Any:
    """The backbone of keras-hub, converted from Hugging Face's weights where it is such a folder."""
    _installed("keras_hub", path)
    import keras_hub

    return _told(
        lambda: keras_hub.models.Backbone.from_preset(str(path.resolve())),
        path,
        "be a folder that keras_hub.models.Backbone.from_preset reads: a preset, or a Hugging Face model that it converts",
    )


def _installed(name: str, path: Path) -> None:
    if importlib.util.find_spec(name) is None:
        raise UsageError(
            f"the folder {path} must be read by {name.replace('_', '-')}; got none installed. "
            f"Run pip install {INSTALL[name]}."
        )


def _told(read: Callable[[], Any], path: Path, must: str) -> Any:
    """What a reader gives; whatever it raises in one sentence."""
    try:
        return read()
    except Exception as error:  # readers raise anything on a damaged or foreign file
        text = " ".join(str(error).split())[:300]
        raise UsageError(f"{path} must {must}; got {type(error).__name__}: {text}") from error
