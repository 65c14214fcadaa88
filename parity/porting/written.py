"""What a writer of ports gives: the source's text, where each class went, and what could not be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Unwritten:
    """One operation of the source that has no counterpart here, and where it stands."""

    operation: str  # as its framework spells it (keras.layers.Hashing), or the source's statement
    module: str  # the path of the module or layer that holds it; empty for the model itself
    file: str  # the user's file, as it was given
    line: int  # 0 where the file is not known
    reason: str  # what stands in the way, in one sentence

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{self.operation} in {self.module or 'the model'} ({place}): {self.reason}"


@dataclass(frozen=True)
class WrittenPort:
    """The text of a port. It has a function `build()`, which returns the model with its weights made."""

    text: str
    classes: Mapping[str, str]  # the name of a class of the source -> the (first) class that stands for it
    unwritten: tuple[Unwritten, ...] = ()  # each has a stub in the text, which raises NotImplementedError
    notes: tuple[str, ...] = ()  # what a reader of the port should know, a sentence each
    helpers: tuple[str, ...] = ()  # classes and functions in the text that stand for none of the source
    layouts: tuple[str, ...] = ()  # of a torch port: the order of axes in which it takes each input
