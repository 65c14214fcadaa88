"""The generator draws what it says: the right shapes, un-occluded masks, tight boxes, and the same again."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from datasets.purdue_shapes import CLASSES, MASK_VALUES, Data, constant_mse, generate
from datasets.purdue_shapes import generator as module

SIZES = [(64, 64), (40, 72)]


@pytest.fixture(scope="module")
def data() -> Data:
    return generate(2000, 3)


def objects_in(data: Data) -> np.ndarray:
    """Count each image's objects by class, (N, 5)."""
    return np.array([[len(of_class) for of_class in boxes] for boxes in data.boxes])


@pytest.mark.parametrize("size", SIZES)
def test_arrays_have_the_documented_shapes(size: tuple[int, int]) -> None:
    data = generate(7, 0, size)
    assert (data.images.shape, data.images.dtype) == ((7, *size, 3), np.uint8)
    assert (data.masks.shape, data.masks.dtype) == ((7, 5, *size), np.uint8)
    assert len(data) == len(data.boxes) == 7
    assert data.classes == CLASSES == ("rectangle", "triangle", "disk", "oval", "star")
    assert MASK_VALUES == (50, 100, 150, 200, 250)
    for c, value in enumerate(MASK_VALUES):
        assert set(np.unique(data.masks[:, c])) <= {0, value}


def same(a: Data, b: Data, count: int) -> bool:
    images = np.array_equal(a.images[:count], b.images[:count])
    return images and np.array_equal(a.masks[:count], b.masks[:count]) and a.boxes[:count] == b.boxes[:count]


@pytest.mark.parametrize("count", [1, 10, 255, 256, 257, 512])
def test_a_smaller_count_gives_the_first_images_of_a_larger(count: int) -> None:
    assert same(generate(count, 5), generate(600, 5), count)


@pytest.mark.parametrize("seed", [1, 2**32, 2**32 + 1, 2**70])
def test_seeds_and_blocks_differ(seed: int) -> None:
    first, other = generate(300, 0), generate(300, seed)
    assert same(other, generate(300, seed), 300)
    assert not any(np.array_equal(a, b) for a, b in zip(first.images, other.images, strict=True))
    assert len({image.tobytes() for image in other.images}) == 300


def test_the_images_of_a_seed_stay_the_same_for_good() -> None:
    """A change of these digests is a change of everyone's data set."""
    data = generate(64, 0)
    digests = [hashlib.sha256(a.tobytes()).hexdigest()[:16] for a in (data.images, data.masks)]
    assert digests == ["09c44d58559caeb7", "a0216d183f5a24cb"]
    assert data.boxes[0] == [[[8, 20, 21, 28]], [[37, 40, 43, 46]], [], [[49, 5, 59, 12]], []]


def test_zero_images() -> None:
    data = generate(0, 0)
    assert data.images.shape == (0, 64, 64, 3)
    assert data.boxes == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((-1, 0), "count and seed must be 0 or more; got count=-1, seed=0"),
        ((1, -3), "got count=1, seed=-3"),
        ((1, 0, (31, 64)), r"size must be 32 or more pixels each way; got size=\(31, 64\)"),
        ((1, 0, (64, 31)), r"got size=\(64, 31\)"),
    ],
)
def test_arguments_out_of_range(arguments: tuple, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        generate(*arguments)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_is_its_objects_painted_one_over_another(size: tuple[int, int]) -> None:
    """Each object painted alone gives its mask and box; the image is those in order, the masks their union."""
    draws = module._draw(11, 0, 0)
    scenes = module._paint(draws, np.full(len(draws), 5), size)
    assert 0 < scenes.good.sum() < len(draws)
    expected_masks = np.zeros_like(scenes.masks)
    background = np.floor(draws[:, 0, 1:4] * 256).astype(np.uint8)
    expected_images = np.broadcast_to(background[:, None, None], scenes.images.shape).copy()
    boxes: list = [[[] for _ in CLASSES] for _ in draws]
    visible = np.empty((len(draws), 5))
    owner = np.full(scenes.images.shape[:3], -1)
    areas = []
    for slot in range(5):
        alone = draws.copy()
        alone[:, 1] = draws[:, slot + 1]
        one = module._paint(alone, np.ones(len(draws), int), size)
        own = one.masks.any(axis=1)
        areas.append(own.sum(axis=(1, 2)))
        expected_masks = np.maximum(expected_masks, one.masks)
        expected_images[own] = one.images[own]
        owner[own] = slot
        for i, mask in enumerate(own):
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), x.max(), y.max()]
            boxes[i][int(one.masks[i].any(axis=(1, 2)).argmax())].append(box)
    assert np.array_equal(expected_masks, scenes.masks)
    assert np.array_equal(expected_images, scenes.images)
    assert boxes == scenes.boxes
    for slot in range(5):
        visible[:, slot] = (owner == slot).sum(axis=(1, 2)) / areas[slot]
    assert np.array_equal((visible >= 0.25).all(axis=1), scenes.good)


