"""Zip archives of weights (.pt, .keras): whole, unaltered and no larger in memory than on disk."""

from __future__ import annotations

import zipfile
from pathlib import Path

from datasets.bounds.damaged import DamagedFile


def check_archive(path: Path) -> None:
    """Refuse an archive whose content is not what its checksums say, or that would unpack to more than it is.

    Both frameworks store weights uncompressed. So nothing that they write is refused, and no file takes more memory
    than its own size.

    Args:
        path: of a zip archive.

    Raises:
        DamagedFile: none, or one with a part that is compressed, overlaps another, bears a name twice or was altered.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            packed = [part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED]
            if packed or sum(part.file_size for part in parts) > path.stat().st_size:
                raise DamagedFile(f"{(packed or ['a part'])[0]!a} compressed or overlapping")
            if len(archive.NameToInfo) < len(parts):
                raise DamagedFile("a part's name twice")
            if (altered := archive.testzip()) is not None:
                raise DamagedFile(f"{altered!a} altered")
    except (DamagedFile, OSError):
        raise
    except Exception as error:  # zipfile raises anything on a damaged archive
        raise DamagedFile(" ".join(str(error).split())[:200] or type(error).__name__) from error
