"""Draws images of up to five overlapping shapes with un-occluded masks and tight boxes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count as counting
from operator import index
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datasets.errors import SettingsError
from datasets.purdue_shapes.data import CLASSES, MASK_VALUES, Boxes, Bytes, Data

MAX_OBJECTS = 5
# An object's size is the square root of its area. This range puts the best constant predictor's MSE near 470:
# the lecture's training log starts at 453.6, just below what a network scores before it has learned anything.
MIN_SIDE, MAX_SIDE = 5.0, 16.5
MIN_CONTRAST = 32  # grey levels between an object and the background, in each of R, G and B
MIN_VISIBLE = 0.25  # share of an object's pixels that later objects may not paint over
MARGIN = 2.0  # pixels between an object's centre and the border: part of it is always inside
# Length over breadth; triangles: height over base. Ovals stay well away from disks.
ASPECTS = {
    "rectangle": (1.0, 2.2),
    "triangle": (0.7, 1.3),
    "disk": (1, 1),
    "oval": (1.5, 2.5),
    "star": (1, 1),
}
STAR_NOTCH = 0.382  # inner over outer radius of the pentagram

# Images are drawn in blocks of this many, each from its own random stream: for every `count`, image i is
# always entry i % BLOCK of block i // BLOCK. Changing it changes every data set.
BLOCK = 256
REACH = 18  # pixels from the centre to the window's edge; no shape of MAX_SIDE is wider
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Objects:
    """The objects of some images, one entry each, in the order in which they are painted.

    Shapes:
        image, slot, shape: (M,), which image, which of its objects, which class.
        side, aspect, angle: (M,), pixels, ratio, radians.
        centre: (M, 2), x and y in pixels.
    """

    image: Ints
    slot: Ints
    shape: Ints
    side: Floats
    aspect: Floats
    angle: Floats
    centre: Floats


class Scenes(NamedTuple):
    """Painted images, (n, H, W, 3), with masks, (n, 5, H, W), boxes, what is seen, (n, H, W), and which are good, (n,)."""

    images: Bytes
    masks: Bytes
    boxes: list[Boxes]
    seen: Bytes
    good: NDArray[np.bool_]


def generate(count: int, seed: int, size: tuple[int, int] = (64, 64)) -> Data:
    """Draw images of one to five random shapes on a plain background, later ones painted over earlier ones.

    Class, place, scale, orientation, aspect and colour are random; classes may repeat. Masks and boxes are
    those of the whole objects, as far as they are inside the image. The same seed gives the same images, and
    a smaller count the first ones of a larger.

    Shapes:
        images (count, H, W, 3), masks (count, 5, H, W).
    Args:
        count: images to draw, 0 or more.
        seed: any integer from 0 up.
        size: H and W in pixels, 32 or more each; the objects' sizes do not change with it.
    Returns:
        The data set, in memory.
    Raises:
        SettingsError: a count, a seed or a size out of range.
    Source:
        Lecture, slides "The PurdueShapes5MultiObject Dataset".
    """
    return generate_seen(count, seed, size)[0]


def generate_seen(count: int, seed: int, size: tuple[int, int] = (64, 64)) -> tuple[Data, Bytes]:
    """`generate`, and what is seen at every pixel: 0 for the background, 1 + c for an object of class c.

    Shapes:
        images (count, H, W, 3), masks (count, 5, H, W), what is seen (count, H, W).
    """
    count, seed, (height, width) = index(count), index(seed), map(index, size)
    if count < 0 or seed < 0:
        raise SettingsError(f"count and seed must be 0 or more; got count={count}, seed={seed}. Raise them.")
    if min(height, width) < 32:
        raise SettingsError(
            f"size must be 32 or more pixels each way; got size={(height, width)}. Enlarge it."
        )
    images = np.empty((count, height, width, 3), np.uint8)
    masks = np.empty((count, len(CLASSES), height, width), np.uint8)
    seen = np.empty((count, height, width), np.uint8)
    boxes: list[Boxes] = [[] for _ in range(count)]
    for start in range(0, count, BLOCK):
        _fill_block(images, masks, boxes, seen, seed, start)
    return Data(images, masks, boxes), seen


def _fill_block(images: Bytes, masks: Bytes, boxes: list[Boxes], seen: Bytes, seed: int, start: int) -> None:
    """Draw the images from `start` to the end of its block, again and again those that hide an object."""
    pending = np.arange(min(BLOCK, len(images) - start))
    numbers = _draw(seed, start // BLOCK, 0)[..., 0, 0]  # redrawing must not favour images of few objects
    for attempt in counting():
        draws = _draw(seed, start // BLOCK, attempt)[pending]
        scenes = _paint(draws, 1 + (numbers[pending] * MAX_OBJECTS).astype(int), images.shape[1:3])
        done = start + pending[scenes.good]
        images[done], masks[done] = scenes.images[scenes.good], scenes.masks[scenes.good]
        seen[done] = scenes.seen[scenes.good]
        for i, j in zip(done, np.flatnonzero(scenes.good), strict=True):
            boxes[i] = scenes.boxes[j]
        pending = pending[~scenes.good]
        if not pending.size:
            return


def _draw(seed: int, block: int, attempt: int) -> Floats:
    """Return a block's random numbers in [0, 1), (BLOCK, 6, 9): row 0 for the image, 1 to 5 for objects."""
    stream = np.random.SeedSequence(seed, spawn_key=(block, attempt))
    return np.random.Generator(np.random.PCG64(stream)).random((BLOCK, 1 + MAX_OBJECTS, 9))


