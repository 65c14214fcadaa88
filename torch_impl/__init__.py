"""Segmentation networks and their parts in PyTorch: the mirror image of `tf_impl`."""

from __future__ import annotations

import importlib
from typing import Any

from torch_impl._shared.own_datasets import reach
from torch_impl._triton_import import watch_triton

reach()
watch_triton()  # TensorFlow may be in the same process: a user of both halves

# A name's module loads when the name is first used: modules that are commands too must not load before.
_HOME = {
    "SkipBlockDN": "blocks",
    "SkipBlockUP": "blocks",
    "BilinearKernel": "initializers",
    "bilinear_kernel": "initializers",
    "BatchNorm2d": "layers",
    "Conv2d": "layers",
    "Conv2DTranspose": "layers",
    "ConvTranspose2d": "layers",
    "MaxPool2d": "layers",
    "UpSampling2d": "layers",
    "mUnet": "munet",
    "SGD": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "RMSprop": "optimizers",
    "conv_matrix": "ops",
    "conv_output_size": "ops",
    "conv_transpose_matrix": "ops",
    "conv_transpose_output_size": "ops",
    "corr2d": "ops",
    "dilate_kernel": "ops",
    "drop_zeroed_rows": "ops",
    "kernel2matrix": "ops",
    "strided_matrix_zeroed_rows": "ops",
    "trans_conv": "ops",
    "transposed_input_padding": "ops",
    "ASPP": "aspp",
    "AtrousBranches": "aspp",
    "DepthwiseConv2d": "aspp",
    "BuildingNet": "buildingnet",
    "UncertaintyAttention": "buildingnet",
    "DeepLabV2": "deeplab",
    "DeepLabV3": "deeplab",
    "DeepLabV3Plus": "deeplab",
    "DilatedFCN": "deeplab",
    "FCN": "fcn",
    "VGGFCN": "fcn",
    "ResNet": "resnet",
    "ResNetV2": "resnet",
    "VGG16": "vgg",
    "resize_to": "resizing",
    "UNet": "unet",
    "compare_upsampling": "upsampling",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
