"""A file's HDF5 tensors, and the seal that shows whether one was altered: HDF5 itself has no checksum of a file."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np

from datasets.bounds import hdf5
from datasets.bounds.damaged import DamagedFile

SEAL = "segparity_sha256"
"""The attribute of a file with the checksum of its tensors."""


def tensors(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every tensor in a file by name, all of which it holds itself.

    Raises:
        DamagedFile: a tensor whose values lie in another file, are computed from others, or are not all there.
    """
    found: dict[str, h5py.Dataset] = hdf5.tensors(file)
    # Keras writes them uncompressed; what declares more would only take memory.
    if (declared := sum(node.nbytes for node in found.values())) > (size := file.id.get_filesize()):
        raise DamagedFile(f"{declared} bytes of tensors in a file of {size}")
    return found


def seal(file: h5py.File) -> None:
    """Write down the checksum of all tensors of a file: HDF5 itself has none."""
    file.attrs[SEAL] = _checksum(file)


def check_seal(file: h5py.File) -> None:
    """See that the tensors are those that were sealed; a file without a seal is another program's.

    Raises:
        DamagedFile: one was altered.
    """
    if SEAL in file.attrs and file.attrs[SEAL] != _checksum(file):
        raise DamagedFile("tensors were altered after they were written")


def _checksum(file: h5py.File) -> str:
    found = hashlib.sha256()
    for name, node in sorted(tensors(file).items()):
        found.update(f"{name} {node.shape} {node.dtype}".encode())
        found.update(np.ascontiguousarray(node[()]).tobytes())
    return found.hexdigest()
