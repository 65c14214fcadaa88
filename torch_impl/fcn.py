"""Fully convolutional networks: the FCN chapter's on ResNet, and the first ones, on VGG16."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from torch_impl._backbone import NAMES, make_backbone
from torch_impl._network import bilinear, cut, freeze, kaiming_normal, xavier_uniform, zero_biases
from torch_impl._shared.fcn import BACKBONE_PADDING, CROPS, check_options
from torch_impl.layers import Conv2d, ConvTranspose2d
from torch_impl.vgg import VGG16


class FCN(nn.Module):
    """The FCN chapter's network: a ResNet's features, a 1 x 1 convolution to the classes, one transposed one.

    The transposed convolution has stride 32, kernel 64 and padding 16, begins as bilinear interpolation and is
    learned. Where height or width is no multiple of 32, its result is cut at the bottom and the right.

    Shapes: (N, 3, H, W) -> (N, num_classes, H, W).

    Args:
        num_classes: channels of the output.
        backbone: "resnet18" (torchvision's, to "resnet101"), or "resnet18_v2", the one that the chapter prints.
        width: channels of the backbone's first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Zhang et al., "Dive into Deep Learning", fully convolutional networks.
    """

    def __init__(self, num_classes: int = 21, backbone: str = "resnet18", width: int = 64) -> None:
        super().__init__()
        check_options(num_classes, width)
        self.num_classes = num_classes
        self.backbone_name = backbone
        self.width = width
        self.backbone = make_backbone(backbone, width=width, allowed=NAMES[:-1])
        self.classifier = Conv2d(self.backbone.out_channels[-1], num_classes, 1)
        self.upsample = ConvTranspose2d(num_classes, num_classes, 64, stride=32, padding=16)
        xavier_uniform(self.classifier)
        bilinear(self.upsample)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        """Segment the images `x`."""
        scores = self.classifier(self.backbone(x)[-1])  # (N, num_classes, H/32, W/32)
        return cut(self.upsample(scores), 0, x)


class VGGFCN(nn.Module):
    """FCN-32s, FCN-16s and FCN-8s: VGG16 made fully convolutional, with the scores of earlier poolings added.

    The image is padded by 100 pixels, poolings round up, and offsets cut the margin off again, as in the
    authors' release. The upsampling layers are bilinear and frozen, and have no bias.

    Shapes: (N, 3, H, W) -> (N, num_classes, H, W).

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
        self, num_classes: int = 21, stride: Literal[32, 16, 8] = 8, hidden: int = 4096, width: int = 64
    ) -> None:
        super().__init__()
        check_options(num_classes, width, stride, hidden)
        self.num_classes = num_classes
        self.stride = stride
        self.hidden = hidden
        self.width = width
        self.backbone = VGG16(padding=BACKBONE_PADDING, ceil_mode=True, width=width)
        *_, third, fourth, last = self.backbone.out_channels
        self.fc6 = Conv2d(last, hidden, 7)
        self.fc7 = Conv2d(hidden, hidden, 1)
        kaiming_normal(self)
        self.drop6, self.drop7 = nn.Dropout(0.5), nn.Dropout(0.5)
        self.score_fr = Conv2d(hidden, num_classes, 1)
        if stride < 32:
            self.score_pool4 = Conv2d(fourth, num_classes, 1)
            self.upscore2 = self._enlarger(2)
        if stride < 16:
            self.score_pool3 = Conv2d(third, num_classes, 1)
            self.upscore_pool4 = self._enlarger(2)
        self.upscore = self._enlarger(stride)
        zero_biases(self)

    def _enlarger(self, scale: int) -> ConvTranspose2d:
        """Make a frozen bilinear interpolation."""
        layer = ConvTranspose2d(self.num_classes, self.num_classes, 2 * scale, scale, bias=False)
        bilinear(layer)
        freeze(layer)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Segment the images `x`."""
        *_, pool3, pool4, pool5 = self.backbone(x)
        y = self.drop6(F.relu(self.fc6(pool5)))
        y = self.score_fr(self.drop7(F.relu(self.fc7(y))))  # at stride 32
        if self.stride < 32:
            y = self.upscore2(y)  # at stride 16
            y = y + cut(self.score_pool4(pool4), CROPS["pool4"], y)
        if self.stride < 16:
            y = self.upscore_pool4(y)  # at stride 8
            y = y + cut(self.score_pool3(pool3), CROPS["pool3"], y)
        return cut(self.upscore(y), CROPS[self.stride], x)
