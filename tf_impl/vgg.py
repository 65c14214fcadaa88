"""VGG16 without its classifier: the body of the first fully convolutional networks and of DeepLab."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from tf_impl._functional import Tensor
from tf_impl._network import (
    CeilMaxPool2d,
    Chain,
    Step,
    arguments,
    check_images,
    kaiming_normal,
    spec,
    zero_biases,
)
from tf_impl._shared.vgg import CHANNELS, plan
from tf_impl.layers import Conv2d, MaxPool2d, Shape, register


@register
class VGG16(keras.Model):
    """Thirteen 3 x 3 convolutions with five poolings; its state_dict has torchvision's names (features.0, ...).

    Shapes: (N, H, W, 3) -> a list of what the five poolings give, (N, H', W', C) with strides 2, 4, 8, 16, 32,
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
        self,
        output_stride: int = 32,
        padding: int = 1,
        ceil_mode: bool = False,
        width: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_stride = output_stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.width = width
        self.input_spec = spec(CHANNELS)
        steps: list[Step] = []
        self.out_channels: tuple[int, ...] = ()
        for stage in plan(output_stride, padding, width):
            for unit in stage.convolutions:
                steps += [partial(Conv2d, *unit), keras.layers.ReLU]
            whole = partial(CeilMaxPool2d if ceil_mode else MaxPool2d, 2)
            steps.append(whole if output_stride == 32 else partial(MaxPool2d, 3, stage.stride, 1))
            self.out_channels += (unit.out_channels,)
        with keras.name_scope(self.name, caller=self):
            self.features = Chain(steps, dtype=self.dtype_policy, name="features")
            kaiming_normal(self)
            zero_biases(self)
        self.built = True

    def call(self, x: Tensor) -> list[Tensor]:
        """Give the feature maps of the images `x`."""
        check_images(x, CHANNELS)
        pooled = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, MaxPool2d):
                pooled.append(x)
        return pooled

    def compute_output_shape(self, input_shape: Shape) -> list[Shape]:
        """Give the feature maps' shapes; an unknown size stays unknown."""
        shapes, shape = [], input_shape
        for layer in self.features:
            shape = layer.compute_output_shape(shape)
            if isinstance(layer, MaxPool2d):
                shapes.append(shape)
        return shapes

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return arguments(self, ("output_stride", "padding", "ceil_mode", "width"))
