"""keras.applications against torchvision's definitions of the same names: every layer finds its own.

The names on the two sides have nothing in common, and the order of definition, of execution and of creation
all differ. What is right is known from the authors' own numbering of stages and blocks, or from the outputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from tests.torchvision_zoo import import_torchvision

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore::FutureWarning")]


def vgg16(path: str) -> str:
    """block4_conv2 is the ninth convolution: torch numbers them with the activations and poolings between."""
    heads = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}
    if path in heads:
        return heads[path]
    block, convolution = map(int, re.fullmatch(r"block(\d)_conv(\d)", path).groups())  # type: ignore[union-attr]
    sizes = (2, 2, 3, 3, 3)[: block - 1]
    return f"features.{2 * sum(sizes) + len(sizes) + 2 * (convolution - 1)}"


def resnet50(path: str) -> str:
    ends = {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc"}
    if path in ends:
        return ends[path]
    stage, block, n, kind = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", path).groups()  # type: ignore[union-attr]
    stem = f"layer{int(stage) - 1}.{int(block) - 1}"
    return f"{stem}.{kind}{n}" if n != "0" else f"{stem}.downsample.{0 if kind == 'conv' else 1}"


def mobilenet_v2(path: str) -> str:
    ends = {"Conv1": "features.0.0", "bn_Conv1": "features.0.1", "Conv_1": "features.18.0",
            "Conv_1_bn": "features.18.1", "predictions": "classifier.1"}  # fmt: skip
    if path in ends:
        return ends[path]
    first = path.startswith("expanded_conv_")
    block = 0 if first else int(re.match(r"block_(\d+)_", path).group(1))  # type: ignore[union-attr]
    step = re.sub(r"^(expanded_conv|block_\d+)_", "", path)
    steps = ["expand", "expand_BN", "depthwise", "depthwise_BN", "project", "project_BN"]
    places = ["0.0", "0.1", "1.0", "1.1", "2", "3"]
    if first:
        steps, places = steps[2:], ["0.0", "0.1", "1", "2"]
    return f"features.{block + 1}.conv.{dict(zip(steps, places, strict=True))[step]}"


def densenet121(path: str) -> str:
    ends = {"conv1_conv": "conv0", "conv1_bn": "norm0", "bn": "norm5"}
    if path == "predictions":
        return "classifier"
    if path in ends:
        return f"features.{ends[path]}"
    if found := re.fullmatch(r"pool(\d)_(bn|conv)", path):
        return f"features.transition{int(found[1]) - 1}.{'norm' if found[2] == 'bn' else 'conv'}"
    stage, layer, step = re.fullmatch(r"conv(\d)_block(\d+)_(\d_\w+)", path).groups()  # type: ignore[union-attr]
    name = {"0_bn": "norm1", "1_conv": "conv1", "1_bn": "norm2", "2_conv": "conv2"}[step]
    return f"features.denseblock{int(stage) - 1}.denselayer{layer}.{name}"


PAIRS: list[Any] = [
    pytest.param("VGG16", "vgg16", vgg16, 64, 16, marks=pytest.mark.slow),
    pytest.param("ResNet50", "resnet50", resnet50, 64, 107, marks=pytest.mark.slow),
    pytest.param("MobileNetV2", "mobilenet_v2", mobilenet_v2, 64, 105),
    pytest.param("DenseNet121", "densenet121", densenet121, 64, 242, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("ours", "theirs", "wanted", "size", "count"), PAIRS)
def test_every_layer_finds_its_own(
    ours: str, theirs: str, wanted: Callable[[str], str], size: int, count: int
) -> None:
    needs("keras")
    models = import_torchvision()
    import keras
    from torch import nn

    import parity

    model = getattr(keras.applications, ours)(weights=None, input_shape=(size, size, 3))
    module = getattr(models, theirs)(weights=None)
    if ours == "VGG16":  # its classifier takes 7 x 7 whatever the input: a smaller one is as good
        module.avgpool, module.classifier[0] = nn.Identity(), nn.Linear(512 * (size // 32) ** 2, 4096)
    sample = np.random.default_rng(0).standard_normal((1, size, size, 3)).astype(np.float32)
    result = parity.transfer(module, model, inputs=sample)
    assert len(result.pairs) == count
    assert {path: wanted(path) for path, _ in result.pairs} == dict(result.pairs)
    assert result.unmatched_source == result.unmatched_target == []


@contextmanager
def averages_without_padding() -> Iterator[None]:
    """torchvision's Inception averages over the padding, Keras' does not: the one known difference."""
    from torch.nn import functional as F

    plain = F.avg_pool2d

    def pool(x: Any, *args: Any, **options: Any) -> Any:
        return plain(x, *args, **options, count_include_pad=False)

    F.avg_pool2d = pool
    try:
        yield
    finally:
        F.avg_pool2d = plain


@pytest.mark.slow
@pytest.mark.whole
def test_inception_computes_the_same_under_the_pairs() -> None:
    """Its layers have no telling names in Keras (conv2d_57): the outputs say that each found its own."""
    needs("keras")
    models = import_torchvision()
    import keras
    import torch
    from torch import nn

    import parity
    from parity.adapters import adapt
    from parity.adapters.probe import randomise

    model = keras.applications.InceptionV3(
        weights=None, input_shape=(107, 123, 3), classifier_activation=None
    )
    module = models.inception_v3(weights=None, init_weights=False, aux_logits=False)
    randomise(adapt(module), 0)
    for norm in [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]:
        nn.init.ones_(norm.weight)  # Keras' has no scale
    sample = np.random.default_rng(0).standard_normal((1, 107, 123, 3)).astype(np.float32)
    with averages_without_padding(), torch.no_grad():
        result = parity.transfer(module, model, inputs=sample)
        assert len(result.pairs) == 189
        assert parity.compare(model, module, sample).verdict == "EQUAL"


@pytest.mark.slow
def test_efficientnet_is_equal_once_its_padding_and_epsilon_are_the_same() -> None:
    """keras.applications normalises inside the model, by statistics that torchvision's has outside."""
    needs("keras")
    needs("torch")
    models = import_torchvision()
    import keras
    import torch
    from torch import nn
    from torch.nn import functional as F

    import parity
    from parity.adapters import adapt
    from parity.adapters.probe import randomise

    class Padded(nn.Module):
        """Pads as keras.applications does in front of a stride of two."""

        def __init__(self, conv: nn.Conv2d) -> None:
            super().__init__()
            self.conv, self.half = conv, conv.kernel_size[0] // 2
            conv.padding = (0, 0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            up, left = (self.half - 1 + size % 2 for size in x.shape[-2:])
            return self.conv(F.pad(x, (left, self.half, up, self.half)))

    class Rescaled(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x / 255.0)

    net = models.efficientnet_b0(weights=None).eval()
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                child.eps = 1e-3
            if isinstance(child, nn.Conv2d) and child.stride == (2, 2):
                setattr(module, name, Padded(child))
    model = keras.applications.EfficientNetB0(
        weights=None, input_shape=(65, 97, 3), classifier_activation=None
    )
    whole = Rescaled(net)
    x = np.random.default_rng(0).uniform(0, 255, size=(2, 65, 97, 3)).astype("float32")
    randomise(adapt(whole), 3)
    parity.transfer(whole, model, inputs=x)
    report = parity.compare(model, whole, x, quick=True)
    assert report, str(report)
    assert any("normalization" in note and "judged by what comes out" in note for note in report.notes)
    statistics = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    statistics.adapt_mean.assign(statistics.adapt_mean + 0.1)
    statistics.finalize_state()
    assert parity.compare(model, whole, x, quick=True).verdict == "DIVERGED"
