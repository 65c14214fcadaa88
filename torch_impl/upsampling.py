"""Conv2DTranspose against UpSampling2d: python -m torch_impl.upsampling --out F.png."""

from __future__ import annotations

import torch
from torch import nn

from torch_impl._shared.upsampling import Array, Plan, Upsampling, main, measure, plans
from torch_impl.layers import Conv2d, Conv2DTranspose, UpSampling2d


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
        x = torch.from_numpy(image.transpose(2, 0, 1)[None])
        with torch.no_grad():
            for layer in layers:
                if isinstance(layer, Conv2DTranspose):
                    layer.weight.copy_(torch.from_numpy(kernel.transpose(2, 3, 0, 1)))  # (from, to, kH, kW)
                elif isinstance(layer, Conv2d):
                    layer.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1)))  # (to, from, kH, kW)
                for name, bias in layer.named_parameters():
                    if name == "bias":
                        bias.zero_()
                x = layer(x)
        return x[0].permute(1, 2, 0).numpy()

    parameters = sum(each.numel() for layer in layers for each in layer.parameters())
    return measure(plan, channels, scale, seed, run, parameters)


def _layers(plan: Plan, channels: int, scale: int) -> list[nn.Module]:
    if plan.transposed:
        wide = Conv2DTranspose(channels, channels, plan.kernel_size, stride=scale, padding="same")
        return [wide.double()]
    up = UpSampling2d(scale, plan.mode)
    if not plan.kernel_size:
        return [up]
    return [up, Conv2d(channels, channels, plan.kernel_size, padding=plan.kernel_size // 2).double()]


if __name__ == "__main__":
    main(compare_upsampling)
