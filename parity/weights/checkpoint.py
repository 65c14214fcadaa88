"""Weight files in and out, by suffix; nothing in a file is ever executed.

| suffix | what is read | how |
|---|---|---|
| .pt .pth | state_dict | torch.load(weights_only=True) |
| .safetensors | state_dict | safetensors |
| .weights.h5 .keras | weights | Keras' load_weights: HDF5 alone, the configuration in a .keras file is not read |
"""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity.adapters import adapt
from parity.adapters.spec import load_model
from parity.core.errors import CheckpointError, UsageError
from parity.core.files.whole_file import whole_file
from parity.core.types import Array
from parity.pairing.pair import MappingLike
from parity.weights.keras_file import check_keras_file
from parity.weights.torch_file import check_types, read_state
from parity.weights.transfer import transfer

TORCH_SUFFIXES = (".pt", ".pth", ".safetensors")
KERAS_SUFFIXES = (".weights.h5", ".keras")


def side_of_file(path: Path) -> str:
    """ "keras" or "torch", by the suffix.

    Raises:
        CheckpointError: the suffix is none that is known.
    """
    for side, suffixes in (("torch", TORCH_SUFFIXES), ("keras", KERAS_SUFFIXES)):
        if path.name.endswith(suffixes):
            return side
    known = ", ".join(TORCH_SUFFIXES + KERAS_SUFFIXES)
    raise CheckpointError(
        f"a weight file must end in one of {known}; got {path.name!r}. Rename it to its real format."
    )


def convert(
    source: Path,
    destination: Path,
    keras_spec: str,
    torch_spec: str,
    mapping: MappingLike | None = None,
    note: Callable[[str], object] = lambda text: None,
) -> int:
    """Read a weight file, carry it over to the format that the destination's suffix names, and read it back.

    Args:
        source: file to read.
        destination: file to write; written beside itself first, then moved into place.
        keras_spec: "module:attribute" of the Keras model.
        torch_spec: "module:attribute" of the torch module.
        mapping: {Keras path: torch path} where names differ.
        note: called with each text on a tensor whose type changed, each value exactly.

    Returns:
        Number of tensors written.

    Raises:
        CheckpointError: a file cannot be read, does not fit the model, or did not read back bit for bit.
        PairingError: the two models do not correspond.
    """
    sides = side_of_file(source), side_of_file(destination)
    if not source.is_file():
        raise CheckpointError(f"the file to convert must exist; got {source}. Check the path.")
    specs = {"keras": keras_spec, "torch": torch_spec}
    model = load_model(specs[sides[0]])
    load_weights(model, source, note)
    if sides[0] != sides[1]:
        other = load_model(specs[sides[1]])
        transfer(model, other, mapping)
        model = other
    destination.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(destination) as temporary:
        save_weights(model, temporary)
        return _read_back(model, load_model(specs[sides[1]]), temporary, destination)


@dataclass(frozen=True)
class Twin:
    """A model's counterpart in the other framework. Strings name its functions, so that no package imports both.

    Attributes:
        make: "module:function" that builds it.
        read: "module:function" that reads a file of its framework into it. It is called with the model and the
            path, and returns the names of the parts that it read, or None for the whole model.
        arguments: keyword arguments for `make`.
    """

    make: str
    read: str
    arguments: Mapping[str, Any]


def read_through(model: Any, path: Path, twin: Twin) -> tuple[str, ...]:
    """Read a weight file into a model's twin, and carry over what was read.

    Returns:
        Names of the parts that were read; none where the whole model was.

    Raises:
        CheckpointError: the file does not fit the model.
        ModuleNotFoundError: the other framework, or the twin's package, is not installed.
    """
    counterpart = pkgutil.resolve_name(twin.make)(**twin.arguments)
    parts = pkgutil.resolve_name(twin.read)(counterpart, path)
    pairs = [(counterpart, model)]
    if parts is not None:
        pairs = [(getattr(counterpart, name), getattr(model, name)) for name in parts]
    try:
        for source, target in pairs:
            transfer(source, target)
    except UsageError as error:
        raise CheckpointError(f"{path} must fit the network; got: {error}") from error
    return tuple(parts or ())


