"""The transformer of torch.nn: its layers of the encoder and of the decoder, and what stacks them."""

import keras

from parity.adapters.keras.helpers.sequences.attention import MultiheadAttention


class _TransformerLayer(keras.layers.Layer):
    """What a layer of the encoder and one of the decoder share: the arguments, and two dense layers."""

    def __init__(
        self,
        d_model,
        nhead,
        dim_feedforward=2048,
        dropout=0.1,
        activation="relu",
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.d_model, self.nhead, self.dim_feedforward, self.rate = d_model, nhead, dim_feedforward, dropout
        self.activation, self.layer_norm_eps, self.bias = activation, layer_norm_eps, bias
        self.batch_first, self.norm_first = batch_first, norm_first
        self.self_attn = self.attention()
        self.linear1 = keras.layers.Dense(dim_feedforward, use_bias=bias)
        self.linear2 = keras.layers.Dense(d_model, use_bias=bias)
        self.dropout = keras.layers.Dropout(dropout)
        self.norm1, self.norm2 = self.norm(), self.norm()
        self.dropout1, self.dropout2 = keras.layers.Dropout(dropout), keras.layers.Dropout(dropout)

    def attention(self):
        """Attention with the layer's arguments."""
        return MultiheadAttention(
            self.nhead,
            self.d_model // self.nhead,
            dropout=self.rate,
            use_bias=self.bias,
            batch_first=self.batch_first,
        )

    def norm(self):
        """A normalisation with the layer's arguments."""
        return keras.layers.LayerNormalization(epsilon=self.layer_norm_eps, center=self.bias)

    def build_dense(self):
        """Make the weights of what both kinds of layer hold."""
        features = (None, None, self.d_model)
        self.self_attn.build(features, features, features)
        self.linear1.build(features)
        self.linear2.build((None, None, self.dim_feedforward))
        self.norm1.build(features)
        self.norm2.build(features)

    def attend(self, x, mask, padding, training):
        """Attention of a sequence to itself."""
        x, _ = self.self_attn(
            x, x, x, key_padding_mask=padding, need_weights=False, attn_mask=mask, training=training
        )
        return self.dropout1(x, training=training)

    def feed_forward(self, x, training=None):
        """The two dense layers."""
        x = keras.activations.get(self.activation)(self.linear1(x))
        return self.linear2(self.dropout(x, training=training))

    def get_config(self):
        names = ("d_model", "nhead", "dim_feedforward", "activation", "layer_norm_eps", "batch_first")
        own = {name: getattr(self, name) for name in (*names, "norm_first", "bias")}
        return {**super().get_config(), **own, "dropout": self.rate}


@keras.saving.register_keras_serializable(package="port")
class TransformerEncoderLayer(_TransformerLayer):
    """torch's layer of an encoder: attention and two dense layers, normalised before or behind each."""

    def build(self, src_shape):
        self.build_dense()

    def call(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False, training=None):
        def attend(x):
            return self.attend(x, src_mask, src_key_padding_mask, training)

        def feed(x):
            return self.dropout2(self.feed_forward(x, training=training), training=training)

        if self.norm_first:
            src = src + attend(self.norm1(src))
            return src + feed(self.norm2(src))
        src = self.norm1(src + attend(src))
        return self.norm2(src + feed(src))


@keras.saving.register_keras_serializable(package="port")
class TransformerDecoderLayer(_TransformerLayer):
    """torch's layer of a decoder: attention, attention to the encoder's output, and two dense layers."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.multihead_attn, self.norm3 = self.attention(), self.norm()
        self.dropout3 = keras.layers.Dropout(self.rate)

    def build(self, tgt_shape, memory_shape):
        self.build_dense()
        features = (None, None, self.d_model)
        self.multihead_attn.build(features, features, features)
        self.norm3.build(features)

    def call(
        self,
        tgt,
        memory,
        tgt_mask=None,
        memory_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        tgt_is_causal=False,
        memory_is_causal=False,
        training=None,
    ):
        def attend(x):
            return self.attend(x, tgt_mask, tgt_key_padding_mask, training)

        def look(x):
            x, _ = self.multihead_attn(
                x,
                memory,
                memory,
                key_padding_mask=memory_key_padding_mask,
                need_weights=False,
                attn_mask=memory_mask,
                training=training,
            )
            return self.dropout2(x, training=training)

        def feed(x):
            return self.dropout3(self.feed_forward(x, training=training), training=training)

        if self.norm_first:
            tgt = tgt + attend(self.norm1(tgt))
            tgt = tgt + look(self.norm2(tgt))
            return tgt + feed(self.norm3(tgt))
        tgt = self.norm1(tgt + attend(tgt))
        tgt = self.norm2(tgt + look(tgt))
        return self.norm3(tgt + feed(tgt))


class _TransformerStack(keras.layers.Layer):
    """Layers that are made as one layer was, one behind the other, and perhaps a normalisation behind them."""

    def __init__(self, layer, num_layers, norm=None, **kwargs):
        super().__init__(**kwargs)
        parts = {"layer": layer, "norm": norm}
        self.given = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        self.layers = [self.another() for _ in range(num_layers)]
        self.num_layers, self.norm = num_layers, norm

    def another(self):
        """A layer that is made as the given one was."""
        made = keras.saving.deserialize_keras_object(self.given["layer"])
        return type(made).from_config({k: v for k, v in made.get_config().items() if k != "name"})

    def normed(self, x):
        """The normalisation behind the last layer, where there is one."""
        return x if self.norm is None else self.norm(x)

    def get_config(self):
        return {**super().get_config(), **self.given, "num_layers": self.num_layers}

    @classmethod
    def from_config(cls, config):
        held = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("layer", "norm")}
        return cls(**{**config, **held})


@keras.saving.register_keras_serializable(package="port")
class TransformerEncoder(_TransformerStack):
    """torch's encoder: layers that are made as the given one was."""

    def build(self, src_shape):
        for layer in self.layers:
            layer.build(src_shape)
        if self.norm is not None:
            self.norm.build(src_shape)

    def call(self, src, mask=None, src_key_padding_mask=None, is_causal=None, training=None):
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, training=training)
        return self.normed(src)


