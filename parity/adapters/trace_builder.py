"""Builds the graph of a forward pass while it runs: what the tracers of both frameworks have in common."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from parity.adapters.sites.running import running
from parity.adapters.sites.unwatched import run_quietly, unwatched
from parity.core.trace import Node, NodeObserver, Sort, Source, Trace, Values, canonical
from parity.core.types import Array, Side


@dataclass(frozen=True)
class Framework:
    """What the builder must know of a framework: its tensors, and how to flatten a structure of them."""

    side: Side
    is_tensor: Callable[[Any], bool]
    leaves: Callable[[Any], list[Any]]
    to_numpy: Callable[[Any], Array]
    looked_at: Callable[[Any], Array]
    replaced: Callable[[Any, Sequence[Array]], Any]
    version: Callable[[Any], int] = lambda tensor: 0
    storage: Callable[[Any], int] = id


class TraceBuilder:
    """The state of one trace. Tensors are known by identity and are not kept alive."""

    def __init__(
        self,
        framework: Framework,
        observer: NodeObserver | None,
        parameters: Mapping[int, str],
        constants: set[int],
    ) -> None:
        self.framework, self.observer = framework, observer
        self.trace = Trace(framework.side)
        self.opaque = 0
        self.ran: Callable[..., None] | None = None
        """Called with a step that ran: how it was called, what it took and gave, and whether it wrote to a tensor."""
        self.watch: Callable[[bool], None] = lambda on: None
        """Called with False when steps within a step begin, which need not be watched, and with True when they end."""
        self.scopes: list[str] = [""]
        self._parameters, self._constants = parameters, constants
        self._known: dict[int, tuple[weakref.ref[Any], int, int, int]] = {}
        self._writers: dict[int, int] = {}
        self._parameter_nodes: dict[str, int] = {}
        self._batches: set[int] = set()
        self._counts: dict[tuple[str, str], int] = {}

    # --- what the tracers call -----------------------------------------------------------------------

    def feed(self, tensors: Sequence[Any]) -> None:
        """Take the model inputs into the graph."""
        for i, tensor in enumerate(tensors):
            node = self._add("input", "input", f"input {i}", shapes=(_shape(tensor),))
            self.trace.inputs.append(node.id)
            self._bind(tensor, node.id, 0)
            self._batches.update(tensor.shape[:1])

    def finish(self, outputs: Sequence[tuple[str, Any]]) -> Trace:
        """Name the model outputs, tensors or arrays; returns the graph."""
        for name, leaf in outputs:
            if self.framework.is_tensor(leaf):
                source = Source(*self._origin(leaf, "the output"))
            else:  # a number or an array: the steps end where Python read a tensor
                source = Source(
                    self._add("constant", "constant", "read by Python", shapes=(_shape(leaf),)).id
                )
            self.trace.outputs.append((name, source))
        return self.trace

    @contextmanager
    def scope(self, path: str) -> Iterator[None]:
        """Steps run inside this layer."""
        self.scopes.append(path)
        try:
            yield
        finally:
            self.scopes.pop()

    def layer(
        self, path: str, kind: str, settings: dict[str, Any], function: Any, args: Any, kwargs: Any
    ) -> Any:
        """Run a leaf layer as one step."""
        return self._step("layer", kind, path, path, settings, function, args, kwargs)

    def op(self, name: str, function: Any, args: Any, kwargs: Any, reverse: bool = False) -> Any:
        """Run a functional step; inside another step it is no step of its own."""
        if self.opaque:
            return run_quietly(function, args, kwargs)
        label = name.strip("_") or name
        settings = _plain(args, kwargs)
        return self._step("op", canonical(name), label, None, settings, function, args, kwargs, reverse)

    def seen(
        self, name: str, inputs: Sequence[Any], outputs: Sequence[Any], settings: dict[str, Any]
    ) -> list[Any] | None:
        """Note a functional step that has run already; returns what the observer puts in the outputs' place."""
        made = [tensor for tensor in outputs if self.framework.is_tensor(tensor)]
        sources = self._sources(inputs, name)
        sort: Sort = "op" if sources else "constant"
        node = self._add(sort, canonical(name), name, settings=settings, inputs=sources)
        self._made(node, made)
        if self.observer is None or not made:
            return None
        replacement = self.observer.ran(node, self._values(list(inputs)), self._values(made))
        if replacement is None:
            return None
        fresh: list[Any] = self._replaced(list(outputs), replacement)
        self._made(node, self._tensors(fresh))
        return fresh

    def knows(self, tensor: Any) -> bool:
        """Whether the tensor's origin is in the graph, or it is a parameter."""
        entry = self._known.get(id(tensor))
        return (entry is not None and entry[0]() is tensor) or id(tensor) in self._parameters

    def alias(self, tensor: Any, copy: Any) -> None:
        """Let a copy of a tensor be known as the tensor itself."""
        if self.knows(tensor):
            node, output = self._origin(tensor, "a read")
            self.trace.nodes[node].shapes = (_shape(copy),)
            self._bind(copy, node, output)

    # --- one step ------------------------------------------------------------------------------------

    @unwatched
    def _step(
        self,
        sort: Sort,
        kind: str,
        label: str,
        path: str | None,
        settings: dict[str, Any],
        function: Any,
        args: Any,
        kwargs: Any,
        reverse: bool = False,
    ) -> Any:
        """Run one step, and note it."""
        tensors, names = self._taken(args, kwargs)
        sources = self._sources(tensors[::-1] if reverse else tensors, label)
        versions = [self.framework.version(tensor) for tensor in tensors]
        scope = self.scopes[-1]
        node = Node(len(self.trace.nodes), kind, label, sort, path, 0, scope, sources, settings=settings)
        node.names = () if reverse else names
        node.spot = running()
        if self.observer is not None and tensors:
            replacement = self.observer.before(node, self._values(tensors))
            if replacement is not None:
                args, kwargs = self._replaced((args, kwargs), replacement)
        if self.observer is not None:
            function = self.observer.around(node, function)
        outputs = self._run(function, args, kwargs)
        made = self._tensors(outputs)
        written = [
            tensor
            for tensor, version in zip(tensors, versions, strict=True)
            if self.framework.version(tensor) != version
        ]
        if not made and not written:
            return outputs
        if sort == "op" and not written and all(any(new is old for old in tensors) for new in made):
            return outputs  # handed through as it is
        if sort == "op" and not tensors:
            node.sort = "constant"
        node.index = self._count(node)
        self.trace.nodes.append(node)
        self._made(node, made or written[:1])
        for tensor in written:
            self._writers[self.framework.storage(tensor)] = node.id
            if not any(tensor is new for new in made):
                self._bind(tensor, node.id, 0)
        if self.ran is not None:
            sorts = [self.trace.nodes[source.node].sort for source in (sources[::-1] if reverse else sources)]
            free = [sort not in {"parameter", "constant"} for sort in sorts]
            self.ran(node, function, (args, kwargs), tensors, free, made, bool(written))
        return self._observed(node, outputs, made)

    def _run(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Run one step; what it calls in turn is part of it."""
        self.opaque += 1
        self.watch(False)
        try:
            return function(*args, **kwargs)
        finally:
            self.opaque -= 1
            self.watch(True)

    def _values(self, tensors: list[Any]) -> Values:
        """Tensors' values; what reads them is no step of the model, and no step's number depends on it."""
        return Values(
            tensors, self._quietly(self.framework.to_numpy), self._quietly(self.framework.looked_at)
        )

    def _quietly(self, read: Callable[[Any], Array]) -> Callable[[Any], Array]:
        def reading(tensor: Any) -> Array:
            self.opaque += 1
            try:
                return read(tensor)
            finally:
                self.opaque -= 1

        return reading

    def _replaced(self, structure: Any, values: Sequence[Array]) -> Any:
        """The structure with other values; making tensors of them is no step of the model."""
        return self._run(self.framework.replaced, (structure, values), {})

    def _observed(self, node: Node, outputs: Any, made: Sequence[Any]) -> Any:
        """The outputs, or what the observer puts in their place."""
        if self.observer is None or not made:
            return outputs
        replacement = self.observer.after(node, self._values(list(made)))
        if replacement is None:
            return outputs
        outputs = self._replaced(outputs, replacement)
        for i, tensor in enumerate(self._tensors(outputs)):
            self._bind(tensor, node.id, i)
        return outputs

    def _add(
        self,
        sort: Sort,
        kind: str,
        label: str,
        path: str | None = None,
        settings: dict[str, Any] | None = None,
        inputs: tuple[Source, ...] = (),
        shapes: tuple[tuple[int, ...], ...] = (),
    ) -> Node:
        node = Node(
            len(self.trace.nodes), kind, label, sort, path, 0, self.scopes[-1], inputs, shapes, settings or {}
        )
        node.index = self._count(node)
        node.spot = running() if sort == "op" else None
        self.trace.nodes.append(node)
        return node

    def _count(self, node: Node) -> int:
        key = ("layer", node.path or "") if node.sort == "layer" else (node.scope, node.kind)
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] - 1

    def _made(self, node: Node, tensors: Sequence[Any]) -> None:
        node.shapes = tuple(_shape(tensor) for tensor in tensors)
        for i, tensor in enumerate(tensors):
            self._bind(tensor, node.id, i)

    # --- where a tensor comes from -------------------------------------------------------------------

    def _tensors(self, structure: Any) -> list[Any]:
        return [leaf for leaf in self.framework.leaves(structure) if self.framework.is_tensor(leaf)]

    def _taken(self, args: Any, kwargs: Mapping[str, Any]) -> tuple[list[Any], tuple[str, ...]]:
        """The tensors of a call, and the argument that each is, or is in; a dict's tensors come by its keys."""
        tensors: list[Any] = []
        names: list[str] = []
        for name, value in [*((str(i), value) for i, value in enumerate(args)), *sorted(kwargs.items())]:
            own = self._tensors(value)
            tensors += own
            names += [name] * len(own)
        return tensors, tuple(names)

    def _sources(self, tensors: Sequence[Any], user: str) -> tuple[Source, ...]:
        return tuple(Source(*self._origin(tensor, user), i) for i, tensor in enumerate(tensors))

    def _bind(self, tensor: Any, node: int, output: int) -> None:
        entry = (weakref.ref(tensor), node, output, self.framework.version(tensor))
        self._known[id(tensor)] = entry

    def _origin(self, tensor: Any, user: str) -> tuple[int, int]:
        entry = self._known.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            _, node, output, version = entry
            if version == self.framework.version(tensor):
                return node, output
            return self._written_elsewhere(tensor, node, output, user)
        path = self._parameters.get(id(tensor))
        if path is not None:
            if path not in self._parameter_nodes:
                added = self._add("parameter", "parameter", path, path, shapes=(_shape(tensor),))
                self._parameter_nodes[path] = added.id
            return self._parameter_nodes[path], 0
        shape = _shape(tensor)
        if id(tensor) not in self._constants and len(shape) > 1 and shape[0] in self._batches:
            self.trace.lost.append(
                f"an operand of {user} of shape {_shape(tensor)} in {self.scopes[-1] or 'the model'}"
            )
        added = self._add("constant", "constant", "constant", shapes=(_shape(tensor),))
        self._bind(tensor, added.id, 0)
        return added.id, 0

    def _written_elsewhere(self, tensor: Any, node: int, output: int, user: str) -> tuple[int, int]:
        """The tensor shares its memory with another (a view) that was written to since."""
        writer = self._writers.get(self.framework.storage(tensor))
        if writer is None:
            self.trace.lost.append(f"what was written into an operand of {user}, of shape {_shape(tensor)}")
            return node, output
        if writer == node:
            return node, output
        sources = (Source(node, output, 0), Source(writer, 0, 1))
        added = self._add("op", "update", "view", inputs=sources, shapes=(_shape(tensor),))
        self._bind(tensor, added.id, 0)
        return added.id, 0


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in tensor.shape)


def _plain(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are no tensors, by position or name, where they are plain values."""
    found = {str(i): value for i, value in enumerate(args)} | dict(kwargs)
    return {name: value for name, value in found.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or value is Ellipsis or isinstance(value, bool | int | float | str | slice)
