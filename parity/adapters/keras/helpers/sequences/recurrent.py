"""Recurrent layers as torch stacks them: several layers, both directions, sequences first or batches first."""

import keras
from keras import ops


class _Stacked(keras.layers.Layer):
    """Layers of one kind on top of one another; gives the outputs of the last one, and the last state of each."""

    def __init__(
        self,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size, self.num_layers, self.bias = hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        directions = (False, True) if bidirectional else (False,)
        self.cells = [
            self.make(
                hidden_size, use_bias=bias, return_sequences=True, return_state=True, go_backwards=backwards
            )
            for _ in range(num_layers)
            for backwards in directions
        ]
        self.between = keras.layers.Dropout(dropout)

    def make(self, units, **kwargs):
        """One layer in one direction."""
        raise NotImplementedError

    def build(self, input_shape, *states):
        features = input_shape[-1]
        count = 2 if self.bidirectional else 1
        for index, cell in enumerate(self.cells):
            cell.build((None, None, features if index < count else count * self.hidden_size))

    def run(self, x, states, training):
        """The outputs of the last layer, and the states of all, each a list of tensors."""
        if not self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        count, last = 2 if self.bidirectional else 1, []
        for first in range(0, len(self.cells), count):
            if first:
                x = self.between(x, training=training)
            outputs = []
            for index in range(first, first + count):
                start = None if states is None else [state[index] for state in states]
                y, *state = self.cells[index](x, initial_state=start, training=training)
                outputs.append(ops.flip(y, 1) if self.cells[index].go_backwards else y)
                last.append(state)
            x = outputs[0] if count == 1 else ops.concatenate(outputs, axis=-1)
        if not self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        return x, [ops.stack(state) for state in zip(*last, strict=True)]

    def spec(self, x, states):
        """What a call gives, as symbolic tensors."""
        count = 2 if self.bidirectional else 1
        batch = x.shape[0 if self.batch_first else 1]
        state = keras.KerasTensor((len(self.cells), batch, self.hidden_size), self.compute_dtype)
        return keras.KerasTensor((*x.shape[:-1], count * self.hidden_size), self.compute_dtype), [
            state
        ] * states

    def get_config(self):
        names = ("hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="port")
class StackedLSTM(_Stacked):
    """torch's LSTM: gives the outputs, and (hidden states, cell states)."""

    def make(self, units, **kwargs):
        return keras.layers.LSTM(units, **kwargs)

    def call(self, x, states=None, training=None):
        x, last = self.run(x, states, training)
        return x, tuple(last)

    def compute_output_spec(self, x, states=None, training=None):
        outputs, last = self.spec(x, 2)
        return outputs, tuple(last)


@keras.saving.register_keras_serializable(package="port")
class StackedGRU(_Stacked):
    """torch's GRU: gives the outputs and the hidden states."""

    def make(self, units, **kwargs):
        return keras.layers.GRU(units, reset_after=True, **kwargs)

    def call(self, x, states=None, training=None):
        x, (last,) = self.run(x, None if states is None else [states], training)
        return x, last

    def compute_output_spec(self, x, states=None, training=None):
        outputs, (last,) = self.spec(x, 1)
        return outputs, last


@keras.saving.register_keras_serializable(package="port")
class StackedRNN(_Stacked):
    """torch's RNN: gives the outputs and the hidden states."""

    def __init__(self, *args, nonlinearity="tanh", **kwargs):
        self.nonlinearity = nonlinearity
        super().__init__(*args, **kwargs)

    def make(self, units, **kwargs):
        return keras.layers.SimpleRNN(units, activation=self.nonlinearity, **kwargs)

    def call(self, x, states=None, training=None):
        x, (last,) = self.run(x, None if states is None else [states], training)
        return x, last

    def compute_output_spec(self, x, states=None, training=None):
        outputs, (last,) = self.spec(x, 1)
        return outputs, last

    def get_config(self):
        return {**super().get_config(), "nonlinearity": self.nonlinearity}


@keras.saving.register_keras_serializable(package="port")
class LSTMCell(keras.layers.LSTMCell):
    """One step of an LSTM, called as torch's cell is: gives (hidden state, cell state)."""

    def call(self, x, states=None, training=None):
        if states is None:
            states = [ops.zeros((ops.shape(x)[0], self.units), dtype=x.dtype)] * 2
        hidden, (_, cell) = super().call(x, list(states), training=training)
        return hidden, cell


@keras.saving.register_keras_serializable(package="port")
class GRUCell(keras.layers.GRUCell):
    """One step of a GRU, called as torch's cell is: gives the hidden state."""

    def call(self, x, state=None, training=None):
        if state is None:
            state = ops.zeros((ops.shape(x)[0], self.units), dtype=x.dtype)
        return super().call(x, [state], training=training)[0]


@keras.saving.register_keras_serializable(package="port")
class RNNCell(keras.layers.SimpleRNNCell):
    """One step of a simple recurrent layer, called as torch's cell is: gives the hidden state."""

    def call(self, x, state=None, training=None):
        if state is None:
            state = ops.zeros((ops.shape(x)[0], self.units), dtype=x.dtype)
        return super().call(x, [state], training=training)[0]
