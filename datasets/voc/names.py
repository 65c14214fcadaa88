"""The classes of a VOC folder: VOC's own, or those that its class_names.txt names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets.errors import DataError
from datasets.files import read_within
from datasets.voc.colours import CLASSES, NAMES, VOID

LISTED = 2**20  # bytes of the largest class_names.txt
IGNORE = "__ignore__"  # labelme's name for what has no class; its labels hold 255 there
BACKGROUND = ("background", "_background_")


def read_classes(root: Path) -> tuple[str, ...]:
    """The names of a folder's classes in the order of their indices, the background first.

    Args:
        root: the folder that holds JPEGImages. Its class_names.txt, where it has one, names a class a line; a
            first line `__ignore__` is passed over.
    Returns: VOC's 21 where there is no such file.
    Raises:
        DataError: a file that is no text, or names that `check_names` refuses.
    Source: labelme, the example labelme2voc, which writes such a file next to JPEGImages and SegmentationClass.
    """
    path = root / NAMES
    if not path.exists():
        return CLASSES
    try:
        lines = [line.strip() for line in read_within(path, LISTED).decode("utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{NAMES} must be a text with a name a line; got {error} at {path}. Save it as UTF-8."
        ) from error
    names = tuple(line for line in lines if line)
    return check_names(names[1:] if names[:1] == (IGNORE,) else names, str(path))


def check_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The names, if indices can be given to them.

    Args:
        names: of the classes, the background's first.
        where: what an error calls their place.
    Raises:
        DataError: no class except the background, a name twice, more than bytes have indices, or a background
            that is not the first.
    """
    if len(names) < 2:
        raise DataError(
            f"classes must be named, the background first and one more at least; got {list(names) or 'none'} in "
            f"{where}. Write background, then a name for each further index."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"a class must be named once; got {', '.join(twice)} twice in {where}. Rename one.")
    if len(names) > VOID:
        raise DataError(
            f"classes must be at most {VOID}, for index {VOID} is no class; got {len(names)} names in {where}. "
            "Join some."
        )
    later = [name for name in names[1:] if name.lower() in BACKGROUND]
    if later:
        raise DataError(
            f"the background must be named first, for its index is 0; got {later[0]} as index "
            f"{list(names).index(later[0])} in {where}. Put the names in the order of the indices."
        )
    return tuple(names)
