"""The public models that `parity port` is measured on: chosen before the first run, and not exchanged afterwards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PortRow:
    """A model to port.

    Attributes:
        family: what the model's authors call its kind.
        spec: "module:attribute(arguments)", as the command line takes it.
        input: what `--input` takes, in the Keras layout; several are parted by spaces.
        kind: for a Keras model "functional", "sequential" or "subclassed".
    """

    family: str
    spec: str
    input: str
    kind: str = ""


def _torchvision(family: str, call: str, size: str = "2x64x96x3") -> PortRow:
    return PortRow(family, f"torchvision.models:{call}", size)


def _timm(family: str, call: str, size: str = "2x64x96x3") -> PortRow:
    return PortRow(family, f"timm:create_model({call})", size)


def _smp(
    family: str, arguments: str = "'resnet18', encoder_weights=None", size: str = "2x64x96x3"
) -> PortRow:
    return PortRow(family, f"segmentation_models_pytorch:{family}({arguments})", size)


TORCH: dict[str, PortRow] = {
    "alexnet": _torchvision("AlexNet", "alexnet(num_classes=10)", "2x127x161x3"),
    "vgg11_bn": _torchvision("VGG", "vgg11_bn(num_classes=10)"),
    "resnet18": _torchvision("ResNet", "resnet18(num_classes=10)"),
    "resnext50": _torchvision("ResNeXt", "resnext50_32x4d(num_classes=10)"),
    "densenet121": _torchvision("DenseNet", "densenet121(num_classes=10)"),
    "mobilenet_v2": _torchvision("MobileNetV2", "mobilenet_v2(num_classes=10)"),
    "mobilenet_v3_small": _torchvision("MobileNetV3", "mobilenet_v3_small(num_classes=10)"),
    "shufflenet_v2": _torchvision("ShuffleNetV2", "shufflenet_v2_x0_5(num_classes=10)"),
    "mnasnet": _torchvision("MNASNet", "mnasnet0_5(num_classes=10)"),
    "regnet_y": _torchvision("RegNet", "regnet_y_400mf(num_classes=10)"),
    "efficientnet_b0": _torchvision("EfficientNet", "efficientnet_b0(num_classes=10)"),
    "convnext_tiny": _torchvision("ConvNeXt", "convnext_tiny(num_classes=10)"),
    "squeezenet": _torchvision("SqueezeNet", "squeezenet1_1(num_classes=10)"),
    "googlenet": _torchvision("GoogLeNet", "googlenet(num_classes=10, init_weights=False)"),
    "vit": _torchvision(
        "ViT",
        "VisionTransformer(image_size=64, patch_size=16, num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=128)",
        "2x64x64x3",
    ),
    "swin_t": _torchvision("Swin", "swin_t(num_classes=10)"),
    "deeplabv3": _torchvision("DeepLabV3", "segmentation.deeplabv3_resnet50(weights_backbone=None)"),
    "lraspp": _torchvision("LR-ASPP", "segmentation.lraspp_mobilenet_v3_large(weights_backbone=None)"),
    "fcn": _torchvision("FCN", "segmentation.fcn_resnet50(weights_backbone=None)"),
    "timm_resnet26d": _timm("ResNet-D", "'resnet26d', num_classes=10"),
    "timm_vit_tiny": _timm("ViT", "'vit_tiny_patch16_224', img_size=64, num_classes=10", "2x64x64x3"),
    "timm_convnext_atto": _timm("ConvNeXt", "'convnext_atto', num_classes=10"),
    "timm_mixer": _timm("MLP-Mixer", "'mixer_s32_224', img_size=64, num_classes=10", "2x64x64x3"),
    "timm_repvgg": _timm("RepVGG", "'repvgg_a0', num_classes=10"),
    "timm_ghostnet": _timm("GhostNet", "'ghostnet_050', num_classes=10"),
    "timm_hrnet": _timm("HRNet", "'hrnet_w18_small', num_classes=10"),
    "timm_res2net": _timm("Res2Net", "'res2net50_14w_8s', num_classes=10"),
    "timm_dla": _timm("DLA", "'dla34', num_classes=10"),
    "timm_poolformer": _timm("PoolFormer", "'poolformer_s12', num_classes=10"),
    "timm_regnetx": _timm("RegNet", "'regnetx_002', num_classes=10"),
    "timm_vovnet": _timm("VoVNet", "'ese_vovnet19b_dw', num_classes=10"),
    "timm_mobilenetv3": _timm("MobileNetV3", "'mobilenetv3_small_050', num_classes=10"),
    "timm_cspresnet": _timm("CSPNet", "'cspresnet50', num_classes=10"),
    "smp_unet": _smp("Unet"),
    "smp_unetplusplus": _smp("UnetPlusPlus"),
    "smp_fpn": _smp("FPN"),
    "smp_pspnet": _smp("PSPNet"),
    "smp_linknet": _smp("Linknet"),
    "smp_pan": _smp("PAN", "'resnet18', encoder_weights=None", "2x128x192x3"),
    "smp_deeplabv3plus": _smp("DeepLabV3Plus"),
}
"""Forty torch models, to be written in Keras."""


def _application(name: str, size: str, more: str = "") -> PortRow:
    height, width = size.split("x")
    arguments = f"weights=None, input_shape=({height}, {width}, 3), classes=10{more}"
    return PortRow(name, f"keras.applications:{name}({arguments})", f"2x{size}x3", "functional")


def _own(family: str, call: str, size: str, kind: str) -> PortRow:
    return PortRow(family, f"tests.public.keras_models:{call}", size, kind)


KERAS: dict[str, PortRow] = {
    "resnet50": _application("ResNet50", "64x96"),
    "resnet50v2": _application("ResNet50V2", "64x96"),
    "vgg16": _application("VGG16", "64x96"),
    "mobilenet": _application("MobileNet", "64x96"),
    "mobilenetv2": _application("MobileNetV2", "64x96"),
    "mobilenetv3small": _application("MobileNetV3Small", "64x96"),
    "densenet121_keras": _application("DenseNet121", "64x96"),
    "efficientnetb0": _application("EfficientNetB0", "64x96"),
    "efficientnetv2b0": _application("EfficientNetV2B0", "64x96"),
    "convnexttiny": _application("ConvNeXtTiny", "64x96"),
    "xception": _application("Xception", "96x128"),
    "inceptionv3": _application("InceptionV3", "96x128"),
    "nasnetmobile": _application("NASNetMobile", "64x96"),
    "unet": PortRow("UNet", "tf_impl.unet:UNet(width=8)", "2x188x204x1", "subclassed"),
    "munet": PortRow("mUnet", "tf_impl.munet:mUnet(depth=8)", "2x64x64x3", "subclassed"),
    "deeplabv3plus": PortRow(
        "DeepLabV3Plus", "tf_impl.deeplab:DeepLabV3Plus(backbone='resnet18')", "2x65x97x3", "subclassed"
    ),
    "picture_and_words": _own(
        "two inputs", "picture_and_words()", "picture=2x33x49x3 sentence=2x12:int32:0..50", "functional"
    ),
    "transformer": _own("transformer", "Classifier()", "2x14:int32:0..60", "subclassed"),
    "autoencoder": _own("autoencoder", "autoencoder()", "2x32x48x3", "sequential"),
    "written_out": _own("own layers", "WrittenOut()", "2x33x49x3", "subclassed"),
}
"""Twenty Keras models, to be written in torch."""
