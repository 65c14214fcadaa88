"""Augmentation: each image's draw hangs on seed, epoch and index alone, and masks keep their values."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import datasets.training.augment
from datasets.errors import RunError
from datasets.purdue_shapes import MASK_VALUES, generate
from datasets.training.augment import augmentation

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"square": (32, 32), "wide": (32, 40)}


def library() -> Any:
    with datasets.training.augment._library() as A:
        return A


def digest(name: str) -> str:
    """What a batch becomes, in a few characters."""
    import hashlib

    data = generate(12, 3, (32, 40))
    images, masks = augmentation(name, 7)(data.images, data.masks, range(12), 2)
    return hashlib.sha256(images.tobytes() + masks.tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["flips", "standard"])
@pytest.mark.parametrize("size", SIZES)
def test_an_images_draw_is_its_own(name: str, size: str) -> None:
    """Batches of any make-up and order, and a new object for each, give what the whole set gives."""
    data = generate(16, 0, SIZES[size])
    images, masks = augmentation(name, 5)(data.images, data.masks, range(16), 3)
    for batch in ([4], [9, 2, 15], [0, 1, 2, 3, 4]):
        part = augmentation(name, 5)(data.images[batch], data.masks[batch], batch, 3)
        np.testing.assert_array_equal(part[0], images[batch])
        np.testing.assert_array_equal(part[1], masks[batch])
    again = augmentation(name, 5)
    again(data.images[:3], data.masks[:3], [7, 8, 9], 1)  # what was drawn before changes nothing
    np.testing.assert_array_equal(again(data.images, data.masks, range(16), 3)[0], images)


@pytest.mark.parametrize("change", ["seed", "epoch", "index"])
def test_seed_epoch_and_index_each_change_the_draw(change: str) -> None:
    data = generate(16, 0, (32, 32))
    use = {"seed": 1, "epoch": 1, "index": 0}
    results = []
    for value in (use[change], use[change] + 1000):
        now = {**use, change: value}
        indices = range(now["index"], now["index"] + 16)
        results.append(augmentation("flips", now["seed"])(data.images, data.masks, indices, now["epoch"])[0])
    assert (results[0] != results[1]).any()


def test_another_process_draws_the_same() -> None:
    """And there, where PyTorch is not loaded, augmentation does not load it; nor does it look at the network."""
    script = (
        "import socket, sys\n"
        "asked = []\n"
        "socket.getaddrinfo = lambda *address, **options: asked.append(address) or []\n"
        "from tests.unit.test_augment import digest\n"
        "print(digest('standard'))\n"
        "assert not asked, asked\n"
        "assert 'torch' not in sys.modules and 'albumentations.pytorch' not in sys.modules\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert there.returncode == 0, there.stderr
    assert there.stdout.strip() == digest("standard")


def test_flips_are_the_symmetries_of_the_frame() -> None:
    """Eight of a square, four of another rectangle, each as often as another, the masks with the image."""
    for size, number in (((32, 32), 8), ((32, 40), 4)):
        data = generate(1, 4, size)
        images, masks = (np.repeat(array, 400, axis=0) for array in (data.images, data.masks))
        images, masks = augmentation("flips", 0)(images, masks, range(400), 0)
        frame = np.arange(size[0] * size[1]).reshape(size)
        symmetries = [
            np.rot90(flipped, turns)
            for flipped in (frame, frame[:, ::-1])
            for turns in range(4)
            if number == 8 or turns % 2 == 0
        ]
        counts = np.zeros(number, int)
        for image, mask in zip(images, masks, strict=True):
            fits = [
                place
                for place, order in enumerate(symmetries)
                if (data.images[0].reshape(-1, 3)[order] == image).all()
                and (data.masks[0].reshape(5, -1)[:, order] == mask).all()
            ]
            assert len(fits) == 1
            counts[fits[0]] += 1
        assert counts.min() > 0.6 * 400 / number


def test_masks_keep_their_values_and_move_with_the_image() -> None:
    """Where an image is its own mask, standard changes keep it so, but for brightness, noise and soft edges."""
    data = generate(40, 1, (32, 48))
    solid = np.repeat((data.masks.max(axis=1) > 0)[..., None] * np.uint8(200), 3, axis=-1)
    images, masks = augmentation("standard", 0)(solid, data.masks, range(40), 0)
    for index, value in enumerate(MASK_VALUES):
        assert set(np.unique(masks[:, index])) == {0, value}
    inside = masks.max(axis=1) > 0
    for image, mask in zip(images[..., 0].astype(int), inside, strict=True):
        level = np.median(image[mask]) / 2 + np.median(image[~mask]) / 2
        assert ((image > level) == mask).mean() > 0.97
    assert (inside.mean(axis=(1, 2)) != (data.masks.max(axis=1) > 0).mean(axis=(1, 2))).sum() > 10


def test_packed_masks_move_as_whole_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    data = generate(40, 1, (32, 32))
    packed = augmentation("standard", 0)(data.images, data.masks, range(40), 0)
    monkeypatch.setattr(datasets.training.augment, "_is_binary", lambda masks, values: False)
    whole = augmentation("standard", 0)(data.images, data.masks, range(40), 0)
    for ours, theirs in zip(packed, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_label_maps_and_many_channels_keep_their_values() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    for channels in (1, 11):
        masks = rng.integers(0, 7, (6, channels, 32, 32), dtype=np.uint8)
        masks[masks == 3] = 255
        moved = augmentation("standard", 0)(images, masks, range(6), 0)[1]
        assert moved.shape == masks.shape
        assert set(np.unique(moved)) == {0, 1, 2, 4, 5, 6, 255}


def test_transforms_act_apart_from_one_another(tmp_path: Path) -> None:
    """The library's own seeding makes all transforms of one probability act together; ours does not."""
    A = library()
    pipeline = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])
    path = tmp_path / "flips.json"
    A.save(pipeline, path)
    corner = np.zeros((200, 8, 8, 3), np.uint8)
    corner[:, 0, 0] = 255
    moved = augmentation(str(path), 0)(corner, corner[..., 0][:, None], range(200), 0)[0]
    places = {tuple(np.argwhere(image[..., 0])[0]) for image in moved}
    assert places == {(0, 0), (0, 7), (7, 0), (7, 7)}


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_saved_pipeline_is_used(suffix: str, tmp_path: Path) -> None:
    """A crop, with boxes in its settings, that moves masks by interpolation unless told otherwise."""
    A = library()
    boxes = A.BboxParams("pascal_voc", label_fields=["labels"])
    transforms = [A.RandomCrop(24, 16), A.Affine(rotate=(30, 60), mask_interpolation=1, p=1)]
    A.save(A.Compose(transforms, bbox_params=boxes), tmp_path / f"a.{suffix}", data_format=suffix)
    data = generate(8, 0, (32, 40))
    augment = augmentation(str(tmp_path / f"a.{suffix}"), 0)
    images, masks = augment(data.images, data.masks, range(8), 0)
    assert images.shape == (8, 24, 16, 3)
    assert masks.shape == (8, 5, 24, 16)
    assert set(np.unique(masks)) <= {0, *MASK_VALUES}
    assert augment.settings()["pipeline"]["transform"]["transforms"][0]["height"] == 24
    sent = pickle.loads(pickle.dumps(augment))
    np.testing.assert_array_equal(sent(data.images, data.masks, range(8), 0)[0], images)


