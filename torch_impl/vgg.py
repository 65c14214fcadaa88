"""VGG16 without its classifier: the body of the first fully convolutional networks and of DeepLab."""

from __future__ import annotations

from torch import Tensor, nn

from torch_impl._network import CeilMaxPool2d, check_images, kaiming_normal, zero_biases
from torch_impl._shared.vgg import CHANNELS, plan
from torch_impl.layers import Conv2d, MaxPool2d


class VGG16(nn.Module):
    """Thirteen 3 x 3 convolutions with five poolings; its state_dict has torchvision's names (features.0, ...).

    Shapes: (N, 3, H, W) -> a list of what the five poolings give, (N, C, H', W') with strides 2, 4, 8, 16, 32,
        or less by `output_stride`; H' = H / stride rounded down, or up with `ceil_mode` or a smaller
        `output_stride`.

    Args:
        output_stride: 32, 16 or 8; below 32 all poolings take 3 x 3 windows, the last ones do not halve, and
            the convolutions after them dilate, as in DeepLab.
        padding: zeros at each side of the image, at least 1.
        ceil_mode: whether a pooling keeps an odd last row, as Caffe does.
        width: channels of the first convolution.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", column D;
    Chen et al., "DeepLab", section 3.1 (output stride).
    """

    def __init__(
        self, output_stride: int = 32, padding: int = 1, ceil_mode: bool = False, width: int = 64
    ) -> None:
        super().__init__()
        self.output_stride = output_stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.width = width
        layers: list[nn.Module] = []
        self.out_channels: tuple[int, ...] = ()
        for stage in plan(output_stride, padding, width):
            for unit in stage.convolutions:
                layers += [Conv2d(*unit), nn.ReLU()]
            whole = CeilMaxPool2d(2) if ceil_mode else MaxPool2d(2)
            layers.append(whole if output_stride == 32 else MaxPool2d(3, stage.stride, 1))
            self.out_channels += (unit.out_channels,)
        self.features = nn.Sequential(*layers)
        kaiming_normal(self)
        zero_biases(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Give the feature maps of the images `x`."""
        check_images(x, CHANNELS)
        pooled = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, MaxPool2d):
                pooled.append(x)
        return pooled
