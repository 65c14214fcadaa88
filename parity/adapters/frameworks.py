"""Imports the frameworks in an order that works, without their start-up chatter on the terminal."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def import_torch() -> None:
    """Import torch where it is installed, and triton before it; both go before Keras.

    Torch, because Keras' own test configuration cites a crash; triton, because `triton_import` says why.
    """
    if importlib.util.find_spec("torch") is None:
        return
    with suppress(ImportError):  # PyTorch's CPU build has none, and torch itself does without
        importlib.import_module("triton")
    importlib.import_module("torch")


def import_frameworks() -> None:
    """Import what is installed of torch and Keras, in this order.

    One operation is run too: TensorFlow looks for a GPU, and complains of none, at the first.
    """
    with _without_stderr():
        with suppress(ImportError):
            import_torch()
        with suppress(ImportError):
            importlib.import_module("keras")
        keras = sys.modules.get("keras")
        if keras is not None:
            keras.ops.zeros((1,))


def triton_state() -> str:
    """Where triton is: "absent", "not loaded", or "loaded" before, after or without TensorFlow."""
    loaded = [name for name in sys.modules if name in {"triton", "tensorflow"} and sys.modules[name]]
    if "triton" not in loaded:
        return "absent" if importlib.util.find_spec("triton") is None else "not loaded"
    if loaded == ["triton"]:
        return "loaded without TensorFlow"
    return (
        f"loaded {'before' if loaded[0] == 'triton' else 'after'} TensorFlow"  # sys.modules keeps the order
    )


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
        except Exception:  # not an interruption, of which the frameworks say much
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
