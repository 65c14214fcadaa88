"""Writes the Keras port of a torch model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from parity.adapters.recording.records import Recording
from parity.porting.formatting import formatted
from parity.porting.library import LAYERS, library_layers
from parity.porting.tidying.axes_said import in_keras_order
from parity.porting.tidying.names import global_names
from parity.porting.tidying.tidied import tidied
from parity.porting.to_keras.assembly import assembled
from parity.porting.to_keras.bodies.reading import read
from parity.porting.to_keras.bodies.texts import texts_of
from parity.porting.to_keras.leaves.table import TABLE, known_as_same
from parity.porting.to_keras.making.made import make
from parity.porting.to_keras.making.parts.changed import changes
from parity.porting.written import WrittenPort


def write(
    build: Callable[[], Any],
    inputs: Any,
    *,
    second_inputs: Any = None,
    name: str | None = None,
    library: bool = False,
) -> WrittenPort:
    """Record a torch model and write its port.

    Args:
        build: makes the model; it is called twice.
        inputs: tensors that the model takes, images as N, C, H, W.
        second_inputs: the same with other sizes and another batch.
        name: what the file calls the model; the name of its class where it is not given.
        library: whether layers of `tf_impl.layers` stand where the port would else bring helpers.
    """
    from parity.adapters.torch.recording import record

    recording = record(build, inputs, second_inputs, layers=TABLE)
    return written(recording, name, library=library)


def written(recording: Recording, name: str | None = None, *, library: bool = False) -> WrittenPort:
    """The port of a model that was recorded."""
    taken = LAYERS - ({"Conv2d"} if changes(recording) else set()) if library else frozenset()
    with known_as_same(recording.same), library_layers(taken):
        bodies = texts_of(read(recording))
        making = make(recording)
        port = assembled(recording, bodies, making, name or type(recording.module).__name__)
    text = tidied(port.text, {"build", *port.classes.values()})
    helpers = tuple(helper for helper in port.helpers if helper in global_names(text))
    return replace(port, text=in_keras_order(formatted(text)), helpers=helpers)
