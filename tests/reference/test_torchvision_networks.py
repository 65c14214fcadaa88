"""The networks against torchvision's definitions: its state_dict loads by name, and the outputs are equal."""

from __future__ import annotations

import functools
import operator
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from tests.networks import images, make, outputs
from tests.torchvision_zoo import import_torchvision

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore::FutureWarning")]

DENSE = {"weights": None, "replace_stride_with_dilation": [False, True, True]}
HEADS = {"weights": None, "weights_backbone": None, "aux_loss": True}
CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "resnet18": ("resnet18", {"weights": None}, "ResNet", {"depth": 18}),
    "resnet50 at stride 8": ("resnet50", DENSE, "ResNet", {"depth": 50, "output_stride": 8}),
    "deeplabv3_resnet50": ("segmentation.deeplabv3_resnet50", HEADS, "DeepLabV3", {"auxiliary": True}),
    "fcn_resnet50": ("segmentation.fcn_resnet50", HEADS, "DilatedFCN", {"auxiliary": True}),
    "vgg16": ("vgg16", {"weights": None, "init_weights": False}, "VGG16", {}),
}


@functools.cache
def reference(name: str) -> tuple[Any, Any]:
    """torchvision's network in float64 with random statistics, and ours with its state_dict."""
    needs("torch")
    models = import_torchvision()
    import torch

    from parity.adapters import adapt
    from parity.adapters.probe import randomise

    builder, theirs, ours, arguments = CASES[name]
    torch.manual_seed(0)
    module = operator.attrgetter(builder)(models)(**theirs).eval()
    randomise(adapt(module), 0)
    own = make("torch_impl", ours, **arguments).eval()
    if ours == "VGG16":  # without its classifier
        module = torch.nn.Sequential(OrderedDict(features=module.features))
    assert list(own.state_dict()) == list(module.state_dict())
    own.load_state_dict(module.state_dict())
    return module.double(), own.double()


@pytest.mark.parametrize("name", CASES)
def test_torch_impl_equals_it_in_float64(name: str) -> None:
    module, own = reference(name)
    x = images(65, 98)
    results, theirs = outputs(own, x), outputs(module, x)
    if name == "vgg16":
        results = results[-1:]  # the last pooling's
    assert len(results) == len(theirs) == 1 + ("50" in name and name != "resnet50 at stride 8")
    for got, want in zip(results, theirs, strict=True):
        assert want.std() > 0
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * float(np.abs(want).max()))


@pytest.mark.parametrize("name", ["resnet18"])
def test_tf_impl_receives_its_weights_through_parity(name: str) -> None:
    """From torchvision's own module into the Keras twin, and equal in float64."""
    needs("keras")
    import parity

    module, _ = reference(name)
    _, _, ours, arguments = CASES[name]
    twin = make("tf_impl", ours, **arguments, dtype="float64")
    x = images(65, 98)
    done = parity.transfer(module, twin)
    assert not done.unmatched_source
    assert not done.unmatched_target
    (want,), (got,) = (outputs(model, x) for model in (module, twin))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * float(np.abs(want).max()))
