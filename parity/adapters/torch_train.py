"""A torch module in training: gradients, steps of an optimizer, and everything put back afterwards."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from parity.adapters.base import Array, Side
from parity.adapters.torch import TorchModel, to_numpy
from parity.errors import UsageError
from parity.optimizers import TORCH_CLIP_GUARD, Recipe, Rule, State
from parity.training_side import Call, Dropped, Evaluation

DROPOUTS = {
    torch.dropout: "element", F.dropout: "element", F.dropout1d: "channel", F.dropout2d: "channel",
    F.dropout3d: "channel", F.alpha_dropout: "alpha", F.feature_alpha_dropout: "alpha",
}  # fmt: skip
SLOTS = {
    "momentum_buffer": "velocity", "exp_avg": "first", "exp_avg_sq": "second", "max_exp_avg_sq": "greatest",
    "square_avg": "square", "grad_avg": "mean", "step": "step",
}  # fmt: skip


class TorchTrainer:
    """Trainer for a torch module."""

    side: Side = "torch"

    def __init__(self, adapter: TorchModel, loss: Callable[..., Any] | None = None) -> None:
        self.adapter, self.module = adapter, adapter.module
        self.loss = (
            copy.deepcopy(loss).to(adapter.device, torch.float64) if isinstance(loss, nn.Module) else loss
        )
        self._parameters = dict(self.module.named_parameters(remove_duplicate=False))
        self._without_batch: set[int] = set()
        self._optimizer: Any = None
        self._recipe: Recipe | None = None
        self._scheduler: Any = None
        self._given: tuple[Any, Any, list[dict[str, Any]]] | None = None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the module in float64; tensors, gradients, flags and the random state are put back."""
        gradients = [(p, p.grad) for p in self.module.parameters()]
        slots = [(m, dict(m._buffers)) for m in self.module.modules()]
        modes = [(m, m.training) for m in self.module.modules()]
        random = torch.get_rng_state()
        for parameter, _ in gradients:
            parameter.grad = None
        try:
            with self.adapter.precision("float64"), torch.enable_grad():
                before = {id(t): (t, t.detach().clone()) for t in self._tensors()}
                try:
                    yield
                finally:
                    self.stop()
                    for module, buffers in slots:
                        module._buffers.update(buffers)
                    with torch.no_grad():
                        for tensor, value in before.values():
                            tensor.copy_(value)
                    for parameter, _ in gradients:
                        parameter.grad = None
        finally:
            for parameter, gradient in gradients:
                parameter.grad = gradient
            for module, mode in modes:
                module.training = mode
            torch.set_rng_state(random)

    def _tensors(self) -> list[torch.Tensor]:
        return [*self.module.parameters(), *self.module.buffers()]

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        """Train or eval mode; where the caller trains with some modules frozen by eval(), these stay so."""
        modes = [(m, m.training) for m in self.module.modules()]
        frozen_by_hand = self.module.training and not all(mode for _, mode in modes)
        if not (training and frozen_by_hand):
            self.module.train(training)
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode

    def evaluate(
        self,
        inputs: Sequence[Array],
        targets: Sequence[Array] | None,
        *,
        training: bool,
        watch: Sequence[str] = (),
        forced: Mapping[tuple[str, int], Array] | None = None,
    ) -> Evaluation:
        """Run forward and, with targets, backward."""
        leaves = [self.adapter._from_numpy(value) for value in inputs]
        for leaf in leaves:
            leaf.requires_grad_(leaf.is_floating_point())
        recorder = _Recorder(watch, forced or {})
        with (
            self._mode(training),
            _Neutral(self.module, self._without_batch) as neutral,
            recorder.on(self.module),
        ):
            # A copy goes in: the module may change its input in place, which a leaf of the graph forbids.
            named = named_tensors(self.module(*[leaf.clone() for leaf in leaves]))
            loss = self._loss([tensor for _, tensor in named], targets) if targets is not None else None
        gradients: list[torch.Tensor | None] = [None] * (len(self._parameters) + len(leaves))
        if loss is not None and loss.requires_grad:
            sources = [*self._parameters.values(), *leaves]
            wanted = [i for i, source in enumerate(sources) if source.requires_grad]
            found = torch.autograd.grad(loss, [sources[i] for i in wanted], allow_unused=True)
            for i, gradient in zip(wanted, found, strict=True):
                gradients[i] = gradient
        arrays = [None if g is None else to_numpy(g.to_dense() if g.is_sparse else g) for g in gradients]
        return Evaluation(
            loss=float(loss.detach()) if loss is not None else 0.0,
            outputs=[(name, to_numpy(tensor)) for name, tensor in named],
            parameters=dict(zip(self._parameters, arrays[: len(self._parameters)], strict=True)),
            inputs=arrays[len(self._parameters) :],
            calls=recorder.calls,
            dropped=neutral.dropped,
        )

    def _loss(self, outputs: list[torch.Tensor], targets: Sequence[Array]) -> torch.Tensor:
        wanted = [torch.from_numpy(np.ascontiguousarray(value)).to(self.adapter.device) for value in targets]
        if self.loss is None:
            terms = [
                ((output - target) ** 2).sum() / target.numel()
                for output, target in zip(outputs, wanted, strict=True)
            ]
            return torch.stack(terms).sum()
        single = len(outputs) == 1
        value = self.loss(outputs[0] if single else outputs, wanted[0] if single else wanted)
        if not isinstance(value, torch.Tensor) or value.dim():
            shape = tuple(getattr(value, "shape", ()))
            raise UsageError(
                f"a torch loss must give one number; got {type(value).__name__} of shape {shape}. Reduce it."
            )
        return value

    def loss_of(self, outputs: Sequence[Array], targets: Sequence[Array]) -> float:
        """The loss of these outputs."""
        return float(
            self._loss(
                [torch.from_numpy(np.ascontiguousarray(v)).to(self.adapter.device) for v in outputs], targets
            )
        )

    def state(self) -> dict[str, Array]:
        """Parameters and statistics by path."""
        return {
            t.path: self.adapter.read(t.path)
            for layer in self.adapter.layers().values()
            for t in layer.tensors
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """Set parameters and statistics."""
        for path, value in state.items():
            self.adapter.write(path, value)

    def trainable(self) -> set[str]:
        """Paths of the parameters that require a gradient."""
        return {path for path, parameter in self._parameters.items() if parameter.requires_grad}

    def penalties(self) -> dict[str, Array]:
        """None: torch's modules have no regularisers."""
        return {}

    # --- the optimizer ------------------------------------------------------------------------------

    def start(self, optimizer: Recipe | Any) -> None:
        """Make the optimizer anew, or take the one given, with an empty state."""
        self.stop()
        self._recipe = optimizer if isinstance(optimizer, Recipe) else None
        if self._recipe is not None:
            self._optimizer = _from_recipe(self._recipe, list(self.module.parameters()))
        elif hasattr(optimizer, "param_groups"):
            self._given = (optimizer, optimizer.state, [dict(group) for group in optimizer.param_groups])
            optimizer.state = defaultdict(dict)
            self._optimizer = optimizer
        else:
            made = optimizer(list(self.module.parameters()))
            self._optimizer, self._scheduler = made if isinstance(made, tuple) else (made, None)

    def stop(self) -> None:
        """Give up the optimizer; one that was given gets its state and hyperparameters back."""
        if self._given is not None:
            optimizer, state, groups = self._given
            optimizer.state = state
            for group, before in zip(optimizer.param_groups, groups, strict=True):
                group.update(before)
        self._optimizer = self._recipe = self._scheduler = self._given = None

    def apply(self, gradients: Mapping[str, Array], step: int) -> None:
        """One step with these gradients."""
        for parameter in self.module.parameters():
            parameter.grad = None
        for path, value in gradients.items():
            parameter = self._parameters[path]
            parameter.grad = torch.from_numpy(np.array(value)).to(parameter.device)
        if self._recipe is not None:
            for group in self._optimizer.param_groups:
                group["lr"] = self._recipe.rate(step)
            _clip(self._recipe, [self._parameters[path] for path in gradients])
        self._optimizer.step()
        if self._scheduler is not None:
            self._scheduler.step()
        for parameter in self.module.parameters():
            parameter.grad = None

    def rules(self) -> dict[str, Rule]:
        """The rule of each parameter, from the groups that the optimizer keeps."""
        algorithm = next((name for cls, name in _ALGORITHMS if isinstance(self._optimizer, cls)), None)
        if algorithm is None:
            return {}
        groups = {id(p): group for group in self._optimizer.param_groups for p in group["params"]}
        clip = _clip_fields(self._recipe)
        return {
            path: _rule(algorithm, self._optimizer, groups[id(p)], clip)
            for path, p in self._parameters.items()
            if id(p) in groups
        }

    def slots(self) -> dict[str, State]:
        """The optimizer's state of each parameter that it has seen."""
        return slots_of(self._optimizer, self._parameters)

    @contextmanager
    def batchnorm(self, path: str, **changes: Any) -> Iterator[None]:
        """While this is open the layer normalises by its running statistics in training, too."""
        mean = getattr(self.adapter._modules[path], "running_mean", None)
        if not changes.get("frozen") or mean is None:
            yield
            return
        self._without_batch.add(id(mean))
        try:
            yield
        finally:
            self._without_batch.discard(id(mean))


def slots_of(optimizer: Any, parameters: Mapping[str, torch.Tensor]) -> dict[str, State]:
    """State of a torch optimizer by parameter path, under parity's names."""
    found = {}
    for path, parameter in parameters.items():
        kept = optimizer.state.get(parameter) or {}
        found[path] = {
            SLOTS[name]: to_numpy(torch.as_tensor(value)).astype(np.float64)
            for name, value in kept.items()
            if name in SLOTS and value is not None
        }
    rms = isinstance(optimizer, torch.optim.RMSprop)
    return {p: {k: v for k, v in s.items() if not (rms and k == "step")} for p, s in found.items()}


_ALGORITHMS: tuple[tuple[type, str], ...] = (
    (torch.optim.SGD, "sgd"),
    (torch.optim.Adam, "adam"),
    (torch.optim.AdamW, "adam"),
    (torch.optim.RMSprop, "rmsprop"),
)


def _rule(algorithm: str, optimizer: Any, group: Mapping[str, Any], clip: dict[str, Any]) -> Rule:
    decoupled = bool(group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))
    beta1, beta2 = group.get("betas", (0.9, 0.999))
    return Rule(
        algorithm,
        rate=float(group["lr"]),
        momentum=float(group.get("momentum", 0.0)),
        dampening=float(group.get("dampening", 0.0)),
        nesterov=bool(group.get("nesterov", False)),
        beta1=float(beta1),
        beta2=float(beta2),
        rho=float(group.get("alpha", 0.99)),
        epsilon=float(group.get("eps", 0.0)),
        centered=bool(group.get("centered", False)),
        amsgrad=bool(group.get("amsgrad", False)),
        decay=float(group.get("weight_decay", 0.0)),
        decoupled=decoupled,
        maximize=bool(group.get("maximize", False)),
        **clip,
    )


