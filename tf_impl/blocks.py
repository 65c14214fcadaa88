"""mUnet's two building blocks, as DLStudio 2.5.8 computes them and under the lecture's names."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tf_impl._functional import Tensor
from tf_impl.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Shape, register


@register
class SkipBlockDN(keras.layers.Layer):
    """Two convolutions (one where the channels change) with a shortcut, for the downward leg of the U.

    One `downsampler` halves both the main path and the shortcut; a shortcut that must double its channels
    is repeated. Where the channels change, conv2 and bn2 are declared but not used, as in the package.

    Shapes: (N, H, W, in_ch) -> (N, H', W', out_ch); H' = ceil(H / 2) with `downsample`, else H.

    Args:
        in_ch: channels of the input.
        out_ch: channels of the output: `in_ch`, or with the shortcut also 2 * `in_ch`.
        downsample: whether to halve height and width; needs `out_ch` equal to `in_ch`.
        skip_connections: whether the shortcut is added.

    Raises:
        ValueError: the shortcut or the downsampler does not fit the channels.

    Source: lecture, slide 66 (Kak & Bouman, Purdue, 2025); DLStudio 2.5.8, SemanticSegmentation.SkipBlockDN.
    """

    def __init__(
        self, in_ch: int, out_ch: int, downsample: bool = False, skip_connections: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        _check_block(in_ch, out_ch, 2 * in_ch, "downsample", downsample, skip_connections)
        self.downsample = downsample
        self.skip_connections = skip_connections
        self.in_ch = in_ch
        self.out_ch = out_ch
        with keras.name_scope(self.name, caller=self):  # a weight's path is that of its attributes
            dtype = self.dtype_policy
            self.conv1 = Conv2d(in_ch, out_ch, 3, stride=1, padding=1, dtype=dtype, name="conv1")
            self.conv2 = Conv2d(in_ch, out_ch, 3, stride=1, padding=1, dtype=dtype, name="conv2")
            self.bn1 = BatchNorm2d(out_ch, dtype=dtype, name="bn1")
            self.bn2 = BatchNorm2d(out_ch, dtype=dtype, name="bn2")
            if downsample:
                self.downsampler = Conv2d(in_ch, out_ch, 1, stride=2, dtype=dtype, name="downsampler")
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        identity = x
        out = ops.relu(self.bn1(self.conv1(x), training=training))
        if self.in_ch == self.out_ch:
            out = ops.relu(self.bn2(self.conv2(out), training=training))
        if self.downsample:
            out = self.downsampler(out)
            identity = self.downsampler(identity)
        if not self.skip_connections:
            return out
        if self.in_ch != self.out_ch:
            identity = ops.concatenate((identity, identity), axis=-1)
        return out + identity

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        if self.downsample:
            return self.downsampler.compute_output_shape(input_shape)
        return (*input_shape[:3], self.out_ch)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {**super().get_config(), **_arguments(self, "downsample")}


@register
class SkipBlockUP(keras.layers.Layer):
    """Two transposed convolutions (one where the channels change) with a shortcut, for the upward leg.

    One `upsampler` doubles both the main path and the shortcut; it fills every second row and column alone.
    A shortcut that must halve its channels keeps the last half. Where the channels change, convT2 and bn2 are
    declared but not used, as in the package.

    Shapes: (N, H, W, in_ch) -> (N, H', W', out_ch); H' = 2 * H with `upsample`, else H.

    Args:
        in_ch: channels of the input.
        out_ch: channels of the output: `in_ch`, or with the shortcut also `in_ch` / 2.
        upsample: whether to double height and width; needs `out_ch` equal to `in_ch`.
        skip_connections: whether the shortcut is added.

    Raises:
        ValueError: the shortcut or the upsampler does not fit the channels.

    Source: lecture, slide 67 (Kak & Bouman, Purdue, 2025); DLStudio 2.5.8, SemanticSegmentation.SkipBlockUP.
    """

    def __init__(
        self, in_ch: int, out_ch: int, upsample: bool = False, skip_connections: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        _check_block(in_ch, out_ch, in_ch / 2, "upsample", upsample, skip_connections)
        self.upsample = upsample
        self.skip_connections = skip_connections
        self.in_ch = in_ch
        self.out_ch = out_ch
        with keras.name_scope(self.name, caller=self):  # a weight's path is that of its attributes
            dtype = self.dtype_policy
            self.convT1 = ConvTranspose2d(in_ch, out_ch, 3, padding=1, dtype=dtype, name="convT1")
            self.convT2 = ConvTranspose2d(in_ch, out_ch, 3, padding=1, dtype=dtype, name="convT2")
            self.bn1 = BatchNorm2d(out_ch, dtype=dtype, name="bn1")
            self.bn2 = BatchNorm2d(out_ch, dtype=dtype, name="bn2")
            if upsample:
                self.upsampler = ConvTranspose2d(
                    in_ch, out_ch, 1, stride=2, dilation=2, output_padding=1, dtype=dtype, name="upsampler"
                )
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        identity = x
        out = ops.relu(self.bn1(self.convT1(x), training=training))
        if self.in_ch == self.out_ch:
            out = ops.relu(self.bn2(self.convT2(out), training=training))
        if self.upsample:
            out = self.upsampler(out)
            identity = self.upsampler(identity)
        if not self.skip_connections:
            return out
        if self.in_ch != self.out_ch:
            identity = identity[..., self.out_ch :]
        return out + identity

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        if self.upsample:
            return self.upsampler.compute_output_shape(input_shape)
        return (*input_shape[:3], self.out_ch)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {**super().get_config(), **_arguments(self, "upsample")}


def _arguments(block: Any, resize: str) -> dict[str, Any]:
    return {name: getattr(block, name) for name in ("in_ch", "out_ch", resize, "skip_connections")}


def _check_block(
    in_ch: int, out_ch: int, other: float, resize: str, resizes: bool, skip_connections: bool
) -> None:
    """Refuse channel counts that the shortcut or the shared resizing layer cannot carry."""
    if resizes and in_ch != out_ch:
        raise ValueError(
            f"out_ch must equal in_ch where {resize}=True, because one layer resizes both paths; "
            f"got in_ch={in_ch}, out_ch={out_ch}. Change the channels in a block of its own."
        )
    if skip_connections and out_ch not in (in_ch, other):
        raise ValueError(
            f"out_ch must be in_ch={in_ch} or {other:g}, because the shortcut has no weights of its own; "
            f"got out_ch={out_ch}. Choose one of the two, or skip_connections=False."
        )
