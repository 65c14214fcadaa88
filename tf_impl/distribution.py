"""Several devices or processes that share every batch: Keras' distribution on JAX, MirroredStrategy on TensorFlow."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import keras

from datasets.errors import SettingsError
from datasets.training.recipe import Machine


@contextlib.contextmanager
def joined(machine: Machine) -> Iterator[tuple[int, int]]:
    """Join the others; what is built and trained inside is shared with them.

    On JAX each process reads its own part of every batch, and BatchNorm's statistics are the whole batch's. On
    TensorFlow one process feeds the devices of its machine, and each device normalises its own part.

    Args:
        machine: coordinator, processes and process (JAX); devices (JAX or TensorFlow).
    Returns: a context with this process's number and how many there are.
    Raises:
        SettingsError: what Keras' backend cannot do.
    """
    backend = keras.config.backend()
    if machine.processes == machine.devices == 1:
        yield 0, 1
    elif backend == "jax":
        with _on_jax(machine):
            yield place(machine)
    elif backend == "tensorflow" and machine.processes == 1:
        with _on_tensorflow(machine):
            yield place(machine)
    else:
        raise SettingsError(
            "several processes must run on Keras' JAX backend, several devices on JAX or TensorFlow; got "
            f"backend={backend}, processes={machine.processes}, devices={machine.devices}. Set KERAS_BACKEND=jax."
        )


def place(machine: Machine) -> tuple[int, int]:
    """This process's number, and how many there are."""
    return machine.process, machine.processes


@contextlib.contextmanager
def _on_jax(machine: Machine) -> Iterator[None]:
    import jax  # Keras has no name of its own for these settings

    if machine.processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(machine.coordinator, machine.processes, machine.process)
    devices = keras.distribution.list_devices()
    wanted = machine.devices * machine.processes
    if len(devices) < wanted:
        raise SettingsError(_too_few(wanted, devices))
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices[:wanted], auto_shard_dataset=False)
    )
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)
        if machine.processes > 1:
            jax.distributed.shutdown()


@contextlib.contextmanager
def _on_tensorflow(machine: Machine) -> Iterator[None]:
    tensorflow: Any = importlib.import_module("tensorflow")
    gpus = tensorflow.config.list_physical_devices("GPU")
    kind = "GPU" if machine.device == "gpu" or (machine.device is None and gpus) else "CPU"
    found = tensorflow.config.list_physical_devices(kind)
    if kind == "CPU" and len(found) < machine.devices:  # the one CPU in so many parts
        parts = [tensorflow.config.LogicalDeviceConfiguration()] * machine.devices
        try:
            tensorflow.config.set_logical_device_configuration(found[0], parts)
        except RuntimeError as error:
            raise SettingsError(
                f"the CPU must be divided before TensorFlow uses it; got {error} Use a new process."
            ) from error
    names = [device.name for device in tensorflow.config.list_logical_devices(kind)]
    if len(names) < machine.devices:
        raise SettingsError(_too_few(machine.devices, names))
    with tensorflow.distribute.MirroredStrategy(names[: machine.devices]).scope():
        yield


def _too_few(wanted: int, found: list[str]) -> str:
    return f"there must be {wanted} devices; got {', '.join(found)}. Give a smaller --devices."
