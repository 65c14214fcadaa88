"""keras.applications against torchvision: every difference is found and named, and its fix makes them EQUAL."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from tests.torchvision_zoo import import_torchvision

pytestmark = [pytest.mark.reference, pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]
SIZE = (46, 66)

# name in Keras, in torchvision, and how often each cause is named (at odd sizes the paddings of a stride agree)
PAIRS = [
    ("VGG16", "vgg16", {}),
    ("ResNet50", "resnet50", {"batchnorm-epsilon": 53, "stride-placement": 6}),
    ("MobileNetV2", "mobilenet_v2", {"batchnorm-epsilon": 52, "same-padding-asymmetry": 3}),
    ("DenseNet121", "densenet121", {"batchnorm-epsilon": 121}),
    ("MobileNetV3Small", "mobilenet_v3_small", {"same-padding-asymmetry": 3}),
]


def pair(ours: str, theirs: str) -> tuple[Any, Any, Any]:
    """The two models with random weights and statistics, carried over from torch, and an input."""
    models = import_torchvision()
    import keras
    from torch import nn

    import parity
    from parity.adapters import adapt
    from parity.adapters.probe import randomise

    more = {"include_preprocessing": False} if ours.startswith("MobileNetV3") else {}
    model = getattr(keras.applications, ours)(
        weights=None, input_shape=(*SIZE, 3), classes=10, classifier_activation=None, **more
    )
    module = getattr(models, theirs)(weights=None, num_classes=10)
    if ours == "VGG16":  # its classifier takes 7 x 7 whatever the input: a smaller one is as good
        module.avgpool = nn.Identity()
        module.classifier[0] = nn.Linear(512 * (SIZE[0] // 32) * (SIZE[1] // 32), 4096)
    randomise(adapt(module), 0)
    sample = np.random.default_rng(0).standard_normal((1, *SIZE, 3)).astype(np.float32)
    parity.transfer(module, model, inputs=sample)
    return model, module, sample


def pad_as_keras_does(layer: Any, inputs: tuple[Any, ...]) -> Any:
    """Padding "same" for stride 2: half of the kernel at both sides, one pixel less in front of an even size."""
    from torch.nn import functional as F

    half = layer.kernel_size[0] // 2
    rows, columns = (half - 1 + size % 2 for size in inputs[0].shape[2:])
    return F.pad(inputs[0], (columns, half, rows, half))


def mend(report: Any, model: Any, module: Any) -> None:
    """Do what the findings say."""
    strides = {}
    for finding in report.findings:
        layer = module.get_submodule(finding.torch)
        if finding.cause == "batchnorm-epsilon":
            layer.eps = model.get_layer(finding.keras).epsilon
        elif finding.cause == "stride-placement":
            strides[finding.torch] = model.get_layer(finding.keras).strides
        elif finding.cause == "same-padding-asymmetry":
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(pad_as_keras_does)
    for path, stride in strides.items():
        module.get_submodule(path).stride = stride


@pytest.mark.table(share=2)
@pytest.mark.parametrize(("ours", "theirs", "causes"), PAIRS, ids=[row[0] for row in PAIRS])
def test_the_named_fixes_make_them_equal(ours: str, theirs: str, causes: dict[str, int]) -> None:
    needs("keras")
    import parity

    model, module, sample = pair(ours, theirs)
    report = parity.compare(model, module, sample)
    assert Counter(finding.cause for finding in report.findings) == causes, str(report)
    assert all(finding.fix_verified for finding in report.findings)
    mend(report, model, module)
    again = parity.compare(model, module, sample) if causes else report
    assert again.verdict == "EQUAL", str(again)