def _paint(draws: Floats, numbers: Ints, size: tuple[int, int]) -> Scenes:
    """Paint one image for each row of draws, (n, 1 + MAX_OBJECTS, 9), with `numbers` (n,) objects."""
    height, width = size
    objects = _objects(draws[:, 1:], numbers, size)
    # Colours: row 0 is the background. The offset, modulo 256, is at least MIN_CONTRAST from either end.
    background = np.floor(draws[:, :1, 1:4] * 256)
    offsets = np.floor(MIN_CONTRAST + draws[:, 1:, 6:9] * (257 - 2 * MIN_CONTRAST))
    palette = np.concatenate([background, (background + offsets) % 256], axis=1).astype(np.uint8)  # (n, 6, 3)

    corner = np.floor(objects.centre).astype(int) - REACH  # (M, 2), x and y of the window's first pixel
    inside = _inside(objects, corner, size)  # (M, K, K)
    owner = np.zeros((len(draws), height, width), np.uint8)  # 0: background, k: the image's k-th object
    masks = np.zeros((len(draws), len(CLASSES), height, width), np.uint8)
    for slot in range(MAX_OBJECTS):
        chosen = np.flatnonzero(objects.slot == slot)  # at most one object in each image
        at, dy, dx = np.nonzero(inside[chosen])
        which = chosen[at]
        y, x, image = corner[which, 1] + dy, corner[which, 0] + dx, objects.image[which]
        owner[image, y, x] = slot + 1
        masks[image, objects.shape[which], y, x] = np.array(MASK_VALUES, np.uint8)[objects.shape[which]]
    here = np.arange(len(draws))[:, None, None]
    images = palette[here, owner]
    classes = np.zeros((len(draws), 1 + MAX_OBJECTS), np.uint8)
    classes[objects.image, objects.slot + 1] = objects.shape + 1

    keys: Ints = here * (MAX_OBJECTS + 1) + owner
    visible = np.bincount(keys.ravel(), minlength=len(draws) * (MAX_OBJECTS + 1)).reshape(len(draws), -1)
    enough = visible[objects.image, objects.slot + 1] >= MIN_VISIBLE * inside.sum(axis=(1, 2))
    good = np.ones(len(draws), bool)
    good[objects.image[~enough]] = False
    return Scenes(images, masks, _boxes(objects, corner, inside, len(draws)), classes[here, owner], good)


