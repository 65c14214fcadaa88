"""Fully convolutional networks: the FCN chapter's on ResNet, and the first ones, on VGG16."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from tf_impl._backbone import NAMES, make_backbone
from tf_impl._functional import Tensor
from tf_impl._network import (
    arguments,
    bilinear,
    cut,
    freeze,
    kaiming_normal,
    spec,
    xavier_uniform,
    zero_biases,
)
from tf_impl._shared.fcn import BACKBONE_PADDING, CROPS, check_options
from tf_impl._shared.resnet import CHANNELS
from tf_impl.layers import Conv2d, ConvTranspose2d, Shape, register
from tf_impl.vgg import VGG16


@register
class FCN(keras.Model):
    """The FCN chapter's network: a ResNet's features, a 1 x 1 convolution to the classes, one transposed one.

    The transposed convolution has stride 32, kernel 64 and padding 16, begins as bilinear interpolation and is
    learned. Where height or width is no multiple of 32, its result is cut at the bottom and the right.

    Shapes: (N, H, W, 3) -> (N, H, W, num_classes).

    Args:
        num_classes: channels of the output.
        backbone: "resnet18" (torchvision's, to "resnet101"), or "resnet18_v2", the one that the chapter prints.
        width: channels of the backbone's first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Zhang et al., "Dive into Deep Learning", fully convolutional networks.
    """

    def __init__(
        self, num_classes: int = 21, backbone: str = "resnet18", width: int = 64, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_options(num_classes, width)
        self.num_classes = num_classes
        self.backbone_name = backbone
        self.width = width
        self.input_spec = spec(CHANNELS)
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.backbone = make_backbone(backbone, width=width, allowed=NAMES[:-1], **dtype, name="backbone")
            self.classifier = Conv2d(
                self.backbone.out_channels[-1], num_classes, 1, **dtype, name="classifier"
            )
            self.upsample = ConvTranspose2d(
                num_classes, num_classes, 64, stride=32, padding=16, **dtype, name="upsample"
            )
        xavier_uniform(self.classifier)
        bilinear(self.upsample)
        zero_biases(self)
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Segment the images `x`."""
        scores = self.classifier(self.backbone(x, training=training)[-1])  # (N, H/32, W/32, num_classes)
        return cut(self.upsample(scores), 0, x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        return (*input_shape[:3], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {**arguments(self, ("num_classes", "width")), "backbone": self.backbone_name}


@register
class VGGFCN(keras.Model):
    """FCN-32s, FCN-16s and FCN-8s: VGG16 made fully convolutional, with the scores of earlier poolings added.

    The image is padded by 100 pixels, poolings round up, and offsets cut the margin off again, as in the
    authors' release. The upsampling layers are bilinear and frozen, and have no bias.

    Shapes: (N, H, W, 3) -> (N, H, W, num_classes).

    Args:
        num_classes: channels of the output.
        stride: of the scores that are enlarged last: 32, 16 (adds the fourth pooling) or 8 (and the third).
        hidden: channels of fc6 and fc7.
        width: channels of the first convolution.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation" (2015), section 4.
    """

    def __init__(
        self,
        num_classes: int = 21,
        stride: Literal[32, 16, 8] = 8,
        hidden: int = 4096,
        width: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_options(num_classes, width, stride, hidden)
        self.num_classes = num_classes
        self.stride = stride
        self.hidden = hidden
        self.width = width
        self.input_spec = spec(CHANNELS)
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.backbone = VGG16(
                padding=BACKBONE_PADDING, ceil_mode=True, width=width, **dtype, name="backbone"
            )
            *_, third, fourth, last = self.backbone.out_channels
            self.fc6 = Conv2d(last, hidden, 7, **dtype, name="fc6")
            self.fc7 = Conv2d(hidden, hidden, 1, **dtype, name="fc7")
            kaiming_normal(self)
            self.drop6 = keras.layers.Dropout(0.5, **dtype, name="drop6")
            self.drop7 = keras.layers.Dropout(0.5, **dtype, name="drop7")
            self.score_fr = Conv2d(hidden, num_classes, 1, **dtype, name="score_fr")
            if stride < 32:
                self.score_pool4 = Conv2d(fourth, num_classes, 1, **dtype, name="score_pool4")
                self.upscore2 = self._enlarger(2, name="upscore2")
            if stride < 16:
                self.score_pool3 = Conv2d(third, num_classes, 1, **dtype, name="score_pool3")
                self.upscore_pool4 = self._enlarger(2, name="upscore_pool4")
            self.upscore = self._enlarger(stride, name="upscore")
        zero_biases(self)
        self.built = True

    def _enlarger(self, scale: int, name: str) -> ConvTranspose2d:
        """Make a frozen bilinear interpolation."""
        count = self.num_classes
        layer = ConvTranspose2d(
            count, count, 2 * scale, scale, bias=False, dtype=self.dtype_policy, name=name
        )
        bilinear(layer)
        freeze(layer)
        return layer

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Segment the images `x`."""
        *_, pool3, pool4, pool5 = self.backbone(x)
        y = self.drop6(ops.relu(self.fc6(pool5)), training=training)
        y = self.score_fr(self.drop7(ops.relu(self.fc7(y)), training=training))  # at stride 32
        if self.stride < 32:
            y = self.upscore2(y)  # at stride 16
            y = y + cut(self.score_pool4(pool4), CROPS["pool4"], y)
        if self.stride < 16:
            y = self.upscore_pool4(y)  # at stride 8
            y = y + cut(self.score_pool3(pool3), CROPS["pool3"], y)
        return cut(self.upscore(y), CROPS[self.stride], x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        return (*input_shape[:3], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return arguments(self, ("num_classes", "stride", "hidden", "width"))
