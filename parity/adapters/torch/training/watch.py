"""What a torch module does in a pass: calls of watched modules, and random layers, which are switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from parity.adapters.sites.running import called_at
from parity.adapters.torch.recurrent.stepwise import DROPOUT, KINDS, curve, stepwise
from parity.adapters.torch.training.softmax import written_out
from parity.adapters.torch.weights import to_numpy
from parity.core.trace import subtracts
from parity.core.trainer import Cuts, Dropped, Drops, WatchedCall
from parity.core.types import Array

DROPOUTS = {
    torch.dropout: "element", F.dropout: "element", F.dropout1d: "channel", F.dropout2d: "channel",
    F.dropout3d: "channel", F.alpha_dropout: "alpha",
    F.feature_alpha_dropout: "alpha channel",
}  # fmt: skip


DRAWS = {torch.bernoulli, torch.Tensor.bernoulli, torch.Tensor.bernoulli_}
"""Ones with a probability, as stochastic depth draws them."""
OF_DRAWS = {"mul", "rmul", "imul", "div", "truediv", "itruediv", "true_divide", "to", "type", "type_as", "float", "double",
            "half", "bfloat16", "clone", "detach", "contiguous", "expand", "expand_as", "view", "reshape", "unsqueeze",
            "squeeze", "size", "dim", "get"}  # fmt: skip
"""What may be done to draws, by name: a mean stands for draws only where they scale what they meet."""


CUTS = {torch.Tensor.detach, torch.Tensor.detach_, torch.detach}
DATA, NO_GRAD = torch.Tensor.data.__get__, torch._C._set_grad_enabled  # type: ignore[attr-defined]
HARD_SIGMOIDS = {F.hardsigmoid, torch._C._nn.hardsigmoid}


ATTENTION_DROPOUT = 10
"""Where the rate stands among the arguments of `multi_head_attention_forward`."""
CURVES = {function: name for name in ("sigmoid", "tanh")
          for function in (getattr(torch, name), getattr(torch.Tensor, name), getattr(F, name))}  # fmt: skip
"""Functions whose slope is taken from their result."""
UNIT = 2.0**-52
"""One unit in the last place of a float64 between 1 and 2."""
ROUNDING = {
    "add", "radd", "sub", "rsub", "mul", "rmul", "div", "rdiv", "truediv", "rtruediv", "true_divide", "pow", "rpow",
    "matmul", "rmatmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "linear", "bilinear", "multi_head_attention_forward",
    "scaled_dot_product_attention", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "sum", "mean", "var",
    "std", "norm", "prod", "cumsum", "logsumexp", "softmax", "log_softmax", "exp", "log", "sqrt", "rsqrt", "square",
    "sin", "cos", "tanh", "sigmoid", "erf", "gelu", "silu", "elu", "selu", "softplus", "mish", "hardswish",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "interpolate", "normalize",
}  # fmt: skip
"""Functions whose results are rounded; others move or select values, or change a tensor in place."""


class TorchWatcher:
    """Forward hooks that keep calls, and tensor hooks that keep or replace gradients."""

    def __init__(self, watch: Sequence[str], forced: Mapping[tuple[str, int], Array]) -> None:
        self.watch, self.forced = watch, forced
        self.calls: list[WatchedCall] = []

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """Watch the module's calls."""
        modules = dict(module.named_modules())
        with ExitStack() as stack:
            for path in self.watch:
                handle = modules[path].register_forward_hook(self._hook(path), with_kwargs=False)
                stack.callback(handle.remove)
            yield

    def _hook(self, path: str) -> Callable[..., None]:
        def after(_: nn.Module, args: Any, output: Any) -> None:
            if not isinstance(output, torch.Tensor):
                return
            index = sum(call.path == path for call in self.calls)
            inputs = [to_numpy(value) for value in args if isinstance(value, torch.Tensor)]
            call = WatchedCall(path, index, inputs, to_numpy(output))
            self.calls.append(call)
            if output.requires_grad:
                output.register_hook(self._gradient(call))

        return after

    def _gradient(self, call: WatchedCall) -> Callable[[torch.Tensor], torch.Tensor | None]:
        def arrived(gradient: torch.Tensor) -> torch.Tensor | None:
            call.gradient = to_numpy(gradient)
            value = self.forced.get((call.path, call.index))
            return None if value is None else torch.from_numpy(np.ascontiguousarray(value)).to(gradient)

        return arrived


def _dropped_together(taken: torch.Tensor) -> str:
    """What is dropped where a tensor of ones, one for each example, is multiplied into another tensor; else empty."""
    ones = taken.ndim > 1 and taken.numel() == taken.shape[0] and bool((taken == 1).all())
    return "example" if ones else ""