@keras.saving.register_keras_serializable(package="port")
class TransformerDecoder(_TransformerStack):
    """torch's decoder: layers that are made as the given one was."""

    def build(self, tgt_shape, memory_shape):
        for layer in self.layers:
            layer.build(tgt_shape, memory_shape)
        if self.norm is not None:
            self.norm.build(tgt_shape)

    def call(
        self,
        tgt,
        memory,
        tgt_mask=None,
        memory_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        tgt_is_causal=None,
        memory_is_causal=False,
        training=None,
    ):
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                training=training,
            )
        return self.normed(tgt)


@keras.saving.register_keras_serializable(package="port")
class Transformer(keras.layers.Layer):
    """torch's transformer: an encoder and a decoder, each with a normalisation behind its layers."""

    def __init__(
        self,
        d_model=512,
        nhead=8,
        num_encoder_layers=6,
        num_decoder_layers=6,
        dim_feedforward=2048,
        dropout=0.1,
        activation="relu",
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        shared = {
            "d_model": d_model,
            "nhead": nhead,
            "dim_feedforward": dim_feedforward,
            "dropout": dropout,
            "activation": activation,
            "layer_norm_eps": layer_norm_eps,
            "batch_first": batch_first,
            "norm_first": norm_first,
            "bias": bias,
        }
        self.given = {
            "num_encoder_layers": num_encoder_layers,
            "num_decoder_layers": num_decoder_layers,
            **shared,
        }
        first, second = TransformerEncoderLayer(**shared), TransformerDecoderLayer(**shared)
        self.encoder = TransformerEncoder(first, num_encoder_layers, first.norm())
        self.decoder = TransformerDecoder(second, num_decoder_layers, second.norm())

    def build(self, src_shape, tgt_shape):
        self.encoder.build(src_shape)
        self.decoder.build(tgt_shape, src_shape)

    def call(
        self,
        src,
        tgt,
        src_mask=None,
        tgt_mask=None,
        memory_mask=None,
        src_key_padding_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        src_is_causal=None,
        tgt_is_causal=None,
        memory_is_causal=False,
        training=None,
    ):
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, training=training
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            training=training,
        )

    def get_config(self):
        return {**super().get_config(), **self.given}
