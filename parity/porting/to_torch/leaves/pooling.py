"""Pooling, global pooling, padding, cropping and resizing."""

from __future__ import annotations

from parity.porting.to_torch.axes import images, plain
from parity.porting.to_torch.use import RefusedError, StepUse, literal
from parity.porting.to_torch.values import short


def pooling(use: StepUse) -> None:
    """MaxPooling and AveragePooling of any rank."""
    if use.get("data_format") == "channels_first":
        raise RefusedError("the layer computes channels first")
    rank = len(use.x.shape) - 2
    size, stride = tuple(use.layer.pool_size), tuple(use.layer.strides)
    kind = "max" if "Max" in use.piece.kind else "avg"
    text = use.as_images(use.x)
    numbers = use.constant("pool_size", short(size))
    if stride != size:
        numbers = f"{numbers}, {use.constant('stride', short(stride))}"
    axes = images(rank + 2)
    if use.layer.padding == "valid" or all(a == b == 1 for a, b in zip(size, stride, strict=True)):
        return use.give(f"F.{kind}_pool{rank}d({text}, {numbers})", axes)
    if all(a == b and a in (1, 2) for a, b in zip(size, stride, strict=True)):
        return use.give(f"F.{kind}_pool{rank}d({text}, {numbers}, ceil_mode=True)", axes)
    if kind == "max" and all(step == 1 and n % 2 for n, step in zip(size, stride, strict=True)):
        padding = literal(short(tuple(n // 2 for n in size)))
        return use.give(f"F.max_pool{rank}d({text}, {numbers}, padding={padding})", axes)
    if kind == "avg" and all(step == 1 and n % 2 for n, step in zip(size, stride, strict=True)):
        padding = literal(short(tuple(n // 2 for n in size)))
        return use.give(
            f"F.avg_pool{rank}d({text}, {numbers}, padding={padding}, count_include_pad=False)", axes
        )
    return use.give(f"{use.helper(f'{kind}_pool{rank}d_same')}({text}, {numbers})", axes)


def adaptive(use: StepUse) -> None:
    """AdaptiveAveragePooling and AdaptiveMaxPooling of any rank."""
    if use.get("data_format") == "channels_first":
        raise RefusedError("the layer computes channels first")
    rank = len(use.x.shape) - 2
    kind = "max" if "Max" in use.piece.kind else "avg"
    size = use.layer.output_size
    size = (size,) * rank if isinstance(size, int) else tuple(size)
    numbers = use.constant("output_size", short(size))
    use.give(f"F.adaptive_{kind}_pool{rank}d({use.as_images(use.x)}, {numbers})", images(rank + 2))


def global_pooling(use: StepUse) -> None:
    """GlobalAveragePooling and GlobalMaxPooling of any rank."""
    rank = len(use.x.shape)
    if use.get("data_format") == "channels_first":
        raise RefusedError("the layer computes channels first")
    mask = use.args[1] if len(use.args) > 1 else use.kwargs.get("mask")
    if mask is not None and "Average" in use.piece.kind:
        keep = ", keepdim=True" if use.get("keepdims") else ""
        text = f"{use.helper('masked_mean')}({use.plainly(use.x)}, {use.plainly(mask)}{keep})"
        return use.give(text, plain(3 if keep else 2))
    axes = use.axes(use.x)
    dims = tuple(sorted(axes.torch(axis) for axis in range(1, rank - 1)))
    keep = ", keepdim=True" if use.get("keepdims") else ""
    function = "amax" if "Max" in use.piece.kind else "mean"
    given = dims[0] if len(dims) == 1 else dims
    text = use.take(use.x, atom=True)
    return use.give(f"{text}.{function}({literal(given)}{keep})", axes if keep else images(2))


def zero_padding(use: StepUse) -> None:
    """ZeroPadding and Cropping of any rank."""
    axes = use.axes(use.x)
    crops = use.get("cropping") is not None
    amounts = use.get("cropping") if crops else use.get("padding")
    amounts = [amounts] if isinstance(amounts[0], int) else list(amounts)
    by_axis = {axes.torch(axis + 1): tuple(pair) for axis, pair in enumerate(amounts)}
    pads: list[int] = []
    for axis in range(axes.rank - 1, min(by_axis) - 1, -1):
        pads += by_axis.get(axis, (0, 0))
    pads = [-int(n) if crops else int(n) for n in pads]
    use.give(f"F.pad({use.take(use.x)}, {use.constant('padding', tuple(pads))})", axes)


def upsampling(use: StepUse) -> None:
    """UpSampling of any rank."""
    rank = len(use.x.shape) - 2
    size = use.layer.size if not isinstance(use.layer.size, int) else (use.layer.size,)
    mode = use.get("interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        raise RefusedError(f"torch computes {mode} interpolation with other coefficients")
    text = use.as_images(use.x)
    scale = use.constant("scale_factor", short(size))
    given = f', mode="{mode}"' if mode != "nearest" else ""
    use.give(f"F.interpolate({text}, scale_factor={scale}{given})", images(rank + 2))


def resizing(use: StepUse) -> None:
    """Resizing."""
    mode = str(use.layer.interpolation)
    if use.get("crop_to_aspect_ratio") or use.get("pad_to_aspect_ratio"):
        raise RefusedError("a resizing that keeps the aspect ratio")
    modes = {"nearest": "nearest-exact", "bilinear": "bilinear"}
    if mode not in modes:
        raise RefusedError(f"torch computes {mode} interpolation with other coefficients")
    size = (int(use.layer.height), int(use.layer.width))
    antialias = ", antialias=True" if use.get("antialias") else ""
    text = use.as_images(use.x)
    use.give(f'F.interpolate({text}, size={size}, mode="{modes[mode]}"{antialias})', images(4))


def center_crop(use: StepUse) -> None:
    """CenterCrop, of pictures that are large enough."""
    size = (int(use.layer.height), int(use.layer.width))
    if any(have < want for have, want in zip(use.x.shape[1:3], size, strict=True)):
        raise RefusedError("a CenterCrop of a picture that is smaller: it is resized")
    use.give(f"{use.helper('center_crop')}({use.as_images(use.x)}, {size})", images(4))


RULES = {
    **{f"{kind}Pooling{n}D": pooling for kind in ("Max", "Average") for n in (1, 2, 3)},
    **{f"Global{kind}Pooling{n}D": global_pooling for kind in ("Max", "Average") for n in (1, 2, 3)},
    **{f"{kind}{n}D": zero_padding for kind in ("ZeroPadding", "Cropping") for n in (1, 2, 3)},
    **{f"UpSampling{n}D": upsampling for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pooling{n}D": adaptive for kind in ("Max", "Average") for n in (1, 2, 3)},
    "Resizing": resizing,
    "CenterCrop": center_crop,
}
