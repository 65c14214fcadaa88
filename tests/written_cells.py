"""Torch models that write their recurrent cells out, as published code does, and the Keras layers that they stand for."""

from __future__ import annotations

from collections.abc import Callable

import keras
import torch
from keras import layers as kl
from torch import nn

LSTM_ORDERS = ("ifgo", "ifog", "fiog", "gifo")


class LinearLSTMCell(nn.Module):
    """Two linear layers whose sums are cut into four gates."""

    def __init__(self, inputs: int, units: int, order: str = "ifgo", bias: bool = True) -> None:
        super().__init__()
        self.x2h, self.h2h = nn.Linear(inputs, 4 * units), nn.Linear(units, 4 * units, bias=bias)
        self.order = order

    def forward(self, x, state):
        h, c = state
        gates = dict(zip(self.order, (self.x2h(x) + self.h2h(h)).chunk(4, 1), strict=True))
        c = torch.sigmoid(gates["f"]) * c + torch.sigmoid(gates["i"]) * torch.tanh(gates["g"])
        return torch.sigmoid(gates["o"]) * torch.tanh(c), c


class LinearGRUCell(nn.Module):
    """Reset, update and new, applied as torch's own cell does."""

    def __init__(self, inputs: int, units: int, turned: bool = False) -> None:
        super().__init__()
        self.x2h, self.h2h = nn.Linear(inputs, 3 * units), nn.Linear(units, 3 * units)
        self.turn = -1 if turned else 1

    def forward(self, x, state):
        (h,) = state
        rx, zx, nx = self.x2h(x).chunk(3, 1)
        rh, zh, nh = self.h2h(h).chunk(3, 1)
        z, new = torch.sigmoid(zx + zh), torch.tanh(nx + torch.sigmoid(rx + rh) * nh)
        first, second = (new, h)[:: self.turn]
        return (first + z * (second - first),)


class UsualGRUCell(LinearGRUCell):
    """The same with the update written as in most texts; turned, the gate lets the new values in."""

    def forward(self, x, state):
        (h,) = state
        of_input, of_state = self.x2h(x), self.h2h(h)
        size = h.shape[1]
        gates = torch.sigmoid(of_input[:, : 2 * size] + of_state[:, : 2 * size])
        r, z = gates[:, :size], gates[:, size:]
        new = torch.tanh(of_input[:, 2 * size :] + r * of_state[:, 2 * size :])
        first, second = (new, h)[:: self.turn]
        return ((1 - z) * first + z * second,)


