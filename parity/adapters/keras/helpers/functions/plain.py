"""Dropout, norms, attention and parts of tensors, as a forward pass calls them."""

import keras
from keras import ops


def random_dropout(x, rate, training=None, shared_axes=()):
    """Zero a share of the elements in training; the same along `shared_axes`."""
    if not training or rate == 0:
        return x
    shape = [1 if axis in shared_axes else size for axis, size in enumerate(ops.shape(x))]
    return keras.random.dropout(x, rate, noise_shape=shape if shared_axes else None)


def bernoulli(x, probability):
    """Ones with a probability, else zeros, in the shape of `x`."""
    return probability * keras.random.dropout(ops.ones_like(x), 1 - probability)


def look_ahead_mask(size):
    """Zeros where a position may look, minus infinity where it would look ahead."""
    ahead = ops.arange(size)[:, None] < ops.arange(size)
    return ops.where(ahead, ops.full((), float("-inf")), ops.zeros(()))


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


def windows(x, size, step, axis):
    """The windows of one axis: in its place their number, behind it their size."""
    axis %= len(x.shape)
    starts = ops.arange((ops.shape(x)[axis] - size) // step + 1) * step
    return ops.take(x, starts[:, None] + ops.arange(size), axis=axis)


def with_part(x, value, *slices):
    """A copy of `x` in which the part that the slices choose has another value; shapes must be known."""
    bounds = [part.indices(size) for part, size in zip(slices, x.shape, strict=False)]
    bounds += [(0, size, 1) for size in x.shape[len(slices) :]]
    shape = [len(range(*part)) for part in bounds]
    if 0 in shape:
        return x
    value = ops.broadcast_to(ops.cast(value, x.dtype), shape)
    if all(step == 1 for _, _, step in bounds):
        return ops.slice_update(x, [start for start, _, _ in bounds], value)
    places = ops.meshgrid(*(ops.arange(*part) for part in bounds), indexing="ij")
    places = ops.reshape(ops.stack(places, axis=-1), (-1, len(bounds)))
    return ops.scatter_update(x, places, ops.reshape(value, (-1,)))


def causal_mask(query, key):
    """Which keys each query sees: those up to its own place."""
    return ops.arange(ops.shape(query)[-2])[:, None] >= ops.arange(ops.shape(key)[-2])


def scaled_dot_product_attention(query, key, value, mask=None, dropout_p=0.0, scale=None):
    """Attention over the last two axes: (..., tokens, channels). A mask is added, or hides where it is False."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = ops.matmul(query * scale, ops.swapaxes(key, -2, -1))
    if mask is not None:
        hides = keras.backend.standardize_dtype(mask.dtype) == "bool"
        scores = ops.where(mask, scores, float("-inf")) if hides else scores + mask
    return ops.matmul(random_dropout(ops.softmax(scores), dropout_p, training=dropout_p != 0), value)
