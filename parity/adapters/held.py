"""How a model is held: exported programs are opened, and what has no weights that could be compared is refused."""

from __future__ import annotations

import sys
from typing import Any

from parity.core.errors import UsageError, in_a_line

SHOWN = 3
"""Places named in one error."""
TRACED = (
    "torch's module must be the Python module, whose layers can be watched; got TorchScript ({name}). "
    "Pass the module that it was made from; module.load_state_dict(scripted.state_dict()) gives it these weights."
)
QUANTISED = (
    "every weight must be a floating number; got quantised layers on the {side} side: {places}. "
    "Compare the model before it is quantised; what quantisation rounds is its own error, not a port's."
)
META = (
    "every weight must have values; got none (device meta) for {places}. "
    "Call module.to_empty(device='cpu') and load the weights, or build the module outside torch.device('meta')."
)
LAZY = (
    "every weight must have its shape; got lazy ones at {places}. "
    "Run the module once on an input of the real sizes before it is compared."
)


def opened(model: Any) -> Any:
    """The model itself: of an exported program the module that it holds, else what was given.

    Raises:
        UsageError: its layers cannot be watched, or its weights have no values that could be compared.
    """
    torch = sys.modules.get("torch")
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.layers.Layer):
        _refuse_quantised_keras(model)
        return model
    if torch is None:
        return model
    if is_exported(model):
        model = _of_program(model, torch)
    if isinstance(model, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise UsageError(TRACED.format(name=type(model).__name__))
    if isinstance(model, torch.nn.Module):
        _refuse_torch(model, torch)
    return model


def _of_program(program: Any, torch: Any) -> Any:
    """The module of an exported program; torch itself cannot give one whose layer is called as its own attribute."""
    try:
        return program.module()
    except Exception as error:
        own = {name.partition(".")[0] for name in (*program.state_dict, *program.constants)}
        taken = sorted(name for name in own if hasattr(torch.fx.GraphModule, name))
        if not taken:
            raise
        raise UsageError(
            f"an exported program must open as a module; got layers called {', '.join(map(repr, taken))}, names that "
            f"torch.fx.GraphModule keeps for itself, so that torch says {in_a_line(error)!r}. Rename them and export "
            "again, or name the module's class and its weights."
        ) from None


def is_exported(model: Any) -> bool:
    """Whether it is what torch.export.export gives."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.export.ExportedProgram)


def _refuse_torch(model: Any, torch: Any) -> None:
    """Refuse a torch module with scripted, quantised, lazy or empty parts."""
    for name, child in model.named_modules():
        if isinstance(child, torch.jit.ScriptModule):
            raise UsageError(TRACED.format(name=f"{name}: {type(child).__name__}"))
    quantised = [
        name or type(child).__name__ for name, child in model.named_modules() if _is_quantised(child)
    ]
    tensors = [*model.named_parameters(), *model.named_buffers()]
    quantised += [name for name, value in tensors if getattr(value, "is_quantized", False)]
    if quantised:
        raise UsageError(QUANTISED.format(side="torch", places=_places(quantised)))
    lazy = [name for name, value in tensors if torch.nn.parameter.is_lazy(value)]
    if lazy:
        raise UsageError(LAZY.format(places=_places(lazy)))
    empty = [name for name, value in tensors if value.is_meta]
    if empty:
        raise UsageError(META.format(places=_places(empty)))


def _is_quantised(module: Any) -> bool:
    """Whether a module holds whole numbers where its floating counterpart holds weights."""
    home = type(module).__module__
    known = ".quantized" in home and "torch" in home and ".qat" not in home and ".reference" not in home
    return known or hasattr(module, "_packed_params")


def _refuse_quantised_keras(model: Any) -> None:
    """Refuse a Keras model whose layers hold quantised kernels."""
    layers = model._flatten_layers() if hasattr(model, "_flatten_layers") else [model]
    found = [layer.name for layer in layers if getattr(layer, "quantization_mode", None) is not None]
    if found:
        raise UsageError(QUANTISED.format(side="Keras", places=_places(found)))


def _places(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
