"""What a Keras model adds to its training by itself: losses of its layers, regularisers, a training step of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from parity.adapters.keras.training.gradient import differentiate
from parity.adapters.patching import restored
from parity.core.types import Array


def extra_losses(model: Any, objects: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Losses of the last call that layers added: (what added it, value); the weights' regularisers are none of them.

    fit() adds them to the loss: `add_loss`, and the regularisers of activities.
    """
    paths = {id(layer): path for path, layer in objects.items()}
    found, seen = [], set()
    for layer in [model, *model._flatten_layers(include_self=False)]:
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        losses = layer._get_own_losses()
        place = paths.get(id(layer), layer.name) or layer.name
        regulariser = getattr(layer, "activity_regularizer", None)
        name = f"activity regulariser {described(regulariser)}" if regulariser is not None else "add_loss"
        found += [(f"{name} of {place}", keras.ops.sum(loss)) for loss in losses]
    return found


def penalty_terms(variables: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What each variable's regulariser adds to the loss; a variable with two paths once."""
    unique = {id(variable): (path, variable) for path, variable in variables.items()}
    return [(path, variable.regularizer(_value(variable))) for path, variable in unique.values()]


def _value(variable: Any) -> Any:
    """The variable, or what stands for it while a backend differentiates."""
    return variable.value


def penalty_gradients(variables: Mapping[str, Any], state: list[Any]) -> dict[str, Array]:
    """The gradient of each variable's regulariser, where it is not zero.

    Args:
        variables: with a regulariser, by path.
        state: every variable of the model.
    """

    def function(tensors: list[Any], probes: list[Any]) -> tuple[Any, Any]:
        terms = [term for _, term in penalty_terms(variables)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total, ([], [])

    _, _, gradients = differentiate(function, list(variables.values()), [], [], state)
    found = zip(variables, gradients[0], strict=True)
    return {path: gradient for path, gradient in found if gradient is not None and np.any(gradient)}


@contextmanager
def exact_regularisers(model: Any, variables: Mapping[str, Any]) -> Iterator[None]:
    """While this is open, regularisers hold their numbers in float64: Keras rounds some of them to float32.

    The shortest number that rounds to the one that is held is taken as the given one.
    """
    layers = [model, *model._flatten_layers(include_self=False)]
    held = [getattr(layer, "activity_regularizer", None) for layer in layers]
    held += [getattr(variable, "regularizer", None) for variable in variables.values()]
    with ExitStack() as stack:
        for regulariser in {id(item): item for item in held if item is not None}.values():
            for name, value in list(vars(regulariser).items() if hasattr(regulariser, "__dict__") else ()):
                if keras.ops.is_tensor(value) and keras.backend.standardize_dtype(value.dtype) == "float32":
                    exact = np.asarray(keras.ops.convert_to_numpy(value))
                    if exact.ndim == 0:
                        stack.enter_context(restored(regulariser, name, np.float64(str(exact[()]))))
        yield


def described(thing: Any) -> str:
    """A constraint or a regulariser as its constructor call."""
    config = getattr(thing, "get_config", None)
    try:
        settings = config() if config is not None else {}
    except NotImplementedError:
        settings = {}
    name = getattr(thing, "__name__", type(thing).__name__)
    return f"{name}({', '.join(f'{key}={_short(value)}' for key, value in settings.items())})"


def _short(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{float(value):g}"
    return repr(value.item() if isinstance(value, np.generic) else value)


def own_training(model: Any, variables: Mapping[str, Any]) -> list[str]:
    """What a model's own class does in training that no comparison of outputs and steps sees."""
    found = []
    for name in ("train_step", "compute_loss"):
        own = getattr(type(model), name, None)
        if isinstance(model, keras.Model) and own is not getattr(keras.Model, name, None):
            found.append(f"{type(model).__name__}.{name}, the model's own")
    direct = [path for path, v in variables.items() if getattr(v, "overwrite_with_gradient", False)]
    if direct:
        found.append(
            f"variables that their gradient replaces (overwrite_with_gradient): {', '.join(direct[:3])}"
        )
    return found
