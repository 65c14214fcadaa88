"""Which tensor of a layer is which tensor of its counterpart, and the layout rule between the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from parity.core.layout import Layout, convolution, identity, reshaped, vector_after_flatten, weight_layout
from parity.core.types import NORMALISATIONS, RECURRENT, LayerInfo, Side, TensorInfo
from parity.pairing.problems.problem import Problem, misshapen
from parity.pairing.recurrent.cells import are_cells, cell_layout, cell_tensors
from parity.pairing.uses.axes import LINEAR, NAMES, in_common, layout_between, own_layout, standard
from parity.pairing.uses.tables import walked_layout

# torch's name for a tensor -> the names that Keras layers give to its counterpart.
SYNONYMS = {
    "weight": ("kernel", "gamma", "embeddings", "alpha", "depthwise_kernel", "scale"),
    "bias": ("bias", "beta"),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
}
Families = tuple[str | None, str | None]
TRANSPOSED = {"conv", "conv_transpose", "dense"}
"""Kinds of layers whose kernel Keras holds with its axes in another order."""
NEUTRAL = {"weight": 1.0, "gamma": 1.0, "scale": 1.0, "bias": 0.0, "beta": 0.0}
"""What a normalisation does without its scale or its centre, by the name of what is missing."""


@dataclass(frozen=True)
class Standing:
    """What a torch tensor of a layer of an unknown class would be in torch's own layer: name, family, and layout.

    The layout goes from how the tensor is stored to how torch's own layer stores it.
    """

    name: str
    family: str | None
    layout: Layout


@dataclass(frozen=True)
class Slot:
    """One tensor on each side and the rule between their layouts.

    Where a convolution has a bias in front of a BatchNorm on one side alone, the running means differ by
    it: `bias` is then that side and the bias' path, and what corresponds is the mean less the bias. A recurrent cell
    has two biases in torch, which are `summed`: what corresponds to Keras' is the first one with `bias` added.
    """

    keras: str
    torch: str
    layout: Layout
    bias: tuple[Side, str] | None = None
    standing: Standing | None = None
    """Where the class of either layer is not known: what the tensor would be in torch's own layer."""
    summed: bool = False


@dataclass(frozen=True)
class Constant:
    """A tensor of one side alone, which is `value` wherever the other side does the same without it.

    `lacking` are the layers of the other side that do without it. `folded` says that the tensor may have another
    value: it is taken into account elsewhere, and is set to the value when weights are copied to its side.
    """

    side: Side
    path: str
    value: float
    lacking: tuple[str, ...] = ()
    folded: bool = False


