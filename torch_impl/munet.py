"""mUnet, the lecture's network for segmenting several objects at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_impl._shared.munet import (
    CHANNELS,
    check_fits,
    check_image,
    check_one_dtype,
    check_options,
    mirrored,
    mirrored_name,
    read_depth,
    schedule_slices,
)
from torch_impl.blocks import SkipBlockDN, SkipBlockUP
from torch_impl.layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d

COUNTER = "num_batches_tracked"  # PyTorch's BatchNorm counts its batches; Keras has no such tensor


class mUnet(nn.Module):
    """A U of skip blocks: down to 1/8 of the size and up again, one output channel for each class.

    Half of the channels are saved at three places on the way down; on the way up they overwrite the first
    half. The defaults are the network of DLStudio 2.5.8: its state_dict loads, and the outputs are equal.

    Shapes: (N, 3, H, W) -> (N, num_classes, H', W'); H and W multiples of 8 or one more, H' = H - H % 8.

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
    ) -> None:
        super().__init__()
        check_options(depth, num_classes, head)
        self._quarter, self._slices = schedule_slices(schedule, depth)
        self.skip_connections = skip_connections
        self.depth = depth
        self.num_classes = num_classes
        self.head = head
        self.schedule = schedule

        def array(block: type[nn.Module], channels: int) -> nn.ModuleList:
            return nn.ModuleList(block(channels, channels, **skip) for _ in range(depth // 2))

        skip: dict[str, Any] = {"skip_connections": skip_connections}
        self.conv_in = Conv2d(CHANNELS, 64, 3, padding=1)
        self.pool = MaxPool2d(2)
        # the way down
        self.bn1DN = BatchNorm2d(64)
        self.bn2DN = BatchNorm2d(128)
        self.skip64DN_arr = array(SkipBlockDN, 64)
        self.skip64dsDN = SkipBlockDN(64, 64, downsample=True, **skip)
        self.skip64to128DN = SkipBlockDN(64, 128, **skip)
        self.skip128DN_arr = array(SkipBlockDN, 128)
        self.skip128dsDN = SkipBlockDN(128, 128, downsample=True, **skip)
        # the way up
        self.bn1UP = BatchNorm2d(128)
        self.bn2UP = BatchNorm2d(64)
        self.skip64UP_arr = array(SkipBlockUP, 64)
        self.skip64usUP = SkipBlockUP(64, 64, upsample=True, **skip)
        self.skip128to64UP = SkipBlockUP(128, 64, **skip)
        self.skip128UP_arr = array(SkipBlockUP, 128)
        self.skip128usUP = SkipBlockUP(128, 128, upsample=True, **skip)
        if head == "dense":
            self.conv_out = ConvTranspose2d(64, num_classes, 4, stride=2, padding=1)
        else:
            self.conv_out = ConvTranspose2d(
                64, num_classes, 3, stride=2, dilation=2, output_padding=1, padding=2
            )
        self.register_load_state_dict_pre_hook(_take_dlstudio_names)  # type: ignore[no-untyped-call]

    @classmethod
    def from_dlstudio(cls, state_dict: Mapping[str, Any], skip_connections: bool = True) -> mUnet:
        """Build the network that DLStudio's state_dict belongs to; depth and dtype are read from it.

        Args:
            state_dict: name -> tensor, as `mUNet.state_dict()` of DLStudio 2.5.8 gives it.
            skip_connections: as the network was built; the names do not tell.

        Returns:
            A mUnet in training mode with these weights.

        Raises:
            ValueError: a tensor is missing, unknown, of another shape, or of another dtype than the rest.
        """
        given = mirrored({name: value for name, value in state_dict.items() if not name.endswith(COUNTER)})
        dtype = check_one_dtype({name: str(value.dtype) for name, value in given.items()})
        model = cls(skip_connections, read_depth(given)).to(getattr(torch, dtype.removeprefix("torch.")))
        own = model.state_dict()
        check_fits(
            {name: value.shape for name, value in given.items()},
            {name: value.shape for name, value in own.items() if not name.endswith(COUNTER)},
        )
        model.load_state_dict({**own, **mirrored(state_dict)})
        return model

    def forward(self, x: Tensor) -> Tensor:
        """Segment the images `x`."""
        if x.ndim != 4:
            raise ValueError(f"images must be (N, 3, H, W); got shape={tuple(x.shape)}. Add the batch axis.")
        check_image(*x.shape[1:])
        q, slices = self._quarter, self._slices
        x = self.pool(F.relu(self.conv_in(x)))  # (N, 64, H/2, W/2)
        x = _run(self.skip64DN_arr[:q], x)
        save1 = _first_half(x)
        x = self.skip64dsDN(x)  # (N, 64, H/4, W/4)
        x = self.bn1DN(_run(self.skip64DN_arr[q:], x))
        save2 = _first_half(x)
        x = self.skip64to128DN(x)  # (N, 128, H/4, W/4)
        x = self.bn2DN(_run(self.skip128DN_arr[:q], x))
        save3 = _first_half(x)
        x = _run(self.skip128DN_arr[slices.down128], x)
        x = self.skip128dsDN(x)  # (N, 128, H/8, W/8)
        x = self.skip128usUP(x)  # (N, 128, H/4, W/4)
        x = self.bn1UP(_overwrite(save3, _run(self.skip128UP_arr[:q], x)))
        x = _run(self.skip128UP_arr[slices.up128], x)
        x = self.skip128to64UP(x)  # (N, 64, H/4, W/4)
        x = self.bn2UP(_overwrite(save2, _run(self.skip64UP_arr[slices.up64], x)))
        x = self.skip64usUP(x)  # (N, 64, H/2, W/2)
        x = _overwrite(save1, _run(self.skip64UP_arr[:q], x))
        return cast(Tensor, self.conv_out(x))


def _run(blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


def _first_half(x: Tensor) -> Tensor:
    return x[:, : x.shape[1] // 2]


def _overwrite(saved: Tensor, x: Tensor) -> Tensor:
    """Put `saved` in the place of the first channels of `x`, without writing into `x`."""
    return torch.cat((saved, x[:, saved.shape[1] :]), dim=1)


def _take_dlstudio_names(module: nn.Module, state_dict: dict[str, Any], *_: Any) -> None:
    """Before loading, give DLStudio's tensors the lecture's names; a name that is taken stays unexpected."""
    for name in list(state_dict):
        if mirrored_name(name) not in state_dict:
            state_dict[mirrored_name(name)] = state_dict.pop(name)
