"""Both halves of a network with the same random weights, and what they must have in common."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tests.conftest import needs


def make(half: str, name: str, **arguments: Any) -> Any:
    """A public class of `tf_impl` or `torch_impl`."""
    needs("keras" if half == "tf_impl" else "torch")
    return getattr(importlib.import_module(half), name)(**arguments)


def twins(name: str, dtype: str = "float64", **arguments: Any) -> tuple[Any, Any]:
    """(Keras model, torch module in eval mode) with the same random weights and statistics."""
    needs("torch")
    import torch

    import parity
    from parity.adapters import adapt
    from parity.adapters.probe import randomise

    module = make("torch_impl", name, **arguments).eval().to(getattr(torch, dtype))
    model = make("tf_impl", name, **arguments, dtype=dtype)
    randomise(adapt(module), 0)
    done = parity.transfer(module, model)
    assert not done.unmatched_source
    assert not done.unmatched_target
    assert all(ours == theirs for ours, theirs in done.pairs), "paths differ between the halves"
    return model, module


def images(height: int, width: int, channels: int = 3, dtype: str = "float64") -> np.ndarray:
    """Two random images, (2, H, W, C)."""
    return np.random.default_rng(1).standard_normal((2, height, width, channels)).astype(dtype)


def outputs(model: Any, x: np.ndarray) -> list[np.ndarray]:
    """What either half gives for images (N, H, W, C), in inference, as arrays (N, H, W, C)."""
    import torch

    if not isinstance(model, torch.nn.Module):
        found = model(x, training=False)
        return [np.asarray(each) for each in (found if isinstance(found, list) else [found])]
    with torch.no_grad():
        found = model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    found = list(found.values()) if isinstance(found, dict) else found  # torchvision's out and aux
    found = found if isinstance(found, list) else [found]
    return [(each.permute(0, 2, 3, 1) if each.ndim == 4 else each).numpy() for each in found]


def assert_same_outputs(model: Any, module: Any, x: np.ndarray, relative: float = 1e-12) -> list[np.ndarray]:
    """The outputs are equal in float64, and the Keras half foretells their shapes; returns them."""
    got, want = outputs(model, x), outputs(module, x)
    shapes = model.compute_output_shape((None, *x.shape[1:]))
    shapes = shapes if isinstance(shapes, list) else [shapes]
    assert len(got) == len(want) == len(shapes)
    for ours, theirs, shape in zip(got, want, shapes, strict=True):
        assert ours.shape == theirs.shape == (len(x), *shape[1:])
        assert theirs.std() > 0
        assert np.abs(ours - theirs).max() <= relative * np.abs(theirs).max()
    return want


def parameters(model: Any, trainable: bool = False) -> int:
    """How many numbers are learned; with `trainable` without those that are frozen."""
    if hasattr(model, "named_parameters"):
        return sum(each.numel() for each in model.parameters() if each.requires_grad or not trainable)
    frozen = [] if trainable else [v for layer in model._flatten_layers() for v in _frozen_weights(layer)]
    return sum(int(np.prod(v.shape)) for v in [*model.trainable_variables, *frozen])


def _frozen_weights(layer: Any) -> list[Any]:
    return [] if layer.trainable else list(layer._trainable_variables)


def assert_trains_the_same(
    name: str, shape: tuple[int, int], image_channels: int = 3, **arguments: Any
) -> None:
    """Outputs, gradients and one training step in float64: parity calls them EQUAL."""
    import parity

    model, module = twins(name, "float32", **arguments)
    x = images(*shape, image_channels, "float32")
    report = parity.compare(model, module, x, gradients=True, train_steps=1)
    assert report.verdict == "EQUAL", str(report)
    assert report.training["gradients_training"] < 1e-10
    assert report.training["training"] < 1e-10


def conv_keras() -> Any:
    """One convolution and its BatchNormalization in Keras."""
    import keras

    image = keras.Input((None, None, 3))
    value = keras.layers.Conv2D(4, 3, name="conv")(image)
    return keras.Model(image, keras.layers.BatchNormalization(epsilon=1e-5, name="norm")(value))


def conv_torch() -> Any:
    """The same in torch."""
    from collections import OrderedDict

    from torch import nn

    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))).eval()
