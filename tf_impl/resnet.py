"""ResNet as torchvision defines it, with dilation instead of stride; and the pre-activation ResNet of MXNet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from tf_impl._functional import Tensor
from tf_impl._network import Chain, arguments, check_images, kaiming_normal, linear, spec, strided
from tf_impl._shared.resnet import BOTTLENECKS, CHANNELS, EXPANSION, Unit, out_channels, plan
from tf_impl.layers import BatchNorm2d, Conv2d, MaxPool2d, Shape, register


@register
class BasicBlock(keras.layers.Layer):
    """Two 3 x 3 convolutions and a shortcut.

    Shapes: (N, H, W, in_channels) -> (N, ceil(H / stride), ceil(W / stride), channels).

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: of the first convolution, in pixels.
        dilation: of the first and the second convolution, in pixels.

    Source: He et al., "Deep Residual Learning for Image Recognition", figure 5, left.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        first, second = dilation
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.conv1 = Conv2d(
                in_channels, channels, 3, stride, first, first, bias=False, **dtype, name="conv1"
            )
            self.bn1 = BatchNorm2d(channels, **dtype, name="bn1")
            self.conv2 = Conv2d(channels, channels, 3, 1, second, second, bias=False, **dtype, name="conv2")
            self.bn2 = BatchNorm2d(channels, **dtype, name="bn2")
            self.downsample = _projection(in_channels, channels, stride, **dtype)
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        mode = {"training": training}
        shortcut = x if self.downsample is None else self.downsample(x, **mode)
        out = ops.relu(self.bn1(self.conv1(x), **mode))
        return ops.relu(self.bn2(self.conv2(out), **mode) + shortcut)


@register
class Bottleneck(keras.layers.Layer):
    """A 3 x 3 convolution between two of 1 x 1, and a shortcut; the 3 x 3 one has the stride.

    Shapes: (N, H, W, in_channels) -> (N, ceil(H / stride), ceil(W / stride), 4 * channels).

    Args:
        in_channels: channels of the input.
        channels: channels of the 3 x 3 convolution.
        stride: of the 3 x 3 convolution, in pixels.
        dilation: the first number is that of the 3 x 3 convolution, in pixels.

    Source: He et al., "Deep Residual Learning for Image Recognition", figure 5, right; torchvision, resnet50.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        end, rate = EXPANSION * channels, dilation[0]
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.conv1 = Conv2d(in_channels, channels, 1, bias=False, **dtype, name="conv1")
            self.bn1 = BatchNorm2d(channels, **dtype, name="bn1")
            self.conv2 = Conv2d(channels, channels, 3, stride, rate, rate, bias=False, **dtype, name="conv2")
            self.bn2 = BatchNorm2d(channels, **dtype, name="bn2")
            self.conv3 = Conv2d(channels, end, 1, bias=False, **dtype, name="conv3")
            self.bn3 = BatchNorm2d(end, **dtype, name="bn3")
            self.downsample = _projection(in_channels, end, stride, **dtype)
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        mode = {"training": training}
        shortcut = x if self.downsample is None else self.downsample(x, **mode)
        out = ops.relu(self.bn1(self.conv1(x), **mode))
        out = ops.relu(self.bn2(self.conv2(out), **mode))
        return ops.relu(self.bn3(self.conv3(out), **mode) + shortcut)


@register
class ResNet(keras.Model):
    """A residual network for images; its state_dict has the names of torchvision's published weights.

    Shapes: (N, H, W, 3) -> (N, num_classes); or, with num_classes=None, a list of the four stages' feature
        maps (N, H', W', C), H' = ceil(H / stride) with stride 4, 8, 16, 32, or less by `output_stride`.

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._plan = plan(depth, output_stride, multi_grid, width)
        self.depth = depth
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.multi_grid = None if multi_grid is None else tuple(multi_grid)
        self.width = width
        self.out_channels = out_channels(depth, width)
        self.input_spec = spec(CHANNELS)
        block = Bottleneck if depth in BOTTLENECKS else BasicBlock
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.conv1 = Conv2d(CHANNELS, width, 7, 2, 3, bias=False, **dtype, name="conv1")
            self.bn1 = BatchNorm2d(width, **dtype, name="bn1")
            self.maxpool = MaxPool2d(3, 2, 1, **dtype, name="maxpool")
            self.layer1, self.layer2, self.layer3, self.layer4 = _stages(block, self._plan, **dtype)
            kaiming_normal(self)
            if num_classes is not None:
                self.fc = linear(self.out_channels[-1], num_classes, **dtype, name="fc")
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor | list[Tensor]:
        """Classify the images `x`, or give their feature maps."""
        check_images(x, CHANNELS)
        x = self.maxpool(ops.relu(self.bn1(self.conv1(x), training=training)))  # (N, H/4, W/4, width)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x, training=training)
            features.append(x)
        return features if self.num_classes is None else self.fc(ops.mean(x, axis=(1, 2)))

    def compute_output_shape(self, input_shape: Shape) -> Shape | list[Shape]:
        """Give the output's shape, or the feature maps'; an unknown size stays unknown."""
        if self.num_classes is not None:
            return (input_shape[0], self.num_classes)
        return _feature_shapes(input_shape, self._plan, self.out_channels)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return arguments(self, ("depth", "num_classes", "output_stride", "multi_grid", "width"))


