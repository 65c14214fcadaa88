"""Layers that change sizes and order: padding, upsampling, shuffles, flattening, patches."""

from __future__ import annotations

from parity.porting.to_keras.leaves.setting import Argument, Leaf, NoCounterpartError, Settings, spread

PADS = {"ZeroPad": "constant", "ConstantPad": "constant", "ReflectionPad": "reflect", "ReplicationPad": "replicate",
        "CircularPad": "circular"}  # fmt: skip


def padding(settings: Settings) -> Leaf:
    """nn.ZeroPad2d and all of its brothers; torch counts pairs from the last axis backwards."""
    rank, mode = int(settings.kind[-2]), PADS[settings.kind[:-2]]
    given = spread(settings["padding"].one, 2 * rank)
    pairs = tuple((given[i], given[i + 1]) for i in range(0, 2 * rank, 2))[::-1]
    value = settings["value"] if "value" in settings.by_name else Argument("0.0", (0.0,))
    if mode == "constant" and value.always(0) and all(width >= 0 for pair in pairs for width in pair):
        text = str(pairs if rank > 1 else pairs[0])
        return Leaf(f"keras.layers.ZeroPadding{rank}D", (text,), takes="channels", gives="channels")
    arguments = [str(pairs)]
    if mode != "constant":
        arguments.append(f'mode="{mode}"')
    elif not value.fixed(0):
        arguments.append(f"value={value.text}")
    return Leaf("Padding", tuple(arguments), frozenset({"Padding"}), "channels", "channels")


def upsample(settings: Settings) -> Leaf:
    """nn.Upsample, nn.UpsamplingNearest2d and nn.UpsamplingBilinear2d."""
    mode = {"UpsamplingNearest2d": "nearest", "UpsamplingBilinear2d": "bilinear"}.get(settings.kind)
    aligned = settings.kind == "UpsamplingBilinear2d"
    if mode is None:
        mode = settings["mode"].one
        aligned = settings["align_corners"].one is True
    size, factor = settings["size"], settings["scale_factor"]
    if mode == "nearest" and _whole(factor) and _absent(size) and settings.rank == 4:
        return Leaf("keras.layers.UpSampling2D", (factor.text,), takes="channels", gives="channels")
    arguments = [] if _absent(size) else [f"size={size.text}"]
    arguments += [] if _absent(factor) else [f"scale_factor={factor.text}"]
    arguments += [f'mode="{mode}"'] if mode != "nearest" else []
    arguments += ["align_corners=True"] if aligned else []
    if "recompute_scale_factor" in settings.by_name and settings["recompute_scale_factor"].always(True):
        raise NoCounterpartError("torch.nn.Upsample with recompute_scale_factor=True")
    return Leaf("Resize", tuple(arguments), frozenset({"Resize"}), "channels", "channels")


def _whole(factor: Argument) -> bool:
    """Whether all factors are whole numbers, written as such."""
    return bool(factor.values) and all(
        isinstance(one, int) and not isinstance(one, bool)
        for value in factor.values
        for one in spread(value, 1)
    )


def _absent(setting: Argument) -> bool:
    return setting.fixed(None) or setting.always(None)


def pixel_shuffle(settings: Settings) -> Leaf:
    """nn.PixelShuffle, nn.PixelUnshuffle and nn.ChannelShuffle: their one argument is the same in the helper."""
    (name,) = settings.by_name
    helpers = frozenset({settings.kind})
    return Leaf(settings.kind, (settings[name].text,), helpers, "channels", "channels")


def flatten(settings: Settings) -> Leaf:
    """nn.Flatten; images are flattened in the order H, W, C."""
    if not (settings["start_dim"].always(1) or settings["start_dim"].fixed(1)):
        raise NoCounterpartError("torch.nn.Flatten from another axis than 1 is no layer of Keras")
    rank = settings.rank
    if not (settings["end_dim"].always(-1, *([rank - 1] if rank else [])) or settings["end_dim"].fixed(-1)):
        raise NoCounterpartError("torch.nn.Flatten to another axis than the last is no layer of Keras")
    return Leaf("keras.layers.Flatten", takes="channels", gives="torch")


def unflatten(settings: Settings) -> Leaf:
    """nn.Unflatten of a vector; the image lies as N, H, W, C."""
    if not (settings["dim"].always(1) or settings["dim"].fixed(1)) or settings.rank not in (None, 2):
        raise NoCounterpartError("torch.nn.Unflatten of another axis than the features of a vector")
    sizes = settings["unflattened_size"]
    if any(isinstance(one, tuple) and isinstance(one[0], tuple) for one in sizes.values if one):
        raise NoCounterpartError("torch.nn.Unflatten with names of axes")
    return Leaf("Unflatten", (sizes.text,), frozenset({"Unflatten"}), "torch", "channels")


def unfold(settings: Settings) -> Leaf:
    """nn.Unfold; its windows are an axis before the channels in Keras, and the last one in torch."""
    arguments = [settings["kernel_size"].text]
    for name, default in (("dilation", 1), ("padding", 0), ("stride", 1)):
        arguments += settings.optional(name, name, default)
    return Leaf("Unfold", tuple(arguments), frozenset({"Unfold"}), "channels", "channels")


def fold(settings: Settings) -> Leaf:
    """nn.Fold."""
    arguments = [settings["output_size"].text, settings["kernel_size"].text]
    for name, default in (("dilation", 1), ("padding", 0), ("stride", 1)):
        arguments += settings.optional(name, name, default)
    return Leaf("Fold", tuple(arguments), frozenset({"Fold"}), "channels", "channels")


def cosine_similarity(settings: Settings) -> Leaf:
    """nn.CosineSimilarity."""
    arguments = [*settings.optional("dim", "axis", 1), *settings.optional("eps", "epsilon", 1e-8)]
    return Leaf("CosineSimilarity", tuple(arguments), frozenset({"CosineSimilarity"}), "torch", "torch")


def pairwise_distance(settings: Settings) -> Leaf:
    """nn.PairwiseDistance."""
    arguments = [*settings.optional("p", "p", 2.0), *settings.optional("eps", "epsilon", 1e-6)]
    arguments += settings.optional("keepdim", "keepdims", False)
    return Leaf("PairwiseDistance", tuple(arguments), frozenset({"PairwiseDistance"}), "last")