def test_boxes_are_tight_around_each_class(data: Data) -> None:
    singles = 0
    for masks, boxes in zip(data.masks, data.boxes, strict=True):
        for mask, of_class in zip(masks, boxes, strict=True):
            assert bool(of_class) == bool(mask.any())
            if not of_class:
                continue
            y, x = np.nonzero(mask)
            sides = np.array(of_class)
            union = [*sides[:, :2].min(axis=0), *sides[:, 2:].max(axis=0)]
            assert union == [x.min(), y.min(), x.max(), y.max()]
            singles += len(of_class) == 1
    assert singles > 3000


def test_every_object_can_be_seen(data: Data) -> None:
    """Each has a colour of its own, so an image must show one colour per object and that of the background."""
    colours = data.images.astype(int) @ [1 << 16, 1 << 8, 1]
    shown = [len(np.unique(image)) for image in colours]
    assert np.array_equal(shown, objects_in(data).sum(axis=1) + 1)


def test_objects_stand_out_from_the_background(data: Data) -> None:
    free = data.masks.max(axis=1) == 0
    background = np.array([image[inside][0] for image, inside in zip(data.images, free, strict=True)]).astype(
        int
    )
    for i in range(len(data)):
        assert (data.images[i][free[i]] == background[i]).all()
        contrast = np.abs(data.images[i][~free[i]] - background[i])
        assert contrast.min() >= 32
    assert background.std(axis=0).min() > 60  # of all colours


def test_numbers_classes_repeats_and_overlaps(data: Data) -> None:
    counts = objects_in(data)
    per_image = np.bincount(counts.sum(axis=1), minlength=7)
    assert per_image[0] == per_image[6] == 0
    assert np.abs(per_image[1:6] / len(data) - 0.2).max() < 0.03
    assert np.abs(counts.sum(axis=0) / counts.sum() - 0.2).max() < 0.02
    assert (counts.max(axis=1) >= 2).mean() > 0.2  # repeats of a class
    assert ((data.masks > 0).sum(axis=1) > 1).any(axis=(1, 2)).mean() > 0.1  # classes that overlap
    edges = [box for boxes in data.boxes for of_class in boxes for box in of_class if 0 in box or 63 in box]
    assert 0.05 < len(edges) / counts.sum() < 0.5  # cut by the border


def test_the_number_of_objects_is_drawn_once_and_on_its_own() -> None:
    """Images that hide an object are drawn again with as many objects, or few would be favoured."""
    drawn = 1 + (module._draw(3, 0, 0)[:, 0, 0] * 5).astype(int)
    counts = objects_in(generate(256, 3))
    assert np.array_equal(counts.sum(axis=1), drawn)
    many = objects_in(generate(5000, 4))
    for number in range(1, 6):
        of_class = many[many.sum(axis=1) == number].sum(axis=0)
        assert np.abs(of_class / of_class.sum() - 0.2).max() < 0.05


