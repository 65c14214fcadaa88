"""Recurrent layers: states as Keras gives them, and a convolutional cell."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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


class ConvLSTM2d(nn.Module):
    """An LSTM whose products are convolutions, along the frames of a film.

    Shapes: (N, T, C, H, W) -> (N, T, out_channels, H', W'), or the last frame alone.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        padding: str = "valid",
        bias: bool = True,
        return_sequences: bool = False,
    ) -> None:
        super().__init__()
        self.padding, self.return_sequences = padding, return_sequences
        self.kernel = nn.Conv2d(in_channels, 4 * out_channels, kernel_size, bias=bias)
        self.recurrent = nn.Conv2d(out_channels, 4 * out_channels, kernel_size, padding="same", bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Run along the frames."""
        size = self.kernel.kernel_size
        hidden = cell = torch.zeros((), dtype=x.dtype, device=x.device)
        frames = []
        for frame in x.unbind(1):
            if self.padding == "same":
                frame = pad_same(frame, size, (1, 1), (1, 1))
            gates = self.kernel(frame)
            gates = gates if hidden.ndim == 0 else gates + self.recurrent(hidden)
            i, f, c, o = gates.chunk(4, dim=1)
            cell = f.sigmoid() * cell + i.sigmoid() * c.tanh()
            hidden = o.sigmoid() * cell.tanh()
            frames.append(hidden)
        return torch.stack(frames, dim=1) if self.return_sequences else hidden
