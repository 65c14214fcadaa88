"""A torch module behind the adapters' interface. Imported only for a torch module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.adapters.devices import torch_device
from parity.adapters.float32.in_torch import seen
from parity.adapters.float32.log import Float32Log
from parity.adapters.patching import restored
from parity.adapters.sites.making import made_at
from parity.adapters.sites.unwatched import aside, resumed
from parity.adapters.torch.blueprint import torch_blueprint
from parity.adapters.torch.calls.composite import arguments_of, outputs_of
from parity.adapters.torch.calls.last_steps import NewestSteps
from parity.adapters.torch.calls.watch import watched
from parity.adapters.torch.edits.tape import Tape, of_module
from parity.adapters.torch.forward import (
    as_evaluated,
    call,
    call_unseen,
    constants,
    statistics_kept,
    taken,
    uncompiled,
)
from parity.adapters.torch.layers import attributes, layer_info, layers_of
from parity.adapters.torch.parametrized import held_weights, refusal
from parity.adapters.torch.precision import full_multiplication, precision
from parity.adapters.torch.tensors import as_array, named_arrays, named_leaves, replaced
from parity.adapters.torch.trace import framework, tensors_of, tracing
from parity.adapters.torch.weights import peek, to_numpy, write
from parity.adapters.trace_builder import TraceBuilder
from parity.adapters.trial import trial
from parity.core.adapter import Blueprint, Form, Observer, Takes
from parity.core.errors import UsageError
from parity.core.trace import CodePlace, Look, NodeObserver, Trace
from parity.core.trace import flattened_images as flattened_in
from parity.core.types import Array, LayerInfo, Side

WHOLE = {"int32": "int64", "int16": "int64", "uint16": "int64", "uint32": "int64"}
"""Whole numbers as torch's users hold them: one-hot codes and gathers take int64 alone."""