def _from_recipe(recipe: Recipe, parameters: list[Any]) -> Any:
    options, rate = dict(recipe.options), recipe.rate(0)
    decay = options.get("weight_decay", 0.01 if recipe.name == "adamw" else 0.0)
    epsilon = options.get("epsilon", 1e-8)
    if recipe.name.startswith("sgd"):
        nesterov = options.get("nesterov", recipe.name == "sgd-nesterov")
        momentum = options.get("momentum", 0.9)
        return torch.optim.SGD(parameters, rate, momentum, weight_decay=decay, nesterov=nesterov)
    if recipe.name == "rmsprop":
        return torch.optim.RMSprop(
            parameters, rate, options.get("rho", 0.99), epsilon, decay, options.get("momentum", 0.0),
            options.get("centered", False),
        )  # fmt: skip
    cls = torch.optim.AdamW if recipe.name == "adamw" else torch.optim.Adam
    betas = tuple(options.get("betas", (0.9, 0.999)))
    return cls(parameters, rate, betas, epsilon, decay, options.get("amsgrad", False))


def _clip(recipe: Recipe, parameters: list[Any]) -> None:
    options = recipe.options
    if options.get("global_clipnorm"):
        nn.utils.clip_grad_norm_(parameters, options["global_clipnorm"])
    if options.get("clipnorm"):
        for parameter in parameters:
            nn.utils.clip_grad_norm_([parameter], options["clipnorm"])
    if options.get("clipvalue"):
        nn.utils.clip_grad_value_(parameters, options["clipvalue"])


