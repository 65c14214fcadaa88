"""Which layer is which: by mirrored paths, by an explicit mapping, or where types and shapes leave one choice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from parity.adapters.base import Adapter, LayerInfo, TensorInfo
from parity.layout import Layout, convolution, identity, vector_after_flatten, weight_layout

MappingLike = Mapping[str, str | Sequence[str]] | Sequence[tuple[str, str | Sequence[str]]]

# torch's name for a tensor -> the names that Keras layers give to its counterpart.
SYNONYMS = {
    "weight": ("kernel", "gamma", "embeddings", "alpha", "depthwise_kernel", "scale"),
    "bias": ("bias", "beta"),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
}
COMPATIBLE = ({"conv", "depthwise"}, {"batchnorm"}, {"dense"})


@dataclass(frozen=True)
class Slot:
    """One tensor on each side and the rule between their layouts."""

    keras: str
    torch: str
    layout: Layout


@dataclass(frozen=True)
class Problem:
    """One tensor or layer without a fitting counterpart: on which layers, and what is wrong."""

    keras: str | None
    torch: str | None
    text: str


@dataclass(frozen=True)
class LayerPair:
    """One Keras layer and the torch module, or modules, that do its work."""

    keras: str
    torch: tuple[str, ...]
    slots: tuple[Slot, ...]
    how: str


@dataclass
class Pairing:
    """Every pair, and every tensor that found none."""

    pairs: list[LayerPair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unmatched_keras: list[str] = field(default_factory=list)
    unmatched_torch: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether each tensor has its counterpart."""
        return not self.problems


def pair(
    keras: Adapter,
    torch: Adapter,
    mapping: MappingLike | None = None,
    flattened: Mapping[str, tuple[int, ...]] | None = None,
) -> Pairing:
    """Pair the layers of two models and the tensors within each pair.

    Args:
        keras: the Keras side.
        torch: the torch side.
        mapping: {keras path: torch path or tuple of torch paths}; of layers, or of single tensors.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.

    Returns:
        Pairs in the Keras model's definition order, with every problem found.
    """
    matcher = _Matcher(keras.layers(), torch.layers(), dict(flattened or {}))
    matcher.by_mapping(mapping)
    matcher.by_path()
    matcher.by_signature()
    return matcher.result()


