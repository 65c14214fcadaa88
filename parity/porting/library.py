"""Whether a port takes layers from the reference implementations, `tf_impl.layers` and `torch_impl.layers`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LAYERS = frozenset(
    {"BatchNorm2d", "Conv2d", "Conv2DTranspose", "ConvTranspose2d", "MaxPool2d", "UpSampling2d"}
)
"""The layers that both packages have, under the same names."""

_TAKEN: ContextVar[frozenset[str]] = ContextVar("taken", default=frozenset())


@contextmanager
def library_layers(names: Collection[str]) -> Iterator[None]:
    """While this is open, ports take these layers from the library instead of helpers of their own."""
    token = _TAKEN.set(frozenset(names))
    try:
        yield
    finally:
        _TAKEN.reset(token)


def from_library(name: str) -> bool:
    """Whether a port takes this layer from the library."""
    return name in _TAKEN.get()
