"""Optimizers with one rule in both packages: PyTorch's, in Keras on every backend.

Keras' own differ from PyTorch's in four points: the velocity holds the learning rate, Adam adds epsilon before
the bias correction, RMSprop adds it under the root, and the weight decay is always decoupled. A model that is
trained with these here and with `torch_impl.optimizers` there takes the same steps. Names, arguments and
defaults are those of `torch.optim`; clipping and the like are Keras' own arguments.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
from keras import ops

Tensor: TypeAlias = Any

register = keras.saving.register_keras_serializable(package="tf_impl")


class _Optimizer(keras.optimizers.Optimizer):
    """What the four have in common: their arguments, their slots, and the decay inside the gradient."""

    _arguments: tuple[str, ...] = ()
    _decoupled = False

    def __init__(self, lr: float, weight_decay: float, **kwargs: Any) -> None:
        lr = kwargs.pop("learning_rate", lr)
        super().__init__(learning_rate=float(lr) if isinstance(lr, int) else lr, **kwargs)
        self.decay = weight_decay  # not Keras' weight_decay, which Keras itself would apply
        self.slots: dict[str, list[Any]] = {}

    def _names(self) -> tuple[str, ...]:
        """Names of what is kept for every variable: torch.optim's."""
        return ()

    def build(self, variables: list[Any]) -> None:
        """Make the slots."""
        if self.built:
            return
        super().build(variables)
        self.slots = {name: self.add_optimizer_variables(variables, name) for name in self._names()}

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        """Change one variable by one step."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        if self.decay and self._decoupled:
            variable.assign(variable * (1 - rate * self._number(self.decay, variable)))
        elif self.decay:
            gradient = gradient + self._number(self.decay, variable) * variable
        index = self._get_variable_index(variable)
        kept = {name: slots[index] for name, slots in self.slots.items()}
        self.assign_sub(variable, rate * self._direction(gradient, kept, variable))

    def _direction(self, gradient: Tensor, kept: dict[str, Any], variable: Any) -> Tensor:
        raise NotImplementedError

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        """Keras' clipping, except global_clipnorm: that is `torch.nn.utils.clip_grad_norm_`, with its 1e-6."""
        given = [gradient for gradient in grads if gradient is not None]
        if not self.global_clipnorm or self.clipnorm or not given:
            return super()._clip_gradients(grads)
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in given))
        limit, small, one = (self._number(value, norm) for value in (float(self.global_clipnorm), 1e-6, 1.0))
        share = ops.minimum(limit / (norm + small), one)
        return [None if gradient is None else gradient * share for gradient in grads]

    def _update_model_variables_moving_average(self, trainable_variables: list[Any]) -> None:
        """Keras' average, but one step of it for each update, not for each batch that is accumulated."""
        if not self.use_ema:
            return
        every = self.gradient_accumulation_steps or 1
        updated = ops.equal((self._iterations + 1) % every, 0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                now = ops.cast(updated, variable.dtype)
                later = ops.cast(ops.not_equal(self.iterations, 0), variable.dtype)  # the first one is a copy
                share = 1 - now + now * later * self._number(self.ema_momentum, variable)
                average.assign(share * average + (1 - share) * variable)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Leave the weights as they are: Keras would put the average in their place at the end of every fit."""

    def _number(self, value: float, variable: Any) -> Tensor:
        """A number in the variable's type; a Python float would pass through float32 on TensorFlow."""
        return ops.convert_to_tensor(
            ops.array(value, dtype="float64") if _wide(variable) else value, dtype=variable.dtype
        )

    def _mean(self, slot: Any, share: float, value: Tensor, variable: Any) -> Tensor:
        """Let a slot forget: share * slot + (1 - share) * value."""
        share = self._number(share, variable)
        self.assign(slot, share * slot + (1 - share) * value)
        return slot

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        config = super().get_config()
        config.pop("weight_decay")
        config["lr"] = config.pop("learning_rate")
        return {
            **config,
            "weight_decay": self.decay,
            **{name: getattr(self, name) for name in self._arguments},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Make the optimizer again; a schedule of learning rates is one of the values."""
        lr = config["lr"]
        if isinstance(lr, dict):
            lr = keras.optimizers.schedules.deserialize(lr, custom_objects)
        return cls(**{**config, "lr": lr})


@register
class SGD(_Optimizer):
    """Step along the gradient, or along a velocity that does not hold the learning rate.

    Args:
        lr: learning rate, or a Keras schedule of it.
        momentum: share of the velocity that is kept, from 0 to 1.
        dampening: share of the gradient that does not enter the velocity.
        weight_decay: times the weight, added to the gradient.
        nesterov: whether to look ahead.

    Raises:
        ValueError: nesterov without momentum, or with dampening.

    Source: `torch.optim.SGD`; Sutskever et al., "On the importance of initialization and momentum", 2013.
    """

    _arguments = ("momentum", "dampening", "nesterov")

    def __init__(
        self,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"nesterov must have a momentum and no dampening; got momentum={momentum}, dampening={dampening}."
            )
        super().__init__(lr, weight_decay, **kwargs)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov

    def _names(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def _direction(self, gradient: Tensor, kept: dict[str, Any], variable: Any) -> Tensor:
        if not self.momentum:
            return gradient
        momentum, velocity = self._number(self.momentum, variable), kept["momentum_buffer"]
        share = 1 - self._number(self.dampening, variable)
        first = ops.cast(
            ops.equal(self.iterations, 0), variable.dtype
        )  # the first gradient enters undampened
        self.assign(velocity, momentum * velocity + (first + (1 - first) * share) * gradient)
        return gradient + momentum * velocity if self.nesterov else ops.convert_to_tensor(velocity)


@register
class Adam(_Optimizer):
    """Step by the mean of the gradients over the root of the mean of their squares, both bias-corrected.

    Args:
        lr: learning rate, or a Keras schedule of it.
        betas: shares of the two means that are kept.
        eps: added to the bias-corrected root.
        weight_decay: times the weight, added to the gradient.
        amsgrad: whether the greatest mean square counts.

    Source: `torch.optim.Adam`; Kingma & Ba, "Adam", 2015, algorithm 1.
    """

    _arguments = ("betas", "eps", "amsgrad")

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr, weight_decay, **kwargs)
        self.betas, self.eps, self.amsgrad = tuple(betas), eps, amsgrad

    def _names(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if self.amsgrad else ()))

    def _direction(self, gradient: Tensor, kept: dict[str, Any], variable: Any) -> Tensor:
        step = ops.cast(self.iterations + 1, variable.dtype)
        corrections = [1 - ops.power(self._number(beta, variable), step) for beta in self.betas]
        mean = self._mean(kept["exp_avg"], self.betas[0], gradient, variable)
        square = self._mean(kept["exp_avg_sq"], self.betas[1], ops.square(gradient), variable)
        if self.amsgrad:
            greatest, square = (ops.convert_to_tensor(slot) for slot in (kept["max_exp_avg_sq"], square))
            larger = ops.cast(
                square > greatest, variable.dtype
            )  # ops.maximum takes float32 on the torch backend
            square = larger * square + (1 - larger) * greatest
            self.assign(kept["max_exp_avg_sq"], square)
        root = ops.sqrt(square) / ops.sqrt(corrections[1]) + self._number(self.eps, variable)
        return mean / corrections[0] / root


@register
class AdamW(Adam):
    """Adam whose weight decay shrinks the weights by themselves.

    Args:
        lr: learning rate, or a Keras schedule of it.
        betas: shares of the two means that are kept.
        eps: added to the bias-corrected root.
        weight_decay: times learning rate and weight, taken off the weight.
        amsgrad: whether the greatest mean square counts.

    Source: `torch.optim.AdamW`; Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.
    """

    _decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, amsgrad, **kwargs)


@register
class RMSprop(_Optimizer):
    """Step by the gradient over the root of the mean of its squares.

    Args:
        lr: learning rate, or a Keras schedule of it.
        alpha: share of the mean that is kept.
        eps: added to the root.
        weight_decay: times the weight, added to the gradient.
        momentum: share of the velocity that is kept, from 0 to 1.
        centered: whether to subtract the squared mean.

    Source: `torch.optim.RMSprop`; Hinton, "Neural networks for machine learning", lecture 6, 2012.
    """

    _arguments = ("alpha", "eps", "momentum", "centered")

    def __init__(
        self,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(lr, weight_decay, **kwargs)
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered

    def _names(self) -> tuple[str, ...]:
        more = [("grad_avg", self.centered), ("momentum_buffer", self.momentum)]
        return ("square_avg", *(name for name, wanted in more if wanted))

    def _direction(self, gradient: Tensor, kept: dict[str, Any], variable: Any) -> Tensor:
        square = ops.convert_to_tensor(
            self._mean(kept["square_avg"], self.alpha, ops.square(gradient), variable)
        )
        if self.centered:
            square = square - ops.square(self._mean(kept["grad_avg"], self.alpha, gradient, variable))
        change = gradient / (ops.sqrt(square) + self._number(self.eps, variable))
        if not self.momentum:
            return change
        velocity = kept["momentum_buffer"]
        self.assign(velocity, self._number(self.momentum, variable) * velocity + change)
        return ops.convert_to_tensor(velocity)


def _wide(variable: Any) -> bool:
    return bool(keras.backend.standardize_dtype(variable.dtype) == "float64")
