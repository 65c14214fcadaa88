"""HDF5 files of weights: all that is in one, read to its end."""

from __future__ import annotations

import contextlib
import gc
import io
import sys
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from datasets.bounds.damaged import DamagedFile
from datasets.bounds.survival import check_survival


def check_hdf5(path: Path, member: str = "") -> None:
    """See that an HDF5 file can be read to its end, and holds its tensors itself.

    Args:
        path: of the file.
        member: of a zip archive, where that is the HDF5 file; stored without compression.

    Raises:
        DamagedFile: it cannot, within bounds; or a tensor lies in another file or is computed from others.
        OSError: there is no such file.
    """
    check_survival(path, "datasets.bounds.hdf5:read_all", member=member)


@contextmanager
def opened(path: Path, member: str = "") -> Iterator[Any]:
    """An HDF5 file, or the one in a zip archive."""
    import h5py

    with ExitStack() as stack:
        source: Any = path
        if member:
            source = stack.enter_context(stack.enter_context(zipfile.ZipFile(path)).open(member))
        yield stack.enter_context(h5py.File(source, "r"))


def tensors(file: Any) -> dict[str, Any]:
    """Every tensor in an open file by name, all of which it holds itself; none has been read yet.

    Raises:
        DamagedFile: a tensor whose values lie in another file, or are computed from others.
    """
    import h5py

    found = {name: node for name, node in _nodes(file).items() if isinstance(node, h5py.Dataset)}
    for name, node in found.items():
        if node.external or node.is_virtual:
            raise DamagedFile(f"{name!a} lies elsewhere")
    return found


def _nodes(file: Any) -> dict[str, Any]:
    """Every group and tensor in an open file by name.

    Raises:
        DamagedFile: a name that stands for something in another place or file.
    """
    import h5py

    found: dict[str, Any] = {}

    def look(name: str, link: Any) -> None:
        if not isinstance(link, h5py.HardLink):
            raise DamagedFile(f"{name!a} lies elsewhere")

    file.visititems_links(look)
    file.visititems(found.__setitem__)
    return found


def read_all(path: Path, member: str = "") -> None:
    """Read all tensors and attributes of a file. It runs in the helper."""
    with opened(path, member) as file:
        for node in (file, *_nodes(file).values()):
            for name in node.attrs:
                node.attrs[name]
            if hasattr(node, "shape"):
                if node.external or node.is_virtual:
                    raise DamagedFile(f"{node.name!a} lies elsewhere")
                node[()]


@contextmanager
def one_complaint() -> Iterator[None]:
    """While the block writes: an error is all that is said of a write that failed.

    On a full disk HDF5 complains on standard error of each object that it cannot close, with tracebacks, also after the
    error was caught. What else the block writes there comes when it has ended well.
    """
    held = io.StringIO()
    with contextlib.redirect_stderr(held):
        try:
            yield
        except (OSError, RuntimeError) as error:
            inner: BaseException | None = error
            while inner is not None:
                traceback.clear_frames(inner.__traceback__)
                inner = inner.__cause__ or inner.__context__
            gc.collect()
            raise
    if sys.stderr is not None:
        sys.stderr.write(held.getvalue())
