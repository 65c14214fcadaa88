"""float64 where Keras or its backend would pass through float32 under a float64 policy.

TensorFlow's cast of a Python number, its leaky ReLU's slope and its bilinear resize have 24 bits under any
dtype: about 1e-8, a thousand times the bound for the structure. On JAX and torch, Keras makes float32 of
float64 with float32, so that its normalisations are 1e-7 to 1e-6 off. JAX takes the softmax of its attention in
float32. While parity judges in float64, all of
these are computed in float64; nothing else about the model changes. Convolutions with their channels first are
computed with them last there: a CPU refuses them in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from parity.adapters.patching import restored


@contextmanager
def exact_float64() -> Iterator[None]:
    """Replace these functions while this is open; only float64 tensors are treated differently."""
    name = keras.config.backend()
    with ExitStack() as stack:
        stack.enter_context(_tensorflow() if name == "tensorflow" else _result_type())
        if name == "jax":
            stack.enter_context(_jax_attention())
        yield


@contextmanager
def _result_type() -> Iterator[None]:
    """float64 wins over float32, as it does on TensorFlow, in NumPy, and in torch and JAX themselves."""
    from keras.src import backend
    from keras.src.backend.common import dtypes as common

    plain = common.result_type

    def result_type(*dtypes: Any) -> str:
        if any(
            keras.backend.standardize_dtype(getattr(dtype, "dtype", dtype)) == "float64" for dtype in dtypes
        ):
            return "float64"
        return str(plain(*dtypes))

    with restored(backend, "result_type", result_type), restored(common, "result_type", result_type):
        yield


@contextmanager
def _jax_attention() -> Iterator[None]:
    """The softmax of dot_product_attention in the dtype of its logits: in JAX, and in Keras' copy of it."""
    import jax
    import jax.numpy as jnp
    from jax._src.nn import functions
    from keras.src.backend.jax import nn

    def attend(
        home: Any,
        query: Any,
        key: Any,
        value: Any,
        bias: Any,
        mask: Any,
        causal: bool,
        scale: float,
        *rest: Any,
    ) -> Any:
        logits = jnp.einsum("BTNH,BSNH->BNTS", query, key) * jnp.asarray(scale, query.dtype)
        if bias is not None:
            logits = (logits + bias).astype(logits.dtype)
        logits = home._apply_masks(logits, mask, causal, *rest[:3])
        encoded = jnp.einsum("BNTS,BSNH->BTNH", jax.nn.softmax(logits, axis=-1), value)
        if rest and rest[0] is not None:
            encoded = encoded * functions._get_padding_mask_encoded(encoded.shape[1], rest[0]).astype(
                encoded.dtype
            )
        return encoded

    def exact(home: Any) -> Any:
        plain = home._dot_product_attention_core

        def core(query: Any, key: Any, value: Any, *rest: Any) -> Any:
            if query.dtype != jnp.float64 or any(
                rest[7:]
            ):  # the last of JAX' arguments asks for more than the result
                return plain(query, key, value, *rest)
            return attend(home, query, key, value, *rest[:7])

        return core

    with ExitStack() as stack:
        for home in (functions, nn):
            if hasattr(home, "_dot_product_attention_core"):
                stack.enter_context(restored(home, "_dot_product_attention_core", exact(home)))
        yield


@contextmanager
def _tensorflow() -> Iterator[None]:
    import tensorflow as tf
    from tensorflow.python.ops import math_ops

    plain_cast, plain_leaky, plain_resize = math_ops.cast, tf.nn.leaky_relu, tf.image.resize

    def cast(x: Any, dtype: Any, name: Any = None) -> Any:
        if isinstance(x, float) and tf.as_dtype(dtype) == tf.float64:
            return tf.constant(x, tf.float64)
        return plain_cast(x, dtype, name=name)

    def leaky_relu(features: Any, alpha: Any = 0.2, name: Any = None) -> Any:
        if _is_float64(features) and isinstance(alpha, int | float):
            return tf.where(features > 0, features, features * tf.constant(alpha, tf.float64))
        return plain_leaky(features, alpha=alpha, name=name)

    def resize(images: Any, size: Any, method: Any = "bilinear", *args: Any, **kwargs: Any) -> Any:
        special = args or kwargs.get("preserve_aspect_ratio")
        if special or method != "bilinear" or not _is_float64(images) or len(images.shape) != 4:
            return plain_resize(images, size, method, *args, **kwargs)
        wide = bool(kwargs.get("antialias"))
        return _bilinear(_bilinear(images, int(size[0]), 1, wide), int(size[1]), 2, wide)

    plain_convolution, plain_transpose = tf.nn.convolution, tf.nn.conv_transpose

    def convolution(inputs: Any, filters: Any, *args: Any, data_format: Any = None, **kwargs: Any) -> Any:
        if not _channels_first(inputs, data_format):
            return plain_convolution(inputs, filters, *args, data_format=data_format, **kwargs)
        moved, last = _channels_last(inputs, data_format)
        return _channels_back(plain_convolution(moved, filters, *args, data_format=last, **kwargs))

    def conv_transpose(
        inputs: Any, filters: Any, output_shape: Any, *args: Any, data_format: Any = None, **kwargs: Any
    ) -> Any:
        if not _channels_first(inputs, data_format):
            return plain_transpose(inputs, filters, output_shape, *args, data_format=data_format, **kwargs)
        moved, last = _channels_last(inputs, data_format)
        shape = [output_shape[0], *output_shape[2:], output_shape[1]]
        return _channels_back(plain_transpose(moved, filters, shape, *args, data_format=last, **kwargs))

    with ExitStack() as stack:
        stack.enter_context(restored(math_ops, "cast", cast))
        stack.enter_context(restored(tf, "cast", cast))
        stack.enter_context(restored(tf.nn, "leaky_relu", leaky_relu))
        stack.enter_context(restored(tf.image, "resize", resize))
        stack.enter_context(restored(tf.nn, "convolution", convolution))
        stack.enter_context(restored(tf.nn, "conv_transpose", conv_transpose))
        yield


def _channels_first(inputs: Any, data_format: Any) -> bool:
    """Whether it is a convolution in float64 with its channels first, which a CPU does not compute."""
    return _is_float64(inputs) and str(data_format).startswith("NC")


def _channels_last(inputs: Any, data_format: str) -> tuple[Any, str]:
    import tensorflow as tf

    rank = len(inputs.shape)
    return tf.transpose(inputs, [0, *range(2, rank), 1]), f"N{data_format[2:]}C"


def _channels_back(outputs: Any) -> Any:
    import tensorflow as tf

    rank = len(outputs.shape)
    return tf.transpose(outputs, [0, rank - 1, *range(1, rank - 1)])


def _is_float64(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "name", "") == "float64"


def _bilinear(images: Any, size: int, axis: int, antialias: bool) -> Any:
    """Resize one axis with a triangle around each new pixel's centre; pixel centres lie at half pixels.

    The triangle is one old pixel wide to each side, or, to keep high frequencies out where the image shrinks, one
    new pixel.
    """
    import tensorflow as tf

    length = int(images.shape[axis])
    scale = length / size
    centres = (np.arange(size) + 0.5) * scale
    if not antialias:
        centres = np.clip(centres, 0.5, length - 0.5)
    reach = max(scale, 1.0) if antialias else 1.0
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(length) + 0.5 - centres[:, None]) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    moved = tf.tensordot(tf.constant(weights, tf.float64), images, [[1], [axis]])
    return tf.transpose(moved, [*range(1, axis + 1), 0, *range(axis + 1, len(images.shape))])
