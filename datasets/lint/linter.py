"""Checks one image and mask after another, and reports what is wrong with them and with the whole set."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.lint.files import Item
from datasets.lint.rules import RULES

SHOWN = 5  # places that a problem names
RARE = 0.01  # a class with less than this share of the commonest class's pixels is rare
# Share of a label map's edges that lead through a value between their classes; sharp masks have next to none.
BLENDED = 0.4
FEW = 4  # such edges may be thin objects


@dataclass(frozen=True)
class Problem:
    """One kind of fault, and where it is.

    Args:
        code: its stable name.
        severity: "error": training on it goes wrong; "warning": check whether it is intended.
        message: what must hold, and what the first place has instead.
        places: the first images or files that have it.
        count: how many have it.
        advice: what to do.
    """

    code: str
    severity: str
    message: str
    places: tuple[str, ...]
    count: int
    advice: str

    def __str__(self) -> str:
        more = f" and {self.count - len(self.places)} more" if self.count > len(self.places) else ""
        where = f"{', '.join(self.places)}{more}"
        return f"{self.severity}: {self.code}: {self.message}\n    in {where}\n    {self.advice}"


class Linter:
    """Looks at one image with its mask at a time, and then at the whole set.

    Args:
        classes: the classes' names, their number, or None where it is not known.
        values: the value of each class in its own mask channel.
        ignore: the class index of pixels that do not count.
    """

    def __init__(
        self,
        classes: Sequence[str] | int | None = None,
        values: Sequence[int] | None = None,
        ignore: int | None = 255,
    ) -> None:
        self.names = [str(n) for n in (range(classes) if isinstance(classes, int) else classes or ())]
        self.values, self.ignore = values, ignore
        self.found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.pixels: dict[int, int] = defaultdict(int)  # by class, over the whole set
        self.labels: list[tuple[str, NDArray[np.int64]]] = []  # the values of every label map
        self.seen: dict[bytes, tuple[str, bytes]] = {}
        self.count = self.channels = 0
        self.classes_told = False  # that none occurs has been said

    def add(self, item: Item) -> None:
        """Look at one image with its mask and boxes."""
        self.count += 1
        for code, got in item.faults:
            self._note(code, item.place, got)
        image, mask = item.image, item.mask
        if image is not None:
            self._look_at_image(item.place, image, mask)
        if mask is None or not self._mask_is_readable(item.place, mask):
            return
        if image is not None and image.shape[:2] != mask.shape[-2:]:
            self._note("sizes-differ", item.place, f"image {image.shape[:2]}, mask {mask.shape[-2:]}")
        if mask.ndim == 2:
            self._look_at_labels(item.place, mask)
        else:
            self._look_at_channels(item.place, mask)
            if item.boxes is not None:
                self._look_at_boxes(item.place, mask != 0, item.boxes)

    def problems(self) -> list[Problem]:
        """All that was found, in the order of RULES: errors, then warnings."""
        self._look_at_label_values()
        self._look_at_classes()
        problems = []
        for code, rule in RULES.items():
            found = self.found.get(code, [])
            if found:
                places = tuple(dict.fromkeys(place for place, _ in found))
                message = f"{rule.must}; got {found[0][1]}"
                problems.append(
                    Problem(code, rule.severity, message, places[:SHOWN], len(places), rule.advice)
                )
        return sorted(problems, key=lambda problem: problem.severity != "error")

    def _note(self, code: str, place: str, got: object) -> None:
        self.found[code].append((place, str(got)))

    def _look_at_image(self, place: str, image: NDArray[Any], mask: NDArray[Any] | None) -> None:
        if image.dtype != np.uint8:
            self._note("image-dtype", place, image.dtype)
        if image.ndim != 3 or image.shape[-1] != 3:
            self._note("image-channels", place, f"shape {image.shape}")
        if image.size and (image == image[0, 0]).all():
            self._note("blank-image", place, f"{image[0, 0].tolist()} everywhere")
        key, own = _digest(image), b"" if mask is None else _digest(mask)
        if key in self.seen:
            first, other = self.seen[key]
            self._note("contradiction" if own != other else "duplicate", place, f"the same image as {first}")
        else:
            self.seen[key] = (place, own)

    def _mask_is_readable(self, place: str, mask: NDArray[Any]) -> bool:
        """Whether a mask is a label map or has one channel a class."""
        if mask.ndim == 3 and mask.shape[-1] in (3, 4) and mask.shape[0] > 4:
            grey = (mask[..., :3] == mask[..., :1]).all()
            self._note("colour-mask", place, f"shape {mask.shape}, {'grey' if grey else 'colours'}")
            return False
        if mask.ndim not in (2, 3) or not mask.size or (mask.ndim == 3 and mask.shape[-1] == 1 < len(mask)):
            self._note("mask-shape", place, f"shape {mask.shape}")
            return False
        if mask.dtype.kind not in "iu":
            self._note("mask-dtype", place, mask.dtype)
            return bool(mask.dtype == bool) or bool(np.isfinite(mask).all() and (mask == np.rint(mask)).all())
        return True

    def _look_at_labels(self, place: str, mask: NDArray[Any]) -> None:
        labels = mask.astype(np.int64)
        values, counts = np.unique(labels, return_counts=True)
        self.labels.append((place, values))
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            if value != self.ignore:
                self.pixels[value] += count
        if not set(values.tolist()) - {0, self.ignore}:
            self._note("all-background", place, f"values {values.tolist()}")
        if len(values) > 2 and (share := _blended(labels, self.ignore)) >= BLENDED:
            self._note("blended-mask", place, f"{share:.0%} of its edges")

    def _look_at_channels(self, place: str, mask: NDArray[Any]) -> None:
        wanted = len(self.names) or self.channels or len(mask)
        self.channels = wanted
        if len(mask) != wanted:
            self._note("channel-count", place, f"{len(mask)} channels, not {wanted}")
            return
        if not mask.any():
            self._note("all-background", place, "0 everywhere")
        for c, channel in enumerate(mask):
            self.pixels[c] += int(np.count_nonzero(channel))
            values = np.unique(channel)
            value = self.values[c] if self.values is not None else values[-1]
            wrong = values[(values != 0) & (values != value)]
            if not wrong.size:
                continue
            between = bool(((wrong > 0) & (wrong < value)).all()) and not set(wrong) <= set(self.values or ())
            got = f"{wrong[:SHOWN].tolist()} in channel {self._name(c)}, whose value is {value}"
            self._note("blended-mask" if between else "wrong-value", place, got)

    def _look_at_boxes(self, place: str, mask: NDArray[np.bool_], boxes: Sequence[Any]) -> None:
        if len(boxes) != len(mask):
            self._note("boxes-per-class", place, f"{len(boxes)} lists for {len(mask)} classes")
            return
        height, width = mask.shape[1:]
        for c, (channel, own) in enumerate(zip(mask, boxes, strict=True)):
            outside = channel.copy()
            for box in own:
                left, top, right, bottom = box
                if not (0 <= left <= right < width and 0 <= top <= bottom < height):
                    self._note("box-outside", place, f"{list(box)} ({self._name(c)}) in {height} x {width}")
                    continue
                part = channel[top : bottom + 1, left : right + 1]
                if not (part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()):
                    self._note("box-loose", place, f"{list(box)} ({self._name(c)})")
                outside[top : bottom + 1, left : right + 1] = False
            if outside.any():
                y, x = np.argwhere(outside)[0].tolist()
                self._note("mask-outside-boxes", place, f"pixel ({x}, {y}) of {self._name(c)}")

    def _look_at_label_values(self) -> None:
        """What only the whole set can tell about class indices."""
        if not self.labels:
            return
        binary = [
            place for place, values in self.labels if set(values.tolist()) <= {0, 255} and 255 in values
        ]
        alone = len(binary) == sum(bool(values.any()) for _, values in self.labels)
        if binary and (alone or self.ignore != 255):
            for place in binary:
                self._note("mask-0-255", place, "values 0 and 255 alone")
            # What follows from that is no other fault.
            kept = [one for one in self.found["all-background"] if one[0] not in binary]
            self.found["all-background"] = kept
            self.classes_told = alone
        known = {self.ignore} | ({0, 255} if alone else set())
        for place, values in self.labels:
            held = [value for value in values.tolist() if value not in known]
            wrong = [value for value in held if value < 0 or (self.names and value >= len(self.names))]
            if wrong:
                limit = f"for {len(self.names)} classes" if self.names else "below 0"
                self._note("out-of-range", place, f"{wrong[:SHOWN]} {limit}")
        every = sorted({value for _, values in self.labels for value in values.tolist()} - known)
        if not self.names and every and every[-1] >= 2 * len(every) + 2:
            self._note("gaps", "the whole set", f"values {every[:8]}{' ...' if len(every) > 8 else ''}")

    def _look_at_classes(self) -> None:
        """Classes that never occur, and rare ones."""
        if not self.pixels or self.classes_told:
            return
        for c in range(max(len(self.names), self.channels)):
            if not self.pixels.get(c):
                self._note("class-never-occurs", "the whole set", f"no pixel of {self._name(c)}")
        known = max(len(self.names), self.channels)
        held = {c: n for c, n in self.pixels.items() if n and (not known or c < known)}
        if self.labels:  # class 0 of a label map is the background
            held.pop(0, None)
        most = max(held.values(), default=0)
        for c, pixels in sorted(held.items()):
            if pixels < RARE * most:
                self._note(
                    "rare-class", "the whole set", f"{pixels} pixels of {self._name(c)}, {most} of another"
                )

    def _name(self, c: int) -> str:
        return self.names[c] if c < len(self.names) else f"class {c}"


def _digest(array: NDArray[Any]) -> bytes:
    """The same for equal arrays alone."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.blake2b(head + array.tobytes(), digest_size=16).digest()


def _blended(labels: NDArray[np.int64], ignore: int | None) -> float:
    """Share of the edges between classes that differ by two or more and lead through a value between them.

    Counted over triples of neighbours in rows and columns: a sharp edge, a a b b, makes two without such a
    value. Masks with hardly an edge give 0.
    """
    between = sharp = 0
    for turned in (labels, labels.T):
        before, here, after = turned[:, :-2], turned[:, 1:-1], turned[:, 2:]
        counts = np.abs(after - before) >= 2
        if ignore is not None:
            counts &= (before != ignore) & (here != ignore) & (after != ignore)
        between += int(np.count_nonzero(counts & ((here - before) * (after - here) > 0)))
        sharp += int(np.count_nonzero(counts & ((here == before) | (here == after))))
    return between / (between + sharp / 2) if between >= FEW else 0.0