@dataclass
class Slots:
    """The tensors of one pair of layers: those that correspond, the misfits, and those left over."""

    found: list[Slot] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left_keras: list[str] = field(default_factory=list)
    left_torch: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether there are tensors, and each has its fitting counterpart."""
        return bool(self.found) and not (self.problems or self.left_keras or self.left_torch)

    def add(self, keras: tuple[LayerInfo, TensorInfo], torch: tuple[LayerInfo, TensorInfo], layout: Layout | None,
            families: Families) -> None:  # fmt: skip
        """Take a pair of tensors: a slot where a layout fits, a problem where none does."""
        if layout is None or not _fits(layout, keras[1]):
            kernel = (families[0] or families[1]) in TRANSPOSED or keras[1].name == "kernel"
            self.problems.append(misshapen(keras, torch, kernel and len(torch[1].shape) > 1))
        else:
            standing = standing_of(families, keras[1], torch[1])
            self.found.append(Slot(keras[1].path, torch[1].path, layout, standing=standing))


def slots_of(keras: LayerInfo, torch: tuple[LayerInfo, ...], image: tuple[int, ...] | None) -> Slots:
    """Pair the tensors of one Keras layer with those of the torch module, or modules, that do its work.

    Args:
        keras: the Keras layer.
        torch: the torch modules; two for a separable convolution.
        image: (H, W, C) of the image that was flattened in front of the layer, if one was.
    """
    if keras.family == "separable" and len(torch) == 2:
        return _separable(keras, torch)
    if len(torch) == 1 and are_cells(keras, torch[0]):
        return _cells(keras, torch[0])
    slots = Slots()
    free = {variable.name: variable for variable in keras.tensors}
    for module in torch:
        for tensor in module.tensors:
            families = (keras.family, module.family)
            variable = counterpart(tensor.name, free.values())
            if variable is None or not _may_be_one(families, variable, tensor, image):
                variable = _used_alike(families, tensor, free, image) or variable
            if variable is None:
                slots.left_torch += [] if tensor.fixed else [tensor.path]
                continue
            del free[variable.name]
            layout = layout_of(families, variable, tensor, image)
            slots.add((keras, variable), (module, tensor), layout, families)
    slots.left_keras += [variable.path for variable in free.values() if not variable.fixed]
    if len(torch) == 1 and keras.family == torch[0].family and keras.family in NORMALISATIONS:
        slots.constants += _neutral("keras", slots.left_keras, torch[0])
        slots.constants += _neutral("torch", slots.left_torch, keras)
    return slots


def _used_alike(
    families: Families, torch: TensorInfo, free: Mapping[str, TensorInfo], image: tuple[int, ...] | None
) -> TensorInfo | None:
    """The one Keras variable with which the same is done as with a torch tensor of another name."""
    found = [
        variable
        for variable in free.values()
        if by_use(variable, torch) and _may_be_one(families, variable, torch, image)
    ]
    return found[0] if len(found) == 1 else None


def _may_be_one(
    families: Families, keras: TensorInfo, torch: TensorInfo, image: tuple[int, ...] | None
) -> bool:
    """Whether the same is done with two tensors, or operations do not say what is done."""
    if not by_use(keras, torch) or walked_layout(keras, torch) is not None:
        return True
    return use_layout(families, keras, torch, image) is not None


def _neutral(side: Side, left: list[str], lacking: LayerInfo) -> list[Constant]:
    """A missing scale is one and a missing centre zero: what is left of one side, taken off the list."""
    named = {path: path.rpartition(".")[2] for path in left}
    found = [
        Constant(side, path, NEUTRAL[name], (lacking.path,))
        for path, name in named.items()
        if name in NEUTRAL
    ]
    left[:] = [path for path, name in named.items() if name not in NEUTRAL]
    return found


def raw_slots(
    keras: tuple[LayerInfo, TensorInfo], torch: tuple[LayerInfo, TensorInfo], family: str | None
) -> Slots:
    """One tensor against another, of layers or functional steps whatever they are: by kind, else by their sizes."""
    shapes = keras[1].shape, torch[1].shape
    slots = Slots()
    families = (family, family) if family else (keras[0].family, torch[0].family)
    if (walked := walked_layout(keras[1], torch[1])) is not None:
        slots.add(keras, torch, walked, families)
        return slots
    if by_use(keras[1], torch[1]):
        slots.add(keras, torch, use_layout(families, keras[1], torch[1], None), families)
        return slots
    slim = [tuple(size for size in shape if size != 1) for shape in shapes]
    rule = weight_layout(families, shapes[1], shapes[0]) if families != (None, None) else None
    if rule is None and slim[0] == slim[1] and (families == (None, None) or len(slim[0]) < 2):
        rule = reshaped(shapes[1], shapes[0])
    if rule is None and len(shapes[1]) > 1 and convolution(shapes[1]).keras_shape == shapes[0]:
        rule = convolution(shapes[1])
    slots.add(keras, torch, rule, families)
    return slots


def counterpart(torch_name: str, variables: Iterable[TensorInfo]) -> TensorInfo | None:
    """The Keras variable for a torch tensor's name: of the same name, held by that attribute, or its one synonym."""
    free = list(variables)
    for names in ((torch_name,), SYNONYMS.get(torch_name, ())):
        for known in (lambda variable: (variable.name,), lambda variable: variable.aliases):
            found = [variable for variable in free if any(name in names for name in known(variable))]
            if len(found) == 1:
                return found[0]
    return None


def layout_of(
    families: Families, keras: TensorInfo, torch: TensorInfo, image: tuple[int, ...] | None
) -> Layout | None:
    """The layout rule between two tensors; None where none gives the Keras shape.

    Layers of unknown kinds that call the tensor `weight` here and `kernel` there follow the frameworks'
    convention for convolutions and dense layers; tensors of the same name are the same as they are.
    """
    if (walked := walked_layout(keras, torch)) is not None:
        return walked
    if by_use(keras, torch):
        return use_layout(families, keras, torch, image)
    if None not in families and set(families) <= RECURRENT:
        return cell_layout(families, keras, torch)
    same = identity(torch.shape) if torch.shape == keras.shape else None
    if torch.name == "weight" and families != (None, None):
        rule = weight_layout(families, torch.shape, keras.shape, image)
        if rule is not None and not (image and len(torch.shape) == 1):
            return rule
        if None not in families and len(torch.shape) > 1:
            return None
    if torch.name == "weight" and keras.name == "kernel" and len(torch.shape) > 1:
        rule = convolution(torch.shape)
        return rule if rule.keras_shape == keras.shape else same
    if image and families[0] in {"batchnorm", "layernorm"} and same:
        return vector_after_flatten(torch.shape, image)
    return same


