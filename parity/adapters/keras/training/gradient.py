"""Gradients of a function of Keras variables and tensors, on any backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from parity.adapters.keras.tensors import is_floating
from parity.adapters.keras.weights import to_numpy
from parity.core.types import Array

Function = Callable[[list[Any], list[Any]], tuple[Any, Any]]
Gradients = tuple[list[Array | None], list[Array | None], list[Array | None]]


def differentiate(
    function: Function, variables: list[Any], tensors: list[Any], probes: list[Any], state: list[Any]
) -> tuple[Any, Any, Gradients]:
    """Value, by-products and gradients of `function(tensors, probes)`.

    Args:
        function: gives the loss, and a structure of tensors as by-products.
        variables: Keras variables to differentiate by.
        tensors: arguments; those of floating type are differentiated by.
        probes: further floating arguments.
        state: every variable that the function may read or change.

    Returns:
        The loss, the by-products, and the gradients with respect to variables, tensors and probes;
        None where no path leads from the loss.
    """
    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.config.backend()](
        function, variables, tensors, probes, state
    )


def _split(values: list[Any], *counts: int) -> Gradients:
    arrays = [None if value is None else to_numpy(value) for value in values]
    first, second = counts
    return arrays[:first], arrays[first : first + second], arrays[first + second :]


def _tensorflow(
    function: Function, variables: list[Any], tensors: list[Any], probes: list[Any], state: list[Any]
) -> tuple[Any, Any, Gradients]:
    import tensorflow as tf

    sources = [*(variable._value for variable in variables), *tensors, *probes]
    with tf.GradientTape() as tape:
        for source in sources:
            if is_floating(source):
                tape.watch(source)
        loss, more = function(tensors, probes)
    wanted = [i for i, source in enumerate(sources) if is_floating(source)]
    found = dict(zip(wanted, tape.gradient(loss, [sources[i] for i in wanted]), strict=True))
    dense = [found.get(i) for i in range(len(sources))]
    dense = [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in dense]
    return loss, more, _split(dense, len(variables), len(tensors))


def _jax(
    function: Function, variables: list[Any], tensors: list[Any], probes: list[Any], state: list[Any]
) -> tuple[Any, Any, Gradients]:
    import jax

    known = {id(variable) for variable in variables}
    remaining = [variable for variable in state if id(variable) not in known]
    floating = [i for i, tensor in enumerate(tensors) if is_floating(tensor)]

    def pure(values: list[Any], arguments: list[Any], probes: list[Any]) -> tuple[Any, Any]:
        full = list(tensors)
        for i, value in zip(floating, arguments, strict=True):
            full[i] = value
        mapping = [*zip(variables, values, strict=True), *((v, v._value) for v in remaining)]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            loss, more = function(full, probes)
        return loss, (more, [scope.get_current_value(variable) for variable in remaining])

    (loss, (more, after)), (by_variable, by_tensor, by_probe) = jax.value_and_grad(
        pure, argnums=(0, 1, 2), has_aux=True
    )([variable._value for variable in variables], [tensors[i] for i in floating], probes)
    for variable, value in zip(remaining, after, strict=True):
        variable.assign(value)
    placed = dict(zip(floating, by_tensor, strict=True))
    values = [*by_variable, *(placed.get(i) for i in range(len(tensors))), *by_probe]
    return loss, more, _split(values, len(variables), len(tensors))


def _torch(
    function: Function, variables: list[Any], tensors: list[Any], probes: list[Any], state: list[Any]
) -> tuple[Any, Any, Gradients]:
    import torch

    leaves = [t.detach().clone().requires_grad_(is_floating(t)) for t in [*tensors, *probes]]
    sources = [*(variable._value for variable in variables), *leaves]
    with torch.enable_grad():
        loss, more = function(leaves[: len(tensors)], leaves[len(tensors) :])
        wanted = [i for i, source in enumerate(sources) if source.requires_grad]
        found = torch.autograd.grad(loss, [sources[i] for i in wanted], allow_unused=True)
    by_index = dict(zip(wanted, found, strict=True))
    values = [by_index.get(i) for i in range(len(sources))]
    return loss.detach(), more, _split(values, len(variables), len(tensors))
