"""ViT, ported from PyTorch. Images are N, H, W, C.

Proved equal to tests.public.torch_models:ViT(size=(64, 96)) by parity 0.2.0 (Keras 3.15.1, TensorFlow 2.21.0,
JAX 0.10.2, PyTorch 2.13.0+cpu):
- outputs: one probe, 22 layers, 20 elements, greatest difference 2.1e-15
- second size: 3x75x110x3
- reload: 44 tensors saved, loaded and the same
"""

import inspect

import keras
from keras import ops


# What Keras has no layer for, or computes otherwise.


class PlainConfig:
    """Gives the constructor's arguments as the config."""

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        given = inspect.signature(cls.__init__).bind(layer, *args, **kwargs).arguments
        own = ("self", "kwargs", "name", "dtype", "trainable")  # Keras gives these itself
        vars(layer)["_given"] = {name: value for name, value in given.items() if name not in own}
        return layer

    def get_config(self):
        return {**super().get_config(), **self._given}


def random_dropout(x, rate, training=None, shared_axes=()):
    """Zero a share of the elements in training; the same along `shared_axes`."""
    if not training or rate == 0:
        return x
    shape = [1 if axis in shared_axes else size for axis, size in enumerate(ops.shape(x))]
    kept = ops.cast(keras.random.uniform(shape) >= rate, x.dtype)
    return x * kept / (1 - rate)


def scaled_dot_product_attention(query, key, value, mask=None, dropout_p=0.0, scale=None):
    """Attention over the last two axes: (..., tokens, channels). A mask is added, or hides where it is False."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = ops.matmul(query * scale, ops.swapaxes(key, -2, -1))
    if mask is not None:
        hides = keras.backend.standardize_dtype(mask.dtype) == "bool"
        scores = ops.where(mask, scores, float("-inf")) if hides else scores + mask
    return ops.matmul(random_dropout(ops.softmax(scores), dropout_p, training=dropout_p != 0), value)


# The network.


@keras.saving.register_keras_serializable(package="port")
class Attention(keras.layers.Layer):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, dim, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.qkv = keras.layers.Dense(3 * dim)
        self.out = keras.layers.Dense(dim)

    def call(self, x):
        """Let every token look at all tokens of (N, T, dim)."""
        n, t, dim = ops.shape(x)
        qkv = ops.reshape(self.qkv(x), (n, t, 3, self.heads, dim // self.heads))
        q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)))  # (N, heads, T, dim / heads) each
        x = scaled_dot_product_attention(q, k, v)
        return self.out(ops.reshape(ops.swapaxes(x, 1, -2), (n, t, dim)))


@keras.saving.register_keras_serializable(package="port")
class Block(keras.layers.Layer):
    """Attention, then two dense layers, each added to what came in."""

    def __init__(self, dim, heads, ratio=4, **kwargs):
        super().__init__(**kwargs)
        self.norm1 = keras.layers.LayerNormalization(epsilon=1e-6)
        self.attention = Attention(dim, heads)
        self.norm2 = keras.layers.LayerNormalization(epsilon=1e-6)
        self.mlp = keras.Sequential(
            [keras.layers.Dense(ratio * dim), keras.layers.Activation("gelu"), keras.layers.Dense(dim)]
        )

    def call(self, x):
        """Apply the block to (N, T, dim)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@keras.saving.register_keras_serializable(package="port")
class ViT(PlainConfig, keras.Model):
    """A vision transformer: patches become tokens, blocks mix them, a class token is read.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", figure 1.
    """

    def __init__(self, size=(64, 96), patch=16, dim=64, depth=3, heads=4, num_classes=10, **kwargs):
        super().__init__(**kwargs)
        tokens = (size[0] // patch) * (size[1] // patch) + 1
        self.patches = keras.layers.Conv2D(dim, patch, strides=patch)
        self.token = self.add_weight(shape=(1, 1, dim), initializer="zeros", name="token")
        self.places = self.add_weight(
            shape=(1, tokens, dim), initializer=keras.initializers.RandomNormal(stddev=0.02), name="places"
        )
        self.blocks = keras.Sequential([Block(dim, heads) for _ in range(depth)])
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.head = keras.layers.Dense(num_classes)

    def call(self, x):
        """Give the scores (N, num_classes) of images (N, H, W, 3)."""
        x = self.patches(x)  # (N, H / patch, W / patch, dim)
        x = ops.reshape(x, (ops.shape(x)[0], -1, ops.shape(x)[3]))  # (N, T, dim)
        x = ops.concatenate(
            [ops.broadcast_to(self.token, (ops.shape(x)[0], self.token.shape[1], self.token.shape[2])), x],
            axis=1,
        )
        x = self.blocks(x + self.places)
        return self.head(self.norm(x[:, 0]))  # the class token alone


def build():
    """Make the model, and its weights by a first call; their values are to be loaded."""
    model = ViT()
    model(ops.zeros((1, 64, 96, 3)))
    return model