class _Matcher:
    """The state of one pairing: what is still free on each side."""

    def __init__(
        self,
        keras: dict[str, LayerInfo],
        torch: dict[str, LayerInfo],
        flattened: dict[str, tuple[int, ...]],
    ) -> None:
        self.keras, self.torch, self.flattened = keras, torch, flattened
        self.free_keras = {path: layer for path, layer in keras.items() if layer.tensors}
        self.free_torch = {path: layer for path, layer in torch.items() if layer.tensors}
        self.pairing = Pairing()
        self.tensor_slots: list[Slot] = []

    # --- the three ways ---------------------------------------------------------------------------

    def by_mapping(self, mapping: MappingLike | None) -> None:
        """The caller's word, on layers or on single tensors; a path that does not exist is a problem."""
        entries = mapping.items() if isinstance(mapping, Mapping) else (mapping or ())
        for keras_path, target in entries:
            keras_path = keras_path.replace("/", ".")
            torch_paths = (target,) if isinstance(target, str) else tuple(target)
            if self._map_subtree(keras_path, torch_paths):
                continue
            if keras_path in self.keras and all(path in self.torch for path in torch_paths):
                self._take(keras_path, torch_paths, "mapping")
            elif self._map_tensor(keras_path, torch_paths):
                continue
            else:
                self._unknown(keras_path, torch_paths)

    def by_path(self) -> None:
        """The same path, else the same path but for punctuation, where exactly one layer has it."""
        for form in (lambda path: path, lambda path: re.sub(r"[^0-9a-zA-Z]+", "_", path)):
            index: dict[str, set[str]] = {}
            for path, layer in self.free_torch.items():
                for name in {form(path), *map(form, layer.aliases)}:
                    index.setdefault(name, set()).add(path)
            for path in list(self.free_keras):
                layer = self.free_keras[path]
                found = set().union(*(index.get(form(name), set()) for name in (path, *layer.aliases)))
                found = {name for name in found if name in self.free_torch}
                exact = {name for name in found if form(name) == form(path)}
                found = exact or found
                if len(found) == 1 and self._compatible(layer, self.torch[next(iter(found))]):
                    self._take(path, (found.pop(),), "path")

    def by_signature(self) -> None:
        """Layers left over whose kind and tensor shapes occur once on each side."""
        while True:
            candidates = {
                path: [name for name, other in self.free_torch.items() if self._same_signature(layer, other)]
                for path, layer in self.free_keras.items()
            }
            claims = [name for names in candidates.values() for name in names]
            unique = [
                (path, names[0])
                for path, names in candidates.items()
                if len(names) == 1 == claims.count(names[0])
            ]
            if not unique:
                return
            for path, name in unique:
                self._take(path, (name,), "shape")

    # --- pieces -----------------------------------------------------------------------------------

    def _compatible(self, keras: LayerInfo, torch: LayerInfo) -> bool:
        families = {keras.family, torch.family}
        return len(families) == 1 or None in families or any(families <= group for group in COMPATIBLE)

    def _same_signature(self, keras: LayerInfo, torch: LayerInfo) -> bool:
        if keras.family is None or torch.family is None or not self._compatible(keras, torch):
            return False
        slots, problems, left_keras, left_torch = self._slots(keras, (torch,))
        return bool(slots) and not problems and not left_keras and not left_torch

    def _take(self, keras_path: str, torch_paths: tuple[str, ...], how: str) -> None:
        keras = self.keras[keras_path]
        torch = tuple(self.torch[path] for path in torch_paths)
        taken = [path for path in (keras_path,) if keras.tensors and path not in self.free_keras]
        taken += [layer.path for layer in torch if layer.tensors and layer.path not in self.free_torch]
        if taken:
            text = f"a layer is paired once; mapping names {', '.join(taken)} again"
            self.pairing.problems.append(Problem(keras_path, torch_paths[0], text))
            return
        slots, problems, left_keras, left_torch = self._slots(keras, torch)
        self.pairing.pairs.append(LayerPair(keras_path, torch_paths, tuple(slots), how))
        self.pairing.problems += problems
        self.pairing.unmatched_keras += left_keras
        self.pairing.unmatched_torch += left_torch
        self.free_keras.pop(keras_path, None)
        for path in torch_paths:
            self.free_torch.pop(path, None)

    def _slots(
        self, keras: LayerInfo, torch: tuple[LayerInfo, ...]
    ) -> tuple[list[Slot], list[Problem], list[str], list[str]]:
        """Slots, problems, and the tensors left over on each side, for one pair of layers."""
        if keras.family == "separable" and len(torch) == 2:
            return self._separable_slots(keras, torch)
        free_keras = {tensor.name: tensor for tensor in keras.tensors}
        free_torch = [tensor for layer in torch for tensor in layer.tensors]
        families = (keras.family, torch[0].family)
        slots: list[Slot] = []
        problems: list[Problem] = []
        left_torch: list[str] = []
        for tensor in free_torch:
            name = _counterpart(tensor.name, free_keras)
            if name is None:
                left_torch.append(tensor.path)
                continue
            mate = free_keras.pop(name)
            layout = self._layout(keras, families, tensor, mate)
            if layout is None:
                problems.append(_misshapen(keras, mate, torch[0], tensor, families))
            else:
                slots.append(Slot(mate.path, tensor.path, layout))
        return slots, problems, [tensor.path for tensor in free_keras.values()], left_torch

    def _layout(
        self, keras: LayerInfo, families: tuple[str | None, str | None], torch: TensorInfo, mate: TensorInfo
    ) -> Layout | None:
        image = self.flattened.get(keras.path)
        if torch.name == "weight" and families != (None, None):
            rule = weight_layout(families, torch.shape, mate.shape, image)
            if rule is not None and not (image and len(torch.shape) == 1):
                return rule
        if image and families[0] in {"batchnorm", "layernorm"} and torch.shape == mate.shape:
            return vector_after_flatten(torch.shape, image)
        return identity(torch.shape) if torch.shape == mate.shape else None

    def _separable_slots(
        self, keras: LayerInfo, torch: tuple[LayerInfo, ...]
    ) -> tuple[list[Slot], list[Problem], list[str], list[str]]:
        """A Keras separable convolution is a depthwise and a pointwise one in torch."""
        mates = {tensor.name: tensor for tensor in keras.tensors}
        wanted = [
            (torch[0], "weight", "depthwise_kernel", "depthwise"),
            (torch[1], "weight", "pointwise_kernel", "conv"),
            (torch[1], "bias", "bias", None),
        ]
        slots: list[Slot] = []
        problems: list[Problem] = []
        used: set[str] = set()
        for layer, name, mate_name, family in wanted:
            tensor = next((tensor for tensor in layer.tensors if tensor.name == name), None)
            mate = mates.get(mate_name)
            if tensor is None or mate is None:
                continue
            used |= {tensor.path, mate.path}
            layout = (
                weight_layout((family, family), tensor.shape, mate.shape)
                if family
                else identity(tensor.shape)
            )
            if layout is None or layout.keras_shape != mate.shape:
                problems.append(_misshapen(keras, mate, layer, tensor, (family, family)))
            else:
                slots.append(Slot(mate.path, tensor.path, layout))
        left_keras = [tensor.path for tensor in keras.tensors if tensor.path not in used]
        left_torch = [tensor.path for layer in torch for tensor in layer.tensors if tensor.path not in used]
        return slots, problems, left_keras, left_torch

    def _map_subtree(self, keras_path: str, torch_paths: tuple[str, ...]) -> bool:
        """A mapping of one container to another renames the stem of every path below it."""
        keras, torch = self.keras.get(keras_path), self.torch.get(torch_paths[0])
        if (
            keras is None
            or torch is None
            or keras.leaf
            or torch.leaf
            or len(torch_paths) != 1
            or not keras_path
        ):
            return False
        if keras.tensors or torch.tensors:
            return False
        for path, layer in list(self.keras.items()):
            if path.startswith(f"{keras_path}."):
                renamed = f"{torch.path}.{path.removeprefix(keras_path + '.')}".removeprefix(".")
                self.keras[path] = replace(layer, aliases=(*layer.aliases, renamed))
                if path in self.free_keras:
                    self.free_keras[path] = self.keras[path]
        return True

    def _map_tensor(self, keras_path: str, torch_paths: tuple[str, ...]) -> bool:
        """A mapping of one tensor to one tensor: identity, or the one permutation that the kinds imply."""
        keras_layer, keras_tensor = _tensor_at(self.keras, keras_path)
        torch_layer, torch_tensor = _tensor_at(self.torch, torch_paths[0])
        if not (keras_layer and keras_tensor and torch_layer and torch_tensor) or len(torch_paths) != 1:
            return False
        families = (keras_layer.family, torch_layer.family)
        layout = self._layout(keras_layer, families, torch_tensor, keras_tensor)
        if layout is None:
            self.pairing.problems.append(
                _misshapen(keras_layer, keras_tensor, torch_layer, torch_tensor, families)
            )
        else:
            self.tensor_slots.append(Slot(keras_tensor.path, torch_tensor.path, layout))
        return True

    def _unknown(self, keras_path: str, torch_paths: tuple[str, ...]) -> None:
        for side, path, known in (
            ("Keras", keras_path, self.keras),
            *(("torch", path, self.torch) for path in torch_paths),
        ):
            if path not in known and not _tensor_at(known, path)[1]:
                near = get_close_matches(path, known, n=3)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                text = f"mapping must name layers that exist; got {side} path {path!r}{hint}"
                self.pairing.problems.append(Problem(None, None, text))

    def result(self) -> Pairing:
        """Sort, and turn whatever is left into problems."""
        pairing = self.pairing
        mapped_keras = {slot.keras for slot in self.tensor_slots}
        mapped_torch = {slot.torch for slot in self.tensor_slots}
        for slot in self.tensor_slots:
            keras_path, torch_path = slot.keras.rpartition(".")[0], slot.torch.rpartition(".")[0]
            pairing.pairs.append(LayerPair(keras_path, (torch_path,), (slot,), "mapping"))
        pairing.unmatched_keras += [
            tensor.path for layer in self.free_keras.values() for tensor in layer.tensors
        ]
        pairing.unmatched_torch += [
            tensor.path for layer in self.free_torch.values() for tensor in layer.tensors
        ]
        pairing.unmatched_keras = [path for path in pairing.unmatched_keras if path not in mapped_keras]
        pairing.unmatched_torch = [path for path in pairing.unmatched_torch if path not in mapped_torch]
        order = {path: i for i, path in enumerate(self.keras)}
        pairing.pairs.sort(key=lambda item: order[item.keras])
        for side, paths, layers in (
            ("Keras", pairing.unmatched_keras, self.keras),
            ("torch", pairing.unmatched_torch, self.torch),
        ):
            pairing.problems += [_missing(side, path, layers) for path in paths]
        return pairing


