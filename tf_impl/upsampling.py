"""Conv2DTranspose against UpSampling2d: python -m tf_impl.upsampling --out F.png."""

from __future__ import annotations

import math

import keras
import numpy as np

from tf_impl._shared.upsampling import Array, Plan, Upsampling, main, measure, plans
from tf_impl.layers import Conv2d, Conv2DTranspose, UpSampling2d


def compare_upsampling(channels: int = 1, scale: int = 2, seed: int = 0) -> tuple[Upsampling, ...]:
    """Measure what each way to enlarge costs, what it can learn, and how much of a checkerboard it makes.

    A transposed convolution whose kernel is no multiple of its stride covers some pixels with more taps than
    others, so that equal weights already draw a checkerboard; a kernel that is covers all alike, but other
    weights may still draw one. Repeating and then convolving cannot: its weights are the same at every pixel.

    Args:
        channels: channels in and out, at least 1.
        scale: factor of the enlargement, at least 2.
        seed: of the positive weights that the second measure and the picture use; the same in both packages.

    Returns:
        One `Upsampling` for each way: Conv2DTranspose with three kernels, UpSampling2d with both modes, and
        UpSampling2d followed by a convolution. All in float64.

    Source: Odena, Dumoulin & Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016.
    """
    return tuple(_measure(plan, channels, scale, seed) for plan in plans(scale))


def _measure(plan: Plan, channels: int, scale: int, seed: int) -> Upsampling:
    layers = _layers(plan, channels, scale)

    def run(image: Array, kernel: Array) -> Array:
        x = image[None]
        for layer in layers:
            if isinstance(layer, Conv2DTranspose):
                layer.kernel.assign(kernel.transpose(0, 1, 3, 2))  # (kH, kW, to, from)
            elif isinstance(layer, Conv2d):
                layer.kernel.assign(kernel)  # (kH, kW, from, to)
            if layer.weights:
                layer.bias.assign(np.zeros(channels))
            x = layer(x)
        return keras.ops.convert_to_numpy(x)[0]

    parameters = sum(math.prod(weight.shape) for layer in layers for weight in layer.weights)
    return measure(plan, channels, scale, seed, run, parameters)


def _layers(plan: Plan, channels: int, scale: int) -> list[keras.layers.Layer]:
    size, dtype = plan.kernel_size, "float64"
    if plan.transposed:
        return [Conv2DTranspose(channels, channels, size, stride=scale, padding="same", dtype=dtype)]
    up = UpSampling2d(scale, plan.mode, dtype=dtype)
    if not size:
        return [up]
    return [up, Conv2d(channels, channels, size, padding=size // 2, dtype=dtype)]


if __name__ == "__main__":
    main(compare_upsampling)
