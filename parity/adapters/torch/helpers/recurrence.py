"""Recurrent layers: states as Keras gives them, and a convolutional cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from parity.adapters.torch.helpers.padding import pad_same


def lstm_states(
    result: tuple[Tensor, tuple[Tensor, Tensor]], sequences: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """What nn.LSTM gives, as Keras gives it: outputs, the last hidden state, the last cell state."""
    x, (hidden, cell) = result
    return x if sequences else x[:, -1], hidden[0], cell[0]


def rnn_states(result: tuple[Tensor, Tensor], sequences: bool = True) -> tuple[Tensor, Tensor]:
    """What nn.GRU or nn.RNN gives, as Keras gives it: outputs, the last hidden state."""
    x, hidden = result
    return x if sequences else x[:, -1], hidden[0]


def bidirectional_states(
    result: tuple[Tensor, Tensor | tuple[Tensor, Tensor]], sequences: bool = True
) -> tuple[Tensor, ...]:
    """What a module gives that runs both ways, as Keras gives it: outputs, then the last states, those forwards first."""
    x, last = result
    states = last if isinstance(last, tuple) else (last,)
    x = x if sequences else torch.cat(tuple(states[0]), dim=1)
    return x, *(state[way] for way in (0, 1) for state in states)


def masked_rnn(rnn: nn.Module, x: Tensor, mask: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """Run nn.LSTM, nn.GRU or nn.RNN over the steps of (N, T, C) where the mask (N, T) is true.

    At the other steps, the output is that of the step before: zero where there is none. Against the time, it is
    that of the step behind.
    """
    mask = mask.bool()
    count = mask.sum(1)
    order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[..., None]
    steps = pack_padded_sequence(
        x.take_along_dim(order, 1), count.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
    )
    packed, last = rnn(steps, state)
    y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
    ways = [mask.cumsum(1) - 1]
    if rnn.bidirectional:
        behind = mask.flip(1).cumsum(1).flip(1)
        ways.append(torch.where(behind > 0, count[:, None] - behind, -1))
    parts = [
        part.take_along_dim(place.clamp(min=0)[..., None], 1) * (place >= 0)[..., None]
        for part, place in zip(y.chunk(len(ways), dim=-1), ways, strict=True)
    ]
    return torch.cat(parts, dim=-1), last


class StepDropout(nn.Module):
    """Dropout of features of a sequence, the same ones at every step."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of (N, T, C) in training."""
        return x * F.dropout(torch.ones_like(x[:, :1]), self.p, self.training)


class LoopedLSTM(nn.Module):
    """An LSTM with other activations than torch's, or with a dropout of its state.

    Shapes: (N, T, input_size) -> (N, T, hidden_size), and the last states, (1, N, hidden_size) each.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        gate: Callable[[Tensor], Tensor] = torch.sigmoid,
        recurrent_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.activation, self.gate, self.recurrent_dropout = activation, gate, recurrent_dropout
        self.kernel = nn.Linear(input_size, 4 * hidden_size, bias)
        self.recurrent = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run along time."""
        zero = x.new_zeros(x.shape[0], self.recurrent.in_features)
        hidden, cell = (zero, zero) if state is None else (state[0][0], state[1][0])
        kept = F.dropout(torch.ones_like(zero), self.recurrent_dropout, self.training)
        steps = []
        for step in x.unbind(1):
            i, f, c, o = (self.kernel(step) + self.recurrent(hidden * kept)).chunk(4, dim=1)
            cell = self.gate(f) * cell + self.gate(i) * self.activation(c)
            hidden = self.gate(o) * self.activation(cell)
            steps.append(hidden)
        return torch.stack(steps, dim=1), (hidden[None], cell[None])


