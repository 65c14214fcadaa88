"""One layer of a recurrent module in one direction, as a module of its own that has the same parameters."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import nn

FAMILIES: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.LSTM, "lstm"),
    (nn.GRU, "gru"),
    (nn.RNN, "simple_rnn"),
)
"""torch's recurrent modules, and parity's name of what one of their layers computes."""
TENSORS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class RecurrentPart(nn.Module):
    """One pass of one cell along a sequence, the first step first.

    Attributes:
        held: refers to the recurrent module, which is no part of this one.
        layer: number of the layer in it.
        reverse: whether it is the layer of the second direction. The sequence is turned before it comes here.
    """

    def __init__(self, rnn: nn.RNNBase, layer: int, reverse: bool) -> None:
        super().__init__()
        self.held, self.layer, self.reverse = weakref.ref(rnn), layer, reverse

    @property
    def suffix(self) -> str:
        """What the names of its parameters end with."""
        return f"_l{self.layer}" + "_reverse" * self.reverse

    @property
    def rnn(self) -> nn.RNNBase:
        """The recurrent module."""
        rnn = self.held()
        assert rnn is not None
        return rnn

    @property
    def _parameters(self) -> dict[str, Any]:
        own = self.rnn._parameters
        found = {
            name: own.get(name + self.suffix, getattr(self.rnn, name + self.suffix, None)) for name in TENSORS
        }
        return {name: value for name, value in found.items() if value is not None}

    @_parameters.setter
    def _parameters(self, value: Any) -> None:
        """The parameters are the recurrent module's; there is nothing to set."""

    def forward(
        self, sequence: torch.Tensor, *states: torch.Tensor, lengths: tuple[int, ...] | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Run along the sequence.

        Shapes:
            sequence: (N, T, F), whatever `batch_first` of the recurrent module is.
            states: (N, H) each: the hidden state, and an LSTM's cell state.
            result: (N, T, H), zero behind the end of each sequence, and the last valid states, (N, H) each.

        Args:
            sequence: the steps, the first one first.
            states: before the first step.
            lengths: valid steps of each sequence; None for all.
        """
        weights = [self._parameters[name] for name in TENSORS if name in self._parameters]
        rnn, bias = self.rnn, "bias_ih" in self._parameters
        before = tuple(state.unsqueeze(0).contiguous() for state in states)
        hidden: Any = before if isinstance(rnn, nn.LSTM) else before[0]
        run = getattr(torch._VF, rnn.mode.lower())
        if lengths is None:
            found = run(sequence, hidden, weights, bias, 1, 0.0, self.training, False, True)
            return (found[0], *(state.squeeze(0) for state in found[1:]))
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        back = torch.tensor(sorted(range(len(order)), key=order.__getitem__), device=sequence.device)
        packed = torch._VF._pack_padded_sequence(
            sequence[order], torch.tensor([lengths[i] for i in order]), True
        )
        hidden = tuple(s[:, order] for s in before) if isinstance(rnn, nn.LSTM) else before[0][:, order]
        found = run(packed[0], packed[1], hidden, weights, bias, 1, 0.0, self.training, False)
        steps, _ = torch._VF._pad_packed_sequence(found[0], packed[1], True, 0.0, sequence.shape[1])
        return (steps[back], *(state[:, back].squeeze(0) for state in found[1:]))


def family_of(rnn: nn.Module) -> str | None:
    """What one layer of a recurrent module computes; None where it is none, or of a class with a `forward` of its own."""
    for cls, family in FAMILIES:
        if isinstance(rnn, cls):
            own = vars(rnn).get("forward")
            plain = type(rnn).forward is cls.forward and (own is None or hasattr(own, "lowers"))
            return family if plain else None
    return None


def parts_of(rnn: nn.Module) -> dict[str, RecurrentPart]:
    """The parts of a recurrent module by name, such as l0 and l0_reverse; none where it cannot be taken apart."""
    if family_of(rnn) is None or not isinstance(rnn, nn.RNNBase):
        return {}
    if rnn not in _PARTS:
        parts = [
            RecurrentPart(rnn, layer, reverse)
            for layer in range(rnn.num_layers)
            for reverse in ((False, True) if rnn.bidirectional else (False,))
        ]
        _PARTS[rnn] = {part.suffix[1:]: part for part in parts}
    return _PARTS[rnn]


_PARTS: weakref.WeakKeyDictionary[nn.Module, dict[str, RecurrentPart]] = weakref.WeakKeyDictionary()
"""The parts of each recurrent module, which are the same objects for every adapter."""


def aliases_of(path: str, parts: dict[str, RecurrentPart], name: str) -> list[str]:
    """Where the mirror image in Keras has this part's cell: `rnn.cell`, `rnn.cell.cells.0`, `rnn.forward_layer.cell`."""
    part, stem = parts[name], f"{path}." if path else ""
    several = part.rnn.num_layers > 1
    cell = f"cell.cells.{part.layer}" if several else "cell"
    if not part.rnn.bidirectional:
        return [f"{stem}{cell}"]
    return [f"{stem}{'backward' if part.reverse else 'forward'}_layer.{cell}"]