class Neutral(TorchFunctionMode):
    """Dropout does nothing and is noted; chosen normalisations use their running statistics; float64 is exact.

    Places of the user's code at which no gradient passes are noted, and opened as asked.
    """

    def __init__(
        self,
        module: nn.Module,
        without_batch: set[int],
        shake: np.random.Generator | None,
        cuts: Cuts,
        drops: Drops | None = None,
    ) -> None:
        super().__init__()
        self.shake, self.cuts, self.drops = shake, cuts, drops
        cuts.restart()
        self.module, self.without_batch = module, without_batch
        self.dropped: list[Dropped] = []
        self._stack: list[str] = []
        self._handles: list[Any] = []
        self._draws: dict[int, torch.Tensor] = {}

    def __enter__(self) -> Neutral:
        for path, module in self.module.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._enter(path)))
            self._handles.append(module.register_forward_hook(self._leave, always_call=True))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def _enter(self, path: str) -> Callable[..., None]:
        return lambda *_: self._stack.append(path)

    def _leave(self, *_: Any) -> None:
        if self._stack:
            self._stack.pop()

    def _note(self, rate: float, kind: str) -> None:
        if rate > 0.0:
            self.dropped.append(Dropped(self._stack[-1] if self._stack else None, float(rate), kind))

    def _kept(self, taken: torch.Tensor, rate: float, kind: str) -> torch.Tensor:
        """What dropout makes of a tensor: the tensor itself, unless something stands in its place."""
        factor = None if self.drops is None or not rate else self.drops.factor(tuple(taken.shape), rate, kind)
        return taken if factor is None else taken * torch.from_numpy(np.array(factor)).to(taken)

    def _drawn(self, mean: torch.Tensor) -> torch.Tensor:
        """The mean of draws, known from here on as standing for them."""
        self._draws[id(mean)] = mean
        return mean

    def _of_draws(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What a function makes of draws, which must scale something: compared or rounded, their mean says nothing.

        Raises:
            NotImplementedError: they do something else; the comparison is INCONCLUSIVE then.
        """
        name = getattr(func, "__name__", "").strip("_")
        if name not in OF_DRAWS:
            raise NotImplementedError(
                f"draws of torch.bernoulli must be multiplied into a tensor; got them in torch's {name}, where no "
                "constant stands for them. Compare training without them."
            )
        result = func(*args, **kwargs)
        tensors = [
            v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor) and id(v) not in self._draws
        ]
        return self._drawn(result) if isinstance(result, torch.Tensor) and not tensors else result

    def _without_dropout(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The arguments of a function that drops within: of the shares of an attention, or between recurrent layers."""
        rate, at = kwargs.get("dropout_p"), None
        training = kwargs.get("training", True)
        if func is F.multi_head_attention_forward and rate is None and len(args) > ATTENTION_DROPOUT:
            rate, at = args[ATTENTION_DROPOUT], ATTENTION_DROPOUT
            training = kwargs.get(
                "training", args[ATTENTION_DROPOUT + 3] if len(args) > ATTENTION_DROPOUT + 3 else True
            )
        elif func is F.scaled_dot_product_attention and rate is None and len(args) > 4:
            rate, at = args[4], 4
        elif func in KINDS and len(args) > DROPOUT + 2:
            at = DROPOUT + isinstance(args[1], torch.Tensor) * isinstance(args[3], list | tuple)  # packed
            rate, training = args[at], args[at + 1] and args[at - 1] > 1
        if not rate or not training:
            return args
        self._note(rate, "element")
        if self.drops is not None:
            self.drops.within()
        if at is None:
            kwargs["dropout_p"] = 0.0
            return args
        return (*args[:at], 0.0, *args[at + 1 :])

    def _opened(self) -> bool:
        """Whether the user's code cuts gradients off here, and they are to pass all the same."""
        place = called_at(2)
        return place is not None and self.cuts.passes(place)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if (func in CUTS or func == DATA or (func is NO_GRAD and args == (False,))) and self._opened():
            return (args[0] if args else kwargs["input"]) if func is not NO_GRAD else None
        if func in DROPOUTS:
            rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            default = "alpha" not in DROPOUTS[func]
            if kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else default)):
                taken = args[0] if args else kwargs["input"]
                kind = _dropped_together(taken) or DROPOUTS[func]
                self._note(rate, kind)
                kept = self._kept(taken, rate, kind)
                in_place = kwargs.get("inplace", len(args) > 3 and args[3])
                return taken.copy_(kept) if in_place and kept is not taken else kept
            return args[0] if args else kwargs["input"]
        if func in DRAWS and isinstance(
            probability := kwargs.get("p", args[1] if len(args) > 1 else None), float
        ):
            taken = args[0] if args else kwargs["input"]
            whole = taken.ndim > 1 and taken.numel() == taken.shape[0]
            kind = "example" if whole else "element"
            self._note(1.0 - probability, kind)
            mean = self._kept(torch.full_like(taken, probability), 1.0 - probability, kind)
            return self._drawn(taken.copy_(mean) if func is torch.Tensor.bernoulli_ else mean)
        if any(id(value) in self._draws for value in (*args, *kwargs.values())):
            return self._of_draws(func, args, kwargs)
        args = self._without_dropout(func, args, kwargs)
        if func in HARD_SIGMOIDS and args and args[0].dtype == torch.float64:
            return F.relu6(args[0] + 3.0) / 6.0  # torch's own gradient has a sixth in float32 under any dtype
        if func is F.batch_norm and len(args) > 1 and id(args[1]) in self.without_batch:
            kwargs["training"] = False
        if self.shake is not None and func in KINDS:
            whole = stepwise(func, args, partial(_shaken, self.shake))
            if whole is not None:
                return whole
        name = getattr(func, "__name__", "").strip("_")
        if self.shake is not None and func in CURVES and len(args) == 1 and args[0].dtype == torch.float64:
            return curve(CURVES[func], args[0], partial(_shaken, self.shake))
        if self.shake is not None:
            steps = written_out(name, args, kwargs, partial(_shaken, self.shake))
            if steps is not None:
                return steps
        result = func(*args, **kwargs)
        if self.shake is None or name not in ROUNDING:
            return result
        moved = _shaken(self.shake, result)
        if subtracts(name) and args and isinstance(args[0], torch.Tensor) and args[0].shape == moved.shape:
            moved = moved + (_shaken(self.shake, args[0]) - args[0])
        return moved


def _shaken(rng: np.random.Generator, value: Any) -> Any:
    """A floating result moved by one unit in the last place, up or down, and its gradient with it."""
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float64:
        return value
    factors = 1.0 + UNIT * (2.0 * rng.integers(0, 2, tuple(value.shape), dtype=np.int8) - 1.0)
    return value * torch.from_numpy(np.asarray(factors)).to(value.device)
