"""The caller's word on which layer is which: {Keras path: torch path}, of layers, containers or tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parity.core.errors import UsageError
from parity.core.types import LayerInfo
from parity.pairing.names import counted_anew, made_up
from parity.pairing.slots import tensor_at

MappingLike = Mapping[str, str | Sequence[str]] | Sequence[tuple[str, str | Sequence[str]]]
MappedPaths = tuple[str, tuple[str, ...]]
"""A Keras path and the torch paths that correspond."""
SHOWN = 3
"""Names listed in one note."""


def entries(mapping: MappingLike | None) -> list[MappedPaths]:
    """(Keras path, torch paths) of a mapping, in its order.

    Raises:
        UsageError: the mapping is not made of paths.
    """
    found = []
    for item in mapping.items() if isinstance(mapping, Mapping) else mapping or ():
        keras, target = item if isinstance(item, list | tuple) and len(item) == 2 else (None, None)
        torch = (
            (target,)
            if isinstance(target, str)
            else tuple(target)
            if isinstance(target, list | tuple)
            else ()
        )
        if not isinstance(keras, str) or not torch or not all(isinstance(path, str) for path in torch):
            raise UsageError(
                f"a mapping must go from Keras paths to torch paths or tuples of them; got {item!r}. "
                "For example {'head': 'classifier.4'}."
            )
        found.append((keras.replace("/", "."), torch))
    return found


def of_this_build(
    wanted: Sequence[MappedPaths], keras: Mapping[str, LayerInfo]
) -> tuple[list[MappedPaths], list[str]]:
    """The mapping with the paths that the Keras layers have in this build, and what is worth noting of it.

    Keras makes up the names of layers that have none, and counts through the whole process: what one build calls
    conv2d another calls conv2d_7. Where a path is not in the model, and every path is if the model's own layers alone
    are counted, the mapping is read so.

    Args:
        wanted: the entries as they were given.
        keras: the Keras layers by path.
    """
    anew = counted_anew(keras)
    if all(known(path, keras) for path, _ in wanted):
        turning = [path for path, _ in wanted if _counted(path, anew) != path]
        return list(wanted), [_depends(turning)] if turning else []
    actual = {count: path for path, count in anew.items()}
    read = [(_counted(path, actual), torch) for path, torch in wanted]
    if not all(known(path, keras) for path, _ in read):
        return list(wanted), []
    moved = [(old, new) for (old, _), (new, _) in zip(wanted, read, strict=True) if old != new]
    shown = ", ".join(f"{old} is {new} here" for old, new in moved[:SHOWN])
    more = " ..." if len(moved) > SHOWN else ""
    return read, [
        f"the mapping counts this model's layers alone: {shown}{more}. Name the layers (name=...): the names that "
        "Keras makes up change from build to build"
    ]


def _depends(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:SHOWN]) + (" ..." if len(paths) > SHOWN else "")
    return (
        f"the mapping names {shown} as Keras numbered them in this process. Name the layers (name=...): in another "
        "build these names are other layers'"
    )


def _counted(path: str, names: Mapping[str, str]) -> str:
    """The path of a layer, or of a tensor in it, with the layer's other name."""
    layer, _, tensor = path.rpartition(".")
    return names.get(path) or (f"{names[layer]}.{tensor}".removeprefix(".") if layer in names else path)


def known(path: str, layers: Mapping[str, LayerInfo]) -> bool:
    """Whether it is a layer or a tensor of the model."""
    return path in layers or tensor_at(layers, path)[1] is not None


def may_be_made_up(path: str, layers: Mapping[str, LayerInfo]) -> bool:
    """Whether a path ends like one that Keras makes up for a class of which the model has layers."""
    last = path.rpartition(".")[2]
    return any(made_up(last, kind) is not None for kind in {layer.kind for layer in layers.values()})
