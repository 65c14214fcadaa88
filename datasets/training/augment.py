"""Augmentation from albumentations on NumPy arrays, so that both frameworks train on the same pixels."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.bounds.damaged import DamagedFile
from datasets.errors import DataError, RunError, SettingsError
from datasets.files import extra, read_within

PRESETS = ("none", "flips", "standard")
SUFFIXES = (".json", ".yaml", ".yml")
LARGEST = 2**20  # bytes of a pipeline's file
MOST = 10_000  # values in it
STREAM = 0xA06  # separates these draws from every other use of the same seed, the batch order's first
Bytes = NDArray[np.uint8]


class Augmentation:
    """Random changes of images and their masks. Seed, epoch and index alone decide how an image changes.

    The change does not depend on the batch, on earlier draws or on the process that draws: sharding and
    resuming change nothing.

    Args:
        name: "none"; "flips", the symmetries of the image's frame (eight of a square, four of another
            rectangle); "standard", those with small rotations, scalings and shifts (the border is reflected),
            brightness, contrast and slight noise; or the path of a pipeline that albumentations.save wrote,
            .json, .yaml or .yml.
        seed: of every draw, 0 or more.
    Raises:
        DataError, SettingsError: no such preset, a file that holds no pipeline, or a negative seed.
    Source: Buslaev et al., "Albumentations: Fast and Flexible Image Augmentations", Information 11(2), 2020.
    """

    def __init__(self, name: str, seed: int) -> None:
        if seed < 0:
            raise SettingsError(f"seed must be 0 or more; got seed={seed}. Give another one.")
        if name not in PRESETS and not name.endswith(SUFFIXES):
            raise SettingsError(
                f"augmentation must be one of {', '.join(PRESETS)} or a pipeline's {', '.join(SUFFIXES)} file; "
                f"got augmentation={name!r}. Choose one."
            )
        self.name, self.seed = name, seed
        self._pipelines: dict[bool, Any] = {}
        if name not in PRESETS:
            self._pipelines = dict.fromkeys((False, True), _read(Path(name)))

    def __call__(
        self, images: Bytes, masks: Bytes, indices: Sequence[int] | NDArray[np.integer], epoch: int
    ) -> tuple[Bytes, Bytes]:
        """Change a batch.

        Shapes: images (n, H, W, 3); masks (n, C, H, W); returns the same, H and W as the pipeline makes them.
        Args:
            images: raw values 0..255.
            masks: raw values; the pixels are moved with nearest neighbour and keep their values.
            indices: each image's index in the whole data set.
            epoch: 0 or more.
        Returns: new arrays; with "none" the arrays given.
        Raises:
            DataError: arrays that do not fit together.
            SettingsError: a pipeline that makes unlike sizes or other types.
        """
        if not len(images) == len(masks) == len(indices) or {images.dtype, masks.dtype} != {
            np.dtype("uint8")
        }:
            raise DataError(
                "images, masks and indices must be as many, and uint8; got "
                f"{len(images)} {images.dtype}, {len(masks)} {masks.dtype}, {len(indices)}. Check the batch."
            )
        if self.name == "none" or not len(images):
            return images, masks
        pipeline = self._pipeline(images.shape[1] == images.shape[2])
        values = masks.max(axis=(2, 3))
        # Where every channel has one value and 0, one plane of bits is moved instead of C planes of values.
        packs = self.name in PRESETS and masks.shape[1] <= 8 and _is_binary(masks, values)
        planes = _pack(masks) if packs else masks.transpose(0, 2, 3, 1)
        changed = [
            self._one(pipeline, image, plane, int(index), epoch)
            for image, plane, index in zip(images, planes, indices, strict=True)
        ]
        self._check(changed)
        new_images, new_planes = (np.stack(arrays) for arrays in zip(*changed, strict=True))
        new_masks = _unpack(new_planes, values) if packs else new_planes.transpose(0, 3, 1, 2)
        if self.name not in PRESETS:
            self._check_values(new_masks, masks)
        return new_images, np.ascontiguousarray(new_masks)

    def settings(self) -> dict[str, Any]:
        """Name, seed and the whole pipeline for a run's configuration: a pipeline's file may change later."""
        if self.name == "none":
            return {"name": self.name, "seed": self.seed}
        return {"name": self.name, "seed": self.seed, "pipeline": self._pipeline(square=True).to_dict()}

    def _pipeline(self, square: bool) -> Any:
        if square not in self._pipelines:  # built once, and once more in a process that receives it
            self._pipelines[square] = _preset(self.name, square)
        return self._pipelines[square]

    def __getstate__(self) -> dict[str, Any]:
        keep = self._pipelines if self.name not in PRESETS else {}
        return {"name": self.name, "seed": self.seed, "_pipelines": keep}

    def _one(
        self, pipeline: Any, image: Bytes, plane: Bytes, index: int, epoch: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        stream = np.random.SeedSequence([self.seed, epoch, index], spawn_key=(STREAM,))
        generator = np.random.Generator(np.random.PCG64(stream))
        # One generator for every transform. set_random_seed gives each its own, all alike: then all transforms
        # with the same probability act together or not at all.
        pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        try:
            result = pipeline(image=np.ascontiguousarray(image), mask=np.ascontiguousarray(plane))
        except Exception as error:  # a user's pipeline may ask for anything, a crop larger than the image
            raise SettingsError(
                f"a pipeline must run on images {image.shape}; got {type(error).__name__}: {error} "
                f"from {self.name} on image {index}. Change the pipeline."
            ) from error
        return result["image"], result["mask"]

    def _check(self, changed: list[tuple[NDArray[Any], NDArray[Any]]]) -> None:
        made = {(image.shape, str(image.dtype), mask.shape, str(mask.dtype)) for image, mask in changed}
        shape, kind, mask_shape, mask_kind = next(iter(made))
        if len(made) > 1 or (kind, mask_kind) != ("uint8", "uint8") or shape[:2] != mask_shape[:2]:
            raise SettingsError(
                "a pipeline must give uint8 images and masks of one size; got "
                f"{sorted(made)[:3]} from {self.name}. Take out what crops at random, scales values or converts."
            )

    def _check_values(self, changed: Bytes, masks: Bytes) -> None:
        for after, before in zip(changed, masks, strict=True):
            allowed = np.zeros(256, bool)
            allowed[before.ravel()] = allowed[0] = True
            if not allowed[after].all():
                found = np.unique(after[~allowed[after]]).tolist()[:5]
                raise SettingsError(
                    f"a pipeline must keep the masks' values; got {found} from {self.name}. Set fill_mask=0."
                )


def augmentation(name: str, seed: int) -> Augmentation:
    """The augmentation of that name; see Augmentation."""
    return Augmentation(name, seed)


@contextlib.contextmanager
def _library() -> Iterator[Any]:
    """Albumentations without its look at the network, and without PyTorch unless that is loaded already."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    without = "torch" not in sys.modules and "albumentations.pytorch" not in sys.modules
    if without:
        # Its bridge to PyTorch: importing it and reading a pipeline try the bridge, and both work without.
        sys.modules["albumentations.pytorch"] = None  # type: ignore[assignment]
    try:
        yield extra("albumentations")
    finally:
        if without:
            del sys.modules["albumentations.pytorch"]