class LoopedGRU(nn.Module):
    """A GRU with other activations than torch's, or with a dropout of its state.

    Shapes: (N, T, input_size) -> (N, T, hidden_size), and the last state, (1, N, hidden_size).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        gate: Callable[[Tensor], Tensor] = torch.sigmoid,
        recurrent_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.activation, self.gate, self.recurrent_dropout = activation, gate, recurrent_dropout
        self.kernel = nn.Linear(input_size, 3 * hidden_size, bias)
        self.recurrent = nn.Linear(hidden_size, 3 * hidden_size, bias)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run along time."""
        hidden = x.new_zeros(x.shape[0], self.recurrent.in_features) if state is None else state[0]
        kept = F.dropout(torch.ones_like(hidden), self.recurrent_dropout, self.training)
        steps = []
        for step in x.unbind(1):
            zx, rx, nx = self.kernel(step).chunk(3, dim=1)
            zh, rh, nh = self.recurrent(hidden * kept).chunk(3, dim=1)
            update, reset = self.gate(zx + zh), self.gate(rx + rh)
            hidden = update * hidden + (1 - update) * self.activation(nx + reset * nh)
            steps.append(hidden)
        return torch.stack(steps, dim=1), hidden[None]


class ResetFirstGRU(nn.Module):
    """A GRU that resets its state in front of the product with it, as in the paper; torch's resets behind it.

    Shapes: (N, T, input_size) -> (N, T, hidden_size), and the last state, (1, N, hidden_size). The weights lie as
    Keras has them: update, reset and new state along the last axis.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        gate: Callable[[Tensor], Tensor] = torch.sigmoid,
        recurrent_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.activation, self.gate, self.recurrent_dropout = activation, gate, recurrent_dropout
        self.kernel = nn.Parameter(torch.empty(input_size, 3 * hidden_size))
        self.recurrent_kernel = nn.Parameter(torch.empty(hidden_size, 3 * hidden_size))
        self.bias = nn.Parameter(torch.zeros(3 * hidden_size)) if bias else None
        nn.init.xavier_uniform_(self.kernel)
        nn.init.orthogonal_(self.recurrent_kernel)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run along time."""
        size = self.recurrent_kernel.shape[0]
        hidden = x.new_zeros(x.shape[0], size) if state is None else state[0]
        kept = F.dropout(torch.ones_like(hidden), self.recurrent_dropout, self.training)
        inputs = x @ self.kernel
        inputs = inputs if self.bias is None else inputs + self.bias
        gates, new = self.recurrent_kernel.split((2 * size, size), dim=1)
        steps = []
        for step in inputs.unbind(1):
            update, reset = self.gate(step[:, : 2 * size] + hidden * kept @ gates).chunk(2, dim=1)
            candidate = self.activation(step[:, 2 * size :] + reset * hidden * kept @ new)
            hidden = update * hidden + (1 - update) * candidate
            steps.append(hidden)
        return torch.stack(steps, dim=1), hidden[None]


class ConvLSTM(nn.Module):
    """An LSTM whose products are convolutions, along the frames of a film.

    Shapes: (N, T, C, *spatial) -> (N, T, out_channels, *spatial'), or the last frame alone.
    """

    convolution: type[nn.Module]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        padding: str = "valid",
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        gate: Callable[[Tensor], Tensor] = torch.sigmoid,
        bias: bool = True,
        return_sequences: bool = False,
    ) -> None:
        super().__init__()
        self.padding, self.return_sequences = padding, return_sequences
        self.activation, self.gate = activation, gate
        self.kernel = self.convolution(in_channels, 4 * out_channels, kernel_size, bias=bias)
        self.recurrent = self.convolution(
            out_channels, 4 * out_channels, kernel_size, padding="same", bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run along the frames."""
        size: tuple[int, ...] = self.kernel.kernel_size  # type: ignore[assignment]
        hidden = cell = torch.zeros((), dtype=x.dtype, device=x.device)
        frames = []
        for frame in x.unbind(1):
            if self.padding == "same":
                frame = pad_same(frame, size, (1,) * len(size), (1,) * len(size))
            gates = self.kernel(frame)
            gates = gates if hidden.ndim == 0 else gates + self.recurrent(hidden)
            i, f, c, o = gates.chunk(4, dim=1)
            cell = self.gate(f) * cell + self.gate(i) * self.activation(c)
            hidden = self.gate(o) * self.activation(cell)
            frames.append(hidden)
        return torch.stack(frames, dim=1) if self.return_sequences else hidden


class ConvLSTM1d(ConvLSTM):
    """Along sequences of (C, L)."""

    convolution = nn.Conv1d


class ConvLSTM2d(ConvLSTM):
    """Along the frames of a film, (C, H, W)."""

    convolution = nn.Conv2d


class ConvLSTM3d(ConvLSTM):
    """Along volumes, (C, D, H, W)."""

    convolution = nn.Conv3d
