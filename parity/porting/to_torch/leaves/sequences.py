"""Recurrent layers."""

from __future__ import annotations

from typing import Any

from parity.porting.to_torch.axes import frames, images, plain
from parity.porting.to_torch.leaves.activations import FUNCTIONS
from parity.porting.to_torch.piece import Name
from parity.porting.to_torch.use import RefusedError, StepUse, flat
from parity.porting.to_torch.values import is_tensor, kinds

DEFAULTS = {"LSTM": ("tanh", "sigmoid"), "GRU": ("tanh", "sigmoid"), "SimpleRNN": ("tanh", None)}
STATES = {"LSTM": 2, "GRU": 1, "SimpleRNN": 1}


def _kind(cell: Any) -> str:
    return next(
        (name.removesuffix("Cell") for name in kinds(cell) if name.removesuffix("Cell") in DEFAULTS), ""
    )


def _module(use: StepUse, cell: Any, size: int, suffix: str = "", **more: Any) -> str:
    """The text of the module of one cell along a sequence; a helper where torch's own computes something else."""
    kind = _kind(cell)
    if not kind:
        raise RefusedError(f"the recurrent cell {type(cell).__name__} has no counterpart in torch")
    used = tuple(
        getattr(getattr(cell, n, None), "__name__", None) for n in ("activation", "recurrent_activation")
    )
    found: dict[str, Any] = {"input_size": size, "hidden_size": int(cell.units)}
    looped = used != DEFAULTS[kind] and used != ("relu", None)
    looped = looped or (kind == "GRU" and not cell.reset_after) or bool(cell.recurrent_dropout)
    sources = {"hidden_size": "units"}
    if looped:
        if more or kind == "SimpleRNN" or any(name not in FUNCTIONS for name in used):
            raise RefusedError(
                f"a {kind} with the activations {used[0]} and {used[1]}, recurrent dropout, or both ways"
            )
        for name, function, usual in zip(("activation", "gate"), used, DEFAULTS[kind], strict=True):
            if function != usual:
                found[name] = Name(FUNCTIONS[str(function)])
        found |= {"recurrent_dropout": float(cell.recurrent_dropout), "bias": bool(cell.use_bias)}
        helper = "ResetFirstGRU" if kind == "GRU" and not cell.reset_after else f"Looped{kind}"
        return use.module(helper, ("input_size", "hidden_size"), suffix, **found, sources=sources)
    if used == ("relu", None):
        found["nonlinearity"] = "relu"
    found |= {"bias": bool(cell.use_bias), "batch_first": True, **more}
    name = "RNN" if kind == "SimpleRNN" else kind
    return use.module(f"nn.{name}", ("input_size", "hidden_size"), suffix, **found, sources=sources)


def _call(use: StepUse) -> tuple[Any, list[Any]]:
    """(the mask, the first states) that the layer is called with."""
    layer = use.layer
    if getattr(layer, "stateful", False):
        raise RefusedError("a stateful recurrent layer")
    states = use.args[1] if len(use.args) > 1 else use.kwargs.get("initial_state")
    mask = use.args[2] if len(use.args) > 2 else use.kwargs.get("mask")
    return mask, [value for value in flat(states) if is_tensor(value)]


def _inputs(use: StepUse, cell: Any, backwards: bool) -> str:
    """The text of the sequence, with the dropout of its features in front."""
    text = use.plainly(use.x, atom=backwards)
    text = f"{text}.flip(1)" if backwards else text
    if cell.dropout:
        made = use.module("StepDropout", ("p",), "_dropout", p=float(cell.dropout), sources={"p": "dropout"})
        text = f"{made}({text})"
    return text


def recurrent(use: StepUse) -> None:
    """LSTM, GRU, SimpleRNN, and RNN around their cells."""
    layer = use.layer
    cells = list(getattr(layer.cell, "cells", None) or [layer.cell])
    mask, states = _call(use)
    if len(cells) > 1:
        return _stacked(use, cells, mask, states)
    cell, kind = cells[0], _kind(cells[0])
    made = _module(use, cell, int(use.x.shape[-1]))
    given = [made] if mask is not None else []
    given.append(_inputs(use, cell, layer.go_backwards))
    if mask is not None:
        if getattr(layer, "zero_output_for_mask", False) or not use.piece.members[0].made.kind.startswith(
            "nn."
        ):
            raise RefusedError("a mask in a recurrent layer that torch's module does not compute")
        given.append(use.plainly(mask, atom=layer.go_backwards) + (".flip(1)" if layer.go_backwards else ""))
    if states:
        texts = [f"{use.plainly(state, atom=True)}[None]" for state in states]
        given.append(f"({', '.join(texts)})" if kind == "LSTM" else texts[0])
    text = f"{made if mask is None else use.helper('masked_rnn')}({', '.join(given)})"
    if layer.return_state:
        _with_state(use, text, kind, bool(layer.return_sequences))
    elif layer.return_sequences:
        use.give(f"{text}[0]", plain(3))
    else:
        use.give(f"{text}[0][:, -1]", plain(2))
    return None


def _stacked(use: StepUse, cells: list[Any], mask: Any, states: list[Any]) -> None:
    """Cells one above the other."""
    layer = use.layer
    if (
        mask is not None
        or states
        or layer.return_state
        or layer.go_backwards
        or any(c.dropout for c in cells)
    ):
        raise RefusedError("cells one above the other with a mask, states, dropout or go_backwards")
    text, size = use.plainly(use.x), int(use.x.shape[-1])
    for number, cell in enumerate(cells):
        text = f"{_module(use, cell, size, f'_{number + 1}')}({text})[0]"
        size = int(cell.units)
    use.give(text if layer.return_sequences else f"{text}[:, -1]", plain(3 if layer.return_sequences else 2))


