"""The only modules that import Keras or PyTorch, each on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from parity.adapters.held import is_exported, opened
from parity.core.errors import UsageError

if TYPE_CHECKING:  # NumPy is behind it
    from parity.core.adapter import Adapter

P = ParamSpec("P")
T = TypeVar("T")


def side_of(model: object) -> str | None:
    """ "keras", "torch", or None; imports neither (an instance of a class implies its framework is loaded).

    Keras is asked first: on Keras' torch backend its layers are torch modules too.
    """
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.layers.Layer):
        return "keras"
    torch = sys.modules.get("torch")
    if torch is not None and (isinstance(model, torch.nn.Module) or is_exported(model)):
        return "torch"
    return None


@contextmanager
def plain_weights(*models: Any, written: Any = None) -> Iterator[None]:
    """While this is open, weights of torch modules that a pass computes from others are plain ones.

    Args:
        models: of either framework.
        written: the one of them in which what is written stays; the others come back as they were.
    """
    with ExitStack() as stack:
        for model in models:
            if side_of(model) == "torch" and not is_exported(
                model
            ):  # an exported program computes no weights
                from parity.adapters.torch.parametrized import plain

                stack.enter_context(plain(model, write_back=model is written))
        yield


def with_plain_weights(function: Callable[P, T]) -> Callable[P, T]:
    """The function, with `plain_weights` open for the models among its arguments."""

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> T:
        with plain_weights(*args, *kwargs.values()):
            return function(*args, **kwargs)

    return held


def adapt(model: Any, device: str = "cpu") -> Adapter:
    """The adapter for a Keras layer or model, or a torch module.

    Args:
        model: the layer, model or module.
        device: "cpu" or "gpu".

    Raises:
        UsageError: the object is neither, is held in a form that cannot be compared, or there is no such device.
    """
    model = opened(model)
    side = side_of(model)
    if side == "keras":
        from parity.adapters.keras.adapter import KerasAdapter

        return KerasAdapter(model, device)
    if side == "torch":
        from parity.adapters.torch.adapter import TorchAdapter

        return TorchAdapter(model, device)
    raise UsageError(
        f"a model must be a keras.layers.Layer (or keras.Model) or a torch.nn.Module; got {type(model).__name__}. "
        "Pass the model itself, built, not its class or its weights."
    )


def trainer_of(adapter: Adapter, loss: Any = None) -> Any:
    """The trainer for a model that has its adapter (parity.core.trainer.Trainer); a loss may be a name."""
    if adapter.side == "keras":
        from parity.adapters.keras.training.losses import named_loss as keras_loss
        from parity.adapters.keras.training.trainer import KerasTrainer

        loss = keras_loss(loss) if isinstance(loss, str) else loss
        return KerasTrainer(adapter, loss)  # type: ignore[arg-type]
    from parity.adapters.torch.training.losses import named_loss as torch_loss
    from parity.adapters.torch.training.trainer import TorchTrainer

    loss = torch_loss(loss) if isinstance(loss, str) else loss
    return TorchTrainer(adapter, loss)  # type: ignore[arg-type]


def first_values_of(adapter: Adapter) -> Callable[[str, int], Any]:
    """Draws first values of a model's tensors: a function of the tensor's path and the number of the draw.

    It gives an array in the framework's own layout, or None where the law is not known. The model is not changed.
    """
    if adapter.side == "keras":
        from parity.adapters.keras.initial import first_value

        return partial(first_value, adapter)  # type: ignore[arg-type]
    from parity.adapters.torch.initial import FirstValues

    return FirstValues(adapter).value  # type: ignore[arg-type]


def optimizer_access(adapter: Adapter, optimizer: Any) -> Any:
    """Reads and writes the state of the optimizer of a model that has its adapter.

    Raises:
        UsageError: the state of this kind of optimizer is not known.
    """
    if adapter.side == "keras":
        from parity.adapters.keras.training.optimizer import KerasState

        return KerasState(adapter, optimizer)  # type: ignore[arg-type]
    from parity.adapters.torch.training.optimizer import TorchState

    return TorchState(adapter, optimizer)  # type: ignore[arg-type]


def influence_of(adapter: Adapter, inputs: Any, fresh: Any, wanted: Any = None) -> Any:
    """The outputs of the torch side, and which elements of its weights move them (parity.adapters.torch.influence)."""
    from parity.adapters.torch.influence import influence

    return influence(adapter, inputs, fresh, wanted)  # type: ignore[arg-type]