def by_use(keras: TensorInfo, torch: TensorInfo) -> bool:
    """Whether operations say what is done with one of the two tensors, and its class does not."""
    return bool(keras.uses or torch.uses)


def use_layout(
    families: Families, keras: TensorInfo, torch: TensorInfo, image: tuple[int, ...] | None
) -> Layout | None:
    """The layout rule between two tensors by what is done with each; None where that is not the same."""
    pair = in_common(
        keras.uses or (standard("keras", families[0], keras),),
        torch.uses or (standard("torch", families[1], torch),),
    )
    return None if pair is None else layout_between(*pair, keras.shape, torch.shape, image)


def standing_of(families: Families, keras: TensorInfo, torch: TensorInfo) -> Standing | None:
    """What the torch tensor would be in torch's own layer; None where its class says it, or nothing does."""
    if not by_use(keras, torch):
        return None
    use = (torch.uses or (standard("torch", families[1], torch),))[0]
    own = own_layout(use, torch.shape)
    name = NAMES.get(use.family, torch.name)
    return None if own is None else Standing(name, use.family if use.family in LINEAR else None, own)


def _separable(keras: LayerInfo, torch: tuple[LayerInfo, ...]) -> Slots:
    """A Keras separable convolution is a depthwise and a pointwise one in torch."""
    variables = {variable.name: variable for variable in keras.tensors}
    slots = Slots()
    used: set[str] = set()
    for module, name, keras_name, family in (
        (torch[0], "weight", "depthwise_kernel", "depthwise"),
        (torch[1], "weight", "pointwise_kernel", "conv"),
        (torch[1], "bias", "bias", None),
    ):
        tensor = next((tensor for tensor in module.tensors if tensor.name == name), None)
        variable = variables.get(keras_name)
        if tensor is None or variable is None:
            continue
        used |= {tensor.path, variable.path}
        layout = identity(tensor.shape)
        rule = weight_layout((family, family), tensor.shape, variable.shape) if family else layout
        slots.add((keras, variable), (module, tensor), rule, (family, family))
    slots.left_keras = [variable.path for variable in keras.tensors if variable.path not in used]
    slots.left_torch = [
        tensor.path for module in torch for tensor in module.tensors if tensor.path not in used
    ]
    return slots


def _fits(layout: Layout | None, keras: TensorInfo) -> bool:
    """Whether a rule gives the shape of a Keras tensor, or of one entry of it."""
    if layout is None:
        return False
    return layout.keras_shape == keras.shape or (
        layout.keras_rows is not None and prod(layout.keras_rows.split) == prod(keras.shape)
    )


def _cells(keras: LayerInfo, torch: LayerInfo) -> Slots:
    """The tensors of two recurrent cells. What one side alone has as a bias is zero on the other."""
    slots = Slots()
    used: set[str] = set()
    for item in cell_tensors(keras, torch):
        used |= {item.keras.path, item.torch.path} | ({item.added} if item.added else set())
        if not _fits(item.layout, item.keras):
            slots.problems.append(
                misshapen((keras, item.keras), (torch, item.torch), item.keras.name != "bias")
            )
            continue
        assert item.layout is not None
        added: tuple[Side, str] | None = ("torch", item.added) if item.added else None
        slots.found.append(Slot(item.keras.path, item.torch.path, item.layout, added, summed=bool(added)))
        if item.added:
            slots.constants.append(Constant("torch", item.added, 0.0, (keras.path,), folded=True))
    sides: tuple[tuple[Side, LayerInfo, LayerInfo], ...] = (("keras", keras, torch), ("torch", torch, keras))
    for side, layer, lacking in sides:
        for tensor in [tensor for tensor in layer.tensors if tensor.path not in used]:
            if tensor.name.startswith("bias"):
                slots.constants.append(Constant(side, tensor.path, 0.0, (lacking.path,)))
            else:
                (slots.left_keras if side == "keras" else slots.left_torch).append(tensor.path)
    return slots


def tensor_at(layers: Mapping[str, LayerInfo], path: str) -> tuple[LayerInfo | None, TensorInfo | None]:
    """The layer and tensor that a tensor's path names, by either of its names."""
    stem, _, name = path.rpartition(".")
    layer = layers.get(stem)
    tensors = layer.tensors if layer else ()
    found = next((tensor for tensor in tensors if name in (tensor.name, *tensor.aliases)), None)
    if found is None and layer is not None:  # a part of a recurrent module has its parameters
        parts = [part for part_of, part in layers.items() if part_of.startswith(f"{stem}." if stem else "")]
        owned = [(part, tensor) for part in parts for tensor in part.tensors if tensor.path == path]
        return owned[0] if owned else (layer, None)
    return layer, found
