"""torch_impl's mUnet against the lecture's own package, bit for bit."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.conftest import needs
from tests.dlstudio import import_dlstudio

pytestmark = pytest.mark.reference

NETWORKS = [
    pytest.param(depth, skip, marks=pytest.mark.slow if depth > 4 else ())
    for depth, skip in itertools.product((4, 8, 16), (True, False))
]


def reference(depth: int, skip_connections: bool, seed: int = 0) -> Any:
    """DLStudio's network with random affine terms and running statistics in its batch normalisations."""
    needs("torch")
    import torch

    torch.manual_seed(seed)
    model = import_dlstudio().SemanticSegmentation.mUNet(skip_connections=skip_connections, depth=depth)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if ".bn" in name or name.startswith("bn"):
                if name.endswith(("weight", "running_var")):
                    tensor.uniform_(0.5, 1.5)
                elif name.endswith(("bias", "running_mean")):
                    tensor.normal_(std=0.3)
    return model


def images() -> Any:
    """Two random pictures, not square, and one pixel too wide for the pooling."""
    import torch

    return 255 * torch.rand(2, 3, 24, 33, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("depth", "skip"), NETWORKS)
def test_same_bits_in_eval_mode(depth: int, skip: bool) -> None:
    import torch

    from torch_impl.munet import mUnet

    own = reference(depth, skip).eval()
    ours = mUnet.from_dlstudio(own.state_dict(), skip_connections=skip).eval()
    assert ours.depth == depth
    with torch.no_grad():
        want = own(images())
        assert torch.equal(ours(images()), want)
    assert want.shape == (2, 5, 24, 32)
    assert want.std() > 0


@pytest.mark.parametrize(("depth", "skip"), NETWORKS)
def test_same_bits_in_training(depth: int, skip: bool) -> None:
    """Outputs, running statistics, and gradients.

    Without its skip connections the package's network cannot be trained: it overwrites channels that the
    backward pass needs. Ours can; there the output and the statistics are compared alone.
    """
    import torch

    from torch_impl.munet import mUnet

    own = reference(depth, skip)
    ours = mUnet(skip_connections=skip, depth=depth)
    ours.load_state_dict(own.state_dict())
    x = images()
    want, got = own(x), ours(x)
    assert torch.equal(got, want)
    changed = 0
    for (name, statistic), (mirrored, mine) in zip(own.named_buffers(), ours.named_buffers(), strict=True):
        assert name == mirrored
        assert torch.equal(mine, statistic), name
        changed += name.endswith("num_batches_tracked") and int(statistic) > 0
    assert changed > 10
    parts = torch.randn(want.shape, generator=torch.Generator().manual_seed(2))
    (got * parts).sum().backward()
    if not skip:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            (want * parts).sum().backward()
        assert all(each.grad is not None for each in ours.skip64usUP.parameters())
        return
    (want * parts).sum().backward()
    used = 0
    for (name, weight), mine in zip(own.named_parameters(), ours.parameters(), strict=True):
        assert (weight.grad is None) == (mine.grad is None), name
        if weight.grad is not None:
            assert torch.equal(mine.grad, weight.grad), name
            used += 1
    assert used > 40


@pytest.mark.parametrize(("depth", "skip"), NETWORKS)
def test_same_first_weights_from_the_same_seed(depth: int, skip: bool) -> None:
    import torch

    from torch_impl.munet import mUnet

    torch.manual_seed(3)
    own = import_dlstudio().SemanticSegmentation.mUNet(skip_connections=skip, depth=depth).state_dict()
    torch.manual_seed(3)
    ours = mUnet(skip_connections=skip, depth=depth).state_dict()
    assert len(own) == len(ours) > 100
    assert all(torch.equal(*pair) for pair in zip(own.values(), ours.values(), strict=True))


@pytest.mark.parametrize("skip", [True, False])
def test_tf_impl_equals_it_in_float64(skip: bool) -> None:
    needs("keras")
    import numpy as np
    import torch

    from tf_impl.munet import mUnet

    own = reference(4, skip).double().eval()
    twin = mUnet.from_dlstudio({name: value.numpy() for name, value in own.state_dict().items()}, skip)
    x = images().double()
    with torch.no_grad():
        want = own(x).permute(0, 2, 3, 1).numpy()
    got = np.asarray(twin(x.permute(0, 2, 3, 1).numpy()))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * float(np.abs(want).max()))


def test_it_is_copied_into_tf_impl_without_hints() -> None:
    """Half of its layers never run, and go by the renaming that the others follow."""
    needs("keras")
    import numpy as np

    import parity
    from parity.adapters import adapt
    from parity.adapters.probe import randomise
    from tf_impl.munet import mUnet

    own, twin = reference(4, True), mUnet(depth=4)
    x = np.random.default_rng(0).uniform(size=(2, 64, 64, 3)).astype("float32")
    twin(x)
    for turn, (source, target) in enumerate(((own, twin), (twin, own))):
        randomise(adapt(source), turn)
        result = parity.transfer(source, target, inputs=x)
        for keras, torch in result.pairs:
            assert keras.replace("conv", "convo").replace("convo_", "conv_") == torch or keras == torch
        assert any("convT1 is convoT1" in note for note in result.notes)
        report = parity.compare(twin, own, x, quick=True)
        assert report, str(report)