@register
class PreActivationBlock(keras.layers.Layer):
    """Two 3 x 3 convolutions, each after its normalisation and ReLU, and a shortcut without either.

    Shapes: (N, H, W, in_channels) -> (N, ceil(H / stride), ceil(W / stride), channels).

    Args:
        in_channels: channels of the input.
        channels: channels of the output; where they differ, the shortcut is a 1 x 1 convolution.
        stride: of the first convolution, in pixels.
        dilation: of the first and the second convolution, in pixels.

    Source: He et al., "Identity Mappings in Deep Residual Networks", figure 1 (b); MXNet, BasicBlockV2.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        first, second = dilation
        plain = in_channels == channels and stride == 1
        bare = {"bias": False, "dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.bn1 = BatchNorm2d(in_channels, dtype=self.dtype_policy, name="bn1")
            self.conv1 = Conv2d(in_channels, channels, 3, stride, first, first, **bare, name="conv1")
            self.bn2 = BatchNorm2d(channels, dtype=self.dtype_policy, name="bn2")
            self.conv2 = Conv2d(channels, channels, 3, 1, second, second, **bare, name="conv2")
            self.downsample = (
                None if plain else Conv2d(in_channels, channels, 1, stride, **bare, name="downsample")
            )
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        out = ops.relu(self.bn1(x, training=training))
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        return self.conv2(ops.relu(self.bn2(out, training=training))) + shortcut


@register
class ResNetV2(keras.Model):
    """The pre-activation residual network that the FCN chapter prints: MXNet's resnet18_v2.

    The input is normalised by its own statistics, without scale and shift, so that raw pixels will do.

    Shapes: (N, H, W, 3) -> (N, num_classes); or, with num_classes=None, a list of the four stages' feature
        maps (N, H', W', C) as `ResNet` gives them, the last one after the closing normalisation and ReLU.

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
        self,
        depth: int = 18,
        num_classes: int | None = 1000,
        output_stride: int = 32,
        width: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if depth in BOTTLENECKS:
            raise ValueError(f"depth must be 18 or 34; got depth={depth}. Use ResNet for bottlenecks.")
        self._plan = plan(depth, output_stride, None, width)
        self.depth = depth
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.width = width
        self.out_channels = out_channels(depth, width)
        self.input_spec = spec(CHANNELS)
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.bn_in = BatchNorm2d(CHANNELS, affine=False, **dtype, name="bn_in")
            self.conv1 = Conv2d(CHANNELS, width, 7, 2, 3, bias=False, **dtype, name="conv1")
            self.bn1 = BatchNorm2d(width, **dtype, name="bn1")
            self.maxpool = MaxPool2d(3, 2, 1, **dtype, name="maxpool")
            self.layer1, self.layer2, self.layer3, self.layer4 = _stages(
                PreActivationBlock, self._plan, **dtype
            )
            self.bn_out = BatchNorm2d(self.out_channels[-1], **dtype, name="bn_out")
            kaiming_normal(self)
            if num_classes is not None:
                self.fc = linear(self.out_channels[-1], num_classes, **dtype, name="fc")
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor | list[Tensor]:
        """Classify the images `x`, or give their feature maps."""
        check_images(x, CHANNELS)
        mode = {"training": training}
        x = ops.relu(self.bn1(self.conv1(self.bn_in(x, **mode)), **mode))
        x = self.maxpool(x)  # (N, H/4, W/4, width)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x, **mode)
            features.append(x)
        features[-1] = x = ops.relu(self.bn_out(x, **mode))
        return features if self.num_classes is None else self.fc(ops.mean(x, axis=(1, 2)))

    def compute_output_shape(self, input_shape: Shape) -> Shape | list[Shape]:
        """Give the output's shape, or the feature maps'; an unknown size stays unknown."""
        if self.num_classes is not None:
            return (input_shape[0], self.num_classes)
        return _feature_shapes(input_shape, self._plan, self.out_channels)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return arguments(self, ("depth", "num_classes", "output_stride", "width"))


def _projection(in_channels: int, channels: int, stride: int, **kwargs: Any) -> Chain | None:
    """Give the shortcut of a block that changes the size or the channels."""
    if stride == 1 and in_channels == channels:
        return None
    return Chain(
        [partial(Conv2d, in_channels, channels, 1, stride, bias=False), partial(BatchNorm2d, channels)],
        name="downsample",
        **kwargs,
    )


def _stages(block: Any, stages: Sequence[Sequence[Unit]], **kwargs: Any) -> list[Chain]:
    """Make the stages, named layer1, layer2, ..."""
    return [
        Chain([partial(block, *unit) for unit in units], name=f"layer{number}", **kwargs)
        for number, units in enumerate(stages, start=1)
    ]


def _feature_shapes(
    input_shape: Shape, stages: Sequence[Sequence[Unit]], channels: Sequence[int]
) -> list[Shape]:
    """Give the shapes of the stages' feature maps."""
    shapes: list[Shape] = []
    stride = 4
    for units, count in zip(stages, channels, strict=True):
        stride *= units[0].stride
        shapes.append((input_shape[0], *(strided(size, stride) for size in input_shape[1:3]), count))
    return shapes