class TorchAdapter:
    """Adapter for `torch.nn.Module`.

    Attributes:
        module: the module itself.
        device: where it is evaluated.
        objects: its submodules by path.
    """

    side: Side = "torch"
    form: Form
    keys: tuple[Any, ...]
    orders: tuple[tuple[int, ...], ...]
    said: tuple[str, ...]

    def __init__(self, module: nn.Module, device: str = "cpu") -> None:
        self.module = module
        self.device = torch_device(device)
        uninitialised = [
            name
            for name, value in module.named_parameters()
            if isinstance(value, nn.parameter.UninitializedParameter)
        ]
        if uninitialised:
            raise UsageError(
                f"every lazy torch module must have run once; got uninitialised {', '.join(uninitialised)}. "
                "Call the module on a sample input first."
            )
        self.objects, self._aliases = layers_of(module)
        self._dtype: torch.dtype | None = None
        self.float32 = Float32Log()
        self.form, self.keys, self.orders, self.said = Form(constants=constants(module)), (), (), ()
        self.said = tuple(
            f"torch {path} is computed in every pass ({how}): its effective weight is copied and compared, and training "
            "moves what it is computed from"
            for path, how in self.computed().items()
        )
        if self.form.constants:
            self.said += (
                f"torch is called with {', '.join(f'{name}=False' for name in self.form.constants)}",
            )

    # --- layers and weights -----------------------------------------------------------------------------

    def layers(self) -> dict[str, LayerInfo]:
        """Every module by path, a shared module once, under its first path."""
        return {path: layer_info(path, module, self._aliases[path]) for path, module in self.objects.items()}

    def _tensor(self, path: str) -> torch.Tensor:
        layer, _, name = path.rpartition(".")
        module = self.objects[layer]
        found = module._parameters.get(name), module._buffers.get(name)
        return next(value for value in found if value is not None)

    def read(self, path: str) -> Array:
        """The value of a parameter or buffer."""
        return to_numpy(self._tensor(path))

    def peek(self, path: str) -> Array:
        """The same without a copy, where that can be."""
        return peek(self._tensor(path))

    def write(self, path: str, value: Array, fresh: bool = False) -> None:
        """Set a parameter or buffer in place, which copies any array."""
        write(self._tensor(path), value)

    def held(self, path: str) -> Callable[[], None]:
        """What puts a parameter's or a buffer's value back."""
        return partial(write, self._tensor(path), self.read(path))

    def computed(self) -> dict[str, str]:
        """What computes a weight anew in every pass, by the weight's path (parity.adapters.torch.parametrized)."""
        return held_weights(self.objects)

    def refuses(self, path: str, value: Array) -> str:
        """Why a weight that is computed cannot become this value; empty where it can."""
        layer, _, name = path.rpartition(".")
        return refusal(path, self.objects[layer], name, value)

    def storage(self, path: str) -> int:
        """An identity that tied tensors share."""
        return self._tensor(path).data_ptr()

    def blueprint(self, path: str) -> Blueprint | None:
        """How to rebuild one layer, and its weights; None unless it is one of the framework's own layers."""
        return torch_blueprint(self.objects[path])

    # --- inputs and evaluation --------------------------------------------------------------------------

    def input_specs(self) -> list[list[tuple[tuple[int | None, ...], str]]]:
        """Nothing: a torch module does not say what it takes."""
        return []

    def takes(self) -> Takes:
        """The names of the arguments of `forward`."""
        return taken(self.module)

    def tensors(self, inputs: Sequence[Array]) -> list[torch.Tensor]:
        """Inputs on the module's device; floating ones in the weights' dtype, which torch does not cast to itself."""
        weights = (w.dtype for w in self.module.parameters() if w.is_floating_point())
        dtype = self._dtype or next(weights, None)
        made = [
            torch.from_numpy(
                np.require(value, WHOLE.get(value.dtype.name), ["C", "W"])
            )  # NumPy has no bfloat16
            for value in inputs
        ]
        # An axis of length one may have any stride in NumPy: torch would take the image for one with channels last.
        made = [
            tensor.clone(memory_format=torch.contiguous_format) if 1 in tensor.shape else tensor
            for tensor in made
        ]
        return [tensor.to(self.device, dtype if tensor.is_floating_point() else None) for tensor in made]

    def forward(self, inputs: Sequence[Array], *, training: bool = False) -> list[tuple[str, Array]]:
        """Evaluate the module; flags for train and eval mode are put back afterwards."""
        with nullcontext() if training else statistics_kept(self.module):
            outputs = call(self.module, self.tensors(inputs), training, form=self.form)
        return named_arrays(outputs)

    def in_turn(
        self, inputs: Sequence[Sequence[Array]], after: Callable[[int], None] | None = None
    ) -> list[list[tuple[str, Array]]]:
        """Evaluate the module on one input after the other; what it keeps from call to call stays until the last."""
        found = []
        with statistics_kept(self.module):
            for number, values in enumerate(inputs):
                found.append(named_arrays(call(self.module, self.tensors(values), False, form=self.form)))
                if after is not None:
                    after(number)
        return found

    def in_modes(self, inputs: Sequence[Array]) -> dict[str, list[tuple[str, Array]]]:
        """The outputs with gradients recorded, and in inference mode."""
        with statistics_kept(self.module):
            recorded = named_arrays(call(self.module, self.tensors(inputs), False, True, self.form))
            with torch.inference_mode():
                inferred = named_arrays(call(self.module, self.tensors(inputs), False, form=self.form))
        return {"gradients recorded": recorded, "inference mode": inferred}

    @contextmanager
    def unfused(self) -> Iterator[None]:
        """While this is open, torch's attention takes its steps one by one, as it does where somebody looks on."""
        mha = torch.backends.mha
        before = mha.get_fastpath_enabled()
        mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            mha.set_fastpath_enabled(before)

    # --- what a call may leave behind -------------------------------------------------------------------

    def kept(self) -> list[tuple[str, Any, dict[str, Any]]]:
        """The modules with their paths, and the attributes that are not every module's own, and buffers."""
        return [(path, module, attributes(module)) for path, module in self.objects.items()]

    def values(self, value: Any) -> Array | None:
        """The values of a torch tensor; None for anything else."""
        if isinstance(value, torch.Generator):
            value = value.get_state()
        return peek(value) if isinstance(value, torch.Tensor) and not value.is_meta else None

    def random_state(self) -> dict[str, Any]:
        """A mark of torch's own generator."""
        return {"torch": hash(torch.get_rng_state().numpy().tobytes())}

    def trace(
        self,
        inputs: Sequence[Array],
        observer: NodeObserver | None = None,
        attention: bool = False,
        last: bool = False,
    ) -> tuple[list[tuple[str, Array]], Trace]:
        """Evaluate the module once, in eval mode, and record what is run."""
        outputs, (trace,) = self.traces(inputs, [Look(observer, attention=attention, last=last)])
        return outputs, trace

    def traces(
        self, inputs: Sequence[Array], looks: Sequence[Look]
    ) -> tuple[list[tuple[str, Array]], list[Trace]]:
        """The same with several graphs of one evaluation, whose observers change nothing."""
        outputs, traces = self.traced(inputs, looks)
        return [(name, as_array(leaf)) for name, leaf in outputs], traces

    def traced(
        self, inputs: Sequence[Array], looks: Sequence[Look], gradients: bool = False
    ) -> tuple[list[tuple[str, Any]], list[Trace]]:
        """The same with the outputs as they are, and with what a backward pass needs where it is asked for."""
        with aside(), ExitStack() as stack:
            tensors = self.tensors(inputs)
            known = framework(to_numpy, peek, replaced)
            builders = [TraceBuilder(known, look.observer, *tensors_of(self.objects)) for look in looks]
            stack.enter_context(statistics_kept(self.module))  # opened first: no part of what is traced
            kept = [NewestSteps() if look.last and not gradients else None for look in looks]
            for builder, look, keeper in zip(builders, looks, kept, strict=True):
                builder.ran = None if keeper is None else keeper.ran
                builder.feed(tensors)
                stack.enter_context(
                    tracing(builder, self.objects, self.layers(), look.inside, look.attention)
                )
            with resumed():
                training = any(look.training for look in looks)
                outputs = named_leaves(call(self.module, tensors, training, gradients, self.form))
            stack.close()
            traces = [builder.finish(outputs) for builder in builders]
            for trace, keeper in zip(traces, kept, strict=True):
                trace.flattened = flattened_in(trace)
                if keeper is not None:
                    trace.last = keeper.behind([leaf for _, leaf in outputs], self._as_in_a_pass)
        return outputs, traces

    @contextmanager
    def _as_in_a_pass(self) -> Iterator[None]:
        """While this is open, parts of the module run as they do in a traced pass."""
        with as_evaluated(self.module), statistics_kept(self.module), self.unfused(), uncompiled():
            yield

    def made_at(self, path: str) -> CodePlace | None:
        """Where in the user's sources the layer at a path is made; None where they do not say it."""
        return made_at(self.objects, path)

    def run_layer(self, path: str, inputs: Sequence[Array]) -> list[Array]:
        """Evaluate one module alone, in eval mode, unseen by its hooks."""
        module = self.objects[path]
        return outputs_of(module, call_unseen(module, arguments_of(module, self.tensors(inputs))))

    def recorded(self, path: str, inputs: Sequence[Array]) -> tuple[Tape, list[int]]:
        """The calls that one module makes alone, and the slots of what it gives."""
        return of_module(self.objects[path], self.tensors(inputs))

    def trial(
        self, path: str, inputs: Sequence[Array], weights: Mapping[str, Array], settings: Mapping[str, Any]
    ) -> list[Array] | None:
        """Evaluate one module with other weights and attributes, then put its own back; None where it lacks one of them."""
        return trial(self, path, self.objects[path], inputs, weights, settings)

    def watched(self, observer: Observer, paths: set[str]) -> AbstractContextManager[None]:
        """Show the calls of the modules at `paths` to the observer, while this is open."""
        return watched({path: self.objects[path] for path in paths}, observer)

    def step_by_step(self, paths: set[str]) -> AbstractContextManager[None]:
        """Nothing: a torch cell is called step by step by the model itself."""
        return nullcontext()

    # --- precision --------------------------------------------------------------------------------------

    def full_multiplication(self) -> AbstractContextManager[bool]:
        """Multiply without reduced precision (TF32, bfloat16 passes); yields whether it was switched on."""
        return full_multiplication()

    @contextmanager
    def precision(self, dtype: str) -> Iterator[None]:
        """Hold and compute with the same weights in another dtype, on this adapter's device, while this is open."""
        wanted = getattr(torch, dtype)
        with (
            restored(self, "_dtype", wanted),
            precision(self.module, self.device, wanted),
            restored(self.float32, "held", dtype == "float64"),
            self.float32_seen() if self.float32.lifting else nullcontext(),
        ):
            yield

    @contextmanager
    def float32_seen(self) -> Iterator[None]:
        """While this is open, what the module asks for in float32 goes past `self.float32`."""
        with uncompiled(), seen(self.float32):
            yield

    def declared_float32(self) -> set[str]:
        """None: a torch module does not say in what it computes."""
        return set()

    def like(self, value: Any, array: Array) -> Any:
        """An array as a tensor in the place of another."""
        return replaced(value, [array])
