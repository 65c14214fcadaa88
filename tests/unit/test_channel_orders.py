"""The order of channels between two tensors is found, whatever their values."""

from __future__ import annotations

import numpy as np

from parity.causes.steps.identify import permutation


def test_channels_that_are_zero_hide_no_order() -> None:
    """A ReLU's dead channels are all alike: which is which follows from their neighbours."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 12, 5, 4))
    for dead in ([0, 7], [5, 6], [1, 2, 11], [0, 1, 6, 7], [3, 4, 5, 6]):
        x[:, dead] = 0.0
        for order in ([*range(6, 12), *range(6)], [*range(4, 12), *range(4)]):
            assert permutation(x, x[:, order]) == order
        x = rng.normal(size=x.shape)
    x[:, 2:4] = 0.0
    assert permutation(x, x) is None
