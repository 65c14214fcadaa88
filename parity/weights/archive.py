"""Zip archives of weights (.pt, .keras): whole, unaltered and no larger in memory than on disk."""

from __future__ import annotations

import zipfile
from pathlib import Path

from parity.core.errors import CheckpointError


def check_archive(path: Path) -> None:
    """Refuse an archive whose content is not what its checksums say, or that would unpack to more than it is.

    Both frameworks store weights uncompressed. So nothing that they write is refused, and no file takes more memory
    than its own size.

    Args:
        path: of a zip archive.

    Raises:
        CheckpointError: a compressed or overlapping part, or one that was altered.
        OSError, zipfile.BadZipFile: no such archive.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        packed = [part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED]
        if packed or sum(part.file_size for part in parts) > path.stat().st_size:
            raise CheckpointError(
                f"weights must be stored in an archive uncompressed and once; got {(packed or ['overlaps'])[0]!a} "
                f"in {path}. Save them with the framework's own function."
            )
        if (altered := archive.testzip()) is not None:
            raise CheckpointError(
                f"an archive's parts must be what its checksums say; got {altered!a} that is not in {path}. "
                "The file is damaged: get it again."
            )
