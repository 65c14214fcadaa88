"""DeepLab v2, v3 and v3+, and the dilated FCN that v3 is usually compared with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import keras
from keras import ops

from tf_impl._backbone import make_backbone
from tf_impl._functional import Tensor
from tf_impl._network import Chain, Step, arguments, run, size_of, spec, unit_steps
from tf_impl._shared.deeplab import default_rates, low_level
from tf_impl._shared.resnet import CHANNELS
from tf_impl.aspp import ASPP, AtrousBranches, conv_unit, separable_unit
from tf_impl.layers import Conv2d, Shape, register
from tf_impl.resizing import resize_to


def fcn_head(in_channels: int, num_classes: int, **kwargs: Any) -> Chain:
    """Make a 3 x 3 convolution to a quarter of the channels and a 1 x 1 one to the classes.

    Shapes: (N, H, W, in_channels) -> (N, H, W, num_classes).

    Args:
        in_channels: channels of the input, at least 4.
        num_classes: channels of the output.

    Source: torchvision, FCNHead.
    """
    inner = in_channels // 4
    steps: list[Step] = [*unit_steps(in_channels, inner, 3), partial(keras.layers.Dropout, 0.1)]
    return Chain([*steps, partial(Conv2d, inner, num_classes, 1)], **kwargs)


@register
class DilatedFCN(keras.Model):
    """A small head on a ResNet that dilates instead of halving: torchvision's fcn_resnet50.

    Shapes: (N, H, W, 3) -> (N, H, W, num_classes); with `auxiliary` a list of two such.

    Args:
        num_classes: channels of the output.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101", the v2 forms of the first two, or "vgg16".
        output_stride: of the features, 32, 16 or 8.
        auxiliary: whether a second head gives scores from the last stage but one, for training on both.
        width: channels of the backbone's first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: torchvision, fcn_resnet50; its state_dict loads.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet50",
        output_stride: int = 8,
        auxiliary: bool = False,
        width: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.backbone_name = backbone
        self.output_stride = output_stride
        self.auxiliary = auxiliary
        self.width = width
        self.input_spec = spec(CHANNELS)
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.backbone = make_backbone(backbone, output_stride, width, **dtype, name="backbone")
            *_, third, last = self.backbone.out_channels
            self.classifier = fcn_head(last, num_classes, **dtype, name="classifier")
            self.aux_classifier = (
                fcn_head(third, num_classes, **dtype, name="aux_classifier") if auxiliary else None
            )
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor | list[Tensor]:
        """Segment the images `x`."""
        *_, third, last = run(self.backbone, x, training)
        scores = resize_to(self.classifier(last, training=training), size_of(x))
        if self.aux_classifier is None:
            return scores
        return [scores, resize_to(self.aux_classifier(third, training=training), size_of(x))]

    def compute_output_shape(self, input_shape: Shape) -> Shape | list[Shape]:
        """Give the output's shape; an unknown size stays unknown."""
        shape = (*input_shape[:3], self.num_classes)
        return [shape, shape] if self.auxiliary else shape

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("num_classes", "output_stride", "auxiliary", "width")
        return {**arguments(self, names), "backbone": self.backbone_name}


