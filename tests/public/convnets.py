"""Convolutional networks of keras-hub and keras.applications against timm and torchvision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.public.language import hub
from tests.public.pair import PublicPair, differ, picture


def timm(name: str, **settings: Any) -> Callable[[], Any]:
    """Builds a network of timm without its head: its last features."""

    def build() -> Any:
        import timm as package

        return package.create_model(name, num_classes=0, global_pool="", **settings).eval()

    return build


def applications(name: str, **settings: Any) -> Callable[[], Any]:
    """Builds a network of keras.applications."""

    def build() -> Any:
        import keras

        return getattr(keras.applications, name)(weights=None, **settings)

    return build


def vision(name: str, **settings: Any) -> Callable[[], Any]:
    """Builds a network of torchvision."""

    def build() -> Any:
        import torchvision

        return getattr(torchvision.models, name)(**settings).eval()

    return build


PAIRS: dict[str, PublicPair] = {
    "ResNet": PublicPair(
        hub(
            "ResNetBackbone", input_conv_filters=[64], input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 128, 256, 512], stackwise_num_blocks=[2, 2, 2, 2],
            stackwise_num_strides=[1, 2, 2, 2], block_type="basic_block",
        ),
        timm("resnet18"),
        picture(1, 65, 96, 3),
    ),
    "DenseNet": PublicPair(
        hub("DenseNetBackbone", stackwise_num_repeats=[3, 2, 2, 3]),
        timm("densenet121", block_config=(3, 2, 2, 3)),
        picture(1, 65, 97, 3),
        **differ(
            "batchnorm-epsilon",
            why="densenet_backbone.py: BN_EPSILON = 1.001e-5; timm: 1e-5. At odd sizes 'same' pads as timm does",
        ),
    ),
    "EfficientNet": PublicPair(
        hub(
            "EfficientNetBackbone", stackwise_width_coefficients=[1.0] * 7, stackwise_depth_coefficients=[1.0] * 7,
            stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3], stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
            stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
            stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
            stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6], stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
            stackwise_squeeze_and_excite_ratios=[0.25] * 7, stackwise_block_types=["v1"] * 7, min_depth=None,
            use_depth_divisor_as_min_depth=True, cap_round_filter_decrease=True, dropout=0,
        ),
        timm("efficientnet_b0"),
        picture(1, 65, 96, 3),
    ),
    "CSPDarknet": PublicPair(
        hub(
            "CSPNetBackbone", stem_filters=32, stem_kernel_size=3, stem_strides=1, stackwise_depth=[1, 2, 8, 8, 4],
            stackwise_num_filters=[64, 128, 256, 512, 1024], bottle_ratio=(0.5, 1.0), block_ratio=(1.0, 0.5),
            expand_ratio=(2.0, 1.0), stem_padding="same", stem_pooling=None, stage_type="csp", groups=1,
            block_type="dark_block", down_growth=True, stackwise_strides=[2, 2, 2, 2, 2], avg_down=False,
            cross_linear=False,
        ),
        timm("cspdarknet53"),
        picture(1, 64, 96, 3),
    ),
    "VGG": PublicPair(
        hub("VGGBackbone", stackwise_num_repeats=[1, 1, 2, 2, 2], stackwise_num_filters=[64, 128, 256, 512, 512]),
        lambda: timm("vgg11")().features,
        picture(1, 65, 96, 3),
    ),
    "MobileNetV2": PublicPair(
        applications("MobileNetV2", input_shape=(96, 96, 3), include_top=True, classes=10, classifier_activation=None),
        vision("mobilenet_v2", num_classes=10),
        picture(1, 96, 96, 3),
        **differ(
            "batchnorm-epsilon", "same-padding-asymmetry",
            why="mobilenet_v2.py: epsilon 1e-3, 'valid' behind correct_pad; torchvision: 1e-5, padding 1",
        ),
    ),
    "ResNet50V2": PublicPair(
        applications("ResNet50V2", include_top=False),
        timm("resnetv2_50"),
        picture(1, 65, 96, 3),
        **differ(
            "batchnorm-epsilon", "stride-placement", "stride-value", "padding-size",
            why="resnet.py: epsilon 1.001e-5, strides in a stage's last block, zeros in front of the first maximum; "
            "timm: 1e-5, strides in the first block, no zeros",
        ),
    ),
    "ResNetV2": PublicPair(
        hub(
            "ResNetBackbone", input_conv_filters=[64], input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 128, 256, 512], stackwise_num_blocks=[2, 2, 2, 2],
            stackwise_num_strides=[1, 2, 2, 2], block_type="bottleneck_block", use_pre_activation=True,
        ),
        timm("resnetv2_50", layers=[2, 2, 2, 2]),
        picture(1, 65, 96, 3),
    ),
    "ConvNeXt": PublicPair(
        applications("ConvNeXtTiny", include_top=False, include_preprocessing=False),
        timm("convnext_tiny"),
        picture(1, 64, 96, 3),
    ),
}  # fmt: skip
