"""PASCAL VOC2012's segmentation data from its own folder, or one's own in that layout."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError
from datasets.voc.colours import VOID
from datasets.voc.files import (
    Size,
    picture_paths,
    read_image,
    read_labels,
    read_list,
    read_pair,
    sizes_of,
)
from datasets.voc.names import read_classes

Bytes: TypeAlias = NDArray[np.uint8]
Indices: TypeAlias = Sequence[int] | NDArray[np.integer]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of values 0..1
PADDING = tuple(round(255 * value) for value in MEAN)  # 0 after `normalise`, nearly
CROP = (320, 480)  # the chapter's
STREAM = 0x50C  # separates these draws from other uses of the same seed
VOIDS, SMALL = ("ignore", "background"), ("leave-out", "pad")


class Voc:
    """The images of one part with their class indices, read on demand: memory holds only names and sizes.

    The constructor opens every file's head, so that missing files and unequal sizes are reported before training.
    The object can be sent to other processes and used from several threads.

    Shapes:
        images: (N, H, W, 3), labels: (N, H, W), the middles of all images, as `Crops`.
        sizes: (N, 2), H and W of every whole image.
    Args:
        root: the folder that holds JPEGImages, SegmentationClass and ImageSets; with a class_names.txt its names
            are the classes, else VOC's are.
        part: "train", "val", "trainval", or another list in ImageSets/Segmentation.
        crop: H and W of what `crops` cuts out, in pixels.
        void: the border's pixels: "ignore" gives them index 255, "background" index 0, as the chapter does.
        seed: of the crops' places, 0 or more.
        small: images with a side below the crop's: "leave-out", as the chapter does; "pad" puts them at the top
            left, the rest ImageNet's mean colour, labelled as the border is (255, or 0).
    Raises:
        DataError: a list or files that are missing or unequal in size, or no image left.
        SettingsError: an argument out of range.
    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge 2012"; Zhang, Lipton, Li, Smola, "Dive
    into Deep Learning", the chapter on semantic segmentation and its data set.
    """

    classes: tuple[str, ...]

    def __init__(
        self,
        root: str | Path,
        part: str = "train",
        crop: Size = CROP,
        void: str = "ignore",
        seed: int = 0,
        small: str = "leave-out",
    ) -> None:
        if len(crop) != 2 or min(crop) < 1:
            raise SettingsError(f"crop must be H and W, 1 or more pixels each; got crop={crop}. Try {CROP}.")
        for name, value, choices in (("void", void, VOIDS), ("small", small, SMALL)):
            if value not in choices:
                raise SettingsError(f"{name} must be one of {', '.join(choices)}; got {name}={value!r}.")
        if seed < 0:
            raise SettingsError(f"seed must be 0 or more; got seed={seed}. Give another one.")
        self.root, self.part, self.crop = Path(root), part, (operator.index(crop[0]), operator.index(crop[1]))
        self.void, self.seed, self.small = void, seed, small
        self.classes = read_classes(self.root)
        names = read_list(self.root, part)
        sizes = sizes_of(self.root, names)
        fits = np.logical_and.reduce(sizes >= self.crop, axis=1) | (small == "pad")
        if not fits.any():
            raise DataError(
                f"an image of {part} must be at least crop={self.crop[0]}x{self.crop[1]}; got none of {len(names)}, "
                f"the largest {sizes.max(axis=0).tolist()} in {root}. Give a smaller crop, or small='pad'."
            )
        self.names = tuple(name for name, fit in zip(names, fits, strict=True) if fit)
        self.left_out = tuple(name for name, fit in zip(names, fits, strict=True) if not fit)
        self.sizes = sizes[fits]

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> tuple[Bytes, Bytes]:
        """A whole image and its class indices.

        Shapes: returns (h, w, 3) and (h, w), the image's own size.
        Args:
            index: 0..len-1, a place in `names`.
        Returns: values 0..255; indices of `classes`, and 255 on the border unless it is background.
        Raises:
            IndexError: no such image.
            DataError: pictures that cannot be read, or a label with a colour or index of no class.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in 0..{len(self) - 1}; got index={index}.")
        image, labels = read_pair(self.root, self.names[index], self.classes)
        return self._checked(image, index), self._without_void(labels)

    def crops(self, indices: Indices, epoch: int | None = None) -> tuple[Bytes, Bytes]:
        """Pieces of equal size of images and of their labels, cut at the same places, without interpolation.

        A piece's place depends on seed, epoch and index alone, not on the batch, on earlier reads or on the
        process that reads.

        Shapes: returns (n, H, W, 3) and (n, H, W), H and W the crop's.
        Args:
            indices: n of them, 0..len-1.
            epoch: 0 or more, for random places; None for the middle of every image, as checks want it.
        Returns: values 0..255; class indices, and 255 on the border and in padding unless they are background.
        Raises:
            IndexError: no such image.
            DataError, SettingsError: a negative epoch, or what `load` refuses.
        """
        if epoch is not None and epoch < 0:
            raise SettingsError(f"epoch must be 0 or more; got epoch={epoch}. Count from 0 or 1.")
        images = np.empty((len(indices), *self.crop, 3), np.uint8)
        labels = np.empty((len(indices), *self.crop), np.uint8)
        for place, index in enumerate(indices):
            image, label = self.load(int(index))
            corner = self._corner(int(index), epoch)
            images[place] = self._cut(image, corner, PADDING)
            labels[place] = self._cut(label, corner, self._void_index)
        return images, labels

    @cached_property
    def images(self) -> Crops:
        """The middles of all images, (N, H, W, 3), read as they are indexed."""
        return Crops(len(self), (*self.crop, 3), self._middle_image)

    @cached_property
    def labels(self) -> Crops:
        """The class indices of the same middles, (N, H, W), read as they are indexed."""
        return Crops(len(self), self.crop, self._middle_labels)

    def _middle_image(self, index: int) -> Bytes:
        image = read_image(picture_paths(self.root, self.names[index])[0])
        return self._cut(self._checked(image, index), self._corner(index, None), PADDING)

    def _middle_labels(self, index: int) -> Bytes:
        labels = read_labels(picture_paths(self.root, self.names[index])[1], self.classes)
        labels = self._without_void(labels)
        return self._cut(self._checked(labels, index), self._corner(index, None), self._void_index)

    @property
    def _void_index(self) -> int:
        return VOID if self.void == "ignore" else 0

    def _without_void(self, labels: Bytes) -> Bytes:
        return np.where(labels == VOID, np.uint8(self._void_index), labels)

    def _checked(self, pixels: Bytes, index: int) -> Bytes:
        if pixels.shape[:2] != tuple(self.sizes[index].tolist()):
            raise DataError(
                f"a picture must keep the size that it had at the start, {self.sizes[index].tolist()}; got "
                f"{pixels.shape[:2]} for {self.names[index]} in {self.root}. Start again."
            )
        return pixels

    def _corner(self, index: int, epoch: int | None) -> tuple[int, int]:
        """The first row and column of a piece."""
        room = np.maximum(self.sizes[index] - self.crop, 0)
        if epoch is None:
            top, left = (room // 2).tolist()
        else:
            stream = np.random.SeedSequence([self.seed, epoch, index], spawn_key=(STREAM,))
            top, left = np.random.Generator(np.random.PCG64(stream)).integers(0, room + 1).tolist()
        return top, left

    def _cut(self, pixels: Bytes, corner: tuple[int, int], fill: Any) -> Bytes:
        """One piece of (h, w, ...), filled up at the right and bottom where the image ends before it."""
        (top, left), (height, width) = corner, self.crop
        piece = pixels[top : top + height, left : left + width]
        if piece.shape[:2] == self.crop:
            return piece
        whole = np.empty((height, width, *pixels.shape[2:]), np.uint8)
        whole[:] = fill
        whole[: piece.shape[0], : piece.shape[1]] = piece
        return whole


class Crops:
    """Arrays of one shape that are read when they are indexed, like an array along its first axis.

    Shapes: (count, *shape); an integer index gives (*shape), a slice, a list or an array of n gives (n, *shape).
    Args:
        count: how many.
        shape: of each.
        read: the one of an index 0..count-1.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int, shape: tuple[int, ...], read: Callable[[int], Bytes]) -> None:
        self.shape, self._read = (count, *shape), read

    @property
    def ndim(self) -> int:
        """The number of axes, the first among them."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Bytes:
        chosen = np.arange(len(self))[key]
        if np.ndim(chosen) == 0:
            return self._read(int(chosen))
        found = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for place, index in enumerate(chosen.tolist()):
            found[place] = self._read(index)
        return found


def normalise(images: NDArray[Any], dtype: str = "float32") -> NDArray[Any]:
    """Images in the units that networks trained on ImageNet expect: each channel less its mean, over its deviation.

    Shapes: images (..., 3), red, green, blue; returns the same.
    Args:
        images: raw values 0..255.
        dtype: of the result, float32 or float64.
    Raises:
        DataError: another last axis.
    Source: the means and deviations published with the pretrained networks, as the chapter uses them.
    """
    if images.shape[-1:] != (3,):
        raise DataError(
            f"images must be (..., 3); got images.shape={images.shape}. Move the channels to the end."
        )
    values = images.astype(dtype) / np.asarray(255, dtype)
    return (values - np.asarray(MEAN, dtype)) / np.asarray(STD, dtype)