def _with_state(use: StepUse, text: str, kind: str, sequences: bool) -> None:
    """The outputs and the last state, as Keras gives them."""
    helper = use.helper("lstm_states" if kind == "LSTM" else "rnn_states")
    flag = "" if sequences else ", sequences=False"
    use.piece.unpacked = True
    use.give(f"{helper}({text}{flag})", plain(3 if sequences else 2), *[plain(2)] * STATES[kind])


def bidirectional(use: StepUse) -> None:
    """Bidirectional around a recurrent layer: one module of torch, its two results merged."""
    layer = use.layer
    forward, backward = layer.forward_layer, layer.backward_layer
    cell, kind = forward.cell, _kind(forward.cell)
    mask, states = _call(use)
    same = kind == _kind(backward.cell) and cell.units == backward.cell.units
    if not same or not backward.go_backwards or getattr(cell, "dropout", 0) != backward.cell.dropout:
        raise RefusedError("Bidirectional around two layers of different kinds or sizes")
    made = _module(use, cell, int(use.x.shape[-1]), bidirectional=True)
    given = [_inputs(use, cell, False)]
    if mask is not None:
        given = [made, *given, use.plainly(mask)]
    if states:
        half = len(states) // 2
        texts = [f"torch.stack(({use.plainly(a)}, {use.plainly(b)}))"
                 for a, b in zip(states[:half], states[half:], strict=True)]  # fmt: skip
        given.append(f"({', '.join(texts)})" if kind == "LSTM" else texts[0])
    text = f"{made if mask is None else use.helper('masked_rnn')}({', '.join(given)})"
    sequences, merging = bool(forward.return_sequences), layer.merge_mode
    if forward.return_state:
        if merging != "concat" or mask is not None:
            raise RefusedError(f"Bidirectional with return_state, and merge_mode={merging!r} or a mask")
        flag = "" if sequences else ", sequences=False"
        use.piece.unpacked = True
        rest = [plain(2)] * (2 * STATES[kind])
        return use.give(
            f"{use.helper('bidirectional_states')}({text}{flag})", plain(3 if sequences else 2), *rest
        )
    last = f"{text}[1][0]" if kind == "LSTM" else f"{text}[1]"
    text = f"{text}[0]"
    if sequences and mask is not None:  # Keras gives zeros there
        text = f"{text} * {use.plainly(mask, atom=True)}[..., None]"
        if merging != "concat":
            raise RefusedError(f"Bidirectional with merge_mode={merging!r} and a mask")
        return use.give(text, plain(3), atom=False)
    if merging is None:
        use.piece.unpacked = True
        both = f"{text}.chunk(2, dim=-1)" if sequences else f"{last}.unbind(0)"
        return use.give(both, *[plain(3 if sequences else 2)] * 2)
    if merging != "concat":
        how = {"sum": "sum", "ave": "mean", "mul": "prod"}[merging]
        both = f"{text}.unflatten(-1, (2, -1)).{how}(2)" if sequences else f"{last}.{how}(0)"
        return use.give(both, plain(3 if sequences else 2))
    if sequences:
        return use.give(text, plain(3))
    return use.give(f"torch.cat(tuple({last}), dim=1)", plain(2))


def conv_lstm(use: StepUse) -> None:
    """ConvLSTM1D, ConvLSTM2D and ConvLSTM3D, as helpers that keep Keras' gates."""
    layer = use.layer
    rank = len(use.x.shape)
    used = tuple(
        getattr(function, "__name__", "") for function in (layer.activation, layer.recurrent_activation)
    )
    plain_settings = (
        all(n == 1 for n in (*layer.strides, *layer.dilation_rate))
        and layer.padding in ("same", "valid")
        and not layer.go_backwards
    )
    if not plain_settings or layer.return_state or layer.dropout or layer.recurrent_dropout:
        raise RefusedError("a ConvLSTM with strides, dilation, state, dropout or go_backwards")
    if any(name not in FUNCTIONS for name in used):
        raise RefusedError(f"a ConvLSTM with the activations {used[0]} and {used[1]}")
    names = zip(("activation", "gate"), used, DEFAULTS["LSTM"], strict=True)
    more: dict[str, Any] = {
        name: Name(FUNCTIONS[function]) for name, function, usual in names if function != usual
    }
    made = use.module(
        f"ConvLSTM{rank - 3}d", ("in_channels", "out_channels", "kernel_size"), in_channels=int(use.x.shape[-1]),
        out_channels=int(layer.filters), kernel_size=tuple(layer.kernel_size), padding=layer.padding, **more,
        bias=bool(layer.use_bias), return_sequences=bool(layer.return_sequences),
        sources={"out_channels": "filters", "kernel_size": "kernel_size", "return_sequences": "return_sequences"},
    )  # fmt: skip
    after = frames(rank) if layer.return_sequences else images(rank - 1)
    use.give(f"{made}({use.take(use.x, frames(rank))})", after)


RULES = {
    **dict.fromkeys((*DEFAULTS, "RNN"), recurrent), "Bidirectional": bidirectional,
    **{f"ConvLSTM{n}D": conv_lstm for n in (1, 2, 3)},
}  # fmt: skip
