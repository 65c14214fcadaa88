"""Builds and calls a torch model twice: once to see which functions run, and once to record them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from parity.adapters.recording.discover import watched
from parity.adapters.recording.recorder import BETWEEN, Recorder
from parity.adapters.recording.records import FunctionCall, MadeModule, Recording, SeenValue
from parity.adapters.torch.recording.derived import DerivedLayers
from parity.adapters.torch.recording.snapshots import Snapshots

PassInputs = Sequence[torch.Tensor]


def record(
    build: Callable[[], torch.nn.Module],
    inputs: PassInputs | torch.Tensor,
    second_inputs: PassInputs | torch.Tensor | None = None,
    layers: Collection[str] = (),
) -> Recording:
    """Record how a model is built, and its forward passes, expression by expression of the user's code.

    The passes are "first" with `inputs`, "second" with `second_inputs`, both in evaluation mode, and "training" with
    `inputs` in training mode. A model that refuses the training pass is recorded without it, with a note.

    Args:
        build: makes the model anew; it is called twice.
        inputs: the model's positional arguments, as torch orders their axes: images are N, C, H, W.
        second_inputs: the same with other sizes and another batch, so that sizes and constants differ.
        layers: names of layers of torch.nn; what derives from one and computes the same is recorded as that layer.
    """
    passes = {"first": _several(inputs)}
    if second_inputs is not None:
        passes["second"] = _several(second_inputs)
    state = torch.get_rng_state()
    derived = DerivedLayers(layers)
    with watched() as codes:
        module = build()
        with _hooked(derived):
            _passes(module, passes, lambda phase: nullcontext(), [])
    del module
    torch.set_rng_state(state)
    snapshots = Snapshots()
    recorder = Recorder(snapshots, lambda value: value if isinstance(value, torch.nn.Module) else None)

    def within(phase: str) -> AbstractContextManager[None]:
        recorder.phase = phase
        return nullcontext()

    with recorder.instrumenting(codes), derived.replaced():
        module = build()
        with _hooked(recorder.module_called):
            results = _passes(module, passes, within, recorder.notes)
    paths = _named(module, recorder.calls)
    for kind, trainable in ((module.named_parameters, True), (module.named_buffers, False)):
        for path, tensor in kind(remove_duplicate=True):
            seen = snapshots.tensor(tensor)
            seen.held, seen.trainable = path, trainable
    return Recording(
        module,
        recorder.calls,
        recorder.seen,
        recorder.module_calls,
        {
            paths[id(made)][0]: _made(made, paths[id(made)], found)
            for made, found in _makers(module, recorder)
        },
        {phase: tuple(snapshots(value) for value in given) for phase, given in results[0].items()},
        {phase: snapshots(value) for phase, value in results[1].items()},
        recorder.notes,
        derived.classes,
    )


@contextmanager
def _hooked(hook: Callable[..., None]) -> Iterator[None]:
    """While this is open, every call of a module is told to a function."""
    held = torch.nn.modules.module.register_module_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        held.remove()
        # torch's own `remove` leaves this note of the hook, and torch.compile warns of it from then on.
        torch.nn.modules.module._global_forward_hooks_with_kwargs.pop(held.id, None)


def _several(inputs: PassInputs | torch.Tensor) -> tuple[Any, ...]:
    return (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)


def _passes(
    module: torch.nn.Module,
    passes: dict[str, tuple[Any, ...]],
    within: Callable[[str], AbstractContextManager[None]],
    notes: list[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What each pass was given and gave; the state of the module is as before."""
    held = [*module.parameters(), *module.buffers()]
    values = [tensor.detach().clone() for tensor in held]
    given: dict[str, Any] = {}
    results: dict[str, Any] = {}
    with torch.no_grad():
        for phase, inputs in passes.items():
            with within(BETWEEN):
                module.eval()
            with within(phase):
                given[phase], results[phase] = inputs, module(*inputs)
        with within(BETWEEN):
            module.train()
        with within("training"):
            try:
                results["training"] = module(*passes["first"])
                given["training"] = passes["first"]
            except (RuntimeError, ValueError, TypeError) as error:
                notes.append(f"the model refuses a pass in training mode: {type(error).__name__}: {error}")
        with within(BETWEEN):
            module.eval()
        for tensor, value in zip(held, values, strict=True):
            tensor.copy_(value)
    return given, results


def _named(module: torch.nn.Module, calls: Iterable[FunctionCall]) -> dict[int, tuple[str, ...]]:
    """The paths of every module of the model, which the calls are told too."""
    paths: dict[int, tuple[str, ...]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        paths[id(part)] = (*paths.get(id(part), ()), path)
    for call in calls:
        if id(call.module) in paths:
            call.path = paths[id(call.module)][0]
    return paths


def _makers(module: torch.nn.Module, recorder: Recorder) -> list[tuple[torch.nn.Module, dict[str, Any]]]:
    """Every module of the model, with what is known of the makers of all."""
    sites: dict[int, SeenValue] = {}
    starts: dict[int, list[FunctionCall]] = {}
    for seen in recorder.seen:
        value = seen.value
        if (
            seen.call.phase == "build"
            and isinstance(seen.node, ast.Call)
            and isinstance(value, torch.nn.Module)
        ):
            sites.setdefault(id(value), seen)
    for call in recorder.calls:
        written_as = getattr(
            call.function.node, "name", ""
        )  # a decorator's own function goes by another name
        if written_as == "__init__" and call.module is not None:
            starts.setdefault(id(call.module), []).append(call)
    parts = dict.fromkeys(part for _, part in module.named_modules())
    return [(part, {"site": sites.get(id(part)), "starts": starts.get(id(part), [])}) for part in parts]


def _made(module: torch.nn.Module, paths: tuple[str, ...], found: dict[str, Any]) -> MadeModule:
    site, starts = found["site"], tuple(found["starts"])
    if site is None:
        return MadeModule(module, paths[0], paths, None, None, (), {}, starts)
    return MadeModule(module, paths[0], paths, site.call, site.node, site.positional, site.named, starts)
