"""The state_dict in a torch weight file, compared with the module's own before it is copied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parity.core.errors import CheckpointError

WRAPPERS = ("state_dict", "model_state_dict", "model")
PARALLEL = "module."  # what DataParallel puts in front of every name
SHOWN = 20
"""Names that one error lists."""


def read_state(path: Path) -> dict[str, Any]:
    """The state_dict of a .pt, .pth or .safetensors file; nothing in it is executed.

    Args:
        path: of the file. It takes no more memory than its own size.

    Raises:
        CheckpointError: something else than tensors by name.
        Exception: whatever torch and safetensors raise on a damaged file.
    """
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state: Any = load_file(str(path))
    else:
        _check_within(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    state = _unwrapped(state, path)
    if isinstance(state, dict) and state and all(str(name).startswith(PARALLEL) for name in state):
        state = {name.removeprefix(PARALLEL): value for name, value in state.items()}
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise CheckpointError(
            f"{path} must hold a state_dict (names to tensors); got {type(state).__name__}. "
            "Save model.state_dict() instead of the model or the whole training state."
        )
    return state


def _unwrapped(state: Any, path: Path) -> Any:
    """The one dictionary of tensors in a training state. What lies next to it must be no weights.

    Raises:
        CheckpointError: there are several, or tensors next to it: which of them are meant is not known.
    """
    inner = [name for name in WRAPPERS if isinstance(state, dict) and isinstance(state.get(name), dict)]
    if not inner:
        return state
    beside = [name for name, value in state.items() if hasattr(value, "dtype") and hasattr(value, "shape")]
    if len(inner) > 1 or beside:
        raise CheckpointError(
            f"a weight file must hold one state_dict; got {[*inner, *beside][:SHOWN]} in {path}. "
            "Save the one that is meant alone."
        )
    return _unwrapped(state[inner[0]], path)


def _check_within(path: Path) -> None:
    """See that the file is whole, and that torch can read it within its own size.

    Raises:
        CheckpointError: it is not.
    """
    from datasets.bounds.damaged import DamagedFile
    from datasets.bounds.torch_pickle import check_torch

    try:
        check_torch(path)
    except DamagedFile as error:
        raise CheckpointError(
            f"a weight file must be whole and ask for no more than it holds; got {error} in {path}. Get it again, or save "
            "model.state_dict() anew."
        ) from error


def check_types(state: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> list[str]:
    """See that the module's types hold the values of a state_dict exactly; torch copies them silently.

    Args:
        state: what the file holds.
        own: what the module holds. What it lacks or has in another shape is left to torch.
        path: of the file, for errors.

    Returns:
        What is worth knowing: tensors whose type changes, each value exactly.

    Raises:
        CheckpointError: a type that does not hold them; the error names the tensors.
    """
    alike = [name for name in state if name in own and state[name].shape == own[name].shape]
    changed = [name for name in alike if state[name].dtype != own[name].dtype]
    texts = {name: f"{_type(state[name])} for {_type(own[name])}" for name in changed}
    lossy = [name for name in changed if not _is_exact(state[name], own[name].dtype)]
    if lossy:
        raise CheckpointError(
            "a weight file's values must be ones that the model's type holds exactly; got "
            f"{', '.join(f'{name} of {texts[name]}' for name in lossy[:SHOWN])} in {path}. Convert them yourself, or "
            "build the model in that type."
        )
    return [f"{name}: {_type(state[name])} became {_type(own[name])}, exactly" for name in changed]


def _is_exact(value: Any, dtype: Any) -> bool:
    """Whether the values come through a change of type as they are; whole and complex numbers are no weights."""
    if value.is_sparse or value.is_quantized or value.is_complex() or dtype.is_complex:
        return False
    if value.is_floating_point() != dtype.is_floating_point or "bool" in {
        str(value.dtype)[6:],
        str(dtype)[6:],
    }:
        return False
    again = value.to(dtype).to(value.dtype)
    return bool(((again == value) | ((again != again) & (value != value))).all())


def _type(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")
