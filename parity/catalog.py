"""The systems that exist on both sides. Strings alone: nothing here imports a framework."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points

from parity.adapters.frameworks import import_frameworks
from parity.adapters.spec import split_call
from parity.core.errors import UsageError

ENTRY_POINTS = "parity.pairs"
LECTURE = "Kak and Bouman, Deep Learning, week 8, 2025"
D2L = "Zhang et al., Dive into Deep Learning"
DEEPLAB = "Chen et al."
LONG = "Long, Shelhamer, Darrell 2015, on VGG16"


@dataclass(frozen=True)
class Entry:
    """One system in both frameworks.

    Attributes:
        name: what `parity check NAME` calls it.
        generation: the lecture's generation of networks, or "backbone", "block" or "layer".
        source: where it is described.
        keras: "module:attribute" or "module:attribute(arguments)" of the Keras side.
        torch: the same of the torch side.
        input: (N, H, W, C) of a real picture to check it on.
        mapping: {Keras path: torch path} where names differ.
        quick: "(arguments)" that `--all` checks instead, where the network as it is takes minutes.
        parameters: trainable ones of the torch side; None where the pair must be built to count them.
    """

    name: str
    generation: str
    source: str
    keras: str
    torch: str
    input: tuple[int, ...]
    mapping: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    quick: str = ""
    parameters: int | None = None


PARAMETERS: Mapping[str, int] = {
    "mUnet": 6_999_109,
    "mUnet-depth8": 4_040_773,
    "mUnet-no-skip": 4_040_773,
    "mUnet-printed": 4_040_773,
    "mUnet-intended": 4_043_013,
    "FCN-ResNet18": 12_993_642,
    "FCN-ResNet18-v2": 12_991_978,
    "FCN-32s": 134_346_581,
    "FCN-16s": 134_357_354,
    "FCN-8s": 134_362_751,
    "U-Net": 31_030_658,
    "U-Net-padded": 31_038_933,
    "DeepLab-v2": 44_048_532,
    "DeepLab-v2-VGG16": 37_877_652,
    "DeepLab-v2-lecture": 11_576_667,
    "DeepLab-v3": 39_638_869,
    "DeepLab-v3-multi-grid": 58_630_997,
    "FCN-ResNet50": 32_957_013,
    "DeepLab-v3+": 40_352_181,
    "DeepLab-v3+-separable": 12_338_629,
    "BuildingNet": 18_595_141,
    "ASPP": 4_128,
    "ASPP-separable": 1_584,
    "AtrousBranches": 1_395,
    "ResNet-18": 11_689_512,
    "ResNet-18-v2": 11_687_848,
    "SkipBlockDN": 1_200,
    "SkipBlockDN-down": 1_272,
    "SkipBlockDN-grow": 2_400,
    "SkipBlockUP": 1_200,
    "SkipBlockUP-up": 1_272,
    "SkipBlockUP-shrink": 2_352,
    "Conv2d": 368,
    "BatchNorm2d": 10,
    "MaxPool2d": 0,
    "ConvTranspose2d": 112,
    "ConvTranspose2d-atrous": 275,
    "ConvTranspose2d-general": 76,
    "Conv2DTranspose-valid": 112,
    "Conv2DTranspose-same": 112,
    "UpSampling2d-nearest": 0,
    "UpSampling2d-bilinear": 0,
}
"""Trainable parameters of our own pairs: `parity models` builds none. tests/unit/test_catalog.py counts them."""


def _own(
    name: str, generation: str, source: str, attribute: str, shape: tuple[int, ...], quick: str = ""
) -> Entry:
    keras, torch = f"tf_impl.{attribute}", f"torch_impl.{attribute}"
    return Entry(name, generation, source, keras, torch, shape, quick=quick, parameters=PARAMETERS[name])


_IMAGE = (2, 72, 104, 3)
_NARROW = "hidden=64, width=8"
# Four images where a picture's average is normalised over the batch: of two, that is ill-conditioned.
ENTRIES: tuple[Entry, ...] = (
    _own("mUnet", "2", f"{LECTURE}, slides 68-71; DLStudio 2.5.8", "munet:mUnet()", _IMAGE),
    _own("mUnet-depth8", "2", f"{LECTURE}, slides 68-71", "munet:mUnet(depth=8)", _IMAGE),
    _own("mUnet-no-skip", "2", f"{LECTURE}, slides 68-71",
         "munet:mUnet(skip_connections=False, depth=8)", _IMAGE),
    _own("mUnet-printed", "2", f"{LECTURE}, slides 70-71 as printed",
         "munet:mUnet(depth=8, schedule='printed')", _IMAGE),
    _own("mUnet-intended", "2", "each decoder block once, dense head",
         "munet:mUnet(depth=8, schedule='intended', head='dense')", _IMAGE),
    _own("FCN-ResNet18", "1", f"{D2L}, fully convolutional networks, on torchvision's ResNet-18",
         "fcn:FCN()", (2, 65, 98, 3)),
    _own("FCN-ResNet18-v2", "1", f"{D2L}, fully convolutional networks, as printed (MXNet)",
         "fcn:FCN(backbone='resnet18_v2')", (2, 65, 98, 3)),
    _own("FCN-32s", "1", LONG, "fcn:VGGFCN(stride=32)", (2, 19, 34, 3), f"(stride=32, {_NARROW})"),
    _own("FCN-16s", "1", LONG, "fcn:VGGFCN(stride=16)", (2, 19, 34, 3), f"(stride=16, {_NARROW})"),
    _own("FCN-8s", "1", LONG, "fcn:VGGFCN(stride=8)", (2, 19, 34, 3), f"(stride=8, {_NARROW})"),
    _own("U-Net", "2", "Ronneberger, Fischer, Brox 2015, figure 1", "unet:UNet()", (2, 188, 204, 1), "(width=8)"),
    _own("U-Net-padded", "2", "U-Net with padding and normalisation, as commonly used",
         "unet:UNet(3, 21, padded=True, batch_norm=True)", (2, 33, 50, 3),
         "(3, 21, padded=True, batch_norm=True, width=8)"),
    _own("DeepLab-v2", "3", f"{DEEPLAB} 2016 (v2), ResNet-101, scores summed", "deeplab:DeepLabV2()", (2, 33, 50, 3),
         "(width=8)"),
    _own("DeepLab-v2-VGG16", "3", f"{DEEPLAB} 2016 (v2), VGG16, ASPP-L",
         "deeplab:DeepLabV2(backbone='vgg16', hidden=1024)", (2, 33, 50, 3), "(backbone='vgg16', hidden=64, width=8)"),
    _own("DeepLab-v2-lecture", "3", f"{LECTURE}, slides 20-22: scores concatenated",
         "deeplab:DeepLabV2(backbone='resnet18', pooling='concat')", (2, 33, 50, 3),
         "(backbone='resnet18', pooling='concat', width=8)"),
    _own("DeepLab-v3", "3", f"{DEEPLAB} 2017 (v3); torchvision, deeplabv3_resnet50", "deeplab:DeepLabV3()",
         (4, 33, 50, 3), "(channels=32, width=8)"),
    _own("DeepLab-v3-multi-grid", "3", f"{DEEPLAB} 2017 (v3), ResNet-101, stride 16",
         "deeplab:DeepLabV3(backbone='resnet101', output_stride=16, multi_grid=(1, 2, 4))", (4, 33, 50, 3),
         "(backbone='resnet101', output_stride=16, multi_grid=(1, 2, 4), channels=32, width=8)"),
    _own("FCN-ResNet50", "1", "Long et al. 2015, dilated; torchvision, fcn_resnet50", "deeplab:DilatedFCN()",
         (4, 33, 50, 3), "(width=8)"),
    _own("DeepLab-v3+", "4", f"{DEEPLAB} 2018 (v3+), ResNet-50", "deeplab:DeepLabV3Plus()", (4, 33, 50, 3),
         "(channels=32, width=8)"),
    _own("DeepLab-v3+-separable", "4", f"{DEEPLAB} 2018 (v3+), ResNet-18, separable convolutions",
         "deeplab:DeepLabV3Plus(backbone='resnet18', separable=True)", (4, 33, 50, 3),
         "(backbone='resnet18', separable=True, channels=32, width=8)"),
    _own("BuildingNet", "5", f"{LECTURE}, slides 24-27; a reconstruction", "buildingnet:BuildingNet()",
         (4, 33, 50, 3), "(width=32)"),
    _own("ASPP", "block", f"{DEEPLAB} 2017, figure 5", "aspp:ASPP(16, (2, 4, 6), 8)", (4, 17, 23, 16)),
    _own("ASPP-separable", "block", f"{DEEPLAB} 2018, figure 3", "aspp:ASPP(16, (2, 4, 6), 8, separable=True)",
         (2, 33, 46, 16)),
    _own("AtrousBranches", "block", f"{LECTURE}, slides 20-22",
         "aspp:AtrousBranches(16, 3, (2, 4, 6), pooling='concat')", (2, 33, 46, 16)),
    _own("ResNet-18", "backbone", "He et al. 2015; torchvision, resnet18", "resnet:ResNet(18)", (2, 65, 98, 3)),
    _own("ResNet-18-v2", "backbone", "He et al. 2016; MXNet, resnet18_v2", "resnet:ResNetV2(18)", (2, 65, 98, 3)),
    _own("SkipBlockDN", "block", f"{LECTURE}, slide 65", "blocks:SkipBlockDN(8, 8)", (2, 33, 46, 8)),
    _own("SkipBlockDN-down", "block", f"{LECTURE}, slide 65",
         "blocks:SkipBlockDN(8, 8, downsample=True)", (2, 33, 46, 8)),
    _own("SkipBlockDN-grow", "block", f"{LECTURE}, slide 65", "blocks:SkipBlockDN(8, 16)", (2, 33, 46, 8)),
    _own("SkipBlockUP", "block", f"{LECTURE}, slide 66", "blocks:SkipBlockUP(8, 8)", (2, 33, 46, 8)),
    _own("SkipBlockUP-up", "block", f"{LECTURE}, slide 66",
         "blocks:SkipBlockUP(8, 8, upsample=True)", (2, 17, 23, 8)),
    _own("SkipBlockUP-shrink", "block", f"{LECTURE}, slide 66", "blocks:SkipBlockUP(16, 8)", (2, 33, 46, 16)),
    _own("Conv2d", "layer", f"{LECTURE}, slides 9-14 (atrous)",
         "layers:Conv2d(3, 8, (3, 5), stride=2, padding=(1, 4), dilation=2)", (2, 65, 98, 3)),
    _own("BatchNorm2d", "layer", f"{LECTURE}, slide 65", "layers:BatchNorm2d(5)", (2, 33, 46, 5)),
    _own("MaxPool2d", "layer", f"{LECTURE}, slide 70",
         "layers:MaxPool2d(3, stride=2, padding=1)", (2, 65, 98, 3)),
    _own("ConvTranspose2d", "layer", f"{LECTURE}, slides 46-62",
         "layers:ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)", (2, 33, 46, 3)),
    _own("ConvTranspose2d-atrous", "layer", f"{LECTURE}, slide 70, conv_out",
         "layers:ConvTranspose2d(6, 5, 3, stride=2, dilation=2, output_padding=1, padding=2)", (2, 33, 46, 6)),
    _own("ConvTranspose2d-general", "layer", "every argument at once",
         "layers:ConvTranspose2d(6, 4, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), "
         "dilation=(3, 2), groups=2)", (2, 17, 23, 6)),
    _own("Conv2DTranspose-valid", "layer", "Keras' Conv2DTranspose",
         "layers:Conv2DTranspose(3, 4, 3, stride=2)", (2, 33, 46, 3)),
    _own("Conv2DTranspose-same", "layer", "Keras' Conv2DTranspose",
         "layers:Conv2DTranspose(3, 4, 3, stride=2, padding='same')", (2, 33, 46, 3)),
    _own("UpSampling2d-nearest", "layer", "Keras' UpSampling2D", "layers:UpSampling2d((2, 3))", (2, 33, 46, 3)),
    _own("UpSampling2d-bilinear", "layer", "Keras' UpSampling2D",
         "layers:UpSampling2d((2, 3), mode='bilinear')", (2, 33, 46, 3)),
)  # fmt: skip


def entries() -> dict[str, Entry]:
    """Every known pair by name: the catalogue, then what installed packages register.

    Raises:
        UsageError: an installed package registers something that is not an Entry, or a name again.
    """
    known = {entry.name: entry for entry in ENTRIES}
    points = entry_points(group=ENTRY_POINTS)
    if points:
        import_frameworks()  # before a package of somebody else imports them in another order
    for point in points:
        loaded = point.load()
        loaded = loaded() if callable(loaded) else loaded
        for entry in loaded if isinstance(loaded, list | tuple) else [loaded]:
            if not isinstance(entry, Entry):
                raise UsageError(
                    f"the entry point {ENTRY_POINTS}:{point.name} must give parity.catalog.Entry objects; "
                    f"got {type(entry).__name__}. Correct or uninstall the package that registers it."
                )
            if entry.name in known:
                raise UsageError(
                    f"names of pairs must be unique; got {entry.name!r} again from {point.name}. Rename that entry."
                )
            known[entry.name] = entry
    return known


def unknown(name: str, known: Sequence[str]) -> UsageError:
    """The error for a pair that nothing names, with the nearest names that are known."""
    near = difflib.get_close_matches(name, known, 5, 0.5) or list(known)[:5]
    return UsageError(
        f"a pair must be in the catalogue, or in [tool.parity] of pyproject.toml; got {name!r}. "
        f"Nearest: {', '.join(near)}. `parity models` lists the catalogue."
    )


def find(name: str) -> Entry:
    """The entry of that name; "mUnet(depth=4)" is the entry mUnet with other arguments.

    Raises:
        UsageError: there is none.
    """
    plain, arguments = split_call(name)
    entry = entries().get(plain)
    if entry is None:
        raise unknown(name, list(entries()))
    if arguments is None:
        return entry
    call = name[len(plain) :]
    return replace(
        entry,
        name=name,
        parameters=None,
        keras=entry.keras.partition("(")[0] + call,
        torch=entry.torch.partition("(")[0] + call,
    )
