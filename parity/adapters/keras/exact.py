"""float64 where Keras or its backend would pass through float32 under a float64 policy.

TensorFlow's cast of a Python number, its leaky ReLU's slope and its bilinear and bicubic resize have 24 bits under any
dtype: about 1e-8, a thousand times the bound for the structure. On JAX and torch, Keras makes float32 of
float64 with float32, so that its normalisations are 1e-7 to 1e-6 off. JAX takes the softmax of its attention in
float32. While parity judges in float64, all of
these are computed in float64; nothing else about the model changes. Convolutions with their channels first are
computed with them last there: a CPU refuses them in float64, and pooling in three dimensions altogether.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from parity.adapters.keras.exact_steps.pooling import in_two_turns
from parity.adapters.keras.exact_steps.resizing import resized
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
        known = method in ("bilinear", "bicubic") and len(images.shape) == 4
        if special or not known or not _is_float64(images):
            return plain_resize(images, size, method, *args, **kwargs)
        return resized(images, size, method, bool(kwargs.get("antialias")))

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
        for name in ("max_pool", "avg_pool", "max_pool3d", "avg_pool3d"):
            stack.enter_context(restored(tf.nn, name, _pooling(name)))
        stack.enter_context(restored(tf.nn, "pool", _any_pooling()))
        stack.enter_context(restored(math_ops, "cast", cast))
        stack.enter_context(restored(tf, "cast", cast))
        stack.enter_context(restored(tf.nn, "leaky_relu", leaky_relu))
        stack.enter_context(restored(tf.image, "resize", resize))
        stack.enter_context(restored(tf.nn, "convolution", convolution))
        stack.enter_context(restored(tf.nn, "conv_transpose", conv_transpose))
        yield


def _pooling(name: str) -> Any:
    """One of TensorFlow's poolings, of float64 volumes too."""
    import tensorflow as tf

    plain, flat = getattr(tf.nn, name), getattr(tf.nn, name.removesuffix("3d"))

    def pooling(
        input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = None, name: Any = None
    ) -> Any:
        if not _is_float64(input) or len(input.shape) != 5 or not isinstance(padding, str):
            return plain(input, ksize, strides, padding, data_format=data_format, name=name)
        return in_two_turns(flat, input, ksize, strides, padding, str(data_format).startswith("NC"))

    return pooling


def _any_pooling() -> Any:
    """TensorFlow's pooling by name, of float64 volumes too."""
    import tensorflow as tf

    plain, by_name = tf.nn.pool, {"MAX": tf.nn.max_pool, "AVG": tf.nn.avg_pool}

    def pooling(input: Any, window_shape: Any, pooling_type: Any, *args: Any, **kwargs: Any) -> Any:
        volume = _is_float64(input) and len(input.shape) == 5
        if not volume or args or kwargs.get("dilations") or str(kwargs.get("data_format")).startswith("NC"):
            return plain(input, window_shape, pooling_type, *args, **kwargs)
        padding, strides = kwargs.get("padding", "VALID"), kwargs.get("strides") or (1, 1, 1)
        return in_two_turns(by_name[pooling_type.upper()], input, window_shape, strides, padding)

    return pooling


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
