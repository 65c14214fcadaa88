"""Shows the calls of torch modules to an observer, and lets it replace what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from parity.adapters.torch.tensors import arrays, replaced
from parity.core.adapter import Observer
from parity.core.types import Array


@contextmanager
def watched(modules: Mapping[str, nn.Module], observer: Observer) -> Iterator[None]:
    """Put forward hooks on the modules.

    Args:
        modules: the modules to show, by path.
        observer: sees them.
    """
    with ExitStack() as stack:
        for path, module in modules.items():
            hooks = _Hooks(path, observer)
            before = module.register_forward_pre_hook(hooks.before, with_kwargs=True)
            after = module.register_forward_hook(hooks.after, with_kwargs=True)
            stack.callback(after.remove)
            stack.callback(before.remove)
        yield


class _Hooks:
    """The hooks of one module; a module may be called again before a call of it ends."""

    def __init__(self, path: str, observer: Observer) -> None:
        self._path, self._observer = path, observer
        self._count = 0
        self._open: list[tuple[int, list[Array]]] = []

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        values = arrays((args, kwargs))
        index = self._count
        self._count += 1
        self._open.append((index, values))
        replacement = self._observer.before(self._path, index, values)
        return None if replacement is None else replaced((args, kwargs), replacement)

    def after(self, module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> Any:
        index, values = self._open.pop()
        replacement = self._observer.after(self._path, index, values, arrays(outputs), None)
        return None if replacement is None else replaced(outputs, replacement)
