"""torch.nn.functional in keras.ops: what a forward pass calls as a function. Images are N, H, W, C."""

import keras
from keras import ops

from parity.adapters.keras.helpers.pooling import averaged, greatest


def dropout(x, rate, training=None, shared_axes=()):
    """Zero a share of the elements in training; the same along `shared_axes`."""
    if not training or rate == 0:
        return x
    shape = [1 if axis in shared_axes else size for axis, size in enumerate(ops.shape(x))]
    kept = ops.cast(keras.random.uniform(shape) >= rate, x.dtype)
    return x * kept / (1 - rate)


def bernoulli(x, probability):
    """Ones with a probability, else zeros, in the shape of `x`."""
    return ops.cast(keras.random.uniform(ops.shape(x)) < probability, x.dtype)


def layer_norm(x, weight=None, bias=None, epsilon=1e-5, axis=-1):
    """Normalise over the last axes."""
    mean, variance = ops.mean(x, axis=axis, keepdims=True), ops.var(x, axis=axis, keepdims=True)
    x = (x - mean) * ops.rsqrt(variance + epsilon)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def rms_norm(x, weight=None, epsilon=1e-6):
    """Divide by the root of the mean square over the last axis."""
    x = x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + epsilon)
    return x if weight is None else x * weight


def group_norm(x, groups, weight=None, bias=None, epsilon=1e-5):
    """Normalise over groups of channels and all axes between batch and channels."""
    shape = ops.shape(x)
    split = ops.reshape(x, (*shape[:-1], groups, x.shape[-1] // groups))
    axes = (*range(1, len(shape) - 1), -1)
    mean, variance = ops.mean(split, axis=axes, keepdims=True), ops.var(split, axis=axes, keepdims=True)
    x = ops.reshape((split - mean) * ops.rsqrt(variance + epsilon), shape)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def batch_norm(x, mean=None, variance=None, weight=None, bias=None, training=None, epsilon=1e-5):
    """Normalise over all axes but the last, by the batch's statistics in training or without running ones."""
    if training or mean is None:
        axes = tuple(range(len(x.shape) - 1))
        mean, variance = ops.mean(x, axis=axes), ops.var(x, axis=axes)
    x = (x - mean) * ops.rsqrt(variance + epsilon)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def normalize(x, axis=-1, epsilon=1e-12):
    """Divide by the norm along an axis, which counts as `epsilon` at least."""
    return x / ops.maximum(ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=True)), epsilon)


def unbiased_var(x, axis=None, keepdims=False):
    """The variance with n - 1 in the denominator."""
    axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    count = 1
    for one in axes:
        count = count * ops.shape(x)[one]
    factor = ops.cast(count, x.dtype) / ops.cast(count - 1, x.dtype)
    return ops.var(x, axis=axis, keepdims=keepdims) * factor


def unbiased_std(x, axis=None, keepdims=False):
    """The standard deviation with n - 1 in the denominator."""
    return ops.sqrt(unbiased_var(x, axis, keepdims))


def split_sizes(x, sizes, axis=0):
    """Parts of the given sizes along an axis."""
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes) - 1)]
    return ops.split(x, ends, axis=axis)


def with_part(x, value, *slices):
    """A copy of `x` in which the part that the slices choose has another value; shapes must be known."""
    bounds = [part.indices(size) for part, size in zip(slices, x.shape, strict=False)]
    bounds += [(0, size, 1) for size in x.shape[len(slices) :]]
    shape = [max(0, stop - start) for start, stop, _ in bounds]
    if 0 in shape:
        return x
    value = ops.broadcast_to(ops.cast(value, x.dtype), shape)
    return ops.slice_update(x, [start for start, _, _ in bounds], value)


def scaled_dot_product_attention(query, key, value, mask=None, dropout_p=0.0, scale=None):
    """Attention over the last two axes: (..., tokens, channels). A mask is added, or hides where it is False."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = ops.matmul(query * scale, ops.swapaxes(key, -2, -1))
    if mask is not None:
        hides = keras.backend.standardize_dtype(mask.dtype) == "bool"
        scores = ops.where(mask, scores, float("-inf")) if hides else scores + mask
    return ops.matmul(dropout(ops.softmax(scores), dropout_p, training=dropout_p != 0), value)


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
