"""What a pickle of plain data is made of, with stand-ins for NumPy's types and functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PickleError(Exception):
    """The pickle is broken, too large, or asks for something that data never needs."""


class TooLargeError(PickleError):
    """The pickle unpacks to more than it may."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the unpacked data must fit max_bytes={max_bytes}; got more")


class ByteRun(bytes):
    """Many integers 0..255 that follow one another in a list or tuple, kept at a byte each."""


class Dtype:
    """Stands for numpy.dtype; `dtype` is None unless it is of plain integers, floats or booleans."""

    PLAIN = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])

    def __init__(self, name: Any, *flags: Any) -> None:
        self.name = name[:20] if isinstance(name, str) else type(name).__name__
        self.dtype = np.dtype(self.name) if self.name in self.PLAIN else None

    def __setstate__(self, state: Any) -> None:
        if self.dtype is not None:
            self.dtype = self.dtype.newbyteorder(state[1])  # type: ignore[arg-type]


class Array:
    """Stands for numpy.ndarray; `array` is None unless it holds plain numbers."""

    def __init__(self) -> None:
        self.array: NDArray[Any] | None = None
        self.dtype = "unknown"

    def __repr__(self) -> str:
        return "an array"

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, raw = state[-4:]  # newer files put a version number before these
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: Any, dtype: Any, shape: Any, order: Any) -> None:
        """View the bytes as the array; one of anything but numbers stays None."""
        if not isinstance(dtype, Dtype):
            raise PickleError("an array must name its dtype; got something else")
        self.dtype = dtype.name
        if dtype.dtype is None:
            return
        if isinstance(raw, str):  # Python 2
            raw = raw.encode("latin1")
        if not isinstance(raw, bytes) or order not in ("C", "F") or not isinstance(shape, tuple):
            raise PickleError("an array must have a shape, an order and its bytes; got something else")
        # An array without pixels could still have a side of any length.
        if not raw or len(shape) > 8 or not all(type(side) is int and 0 < side <= len(raw) for side in shape):
            raise PickleError("an array's sides must be 1 or more and fit its bytes; got others")
        if math.prod(shape) * dtype.dtype.itemsize != len(raw):
            raise PickleError(
                f"an array must hold shape x itemsize bytes; got {len(raw)} for {shape}, {dtype.name}"
            )
        self.array = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)


def reconstruct(*kind: Any) -> Array:
    """Stand for NumPy's _reconstruct: an array that BUILD fills; the size that is asked for here does not count."""
    return Array()


def frombuffer(raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Array:
    """Stand for NumPy's _frombuffer (protocol 5); order K comes with the axes of a transposed array."""
    array = Array()
    array.fill(raw, dtype, shape, "C" if order == "K" else order)
    if order == "K" and array.array is not None:
        array.array = array.array.transpose(axes)
    return array


def scalar(dtype: Any, raw: Any) -> Any:
    """Stand for NumPy's scalar: one number, as a Python number."""
    array = frombuffer(raw, dtype, (), "C").array
    if array is None:
        raise PickleError("a NumPy scalar must be a plain number; got something else")
    return array.item()


def encode(text: Any, encoding: Any) -> bytes:
    """Stand for _codecs.encode, with which protocols 0 to 2 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise PickleError("bytes must be written as latin1 text; got something else")
    return text.encode("latin1")


def empty() -> bytes:
    """Stand for builtins.bytes, which protocols 0 to 2 call for an empty string of bytes."""
    return b""


ARRAY_TYPE = object()  # numpy.ndarray: an argument of reconstruct, never called
CALLABLE: tuple[Callable[..., Any], ...] = (reconstruct, frombuffer, scalar, encode, empty, Dtype)
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): ARRAY_TYPE,
    ("numpy", "dtype"): Dtype,
    ("_codecs", "encode"): encode,
    ("builtins", "bytes"): empty,
    ("__builtin__", "bytes"): empty,
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and NumPy 2
    ALLOWED[f"{_core}.multiarray", "_reconstruct"] = reconstruct
    ALLOWED[f"{_core}.multiarray", "scalar"] = scalar
    ALLOWED[f"{_core}.numeric", "_frombuffer"] = frombuffer