def load_weights(model: Any, path: Path, note: Callable[[str], object] = lambda text: None) -> None:
    """Read a weight file into a model of its framework; every tensor must fit.

    Args:
        model: of the file's framework.
        path: of the file. It takes about its own size in memory, whatever it declares.
        note: called with each text on a tensor whose type changed, each value exactly.

    Raises:
        CheckpointError: the file cannot be read, does not fit the model, or holds values that the model's types do
            not hold exactly.
    """
    side = side_of_file(path)
    if path.exists() and not path.is_file():
        raise CheckpointError(
            f"weights must be in a file; got a folder, a pipe or a device at {path}. Check the path."
        )
    try:
        if side == "torch":
            state = read_state(path)
            notes = check_types(state, model.state_dict(), path)
            model.load_state_dict(state, strict=True)
        else:
            notes = check_keras_file(model, path, save_weights)
            model.load_weights(str(path))
    except CheckpointError:
        raise
    except Exception as error:  # readers raise anything on a damaged or hostile file
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(
            f"{path} must hold the weights of {type(model).__name__}; got {type(error).__name__}: {text} "
            "Check that the file is whole and was saved from this model with these arguments."
        ) from error
    for text in notes:
        note(text)


def save_weights(model: Any, path: Path) -> None:
    """Write a model's weights in the format that the suffix names.

    Raises:
        CheckpointError: they cannot be written: a full disk, or a folder that is none.
    """
    from datasets.bounds.hdf5 import one_complaint

    try:
        with one_complaint():
            _save(model, path)
    except (OSError, RuntimeError) as error:  # torch and h5py know a full disk as RuntimeError
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path} must be written whole; got {type(error).__name__}: {text}. Make room, give permission, or choose "
            "another folder."
        ) from error


def _save(model: Any, path: Path) -> None:
    if side_of_file(path) == "keras":
        with (
            warnings.catch_warnings()
        ):  # Keras 3 hands TensorFlow's variables to NumPy, which deprecates the way
            warnings.simplefilter("ignore", DeprecationWarning)
            (model.save if path.suffix == ".keras" else model.save_weights)(str(path))
    else:
        import torch

        state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file({name: value.clone() for name, value in state.items()}, str(path))
        else:
            torch.save(state, path)


def _read_back(model: Any, again: Any, file: Path, path: Path) -> int:
    """Read a file into a model that was built anew, and see that it then holds each tensor of the one that was saved.

    Tensors are compared in their order: layers without a name may have other names in each build.

    Args:
        model: what was saved.
        again: the same model built anew; it may be the same object, where the models were named as objects.
        file: what was written.
        path: where it is to go, for messages.

    Returns:
        Number of tensors.
    """
    kept = _tensors(model)
    fresh = adapt(again)
    spoiled = _tensors(again)
    if [(name, value.shape) for _, name, value in kept] != [
        (name, value.shape) for _, name, value in spoiled
    ]:
        raise CheckpointError(
            f"{type(model).__name__} must have the same tensors each time it is built; got {len(kept)} and then "
            f"{len(spoiled)}, or others. Convert with a function that builds one model."
        )
    for (_, _, value), (tensor, _, _) in zip(kept, spoiled, strict=True):
        # No element keeps its value, so that reading the file must set each one.
        fresh.write(tensor, np.where(value == 0, 1, 0).astype(value.dtype))
    load_weights(again, file)
    changed = [
        tensor
        for (tensor, _, value), (_, _, now) in zip(kept, _tensors(again), strict=True)
        if value.tobytes() != now.tobytes()
    ]
    if changed or not kept:
        raise CheckpointError(
            f"{path} must read back bit for bit; got {len(changed)} of {len(kept)} tensors changed: "
            f"{', '.join(changed[:10])}. The model's own saving loses them; nothing was written."
        )
    return len(kept)


def _tensors(model: Any) -> list[tuple[str, str, Array]]:
    """(path, name, value) of every tensor, in the model's order."""
    adapter = adapt(model)
    tensors = [tensor for layer in adapter.layers().values() for tensor in layer.tensors]
    return [(tensor.path, tensor.name, adapter.read(tensor.path)) for tensor in tensors]