def _counterpart(torch_name: str, keras_names: Iterable[str]) -> str | None:
    """The Keras tensor name for a torch tensor name: itself, or its one synonym."""
    names = list(keras_names)
    if torch_name in names:
        return torch_name
    found = [name for name in SYNONYMS.get(torch_name, ()) if name in names]
    return found[0] if len(found) == 1 else None


def _tensor_at(layers: Mapping[str, LayerInfo], path: str) -> tuple[LayerInfo | None, TensorInfo | None]:
    layer = layers.get(path.rpartition(".")[0])
    tensor = next((tensor for tensor in layer.tensors if tensor.path == path), None) if layer else None
    return layer, tensor


def _misshapen(
    keras: LayerInfo,
    mate: TensorInfo,
    torch: LayerInfo,
    tensor: TensorInfo,
    families: tuple[str | None, str | None],
) -> Problem:
    wanted = tensor.shape
    if tensor.name == "weight" and (families[0] or families[1]) in {"conv", "conv_transpose", "dense"}:
        wanted = convolution(tensor.shape).keras_shape
    text = (
        f"shapes must correspond: torch {tensor.path} {tensor.shape} ({torch.kind}) asks for {wanted} in Keras; "
        f"got {mate.path} {mate.shape} ({keras.kind})"
    )
    return Problem(keras.path, torch.path, text)


def _missing(side: str, path: str, layers: Mapping[str, LayerInfo]) -> Problem:
    layer, tensor = _tensor_at(layers, path)
    shape = tensor.shape if tensor else ()
    other = "torch" if side == "Keras" else "Keras"
    text = f"{side} {path} {shape} ({layer.kind if layer else '?'}) has no counterpart in the {other} model"
    owner = path.rpartition(".")[0]
    return Problem(owner, None, text) if side == "Keras" else Problem(None, owner, text)