def _clip_fields(recipe: Recipe | None) -> dict[str, Any]:
    options = recipe.options if recipe else {}
    name = next((name for name in ("global_clipnorm", "clipnorm", "clipvalue") if options.get(name)), "")
    guard = TORCH_CLIP_GUARD if "norm" in name else 0.0
    return {"clip": name, "limit": float(options.get(name, 0.0)) if name else 0.0, "guard": guard}


def named_tensors(outputs: Any, name: str = "") -> list[tuple[str, torch.Tensor]]:
    """Floating output tensors with their names, as the adapter names them."""
    if isinstance(outputs, torch.Tensor):
        return [(name, outputs)] if outputs.is_floating_point() else []
    items = (
        outputs.items()
        if isinstance(outputs, dict)
        else enumerate(outputs)
        if isinstance(outputs, list | tuple)
        else ()
    )
    return [
        pair for key, item in items for pair in named_tensors(item, f"{name}.{key}" if name else str(key))
    ]


class _Recorder:
    """Forward hooks that keep calls, and tensor hooks that keep or replace gradients."""

    def __init__(self, watch: Sequence[str], forced: Mapping[tuple[str, int], Array]) -> None:
        self.watch, self.forced, self.calls = watch, forced, []  # type: tuple, Mapping, list[Call]

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
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
            call = Call(path, index, inputs, to_numpy(output))
            self.calls.append(call)
            if output.requires_grad:
                output.register_hook(self._gradient(call))

        return after

    def _gradient(self, call: Call) -> Callable[[torch.Tensor], torch.Tensor | None]:
        def arrived(gradient: torch.Tensor) -> torch.Tensor | None:
            call.gradient = to_numpy(gradient)
            value = self.forced.get((call.path, call.index))
            return None if value is None else torch.from_numpy(np.ascontiguousarray(value)).to(gradient)

        return arrived


class _Neutral(TorchFunctionMode):
    """Dropout does nothing and is noted; chosen normalisations use their running statistics."""

    def __init__(self, module: nn.Module, without_batch: set[int]) -> None:
        super().__init__()
        self.module, self.without_batch = module, without_batch
        self.dropped: list[Dropped] = []
        self._stack: list[str] = []
        self._handles: list[Any] = []

    def __enter__(self) -> _Neutral:
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

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in DROPOUTS:
            rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            default = "alpha" not in DROPOUTS[func]
            if kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else default)):
                self._note(rate, DROPOUTS[func])
            return args[0] if args else kwargs["input"]
        if kwargs.get("dropout_p") and kwargs.get("training", True):
            self._note(kwargs["dropout_p"], "attention")
            kwargs["dropout_p"] = 0.0
        if func is F.batch_norm and len(args) > 1 and id(args[1]) in self.without_batch:
            kwargs["training"] = False
        return func(*args, **kwargs)