def _preset(name: str, square: bool) -> Any:
    """The pipeline of "flips" or "standard"."""
    with _library() as A:
        transforms = [A.D4(p=1)] if square else [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
        if name == "standard":
            transforms += [
                # No shear and one scale for both axes: a disk stays a disk, a rectangle a rectangle.
                A.Affine(
                    rotate=(-15, 15),
                    scale=(0.9, 1.1),
                    keep_ratio=True,
                    translate_percent=(-0.06, 0.06),
                    border_mode=extra("cv2").BORDER_REFLECT_101,
                    p=0.5,
                ),
                A.RandomBrightnessContrast(0.15, 0.15, p=0.5),
                A.GaussNoise(std_range=(0.004, 0.02), p=0.3),
            ]
        return A.Compose(transforms, mask_interpolation=extra("cv2").INTER_NEAREST)


def _read(path: Path) -> Any:
    """The pipeline in a file that albumentations.save wrote, of 1 MiB at most; boxes and keypoints are left out."""
    with _library() as A:
        try:
            content = read_within(path, LARGEST)
            stored = json.loads(content) if path.suffix == ".json" else _plain_yaml(content)
            _check_count(stored)
            inner = {**stored["transform"]}
            inner.update({key: None for key in ("bbox_params", "keypoint_params") if key in inner})
            read = A.from_dict({**stored, "transform": inner})
            pipeline = read if isinstance(read, A.BaseCompose) else A.Compose([read])
        except RunError:
            raise
        except Exception as error:  # the library raises anything on what is no pipeline
            raise DataError(
                f"an augmentation file must be a pipeline that albumentations.save wrote; got "
                f"{type(error).__name__}: {' '.join(str(error).split())[:200]} at {path}. Save it again."
            ) from error
        pipeline.set_mask_interpolation(extra("cv2").INTER_NEAREST)
        return pipeline


def _plain_yaml(content: bytes) -> Any:
    """The values of a YAML file without merges: a few lines of them double a mapping over and over."""
    library = extra("yaml")

    class Plain(library.SafeLoader):  # type: ignore[misc,name-defined]
        def flatten_mapping(self, node: Any) -> None:
            if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
                raise DamagedFile("a merge of mappings")

    return library.load(content, Plain)


def _check_count(values: Any) -> None:
    """Refuse more values than a pipeline has; in YAML a few lines can name one list a million times in another."""
    counts: dict[int, int] = {}

    def count(value: Any) -> int:
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        if id(value) not in counts:
            counts[id(value)] = MOST + 1  # of a list that holds itself
            counts[id(value)] = 1 + sum(map(count, inner))
        return counts[id(value)] if inner else 1

    if count(values) > MOST:
        raise DamagedFile(f"more than {MOST} values")


def _is_binary(masks: Bytes, values: Bytes) -> bool:
    """Whether each channel of masks (n, C, H, W) holds 0 and its value in (n, C) alone."""
    return bool(((masks == 0) | (masks == values[:, :, None, None])).all())


def _pack(masks: Bytes) -> Bytes:
    """(n, C, H, W), C <= 8, to (n, H, W): bit c is set where channel c is not 0."""
    bits = np.zeros((len(masks), *masks.shape[2:]), np.uint8)
    for channel in range(masks.shape[1]):
        bits |= (masks[:, channel] != 0).astype(np.uint8) << np.uint8(channel)
    return bits


def _unpack(bits: Bytes, values: Bytes) -> Bytes:
    """(n, H, W) to (n, C, H, W): channel c is values[:, c] where bit c is set."""
    masks = np.empty((*values.shape, *bits.shape[1:]), np.uint8)
    for channel in range(values.shape[1]):
        is_set = bits >> np.uint8(channel) & np.uint8(1)
        np.multiply(is_set, values[:, channel, None, None], out=masks[:, channel])
    return masks