class PlainCell(nn.Module):
    """One tanh of two linear layers."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.x2h, self.h2h = nn.Linear(inputs, units), nn.Linear(units, units, bias=False)

    def forward(self, x, state):
        return (torch.tanh(self.x2h(x) + self.h2h(state[0])),)


class ConvLSTMCell(nn.Module):
    """One convolution of the input and the state in one tensor."""

    def __init__(self, inputs: int, units: int, order: str = "ifog", state_first: bool = False, dims: int = 2,
                 bias: bool = True) -> None:  # fmt: skip
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.conv = conv(inputs + units, 4 * units, 3, padding=1, bias=bias)
        self.units, self.order, self.turn = units, order, -1 if state_first else 1

    def forward(self, x, state):
        h, c = state
        joined = self.conv(torch.cat([x, h][:: self.turn], dim=1))
        gates = dict(zip(self.order, torch.split(joined, self.units, dim=1), strict=True))
        c = torch.sigmoid(gates["f"]) * c + torch.sigmoid(gates["i"]) * torch.tanh(gates["g"])
        return torch.sigmoid(gates["o"]) * torch.tanh(c), c


class TwoConvLSTMCell(nn.Module):
    """One convolution of the input and one of the state."""

    def __init__(self, inputs: int, units: int, bias: bool = False) -> None:
        super().__init__()
        self.conv_x = nn.Conv2d(inputs, 4 * units, 3, padding=1)
        self.conv_h = nn.Conv2d(units, 4 * units, 3, padding=1, bias=bias)
        self.units = units

    def forward(self, x, state):
        h, c = state
        gates = self.conv_x(x) + self.conv_h(h)
        i, f, o = torch.sigmoid(gates[:, : 3 * self.units]).chunk(3, 1)
        c = f * c + i * torch.tanh(gates[:, 3 * self.units :])
        return o * torch.tanh(c), c


class Unrolled(nn.Module):
    """Cells one above the other along a sequence, (N, T, C, ...), and a head."""

    def __init__(self, cells: list[nn.Module], units: list[int], head: nn.Module, sequences: bool = True,
                 states: int = 2) -> None:  # fmt: skip
        super().__init__()
        self.cells, self.units, self.head = nn.ModuleList(cells), units, head
        self.taken, self.states = slice(None) if sequences else -1, states

    def forward(self, x):
        for cell, units in zip(self.cells, self.units, strict=True):
            state = tuple(x.new_zeros(x.shape[0], units, *x.shape[3:]) for _ in range(self.states))
            found = []
            for step in range(x.shape[1]):
                state = cell(x[:, step], state)
                found.append(state[0])
            x = torch.stack(found, dim=1)
        return self.head(x[:, self.taken])


class BothWays(nn.Module):
    """A cell along the sequence, and one against it."""

    def __init__(self) -> None:
        super().__init__()
        self.forth, self.back = (Unrolled([LinearLSTMCell(5, 4)], [4], nn.Identity()) for _ in range(2))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.cat([self.forth(x), self.back(x.flip(1)).flip(1)], dim=-1))


class OneInputProduct(nn.Module):
    """An LSTM that multiplies all steps of the input at once, and views the gates as an axis."""

    def __init__(self) -> None:
        super().__init__()
        self.of_input, self.of_state = nn.Linear(5, 16), nn.Linear(4, 16, bias=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        steps, h = self.of_input(x), x.new_zeros(len(x), 4)
        c = torch.zeros_like(h)
        for step in range(x.shape[1]):
            gates = (steps[:, step] + self.of_state(h)).view(-1, 4, 4)
            i, f, o = torch.sigmoid(gates[:, :3]).unbind(1)
            c = f * c + i * torch.tanh(gates[:, 3])
            h = o * torch.tanh(c)
        return self.head(h)


def one_product_pair() -> tuple[keras.Model, nn.Module]:
    """A model of vectors, (N, 6, 5), that takes the last step."""
    start = keras.Input((6, 5))
    return keras.Model(start, kl.Dense(3)(kl.LSTM(4)(start))), OneInputProduct().eval()


def sequence_pair(cell: Callable[[int, int], nn.Module], layer: Callable[..., keras.Layer], states: int = 2,
                  count: int = 1, sequences: bool = True) -> tuple[keras.Model, nn.Module]:  # fmt: skip
    """A model of vectors, (N, 6, 5)."""
    x = start = keras.Input((6, 5))
    for number in range(count):
        x = layer(4, return_sequences=sequences or number < count - 1)(x)
    cells = [cell(5 if number == 0 else 4, 4) for number in range(count)]
    module = Unrolled(cells, [4] * count, nn.Linear(4, 3), sequences, states)
    return keras.Model(start, kl.Dense(3, name="fc")(x)), module.eval()


def signal_pair() -> tuple[keras.Model, nn.Module]:
    """A model of signals that change, (N, 5, 7, 3), that takes the last step."""
    start = keras.Input((5, 7, 3))
    module = Unrolled([ConvLSTMCell(3, 4, dims=1)], [4], nn.Conv1d(4, 2, 1), sequences=False)
    return keras.Model(start, kl.Conv1D(2, 1)(kl.ConvLSTM1D(4, 3, padding="same")(start))), module.eval()


def volume_pair() -> tuple[keras.Model, nn.Module]:
    """A model of volumes that change, (N, 3, 4, 5, 4, 3), that gives every step."""
    start = keras.Input((3, 4, 5, 4, 3))
    layer = kl.ConvLSTM3D(4, 3, padding="same", return_sequences=True)
    return keras.Model(start, layer(start)), Unrolled([ConvLSTMCell(3, 4, dims=3)], [4], nn.Identity()).eval()


def both_ways_pair() -> tuple[keras.Model, nn.Module]:
    """One cell forward and one backward."""
    start = keras.Input((6, 5))
    layer = kl.Bidirectional(kl.LSTM(4, return_sequences=True))
    return keras.Model(start, kl.Dense(3)(layer(start))), BothWays().eval()


def film_pair(cell: Callable[[int, int], nn.Module], count: int = 1, frames: int = 4,
              **settings) -> tuple[keras.Model, nn.Module]:  # fmt: skip
    """A model of films, (N, frames, 6, 7, 3), that takes the last step."""
    x = start = keras.Input((frames, 6, 7, 3))
    for number in range(count):
        x = kl.ConvLSTM2D(4, 3, padding="same", return_sequences=number < count - 1, **settings)(x)
    cells = [cell(3 if number == 0 else 4, 4) for number in range(count)]
    module = Unrolled(cells, [4] * count, nn.Conv2d(4, 2, 1), sequences=False)
    return keras.Model(start, kl.Conv2D(2, 1)(x)), module.eval()
