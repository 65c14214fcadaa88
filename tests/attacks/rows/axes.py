"""Axes exchanged where shapes, symmetric inputs or equal items do not show it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.attacks.attempt import Attempt, attempts
from tests.attacks.written import Written, conv, dense, images

KIND = "axes exchanged"
ORDER = r"^output: torch gives .* torch's was compared (with axis 1 moved to the end|with its axes in Keras' order)$"
"""What a note says where torch's axes were read in another order than usual."""
SQUARE = (2, 12, 12, 3)
CONV, POINT = {"c": conv()}, {"c": conv(size=1)}


def _symmetric() -> np.ndarray:
    x = images(shape=SQUARE)
    return x + x.transpose(0, 2, 1, 3)


def _mirrored() -> np.ndarray:
    x = images()
    return x + x[:, :, ::-1]


def _twice() -> np.ndarray:
    return np.repeat(images(shape=(1, 12, 16, 3)), 2, axis=0)


def _tokens() -> np.ndarray:
    return images(shape=(2, 5, 5))


def rows() -> Iterator[Attempt]:
    same, point = Written(lambda xp, m, x: m.c(x), CONV), Written(lambda xp, m, x: m.c(x), POINT)
    turned = Written(lambda xp, m, x: xp.transposed(m.c(x)), CONV)
    yield from attempts(KIND, "a square image transposed", same, turned, inputs=(images(shape=SQUARE),))
    turned = Written(lambda xp, m, x: xp.transposed(m.c(x)), POINT)
    yield from attempts(KIND, "a symmetric image transposed", point, turned, inputs=(_symmetric(),))
    flipped = Written(lambda xp, m, x: xp.flip(m.c(x), xp.W), POINT)
    yield from attempts(KIND, "a symmetric image mirrored", point, flipped, inputs=(_mirrored(),))
    rolled = Written(lambda xp, m, x: xp.roll(m.c(x), 1, 0), CONV)
    yield from attempts(KIND, "equal images of a batch exchanged", same, rolled, inputs=(_twice(),))
    first = Written(lambda xp, m, x: m.c(x)[:1], CONV, live=True)
    yield from attempts(
        KIND, "one image of the batch alone", first, same, inputs=(images(shape=(1, 12, 16, 3)),)
    )
    constant = np.ones((2, 12, 16, 3), np.float32) * images(shape=(2, 1, 1, 3))
    yield from attempts(KIND, "constant images turned over", point, flipped, inputs=(constant,))
    shifted = Written(lambda xp, m, x: xp.roll(m.c(x), 1, xp.H), POINT)
    yield from attempts(KIND, "constant images shifted", point, shifted, inputs=(constant,))
    channels = Written(lambda xp, m, x: xp.flip(m.c(x), xp.C), CONV)
    yield from attempts(KIND, "channels in the other order", same, channels)
    grey = np.repeat(images(shape=(2, 12, 16, 1)), 3, axis=-1)
    bgr = Written(lambda xp, m, x: m.c(xp.flip(x, xp.C)), CONV)
    yield from attempts(KIND, "BGR for RGB on grey images", same, bgr, inputs=(grey,))
    tokens = {"d": dense(5, 5)}
    plain = Written(lambda xp, m, x: m.d(x), tokens)
    swapped = Written(lambda xp, m, x: xp.swapaxes(m.d(x), 1, 2), tokens)
    yield from attempts(
        KIND,
        "tokens and features exchanged, as many",
        plain,
        swapped,
        inputs=(_tokens(),),
        excused=ORDER,
    )
    longer = images(shape=(2, 7, 5))
    yield from attempts(
        KIND,
        "tokens and features exchanged",
        plain,
        swapped,
        inputs=(longer,),
        excused=ORDER,
    )
    cube = images(shape=(2, 6, 6, 3))
    last = Written(lambda xp, m, x: m.c(x) if xp.side == "keras" else m.c(x).permute(0, 2, 3, 1), CONV)
    yield from attempts(
        KIND,
        "a cube, channels last in torch",
        same,
        last,
        ("torch",),
        inputs=(cube,),
        excused=ORDER,
    )
    open_last = images(shape=SQUARE)
    yield from attempts(
        KIND,
        "an image, channels last in torch",
        same,
        last,
        ("torch",),
        inputs=(open_last,),
        excused=ORDER,
    )
    flat = Written(lambda xp, m, x: xp.flatten(m.c(x)), CONV)
    reshaped = Written(lambda xp, m, x: xp.reshape(m.c(x), (x.shape[0], -1, 2)), CONV, live=True)
    yield from attempts(KIND, "another shape of as many values", flat, reshaped)
    squeezed = Written(lambda xp, m, x: xp.mean(m.c(x), axis=(xp.H, xp.W)), CONV)
    kept = Written(lambda xp, m, x: xp.mean(m.c(x), axis=(xp.H, xp.W), keepdims=True), CONV)
    yield from attempts(KIND, "axes of one that one side keeps", squeezed, kept)
    wide = Written(lambda xp, m, x: xp.mean(m.c(x), axis=xp.H), CONV)
    high = Written(lambda xp, m, x: xp.mean(m.c(x), axis=xp.W), CONV)
    yield from attempts(
        KIND, "the mean over the other axis, square", wide, high, inputs=(images(shape=SQUARE),)
    )
    points = [Written(lambda xp, m, x, k=k: xp.mean(m.c(x), axis=xp.W if k else xp.H), POINT) for k in (0, 1)]
    yield from attempts(KIND, "the mean over the other axis, symmetric", *points, inputs=(_symmetric(),))