def _objects(draws: Floats, numbers: Ints, size: tuple[int, int]) -> Objects:
    """Turn random numbers, (n, MAX_OBJECTS, 9), into the first `numbers` objects of each image."""
    image, slot = np.nonzero(np.arange(MAX_OBJECTS) < numbers[:, None])
    shape_at, side_at, aspect_at, angle_at, x_at, y_at = draws[image, slot, :6].T
    shape = (shape_at * len(CLASSES)).astype(int)
    low, high = np.array([ASPECTS[name] for name in CLASSES])[shape].T
    extent = np.array(size[::-1])  # x first
    return Objects(
        image=image,
        slot=slot,
        shape=shape,
        side=MIN_SIDE + side_at * (MAX_SIDE - MIN_SIDE),
        aspect=low + aspect_at * (high - low),
        angle=angle_at * 2 * np.pi,
        centre=MARGIN + np.stack([x_at, y_at], axis=1) * (extent - 2 * MARGIN),
    )


def _inside(objects: Objects, corner: Ints, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels of each object's window are its own and in the image, (M, K, K), y before x."""
    steps = np.arange(2 * REACH + 1)
    inside = np.empty((len(objects.image), steps.size, steps.size), bool)
    for shape, name in enumerate(CLASSES):
        of = np.flatnonzero(objects.shape == shape)
        # Pixel centres relative to the object's, in units in which its area is 1: x and y, (m, K).
        offsets = corner[of, :, None] + steps + 0.5 - objects.centre[of, :, None]  # (m, 2, K)
        x, y = (offsets / objects.side[of, None, None]).transpose(1, 0, 2)
        cos, sin = np.cos(objects.angle[of])[:, None, None], np.sin(objects.angle[of])[:, None, None]
        along = x[:, None, :] * cos + y[:, :, None] * sin  # (m, K, K)
        across = y[:, :, None] * cos - x[:, None, :] * sin
        inside[of] = _unit_shape(name, along, across, objects.aspect[of][:, None, None])
    x, y = corner[:, :1] + steps, corner[:, 1:] + steps
    inside &= ((y >= 0) & (y < size[0]))[:, :, None] & ((x >= 0) & (x < size[1]))[:, None, :]
    return inside


def _unit_shape(name: str, u: Floats, v: Floats, aspect: Floats) -> NDArray[np.bool_]:
    """Return whether points (u, v) lie in the named shape of area 1 about the origin."""
    if name == "rectangle":
        return (np.abs(u) <= np.sqrt(aspect) / 2) & (np.abs(v) <= 0.5 / np.sqrt(aspect))
    if name == "triangle":  # isosceles, about its centroid
        height, base = np.sqrt(2 * aspect), np.sqrt(2 / aspect)
        return (v >= -height / 3) & (np.abs(u) <= (2 / 3 * height - v) * (base / (2 * height)))
    if name in ("disk", "oval"):
        return u**2 / aspect + v**2 * aspect <= 1 / np.pi
    # The star is ten copies of the triangle between the centre, a tip and a notch: fold the plane onto one.
    fifth = 2 * np.pi / 5
    tip = np.sqrt(1 / (5 * STAR_NOTCH * np.sin(fifth / 2)))
    radius, angle = np.hypot(u, v), np.abs(np.mod(np.arctan2(v, u), fifth) - fifth / 2)
    notch_x, notch_y = tip * STAR_NOTCH * np.cos(fifth / 2), tip * STAR_NOTCH * np.sin(fifth / 2)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return np.asarray((tip - x) * notch_y >= y * (tip - notch_x))


def _boxes(objects: Objects, corner: Ints, inside: NDArray[np.bool_], images: int) -> list[Boxes]:
    """Return the tight pixel bounds of each object's own pixels, by image and class, in painting order."""
    bounds = np.empty((len(inside), 4), int)
    columns, rows = np.asarray(inside.any(axis=1)), np.asarray(inside.any(axis=2))
    for axis, hit in enumerate((columns, rows)):
        bounds[:, axis] = corner[:, axis] + hit.argmax(axis=1)
        bounds[:, axis + 2] = corner[:, axis] + hit.shape[1] - 1 - hit[:, ::-1].argmax(axis=1)
    boxes: list[Boxes] = [[[] for _ in CLASSES] for _ in range(images)]
    for image, shape, box in zip(objects.image, objects.shape, bounds.tolist(), strict=True):
        boxes[image][shape].append(box)
    return boxes
