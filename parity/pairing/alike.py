"""Layers whose kind and tensor shapes leave one choice; like layers are held against each other once, not each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from math import prod

from parity.core.types import LayerInfo
from parity.pairing.slots import slots_of

COMPATIBLE = ({"conv", "depthwise"}, {"conv", "dense"})
"""Kinds under different names that may do the same: a dense layer is a convolution with a kernel of one."""


def compatible(keras: LayerInfo, torch: LayerInfo) -> bool:
    """Whether two layers may do the same, by their families."""
    families = {keras.family, torch.family}
    return len(families) == 1 or None in families or any(families <= group for group in COMPATIBLE)


class Alike:
    """Which kinds of layers have the same tensors on both sides.

    Args:
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
    """

    def __init__(self, flattened: Mapping[str, tuple[int, ...]]) -> None:
        self.flattened = flattened
        self._known: dict[tuple[Hashable, Hashable], bool] = {}

    def unique(self, keras: Sequence[LayerInfo], torch: Sequence[LayerInfo]) -> list[tuple[str, str]]:
        """(Keras path, torch path) of the layers that fit each other and no further layer, in the Keras order."""
        groups = _groups(keras, self._kind), _groups(torch, _shape)
        fitting = self._fitting(*groups)
        claims = dict.fromkeys(groups[1], 0)
        for kind, several in fitting.items():
            for shape in several:
                claims[shape] += len(groups[0][kind])
        found = []
        for kind, layers in groups[0].items():
            choices = [layer for shape in fitting[kind] for layer in groups[1][shape]]
            if len(layers) == len(choices) == 1 == claims[_shape(choices[0])]:
                found.append((layers[0].path, choices[0].path))
        order = {layer.path: i for i, layer in enumerate(keras)}
        return sorted(found, key=lambda item: order[item[0]])

    def _kind(self, layer: LayerInfo) -> Hashable:
        return _shape(layer), self.flattened.get(layer.path)

    def _fitting(
        self, keras: Mapping[Hashable, Sequence[LayerInfo]], torch: Mapping[Hashable, Sequence[LayerInfo]]
    ) -> dict[Hashable, list[Hashable]]:
        """For each kind of Keras layer the kinds of torch layers that fit; what fits has a tensor of equal size."""
        by_size: dict[int, list[Hashable]] = {}
        for shape, layers in torch.items():
            for size in _sizes(layers[0]):
                by_size.setdefault(size, []).append(shape)
        return {
            kind: [
                shape
                for shape in dict.fromkeys(s for size in _sizes(layers[0]) for s in by_size.get(size, ()))
                if self._fit(kind, layers[0], shape, torch[shape][0])
            ]
            for kind, layers in keras.items()
        }

    def _fit(self, kind: Hashable, keras: LayerInfo, shape: Hashable, torch: LayerInfo) -> bool:
        if (kind, shape) not in self._known:
            image = self.flattened.get(keras.path)
            self._known[kind, shape] = (
                None not in {keras.family, torch.family}
                and compatible(keras, torch)
                and slots_of(keras, (torch,), image).complete
            )
        return self._known[kind, shape]


def _groups(
    layers: Iterable[LayerInfo], key: Callable[[LayerInfo], Hashable]
) -> dict[Hashable, list[LayerInfo]]:
    found: dict[Hashable, list[LayerInfo]] = {}
    for layer in layers:
        found.setdefault(key(layer), []).append(layer)
    return found


def _shape(layer: LayerInfo) -> Hashable:
    """All that decides which tensors of a layer correspond to which."""
    return layer.family, tuple(
        (tensor.name, tensor.aliases, tensor.shape, tensor.uses, tensor.walk) for tensor in layer.tensors
    )


def _sizes(layer: LayerInfo) -> set[int]:
    return {prod(tensor.shape) for tensor in layer.tensors}
