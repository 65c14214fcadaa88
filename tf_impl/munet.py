"""mUnet, the lecture's network for segmenting several objects at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tf_impl._functional import Tensor
from tf_impl._shared.munet import (
    CHANNELS,
    check_fits,
    check_image,
    check_one_dtype,
    check_options,
    mirrored,
    output_size,
    read_depth,
    schedule_slices,
)
from tf_impl.blocks import SkipBlockDN, SkipBlockUP
from tf_impl.layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, Shape, register

COUNTER = "num_batches_tracked"  # PyTorch's BatchNorm counts its batches; Keras has no such tensor


@register
class mUnet(keras.Model):
    """A U of skip blocks: down to 1/8 of the size and up again, one output channel for each class.

    Half of the channels are saved at three places on the way down; on the way up they overwrite the first
    half. The defaults are the network of DLStudio 2.5.8: its state_dict loads, and the outputs are equal.

    Shapes: (N, H, W, 3) -> (N, H', W', num_classes); H and W multiples of 8 or one more, H' = H - H % 8.

    Args:
        skip_connections: whether the blocks have their shortcuts (the U's own connections always exist).
        depth: twice the number of blocks in each of the four arrays, at least 2.
        num_classes: channels of the output.
        head: "dlstudio" fills the pixels of even row and column alone (the rest is the bias), "dense" all.
        schedule: "released" runs the blocks as DLStudio 2.5.8 does, "printed" as the lecture prints them,
            "intended" each block once; the first two run some blocks twice, with one set of running
            statistics for both, and others never.

    Raises:
        ValueError: an option without a meaning, or an image of the wrong channels or size.

    Source: lecture, slides 68-71 (Kak & Bouman, Purdue, 2025); DLStudio 2.5.8, SemanticSegmentation.mUNet.
    """

    def __init__(
        self,
        skip_connections: bool = True,
        depth: int = 16,
        num_classes: int = 5,
        head: Literal["dlstudio", "dense"] = "dlstudio",
        schedule: Literal["released", "printed", "intended"] = "released",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_options(depth, num_classes, head)
        self._quarter, self._slices = schedule_slices(schedule, depth)
        self.skip_connections = skip_connections
        self.depth = depth
        self.num_classes = num_classes
        self.head = head
        self.schedule = schedule
        self.input_spec = keras.InputSpec(shape=(None, None, None, CHANNELS))
        with keras.name_scope(self.name, caller=self):  # a weight's path is that of its attributes
            self._make_layers()
        self.built = True

    def _make_layers(self) -> None:
        def array(block: type[keras.layers.Layer], channels: int, name: str) -> list[keras.layers.Layer]:
            entries = range(self.depth // 2)
            return [block(channels, channels, **skip, name=f"{name}_{entry}") for entry in entries]

        dtype = {"dtype": self.dtype_policy}
        skip: dict[str, Any] = {"skip_connections": self.skip_connections, **dtype}
        self.conv_in = Conv2d(CHANNELS, 64, 3, padding=1, **dtype, name="conv_in")
        self.pool = MaxPool2d(2, **dtype, name="pool")
        # the way down
        self.bn1DN = BatchNorm2d(64, **dtype, name="bn1DN")
        self.bn2DN = BatchNorm2d(128, **dtype, name="bn2DN")
        self.skip64DN_arr = array(SkipBlockDN, 64, "skip64DN_arr")
        self.skip64dsDN = SkipBlockDN(64, 64, downsample=True, **skip, name="skip64dsDN")
        self.skip64to128DN = SkipBlockDN(64, 128, **skip, name="skip64to128DN")
        self.skip128DN_arr = array(SkipBlockDN, 128, "skip128DN_arr")
        self.skip128dsDN = SkipBlockDN(128, 128, downsample=True, **skip, name="skip128dsDN")
        # the way up
        self.bn1UP = BatchNorm2d(128, **dtype, name="bn1UP")
        self.bn2UP = BatchNorm2d(64, **dtype, name="bn2UP")
        self.skip64UP_arr = array(SkipBlockUP, 64, "skip64UP_arr")
        self.skip64usUP = SkipBlockUP(64, 64, upsample=True, **skip, name="skip64usUP")
        self.skip128to64UP = SkipBlockUP(128, 64, **skip, name="skip128to64UP")
        self.skip128UP_arr = array(SkipBlockUP, 128, "skip128UP_arr")
        self.skip128usUP = SkipBlockUP(128, 128, upsample=True, **skip, name="skip128usUP")
        if self.head == "dense":
            kernel: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1}
        else:
            kernel = {"kernel_size": 3, "stride": 2, "dilation": 2, "output_padding": 1, "padding": 2}
        self.conv_out = ConvTranspose2d(64, self.num_classes, **kernel, **dtype, name="conv_out")

    @classmethod
    def from_dlstudio(cls, state_dict: Mapping[str, Any], skip_connections: bool = True) -> mUnet:
        """Build the network that DLStudio's state_dict belongs to; depth and dtype are read from it.

        Args:
            state_dict: name -> NumPy array (or anything that NumPy takes for one), under the names of
                `mUNet.state_dict()` of DLStudio 2.5.8 and in PyTorch's layout.
            skip_connections: as the network was built; the names do not tell.

        Returns:
            A mUnet with these weights.

        Raises:
            ValueError: a tensor is missing, unknown, of another shape, or of another dtype than the rest.
        """
        tensors = mirrored({name: value for name, value in state_dict.items() if not name.endswith(COUNTER)})
        given = {name: np.asarray(value) for name, value in tensors.items()}
        dtype = check_one_dtype({name: str(value.dtype) for name, value in given.items()})
        model = cls(skip_connections, read_depth(given), dtype=dtype)
        own = dict(_named_variables(model))
        check_fits(
            {name: value.shape for name, value in given.items()},
            {name: tuple(_swap(variable.shape)) for name, variable in own.items()},
        )
        for name, variable in own.items():
            axes = (2, 3, 1, 0) if given[name].ndim == 4 else (0,)
            variable.assign(given[name].transpose(axes))
        return model

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Segment the images `x`."""
        check_image(x.shape[3], x.shape[1], x.shape[2])
        mode = {"training": training}
        q, slices = self._quarter, self._slices
        x = self.pool(ops.relu(self.conv_in(x)))  # (N, H/2, W/2, 64)
        x = _run(self.skip64DN_arr[:q], x, training)
        save1 = _first_half(x)
        x = self.skip64dsDN(x, **mode)  # (N, H/4, W/4, 64)
        x = self.bn1DN(_run(self.skip64DN_arr[q:], x, training), **mode)
        save2 = _first_half(x)
        x = self.skip64to128DN(x, **mode)  # (N, H/4, W/4, 128)
        x = self.bn2DN(_run(self.skip128DN_arr[:q], x, training), **mode)
        save3 = _first_half(x)
        x = _run(self.skip128DN_arr[slices.down128], x, training)
        x = self.skip128dsDN(x, **mode)  # (N, H/8, W/8, 128)
        x = self.skip128usUP(x, **mode)  # (N, H/4, W/4, 128)
        x = self.bn1UP(_overwrite(save3, _run(self.skip128UP_arr[:q], x, training)), **mode)
        x = _run(self.skip128UP_arr[slices.up128], x, training)
        x = self.skip128to64UP(x, **mode)  # (N, H/4, W/4, 64)
        x = self.bn2UP(_overwrite(save2, _run(self.skip64UP_arr[slices.up64], x, training)), **mode)
        x = self.skip64usUP(x, **mode)  # (N, H/2, W/2, 64)
        x = _overwrite(save1, _run(self.skip64UP_arr[:q], x, training))
        return self.conv_out(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        batch, height, width, channels = input_shape
        check_image(channels, height, width)
        return (batch, output_size(height), output_size(width), self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("skip_connections", "depth", "num_classes", "head", "schedule")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _run(blocks: Iterable[keras.layers.Layer], x: Tensor, training: bool | None) -> Tensor:
    for block in blocks:
        x = block(x, training=training)
    return x


def _first_half(x: Tensor) -> Tensor:
    return x[..., : x.shape[-1] // 2]


def _overwrite(saved: Tensor, x: Tensor) -> Tensor:
    """Put `saved` in the place of the first channels of `x`."""
    return ops.concatenate((saved, x[..., saved.shape[-1] :]), axis=-1)


def _swap(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape that a variable has in PyTorch: (kH, kW, a, b) -> (b, a, kH, kW)."""
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape


def _named_variables(model: mUnet) -> Iterator[tuple[str, Any]]:
    """Give each variable its name in PyTorch: .../skip64DN_arr_0/conv1/kernel -> skip64DN_arr.0.conv1.weight."""
    leaves = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
    leaves |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    for variable in model.variables:
        *layers, leaf = variable.path.rpartition(f"{model.name}/")[2].split("/")
        path = re.sub(r"_arr_(\d+)", r"_arr.\1", ".".join(layers))
        yield f"{path}.{leaves[leaf]}", variable