@register
class DeepLabV2(keras.Model):
    """Scores from atrous convolutions of several rates on a backbone that dilates instead of halving.

    Shapes: (N, H, W, 3) -> (N, H, W, num_classes).

    Args:
        num_classes: channels of the output.
        backbone: "resnet101" or "vgg16" as in the paper, or another one that `DilatedFCN` takes.
        output_stride: of the features, 32, 16 or 8.
        rates: dilation of each branch, in pixels.
        pooling: "sum" adds the branches' scores, "concat" weighs them by a 1 x 1 convolution (the lecture).
        hidden: channels of two further layers in each branch; the paper has 1024 with VGG16, and none (0) else.
        width: channels of the backbone's first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and
    Fully Connected CRFs", without the CRF.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet101",
        output_stride: int = 8,
        rates: Sequence[int] = (6, 12, 18, 24),
        pooling: Literal["sum", "concat"] = "sum",
        hidden: int = 0,
        width: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.backbone_name = backbone
        self.output_stride = output_stride
        self.rates = tuple(rates)
        self.pooling = pooling
        self.hidden = hidden
        self.width = width
        self.input_spec = spec(CHANNELS)
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.backbone = make_backbone(backbone, output_stride, width, **dtype, name="backbone")
            self.classifier = AtrousBranches(
                self.backbone.out_channels[-1],
                num_classes,
                rates,
                pooling,
                hidden,
                **dtype,
                name="classifier",
            )
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Segment the images `x`."""
        return resize_to(self.classifier(run(self.backbone, x, training)[-1], training=training), size_of(x))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        return (*input_shape[:3], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("num_classes", "output_stride", "rates", "pooling", "hidden", "width")
        return {**arguments(self, names), "backbone": self.backbone_name}


@register
class DeepLabV3(keras.Model):
    """ASPP with image pooling and normalisation on a backbone that dilates instead of halving.

    Shapes: (N, H, W, 3) -> (N, H, W, num_classes); with `auxiliary` a list of two such.

    Args:
        num_classes: channels of the output.
        backbone: as `DilatedFCN` takes it.
        output_stride: of the features, 32, 16 or 8.
        rates: of ASPP, in pixels; None is 6, 12, 18 at stride 16, and twice that at stride 8.
        multi_grid: a rate for each block of the backbone's last stage, such as (1, 2, 4); None for all alike.
        auxiliary: whether a second head gives scores from the last stage but one, for training on both.
        channels: of ASPP and of the layer after it.
        width: channels of the backbone's first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation"; torchvision,
    deeplabv3_resnet50, whose state_dict loads.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet50",
        output_stride: int = 8,
        rates: Sequence[int] | None = None,
        multi_grid: Sequence[int] | None = None,
        auxiliary: bool = False,
        channels: int = 256,
        width: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.backbone_name = backbone
        self.output_stride = output_stride
        self.rates = default_rates(rates, output_stride)
        self.multi_grid = None if multi_grid is None else tuple(multi_grid)
        self.auxiliary = auxiliary
        self.channels = channels
        self.width = width
        self.input_spec = spec(CHANNELS)
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.backbone = make_backbone(
                backbone, output_stride, width, multi_grid, **dtype, name="backbone"
            )
            *_, third, last = self.backbone.out_channels
            self.classifier = Chain(
                [
                    partial(ASPP, last, self.rates, channels),
                    *unit_steps(channels, channels, 3),
                    partial(Conv2d, channels, num_classes, 1),
                ],
                **dtype,
                name="classifier",
            )
            self.aux_classifier = (
                fcn_head(third, num_classes, **dtype, name="aux_classifier") if auxiliary else None
            )
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor | list[Tensor]:
        """Segment the images `x`."""
        *_, third, last = run(self.backbone, x, training)
        scores = resize_to(self.classifier(last, training=training), size_of(x))
        if self.aux_classifier is None:
            return scores
        return [scores, resize_to(self.aux_classifier(third, training=training), size_of(x))]

    def compute_output_shape(self, input_shape: Shape) -> Shape | list[Shape]:
        """Give the output's shape; an unknown size stays unknown."""
        shape = (*input_shape[:3], self.num_classes)
        return [shape, shape] if self.auxiliary else shape

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("num_classes", "output_stride", "rates", "multi_grid", "auxiliary", "channels", "width")
        return {**arguments(self, names), "backbone": self.backbone_name}


@register
class DeepLabV3Plus(keras.Model):
    """DeepLab v3's features, enlarged, joined with a few of stride 4, refined by two 3 x 3 convolutions, and enlarged.

    Shapes: (N, H, W, 3) -> (N, H, W, num_classes).

    Args:
        num_classes: channels of the output.
        backbone: as `DilatedFCN` takes it.
        output_stride: of the features, 32, 16 or 8.
        rates: of ASPP, in pixels; None is 6, 12, 18 at stride 16, and twice that at stride 8.
        multi_grid: a rate for each block of the backbone's last stage, such as (1, 2, 4); None for all alike.
        separable: whether the 3 x 3 convolutions of ASPP and of the decoder are depthwise separable.
        low_channels: to which the features of stride 4 are reduced.
        channels: of ASPP and of the decoder.
        width: channels of the backbone's first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", figure 2.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet50",
        output_stride: int = 16,
        rates: Sequence[int] | None = None,
        multi_grid: Sequence[int] | None = None,
        separable: bool = False,
        low_channels: int = 48,
        channels: int = 256,
        width: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.backbone_name = backbone
        self.output_stride = output_stride
        self.rates = default_rates(rates, output_stride)
        self.multi_grid = None if multi_grid is None else tuple(multi_grid)
        self.separable = separable
        self.low_channels = low_channels
        self.channels = channels
        self.width = width
        self.input_spec = spec(CHANNELS)
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.backbone = make_backbone(
                backbone, output_stride, width, multi_grid, **dtype, name="backbone"
            )
            self._low = low_level(backbone)
            self.aspp = ASPP(
                self.backbone.out_channels[-1], self.rates, channels, separable, **dtype, name="aspp"
            )
            self.low = conv_unit(self.backbone.out_channels[self._low], low_channels, **dtype, name="low")
            unit = separable_unit if separable else conv_unit
            self.decoder = Chain(
                [partial(unit, channels + low_channels, channels, 3), partial(unit, channels, channels, 3)],
                **dtype,
                name="decoder",
            )
            self.head = Conv2d(channels, num_classes, 1, **dtype, name="head")
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Segment the images `x`."""
        features = run(self.backbone, x, training)
        low = self.low(features[self._low], training=training)  # (N, low_channels, H/4, W/4)
        high = resize_to(self.aspp(features[-1], training=training), size_of(low))
        joined = self.decoder(ops.concatenate((high, low), axis=-1), training=training)
        return resize_to(self.head(joined), size_of(x))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        return (*input_shape[:3], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = (
            "num_classes",
            "output_stride",
            "rates",
            "multi_grid",
            "separable",
            "low_channels",
            "channels",
            "width",
        )
        return {**arguments(self, names), "backbone": self.backbone_name}
