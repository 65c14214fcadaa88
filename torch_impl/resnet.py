"""ResNet as torchvision defines it, with dilation instead of stride; and the pre-activation ResNet of MXNet."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from torch_impl._network import check_images, kaiming_normal
from torch_impl._shared.resnet import BOTTLENECKS, CHANNELS, EXPANSION, Unit, out_channels, plan
from torch_impl.layers import BatchNorm2d, Conv2d, MaxPool2d


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut.

    Shapes: (N, in_channels, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride)).

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: of the first convolution, in pixels.
        dilation: of the first and the second convolution, in pixels.

    Source: He et al., "Deep Residual Learning for Image Recognition", figure 5, left.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, dilation: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        first, second = dilation
        self.conv1 = Conv2d(in_channels, channels, 3, stride, first, first, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = Conv2d(channels, channels, 3, 1, second, second, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.downsample = _projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + shortcut)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, and a shortcut; the 3 x 3 one has the stride.

    Shapes: (N, in_channels, H, W) -> (N, 4 * channels, ceil(H / stride), ceil(W / stride)).

    Args:
        in_channels: channels of the input.
        channels: channels of the 3 x 3 convolution.
        stride: of the 3 x 3 convolution, in pixels.
        dilation: the first number is that of the 3 x 3 convolution, in pixels.

    Source: He et al., "Deep Residual Learning for Image Recognition", figure 5, right; torchvision, resnet50.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, dilation: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        end, rate = EXPANSION * channels, dilation[0]
        self.conv1 = Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = Conv2d(channels, channels, 3, stride, rate, rate, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.conv3 = Conv2d(channels, end, 1, bias=False)
        self.bn3 = BatchNorm2d(end)
        self.downsample = _projection(in_channels, end, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + shortcut)


class ResNet(nn.Module):
    """A residual network for images; its state_dict has the names of torchvision's published weights.

    Shapes: (N, 3, H, W) -> (N, num_classes); or, with num_classes=None, a list of the four stages' feature
        maps (N, C, H', W'), H' = ceil(H / stride) with stride 4, 8, 16, 32, or less by `output_stride`.

    Args:
        depth: 18, 34, 50 or 101 layers; from 50 on the blocks are bottlenecks.
        num_classes: of the classifier, or None to leave it away and give feature maps.
        output_stride: 32, 16 or 8; below 32 the last stages dilate instead of halving, and compute the same
            features at more places.
        multi_grid: a rate for each block of the last stage, multiplied by the stage's own; None for all alike.
        width: channels of the first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: He et al., "Deep Residual Learning for Image Recognition"; torchvision, resnet18 to resnet101, with
    replace_stride_with_dilation; Chen et al., "Rethinking Atrous Convolution", section 3.1.1 (multi-grid).
    """

    def __init__(
        self,
        depth: int = 18,
        num_classes: int | None = 1000,
        output_stride: int = 32,
        multi_grid: Sequence[int] | None = None,
        width: int = 64,
    ) -> None:
        super().__init__()
        stages = plan(depth, output_stride, multi_grid, width)
        self.depth = depth
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.multi_grid = None if multi_grid is None else tuple(multi_grid)
        self.width = width
        self.out_channels = out_channels(depth, width)
        block = Bottleneck if depth in BOTTLENECKS else BasicBlock
        self.conv1 = Conv2d(CHANNELS, width, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.maxpool = MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (_stage(block, units) for units in stages)
        kaiming_normal(self)
        if num_classes is not None:
            self.fc = nn.Linear(self.out_channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Classify the images `x`, or give their feature maps."""
        check_images(x, CHANNELS)
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))  # (N, width, H/4, W/4)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features if self.num_classes is None else self.fc(x.mean((2, 3)))


class PreActivationBlock(nn.Module):
    """Two 3 x 3 convolutions, each after its normalisation and ReLU, and a shortcut without either.

    Shapes: (N, in_channels, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride)).

    Args:
        in_channels: channels of the input.
        channels: channels of the output; where they differ, the shortcut is a 1 x 1 convolution.
        stride: of the first convolution, in pixels.
        dilation: of the first and the second convolution, in pixels.

    Source: He et al., "Identity Mappings in Deep Residual Networks", figure 1 (b); MXNet, BasicBlockV2.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, dilation: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        first, second = dilation
        self.bn1 = BatchNorm2d(in_channels)
        self.conv1 = Conv2d(in_channels, channels, 3, stride, first, first, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.conv2 = Conv2d(channels, channels, 3, 1, second, second, bias=False)
        plain = in_channels == channels and stride == 1
        self.downsample = None if plain else Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x`."""
        out = F.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        return self.conv2(F.relu(self.bn2(out))) + shortcut


class ResNetV2(nn.Module):
    """The pre-activation residual network that the FCN chapter prints: MXNet's resnet18_v2.

    The input is normalised by its own statistics, without scale and shift, so that raw pixels will do.

    Shapes: (N, 3, H, W) -> (N, num_classes); or, with num_classes=None, a list of the four stages' feature
        maps (N, C, H', W') as `ResNet` gives them, the last one after the closing normalisation and ReLU.

    Args:
        depth: 18 or 34 layers.
        num_classes: of the classifier, or None to leave it away and give feature maps.
        output_stride: 32, 16 or 8; below 32 the last stages dilate instead of halving.
        width: channels of the first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: He et al., "Identity Mappings in Deep Residual Networks"; MXNet, gluon.model_zoo.vision.resnet18_v2.
    """

    def __init__(
        self, depth: int = 18, num_classes: int | None = 1000, output_stride: int = 32, width: int = 64
    ) -> None:
        super().__init__()
        if depth in BOTTLENECKS:
            raise ValueError(f"depth must be 18 or 34; got depth={depth}. Use ResNet for bottlenecks.")
        stages = plan(depth, output_stride, None, width)
        self.depth = depth
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.width = width
        self.out_channels = out_channels(depth, width)
        self.bn_in = BatchNorm2d(CHANNELS, affine=False)
        self.conv1 = Conv2d(CHANNELS, width, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.maxpool = MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(PreActivationBlock, units) for units in stages
        )
        self.bn_out = BatchNorm2d(self.out_channels[-1])
        kaiming_normal(self)
        if num_classes is not None:
            self.fc = nn.Linear(self.out_channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Classify the images `x`, or give their feature maps."""
        check_images(x, CHANNELS)
        x = self.maxpool(F.relu(self.bn1(self.conv1(self.bn_in(x)))))  # (N, width, H/4, W/4)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        features[-1] = x = F.relu(self.bn_out(x))
        return features if self.num_classes is None else self.fc(x.mean((2, 3)))


def _projection(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    """Give the shortcut of a block that changes the size or the channels."""
    if stride == 1 and in_channels == channels:
        return None
    return nn.Sequential(Conv2d(in_channels, channels, 1, stride, bias=False), BatchNorm2d(channels))


def _stage(block: type[nn.Module], units: Sequence[Unit]) -> nn.Sequential:
    return nn.Sequential(*(block(*unit) for unit in units))