def test_none_changes_nothing_and_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    data = generate(2, 0, (32, 32))
    augment = augmentation("none", 0)
    images, masks = augment(data.images, data.masks, [0, 1], 0)
    assert images is data.images
    assert masks is data.masks
    assert augment.settings() == {"name": "none", "seed": 0}
    with pytest.raises(RunError, match=r"albumentations must be installed.*segparity\[train\]"):
        augmentation("flips", 0)(data.images, data.masks, [0, 1], 0)


def saved(transform: str, folder: Path) -> str:
    A = library()
    transforms = {
        "random size": [A.RandomScale((-0.5, 0.5), p=1)],
        "floats": [A.Normalize()],
        "too large": [A.RandomCrop(500, 500)],
        "filled": [A.CoarseDropout(fill_mask=77, p=1)],
    }
    A.save(A.Compose(transforms[transform]), folder / "a.json")
    return str(folder / "a.json")


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("random size", "uint8 images and masks of one size"),
        ("floats", "float32"),
        ("too large", "must run on images"),
        ("filled", r"keep the masks' values; got \[77\]"),
    ],
)
def test_a_pipeline_that_cannot_be_used_is_refused(case: str, told: str, tmp_path: Path) -> None:
    data = generate(8, 0, (32, 32))
    with pytest.raises(RunError, match=told):
        augmentation(saved(case, tmp_path), 0)(data.images, data.masks, range(8), 0)


def test_what_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    for name, text in {
        "a.json": "{",
        "b.yaml": "transform: {__class_fullname__: None}",
        "c.yml": "3",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(RunError, match="must be a pipeline that albumentations"):
            augmentation(str(tmp_path / name), 0)
    with pytest.raises(RunError, match="No such file"):
        augmentation(str(tmp_path / "none.json"), 0)
    with pytest.raises(RunError, match="got augmentation='strong'"):
        augmentation("strong", 0)
    with pytest.raises(RunError, match="seed=-1"):
        augmentation("flips", -1)
    data = generate(2, 0, (32, 32))
    with pytest.raises(RunError, match="must be as many"):
        augmentation("flips", 0)(data.images, data.masks, [0], 0)
    with pytest.raises(RunError, match="float64"):
        augmentation("flips", 0)(data.images.astype(float), data.masks, [0, 1], 0)
