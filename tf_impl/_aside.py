"""What one process of several does alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """What is made inside belongs to this process alone.

    Keras makes an optimizer while it saves; shared by all, the process that saves would wait for the others.
    """
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)