def corners(name: str, aspect: float) -> np.ndarray:
    """Return the corners of a polygon of area 1 about the origin, worked out apart from the generator."""
    if name == "rectangle":
        a, b = aspect**0.5 / 2, 0.5 / aspect**0.5
        return np.array([(a, b), (-a, b), (-a, -b), (a, -b)])
    if name == "triangle":
        h, b = (2 * aspect) ** 0.5, (2 / aspect) ** 0.5
        return np.array([(-b / 2, -h / 3), (b / 2, -h / 3), (0, 2 * h / 3)])
    turn = np.exp(1j * (np.arange(10) + 1) * np.pi / 5) * np.where(np.arange(10) % 2, 0.382, 1)
    points = np.stack([turn.real, turn.imag], axis=1)
    x, y = points.T
    return points / np.sqrt(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


@pytest.mark.parametrize(
    ("name", "aspect"),
    [("rectangle", 1.0), ("rectangle", 2.2), ("triangle", 0.7), ("triangle", 1.3), ("star", 1.0)],
)
def test_polygons(name: str, aspect: float) -> None:
    points = np.random.default_rng(0).uniform(-1.3, 1.3, (20_000, 2))
    inside = module._unit_shape(name, points[:, 0], points[:, 1], np.array(aspect))
    expected = Polygon(corners(name, aspect)).contains_points(points)
    assert 2000 < expected.sum() < 4000
    assert np.array_equal(inside, expected)


@pytest.mark.parametrize(("name", "aspect"), [("disk", 1.0), ("oval", 1.5), ("oval", 2.5)])
def test_round_shapes(name: str, aspect: float) -> None:
    points = np.random.default_rng(0).uniform(-1.3, 1.3, (20_000, 2))
    inside = module._unit_shape(name, points[:, 0], points[:, 1], np.array(aspect))
    minor = (np.pi * aspect) ** -0.5  # pi * minor * (aspect * minor) = 1
    focus = minor * (aspect**2 - 1) ** 0.5
    to_foci = np.hypot(points[:, 0] - focus, points[:, 1]) + np.hypot(points[:, 0] + focus, points[:, 1])
    expected = to_foci <= 2 * aspect * minor
    assert 2000 < expected.sum() < 4000
    assert np.array_equal(inside, expected)


@pytest.mark.parametrize("name", CLASSES)
def test_no_shape_is_wider_than_its_window(name: str) -> None:
    """The first pixel centres outside the window are REACH + 0.5 away, if the object's centre is at worst."""
    x = np.linspace(-1.5, 1.5, 601)
    for aspect in module.ASPECTS[name]:
        inside = module._unit_shape(name, x[:, None], x[None, :], np.array(aspect))
        radius = np.hypot(x[:, None], x[None, :])[inside].max() * module.MAX_SIDE
        assert radius < module.REACH + 0.5


def test_objects_are_turned_and_scaled_as_told() -> None:
    """A large rectangle of 2:1, a sixth of a turn from level, covers the pixels whose centres it covers."""
    objects = module.Objects(
        image=np.array([0]),
        slot=np.array([0]),
        shape=np.array([0]),
        side=np.array([14.0]),
        aspect=np.array([2.0]),
        angle=np.array([np.pi / 3]),
        centre=np.array([[30.3, 20.8]]),
    )
    corner = np.array([[30 - module.REACH, 20 - module.REACH]])
    inside = module._inside(objects, corner, (64, 64))[0]
    along = np.array([np.cos(np.pi / 3), np.sin(np.pi / 3)]) * 14 / 2 * 2**0.5
    across = np.array([-np.sin(np.pi / 3), np.cos(np.pi / 3)]) * 14 / 2 / 2**0.5
    centre = np.array([30.3, 20.8])
    polygon = Polygon(
        [centre + along + across, centre + along - across, centre - along - across, centre - along + across]
    )
    y, x = np.indices(inside.shape)
    points = np.stack([x.ravel() + corner[0, 0] + 0.5, y.ravel() + corner[0, 1] + 0.5], axis=1)
    expected = polygon.contains_points(points).reshape(inside.shape)
    assert abs(expected.sum() - 14**2) < 10
    assert np.array_equal(inside, expected)


def test_constant_mse_is_that_of_the_channel_means(data: Data) -> None:
    masks, other = data.masks[:150].astype(float), data.masks[150:400].astype(float)
    means = masks.mean(axis=(0, 2, 3), keepdims=True)
    assert constant_mse(data.masks[:150]) == pytest.approx(((masks - means) ** 2).mean(), rel=1e-12)
    assert constant_mse(data.masks[150:400], data.masks[:150]) == pytest.approx(
        ((other - means) ** 2).mean(), rel=1e-12
    )
    assert constant_mse(data.masks[150:400], data.masks[:150]) > constant_mse(data.masks[150:400])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_10000_images_start_where_the_lecture_s_training_starts_and_take_seconds(seed: int) -> None:
    start = time.process_time()
    data = generate(10_000, seed)
    seconds = time.process_time() - start
    assert 460 <= constant_mse(data.masks) <= 480
    assert seconds < 15


def test_2000_images_are_near_the_lecture_s_loss(data: Data) -> None:
    assert 440 <= constant_mse(data.masks) <= 500  # five times the spread of 2,000 images about 469
