"""Keeps a framework's start-up chatter off the terminal; what it says when it fails is shown."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def import_frameworks() -> None:
    """Import what is installed of torch and Keras, in this order (Keras' own test configuration cites a crash).

    One operation is run too: TensorFlow looks for a GPU, and complains of none, at the first.
    """
    with _without_stderr():
        for name in ("torch", "keras"):
            with suppress(ImportError):
                importlib.import_module(name)
        keras = sys.modules.get("keras")
        if keras is not None:
            keras.ops.zeros((1,))


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Send file descriptor 2 elsewhere: the frameworks' compiled parts write there directly."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
