"""Reads a recording step by step: the layout of every tensor, and the text of every node in Keras."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from parity.adapters.recording.records import (
    FunctionCall,
    ModuleCall,
    Recording,
    SeenTensor,
    SeenValue,
    UserFunction,
)
from parity.porting.to_keras.bodies.body import Signature, WrittenBody
from parity.porting.to_keras.bodies.nodes import Nodes
from parity.porting.to_keras.bodies.state import ReadingState
from parity.porting.to_keras.bodies.ways import Ways
from parity.porting.to_keras.layout.axes import HeldOrder, channels_last, identity
from parity.porting.to_keras.layout.operands import AxisLayout, RewriteError, SourcePlace, tensors
from parity.porting.to_keras.leaves_axes import leaf_order, torch_name

MOST_ROUNDS = 400
PASSES = ("first", "second", "training")


@dataclass(eq=False)
class Bodies:
    """All functions that ran in the passes, with the texts of their nodes."""

    recording: Recording
    ways: Ways
    written: dict[tuple[UserFunction, Signature], WrittenBody]
    of_call: dict[FunctionCall, WrittenBody]
    leaf_orders: dict[str, set[HeldOrder]]  # the orders of axes that torch's layers receive, by path
    inputs: list[AxisLayout]
    outputs: dict[str, list[AxisLayout]]
    problems: list[tuple[str, str, str]]  # (operation, path, why) of modules inside torch's own containers
    tries: dict[SourcePlace, int] = field(default_factory=dict)


def read(recording: Recording) -> Bodies:
    """Read the passes; a place that owes a transpose which something needs is written otherwise, and all is read anew.

    Raises:
        RuntimeError: the places never settle, which is a fault here.
    """
    tries: dict[SourcePlace, int] = {}
    shared: dict[UserFunction, dict[ast.AST, ast.AST]] = {}
    ways = Ways(call for call in recording.calls if call.phase != "build")
    for _ in range(MOST_ROUNDS):
        try:
            return _RunReading(ReadingState(recording, ways, tries, shared)).run()
        except RewriteError as rewrite:
            tries[rewrite.place] = tries.get(rewrite.place, 0) + 1
    raise RuntimeError(
        f"the orders of axes do not settle: {sorted(tries.items(), key=lambda item: -item[1])[:3]}"
    )


class _RunReading:
    """One attempt, with the places as they are written in it."""

    def __init__(self, state: ReadingState) -> None:
        self.state, self.recording = state, state.recording

    def run(self) -> Bodies:
        for phase, inputs in self.recording.inputs.items():
            for k, tensor in enumerate(tensors(inputs)):
                place = SourcePlace("input", k, 0)
                rank = len(tensor.shape)
                images = rank > 3 or (rank == 3 and self.state.tries.get(place, 0) > 0)
                order = channels_last(rank) if images else identity(rank)
                self.state.layouts[tensor.key] = AxisLayout(
                    order, (place,) if rank == 3 and not images else ()
                )
            del phase
        nodes = Nodes(self.state)
        for event in self._events():
            if isinstance(event, ModuleCall):
                self._module(event)
            else:
                nodes.read(self.state.body(event.call), event)
        for call, body in self.state.bodies.items():
            body.written.results.append(
                tuple(self.state.layout(tensor).order for tensor in tensors(call.result))
            )
        outputs = {
            phase: [self.state.layout(tensor) for tensor in tensors(value)]
            for phase, value in self.recording.outputs.items()
        }
        first = [self.state.layout(tensor) for tensor in tensors(self.recording.inputs["first"])]
        of_call = {call: body.written for call, body in self.state.bodies.items()}
        return Bodies(
            self.recording,
            self.state.ways,
            self.state.written,
            of_call,
            self.state.leaf_orders,
            first,
            outputs,
            self.state.problems,
            self.state.tries,
        )

    def _events(self) -> Iterator[SeenValue | ModuleCall]:
        calls = iter(self.recording.module_calls)
        following = next(calls, None)
        for k, seen in enumerate(self.recording.seen):
            while following is not None and following.at <= k:
                yield following
                following = next(calls, None)
            if seen.call.phase != "build":
                yield seen
        while following is not None:
            yield following
            following = next(calls, None)

    def _module(self, event: ModuleCall) -> None:
        module = event.module
        name = torch_name(module)
        inputs = [*tensors(event.positional), *tensors(dict(event.named))]
        if (
            self.state.of_user(module)
            or name in ("Sequential", "ModuleList", "ModuleDict")
            or name is None
            or not inputs
        ):
            return None
        first = inputs[0]
        before = self.state.layout(first)
        path = self.state.place_of(module)
        results = list(tensors(event.value))
        rank_after = len(results[0].shape) if results else len(first.shape)
        if name == "Flatten":
            return self._flattened(event, first, before, results[0])
        wanted, after = leaf_order(module, before.order, rank_after)
        self.state.leaf_orders.setdefault(path, set()).add(wanted)
        if before.mixed and name not in ("Linear",) and wanted != before.order:
            raise RewriteError(before.debts[-1])
        if wanted != before.order and not (len(before.order) == 2 and wanted == identity(2)):
            if before.debts:
                raise RewriteError(before.debts[-1])
            if event.site is None or not self._called_itself(event):
                self.state.problems.append(
                    (name, path, "its input has its axes in another order inside nn.Sequential")
                )
        mixed = before.mixed if name not in ("Linear",) and wanted == before.order else ()
        for result in results:
            rank = len(result.shape)
            fitting = after if len(after) == rank else identity(rank)
            debts = before.debts if after == before.order or fitting != identity(rank) else ()
            self.state.layouts[result.key] = AxisLayout(fitting, debts, mixed)
        return None

    def _called_itself(self, event: ModuleCall) -> bool:
        call, site = event.call, event.site
        if call is None:
            return False
        return isinstance(site, ast.Call) and any(
            value is event.module for value in call.values.get(site.func, [])
        )

    def _flattened(
        self, event: ModuleCall, tensor: SeenTensor, before: AxisLayout, result: SeenTensor
    ) -> None:
        rank = len(result.shape)
        long = [axis for axis in before.order if tensor.shape[axis] != 1]
        if rank == 2 and long != sorted(long):
            self.state.layouts[result.key] = AxisLayout((0, 1), before.debts, (1,))
        elif rank == 2 or before.order == identity(len(before.order)):
            self.state.layouts[result.key] = AxisLayout(identity(rank), before.debts)
        else:
            path = self.state.paths.get(id(event.module), "")
            self.state.problems.append(
                ("nn.Flatten", path, "it keeps axes apart whose order differs in Keras")
            )
