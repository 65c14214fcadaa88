"""Shows the calls of torch modules to an observer, and lets it replace what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn

from parity.adapters.torch.calls.composite import inputs_of, outputs_of, with_inputs, with_outputs
from parity.adapters.torch.forward import uncompiled
from parity.adapters.torch.recurrent.lowered import lowered
from parity.core.adapter import Observer
from parity.core.types import Array


@contextmanager
def watched(modules: Mapping[str, nn.Module], observer: Observer) -> Iterator[None]:
    """Put forward hooks on the modules, and see calls of `forward` itself, which run no hooks.

    Args:
        modules: the modules to show, by path.
        observer: sees them.
    """
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        stack.enter_context(lowered(modules))
        for path, module in modules.items():
            hooks = _Hooks(path, observer)
            before = module.register_forward_pre_hook(hooks.before, with_kwargs=True)
            after = module.register_forward_hook(hooks.after, with_kwargs=True)
            stack.callback(after.remove)
            stack.callback(before.remove)
            if not isinstance(module, torch.jit.ScriptModule):
                stack.enter_context(_forward_seen(module, hooks))
        yield


@contextmanager
def _forward_seen(module: nn.Module, hooks: _Hooks) -> Iterator[None]:
    """While this is open, `module.forward(x)` is a call like `module(x)`."""
    own = vars(module).get("forward")
    original = module.forward

    @wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        if hooks.announced:
            hooks.announced -= 1
            return original(*args, **kwargs)
        args, kwargs = hooks.taken(module, args, kwargs)
        return hooks.given(module, original(*args, **kwargs))

    forward.unseen = original  # type: ignore[attr-defined]
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del vars(module)["forward"]
        else:
            vars(module)["forward"] = own


class _Hooks:
    """The hooks of one module; a module may be called again before a call of it ends.

    `announced` counts calls whose hooks have run and whose `forward` is still to come.
    """

    def __init__(self, path: str, observer: Observer) -> None:
        self._path, self._observer = path, observer
        self._count = 0
        self._open: list[tuple[int, list[Array]]] = []
        self.announced = 0

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        self.announced += 1
        return self.taken(module, args, kwargs)

    def after(self, module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> Any:
        return self.given(module, outputs)

    def taken(self, module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Show what goes in; the arguments, or others in their place."""
        values = inputs_of(module, args, kwargs)
        index = self._count
        self._count += 1
        self._open.append((index, values))
        replacement = self._observer.before(self._path, index, values)
        return (args, kwargs) if replacement is None else with_inputs(module, args, kwargs, replacement)

    def given(self, module: nn.Module, outputs: Any) -> Any:
        """Show what comes out; the result, or another in its place."""
        index, values = self._open.pop()
        replacement = self._observer.after(self._path, index, values, outputs_of(module, outputs), None)
        return outputs if replacement is None else with_outputs(module, outputs, replacement)
