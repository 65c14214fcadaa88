"""Pixels into channels and back, in torch's order of channels: shuffles, and patches of windows."""

import keras
from keras import ops


def pixel_shuffle(x, factor):
    """(N, H, W, C*factor*factor) -> (N, H*factor, W*factor, C); a channel's offsets lie next to one another."""
    height, width = _sizes(x)
    channels = x.shape[-1] // factor**2
    x = ops.reshape(x, (-1, height, width, channels, factor, factor))
    x = ops.transpose(x, (0, 1, 4, 2, 5, 3))
    return ops.reshape(x, (-1, height * factor, width * factor, channels))


def pixel_unshuffle(x, factor):
    """(N, H*factor, W*factor, C) -> (N, H, W, C*factor*factor)."""
    height, width = _sizes(x)
    channels = x.shape[-1]
    x = ops.reshape(x, (-1, height // factor, factor, width // factor, factor, channels))
    x = ops.transpose(x, (0, 1, 3, 5, 2, 4))
    return ops.reshape(x, (-1, height // factor, width // factor, channels * factor**2))


def _sizes(x):
    """Height and width, as tensors where they are not known beforehand."""
    return [x.shape[axis] if x.shape[axis] is not None else ops.shape(x)[axis] for axis in (1, 2)]


def _times(size, factor):
    return size if size is None else size * factor


def _over(size, factor):
    return size if size is None else size // factor


@keras.saving.register_keras_serializable(package="port")
class PixelShuffle(keras.layers.Layer):
    """Spread groups of channels over pixels: (N, H, W, C*r*r) -> (N, H*r, W*r, C)."""

    def __init__(self, upscale_factor, **kwargs):
        super().__init__(**kwargs)
        self.upscale_factor = upscale_factor

    def call(self, x):
        return pixel_shuffle(x, self.upscale_factor)

    def compute_output_shape(self, input_shape):
        n, height, width, channels = input_shape
        r = self.upscale_factor
        return (n, _times(height, r), _times(width, r), channels // r**2)

    def get_config(self):
        return {**super().get_config(), "upscale_factor": self.upscale_factor}


@keras.saving.register_keras_serializable(package="port")
class PixelUnshuffle(keras.layers.Layer):
    """Gather pixels in channels: (N, H*r, W*r, C) -> (N, H, W, C*r*r)."""

    def __init__(self, downscale_factor, **kwargs):
        super().__init__(**kwargs)
        self.downscale_factor = downscale_factor

    def call(self, x):
        return pixel_unshuffle(x, self.downscale_factor)

    def compute_output_shape(self, input_shape):
        n, height, width, channels = input_shape
        r = self.downscale_factor
        return (n, _over(height, r), _over(width, r), channels * r**2)

    def get_config(self):
        return {**super().get_config(), "downscale_factor": self.downscale_factor}


@keras.saving.register_keras_serializable(package="port")
class ChannelShuffle(keras.layers.Layer):
    """Take the channels of `groups` groups in turn: the first of each group, the second of each, and so on."""

    def __init__(self, groups, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, x):
        size = x.shape[-1] // self.groups
        order = [group * size + i for i in range(size) for group in range(self.groups)]
        return ops.take(x, order, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


class _Windows(keras.layers.Layer):
    """Windows over height and width; one number, or one for each."""

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def pairs(self):
        """(kernel size, dilation, padding, stride) of height and of width."""
        numbers = self.kernel_size, self.dilation, self.padding, self.stride
        return list(zip(*((n, n) if isinstance(n, int) else n for n in numbers), strict=True))

    def counts(self, sizes):
        """How many windows lie along height and width."""
        axes = zip(sizes, self.pairs(), strict=True)
        return [n if n is None else (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, (k, d, p, s) in axes]

    def taps(self):
        """(row, column) of each entry of a window, in pixels from its first."""
        (height, down, *_), (width, right, *_) = self.pairs()
        return [(i * down, j * right) for i in range(height) for j in range(width)]

    def get_config(self):
        names = ("kernel_size", "dilation", "padding", "stride")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="port")
class Unfold(_Windows):
    """The windows of an image as rows: (N, H, W, C) -> (N, windows, C * kernel height * kernel width)."""

    def call(self, x):
        (rows, columns), channels = self.counts(_sizes(x)), x.shape[-1]
        (_, _, top, down), (_, _, left, right) = self.pairs()
        x = ops.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
        parts = [
            x[:, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * right + 1 : right]
            for i, j in self.taps()
        ]
        return ops.reshape(ops.stack(parts, axis=-1), (-1, rows * columns, channels * len(parts)))

    def compute_output_shape(self, input_shape):
        rows, columns = self.counts(input_shape[1:3])
        count = None if rows is None or columns is None else rows * columns
        return (input_shape[0], count, input_shape[-1] * len(self.taps()))


@keras.saving.register_keras_serializable(package="port")
class Fold(_Windows):
    """The sum of windows at their places: (N, windows, C * kernel height * kernel width) -> (N, H, W, C)."""

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1, **kwargs):
        super().__init__(kernel_size, dilation, padding, stride, **kwargs)
        self.output_size = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)

    def call(self, x):
        (rows, columns), taps = self.counts(self.output_size), self.taps()
        (_, _, top, down), (_, _, left, right) = self.pairs()
        x = ops.reshape(x, (-1, rows, columns, x.shape[-1] // len(taps), len(taps)))
        height, width = self.output_size[0] + 2 * top, self.output_size[1] + 2 * left
        total = 0
        for index, (i, j) in enumerate(taps):
            part = _apart(_apart(x[..., index], 1, down), 2, right)
            rims = (i, height - i - part.shape[1]), (j, width - j - part.shape[2])
            total = total + ops.pad(part, ((0, 0), *rims, (0, 0)))
        return total[:, top : height - top, left : width - left]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.output_size, input_shape[-1] // len(self.taps()))

    def get_config(self):
        return {**super().get_config(), "output_size": self.output_size}


def _apart(x, axis, step):
    """`x` with step - 1 zeros between the entries of an axis."""
    if step == 1:
        return x
    size = x.shape[axis]
    x = ops.expand_dims(x, axis + 1)
    x = ops.pad(x, [(0, (step - 1) * (i == axis + 1)) for i in range(len(x.shape))])
    shape = [-1 if i == 0 else n for i, n in enumerate(x.shape)]
    x = ops.reshape(x, (*shape[:axis], size * step, *shape[axis + 2 :]))
    return x[(*[slice(None)] * axis, slice(0, (size - 1) * step + 1))]


@keras.saving.register_keras_serializable(package="port")
class Unflatten(keras.layers.Layer):
    """A vector as an image: (N, C*H*W) -> (N, H, W, C), where `sizes` are torch's (C, H, W)."""

    def __init__(self, sizes, **kwargs):
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)

    def call(self, x):
        return ops.moveaxis(ops.reshape(x, (-1, *self.sizes)), 1, -1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.sizes[1:], self.sizes[0])

    def get_config(self):
        return {**super().get_config(), "sizes": self.sizes}
