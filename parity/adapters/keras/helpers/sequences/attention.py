"""Attention with torch's arguments: masks by position and by key, both orders of the axes, weights on demand."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="port")
class MultiheadAttention(keras.layers.MultiHeadAttention):
    """Keras' multi-head attention, called as torch's is: it gives the output and the weights of the attention.

    A mask of truth values is true where nothing is looked at; a mask of numbers is added to the scores.
    """

    def __init__(self, num_heads, key_dim, dropout=0.0, use_bias=True, batch_first=False, **kwargs):
        super().__init__(num_heads, key_dim, dropout=dropout, use_bias=use_bias, **kwargs)
        self.batch_first = batch_first

    def build(self, query_shape, key_shape, value_shape):
        super().build(query_shape, value_shape, key_shape)

    def call(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
        training=None,
    ):
        if not self.batch_first:
            query, key, value = (ops.swapaxes(x, 0, 1) for x in (query, key, value))
        query, key, value = self._query_dense(query), self._key_dense(key), self._value_dense(value)
        scores = ops.einsum("btnh,bsnh->bnts", query * self._key_dim**-0.5, key)
        if attn_mask is not None:
            if len(attn_mask.shape) == 3:  # one for each image and head
                attn_mask = ops.reshape(attn_mask, (-1, self.num_heads, *attn_mask.shape[1:]))
            scores = _masked(scores, attn_mask)
        if key_padding_mask is not None:
            scores = _masked(scores, key_padding_mask[:, None, None, :])
        weights = ops.softmax(scores, axis=-1)
        dropped = self._dropout_layer(weights, training=training) if self._dropout > 0 else weights
        output = self._output_dense(ops.einsum("bnts,bsnh->btnh", dropped, value))
        if not self.batch_first:
            output = ops.swapaxes(output, 0, 1)
        if not need_weights:
            return output, None
        return output, ops.mean(dropped, axis=1) if average_attn_weights else dropped

    def compute_output_spec(
        self, query, key, value, *args, need_weights=True, average_attn_weights=True, **kwargs
    ):
        output = keras.KerasTensor(query.shape, self.compute_dtype)
        if not need_weights:
            return output, None
        batch, rows = query.shape[:2] if self.batch_first else query.shape[1::-1]
        columns = key.shape[1 if self.batch_first else 0]
        heads = () if average_attn_weights else (self.num_heads,)
        return output, keras.KerasTensor((batch, *heads, rows, columns), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "batch_first": self.batch_first}


def _masked(scores, mask):
    """Scores with a mask: minus infinity where truth values are true, or numbers that are added."""
    if keras.backend.standardize_dtype(mask.dtype) == "bool":
        return ops.where(mask, ops.full_like(scores, float("-inf")), scores)
    return scores + ops.cast(mask, scores.dtype)
