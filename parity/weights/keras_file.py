"""What a Keras weight file holds, compared with what the model would write, before Keras reads it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from parity.core.errors import CheckpointError

SHOWN = 20
"""Names that one error lists."""


def check_keras_file(model: Any, path: Path, save: Callable[[Any, Path], None]) -> list[str]:
    """See that a file has each tensor of the model, no other, in its shape, and values that the model's type holds.

    Keras' own loading passes over groups that it does not look for, and turns values into the model's type silently.

    Args:
        model: the Keras model.
        path: .weights.h5 or .keras.
        save: writes a model's weights to a path.

    Returns:
        What is worth knowing: tensors whose type changes, each value exactly.

    Raises:
        CheckpointError: it has not; the error names the tensors.
        OSError: it cannot be read.
    """
    _check_start(path)
    _check_readable(path)
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own.weights.h5"
        save(model, own)
        with _tensors(own) as wanted, _tensors(path) as found:
            _check_names(type(model).__name__, wanted, found, path)
            changed = {name for name in found if found[name].dtype != wanted[name].dtype}
            lossy = sorted(name for name in changed if not _is_exact(found[name], wanted[name].dtype))
            if lossy:
                raise CheckpointError(
                    "a weight file's values must be ones that the model's type holds exactly; got "
                    + ", ".join(
                        f"{name} of {found[name].dtype} for {wanted[name].dtype}" for name in lossy[:SHOWN]
                    )
                    + f" in {path}. Convert them yourself, or build the model in that type."
                )
            return [
                f"{name}: {found[name].dtype} became {wanted[name].dtype}, exactly"
                for name in sorted(changed)
            ]


def _check_start(path: Path) -> None:
    """Keras' own message on a damaged file names neither the file nor the trouble."""
    with path.open("rb") as file:
        magic = file.read(8)
    wanted = b"PK\x03\x04" if path.suffix == ".keras" else b"\x89HDF\r\n\x1a\n"
    if not magic.startswith(wanted):
        kind = "a zip archive" if path.suffix == ".keras" else "an HDF5 file"
        raise CheckpointError(
            f"{path} must be {kind}; got a file that starts with {magic!r}. Was it cut or renamed?"
        )


def _check_names(model: str, wanted: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = [
        f"{name} {found[name].shape} for {wanted[name].shape}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name].shape != wanted[name].shape
    ]
    if missing or extra or other:
        raise CheckpointError(
            f"{path} must hold each tensor of {model} and no other; got missing={missing[:SHOWN]}, "
            f"extra={extra[:SHOWN]}, of another shape={other[:SHOWN]}. "
            "Check that it was saved from this model with these arguments."
        )


def _is_exact(tensor: Any, dtype: Any) -> bool:
    """Whether the values come through a change of type as they are; whole numbers are no weights."""
    if tensor.dtype.kind != dtype.kind or dtype.kind not in "fiu":
        return False
    values = tensor[()]
    with np.errstate(all="ignore"):
        return bool(
            np.array_equal(
                values.astype(dtype).astype(values.dtype), values, equal_nan=values.dtype.kind == "f"
            )
        )


@contextmanager
def _tensors(path: Path) -> Iterator[dict[str, Any]]:
    """The tensors in a file by name, without an optimizer's; none of them has been read yet."""
    from datasets.bounds import hdf5

    with hdf5.opened(path, _member(path)) as file:
        found = hdf5.tensors(file)
        yield {name: item for name, item in found.items() if not name.startswith("optimizer/")}


def _check_readable(path: Path) -> None:
    """See that the file can be read to its end, and holds its tensors itself, before HDF5's library opens it here.

    Raises:
        CheckpointError: it cannot.
    """
    from datasets.bounds import archive, hdf5
    from datasets.bounds.damaged import DamagedFile

    try:
        if path.suffix == ".keras":
            archive.check_archive(path)
        hdf5.check_hdf5(path, _member(path))
    except DamagedFile as error:
        raise CheckpointError(
            f"a weight file must be whole and hold its tensors itself; got {error} in {path}. Save it anew."
        ) from error


def check_whole_keras(path: Path) -> None:
    """See that a file of Keras' can be read to its end, and holds its tensors itself, before a library opens it here.

    Raises:
        CheckpointError: it cannot.
        OSError: it cannot be read.
    """
    _check_start(path)
    _check_readable(path)


def is_weights_alone(path: Path) -> bool:
    """Whether an .h5 file has weights and no configuration of a model."""
    if path.suffix == ".keras":
        return False
    import h5py

    with h5py.File(path, "r") as file:
        return "model_config" not in file.attrs


def _member(path: Path) -> str:
    """Where the weights are in an archive; nothing where the file itself has them."""
    return "model.weights.h5" if path.suffix == ".keras" else ""
