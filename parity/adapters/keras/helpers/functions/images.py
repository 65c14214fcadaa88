"""Convolutions and pooling as functions; images are N, H, W, C."""

from keras import ops

from parity.adapters.keras.helpers.pooling import averaged, greatest


def _symmetric(padding, rank):
    return padding if isinstance(padding, tuple | list) else (padding,) * rank


def convolution(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A convolution whose kernel is (height, width, inputs of a group, outputs), with zeros on both sides."""
    rank = len(x.shape) - 2
    if isinstance(padding, str):
        mode = padding
    else:
        mode = "valid"
        x = ops.pad(x, ((0, 0), *((p, p) for p in _symmetric(padding, rank)), (0, 0)))
    strides, rates = _symmetric(stride, rank), _symmetric(dilation, rank)
    if groups != 1 and groups == x.shape[-1]:
        kernel = ops.reshape(weight, (*weight.shape[:-2], groups, weight.shape[-1] // groups))
        y = ops.depthwise_conv(x, kernel, strides, mode, dilation_rate=rates)
    else:
        y = ops.conv(x, weight, strides, mode, dilation_rate=rates)
    return y if bias is None else y + bias


def max_pool(x, pool_size, strides=None, padding=0, ceil_mode=False):
    """The maximum of windows; padding never wins."""
    x = _padded_for_pool(x, pool_size, strides, padding, ceil_mode, float("-inf"))
    return ops.max_pool(x, pool_size, strides, padding="valid")


def average_pool(x, pool_size, strides=None, padding=0, ceil_mode=False):
    """The mean of windows; zeros of the padding count."""
    if ceil_mode:
        raise NotImplementedError("average pooling with ceil_mode as a function")
    x = _padded_for_pool(x, pool_size, strides, padding, False, 0.0)
    return ops.average_pool(x, pool_size, strides, padding="valid")


def _padded_for_pool(x, pool_size, strides, padding, ceil_mode, value):
    rank = len(x.shape) - 2
    sizes, pads = _symmetric(pool_size, rank), _symmetric(padding, rank)
    steps = _symmetric(pool_size if strides is None else strides, rank)
    widths = []
    for axis, (size, step, pad) in enumerate(zip(sizes, steps, pads, strict=True), start=1):
        more = 0
        if ceil_mode:
            rest = (ops.shape(x)[axis] + 2 * pad - size) % step
            more = (step - rest) % step
        widths.append((pad, pad + more))
    if any(width != (0, 0) for width in widths):
        x = ops.pad(x, ((0, 0), *widths, (0, 0)), constant_values=value)
    return x


def adaptive_mean_pool(x, output_size):
    """The means of as many windows as asked for along each axis between batch and channels."""
    for axis, size in enumerate(_symmetric(output_size, len(x.shape) - 2), start=1):
        x = x if size is None else averaged(x, axis, size)
    return x


def adaptive_max_pool(x, output_size):
    """The maxima of as many windows as asked for along each axis between batch and channels."""
    for axis, size in enumerate(_symmetric(output_size, len(x.shape) - 2), start=1):
        x = x if size is None else greatest(x, axis, size)
    return x


def affine_grid(theta, height, width, align_corners=False):
    """The places of an affine map: theta (N, 2, 3) -> (N, height, width, 2)."""

    def places(count):
        steps = ops.cast(ops.arange(count), theta.dtype)
        return 2 * steps / (count - 1) - 1 if align_corners else (2 * steps + 1) / count - 1

    x, y = ops.meshgrid(places(width), places(height), indexing="xy")
    base = ops.stack([x, y, ops.ones_like(x)], axis=-1)
    return ops.einsum("hwk,njk->nhwj", base, theta)


def grid_sample(x, grid, padding_mode="zeros", align_corners=False):
    """The pixels of (N, H, W, C) at the places of a grid (N, h, w, 2), between pixels bilinear: (N, h, w, C).

    Beyond the rims are zeros, or with padding_mode="border" the nearest pixels.
    """
    height, width = ops.shape(x)[1:3]
    columns = _shares(_pixels(grid[..., 0], width, padding_mode, align_corners), width)
    rows = _shares(_pixels(grid[..., 1], height, padding_mode, align_corners), height)
    return ops.einsum("nhwj,nhwjc->nhwc", columns, ops.einsum("nhwi,nijc->nhwjc", rows, x))


def _shares(pixels, count):
    """How much each pixel of an axis gives to a place on it."""
    apart = ops.abs(pixels[..., None] - ops.cast(ops.arange(count), pixels.dtype))
    return ops.maximum(1 - apart, 0)


def _pixels(places, count, padding_mode, align_corners):
    """Places from -1 to 1 as pixels of an axis."""
    count = ops.cast(count, places.dtype)
    pixels = (places + 1) / 2 * (count - 1) if align_corners else ((places + 1) * count - 1) / 2
    return ops.clip(pixels, 0, count - 1) if padding_mode == "border" else pixels
