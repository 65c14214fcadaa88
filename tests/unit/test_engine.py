"""Both engines train alike whatever the recipe says, and leave a network as the run's checkpoint has it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.errors import RunError
from datasets.purdue_shapes import generate
from datasets.training.recipe import Machine, Recipe
from datasets.training.runlog import Progress
from tests.conftest import needs
from tests.distributed import RECIPE, SIZE, keras_network, torch_network

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
NETWORKS = {"tf_impl": keras_network, "torch_impl": torch_network}
DATA = generate(20, 5, SIZE)
FLOAT64 = Machine("float64")


def train(half: str, network: Any, recipe: Recipe, **settings: Any) -> list[float]:
    module = importlib.import_module(f"{half}.train")
    return list(module.train(network, DATA.images, DATA.masks, recipe, **settings))


def weights(network: Any) -> list[NDArray[Any]]:
    if hasattr(network, "weights"):
        return [np.array(weight) for weight in network.get_weights()]
    return [weight.detach().numpy().copy() for weight in network.state_dict().values() if weight.ndim]


@pytest.fixture(params=NETWORKS)
def half(request: pytest.FixtureRequest) -> str:
    needs({"tf_impl": "keras", "torch_impl": "torch"}[request.param])
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"lr_schedule": "constant", "warmup": 0.5},
        {"ema": 0.8, "lr_schedule": "cosine", "optimizer": "sgd", "weight_decay": 1e-2},
        {"accumulate": 2, "clip": 0.05, "optimizer": "rmsprop", "learning_rate": 1e-3},
        {"loss": "mse", "inputs": "raw", "optimizer": "adam", "freeze_batchnorm": True},
    ],
)
def test_both_engines_give_the_same_losses_and_weights(change: dict[str, Any]) -> None:
    needs("torch")
    needs("keras")
    import parity
    from tf_impl._backend import precision

    recipe = Recipe(**{**RECIPE, **change})
    first = torch_network().double()
    with precision("float64"):
        network = keras_network()
    parity.transfer(first, network)
    before = weights(first)
    losses = [
        train(one, net, recipe, machine=FLOAT64) for one, net in zip(NETWORKS, (network, first), strict=True)
    ]
    assert len(losses[0]) == 12
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-11)
    after = torch_network().double()
    parity.transfer(network, after)
    for one, other in zip(weights(after), weights(first), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    assert np.any(before[0] != weights(first)[0])


def test_a_run_that_is_over_stays_as_it_is(half: str, tmp_path: Path) -> None:
    """Resumed at its end, or where patience stopped it: no step more, and the checkpoint's weights."""
    names = importlib.import_module(f"{half}.checkpoints")
    for patience in (0, 1):
        # So large a rate that it gets worse at once.
        rate = {"learning_rate": 30.0, "epochs": 9, "patience": 1} if patience else {"epochs": 2}
        recipe = Recipe(**{**RECIPE, "ema": 0.5, **rate})
        folder, network, progress = tmp_path / str(patience), NETWORKS[half](), Progress()
        folder.mkdir()
        losses = train(half, network, recipe, folder=folder, progress=progress)
        assert len(losses) == 8 if not patience else 0 < len(losses) < 36
        again = NETWORKS[half]()
        assert train(half, again, recipe, folder=folder, progress=names.read_progress(folder)) == []
        stored = NETWORKS[half]()
        names.load_weights(stored, folder / names.CHECKPOINT)
        for one, other, third in zip(weights(network), weights(again), weights(stored), strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one, third)


def test_images_kept_are_shared_equally_or_refused(half: str) -> None:
    recipe = Recipe(batch_size=4, validation=0.25)  # 5 images are kept
    machine = Machine(processes=2, process=1, coordinator="127.0.0.1:1")
    with pytest.raises(RunError, match="the images kept must be shared equally by 2 processes; got 5 images"):
        train(half, NETWORKS[half](), recipe, machine=machine)
