"""Pictures that others made, opened by Pillow: common formats alone, within bounds, and one kind of error.

A picture may have 178,956,970 pixels: twice Pillow's own MAX_IMAGE_PIXELS, where it refuses to decode. The size is read
from the head of the file before any pixel is.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datasets.errors import DataError, RunError
from datasets.files import extra

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
"""What is looked for, whatever a file's name says. Pillow hands some other formats to programs of the system."""


@contextmanager
def opened_picture(path: Path, of: str = "train") -> Iterator[Any]:
    """A picture, closed afterwards. What is done with it inside is reading: every complaint becomes one error.

    Args:
        path: of the file.
        of: the extra that brings Pillow.
    Raises:
        DataError: no such file, no picture of these formats, one that is damaged, or too large.
        MissingExtra: Pillow is not installed.
    """
    library = extra("PIL.Image", of)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", library.DecompressionBombWarning)  # half of what is refused
            with library.open(path, formats=FORMATS) as picture:
                yield picture
    except RunError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file
        unknown = type(error).__name__ == "UnidentifiedImageError"
        reason = f"no picture of {', '.join(FORMATS)}" if unknown else " ".join(str(error).split())[:200]
        raise DataError(
            f"a picture must be one that Pillow reads; got {type(error).__name__}: {reason} at {path}. "
            "Check the file, or save it as PNG."
        ) from error
