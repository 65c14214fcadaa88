"""Real pictures to check models on: generated shapes, and a photograph that scikit-image ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from parity.core.errors import UsageError
from parity.core.types import Array


def shapes(shape: Sequence[int], data: Path | None, seed: int = 0) -> Array:
    """Images of the PurdueShapes5MultiObject kind, with values 0..255.

    Args:
        shape: (N, H, W, C) wanted; images are tiled or cropped to H and W, channels mixed to C.
        data: a file of the data set or a folder that holds one; None generates images.
        seed: of the generator and the channel mix.

    Raises:
        UsageError: there is no such file, or it does not hold the data set.
    """
    from datasets import purdue_shapes

    if data is None:
        images = purdue_shapes.generate(shape[0], seed).images
    else:
        files = [data] if data.is_file() else sorted(data.glob("*.gz"))
        if not files:
            raise UsageError(
                f"--data must be a data-set file or a folder with one; got {data}. Make one with "
                "python -m datasets.purdue_shapes generate."
            )
        try:
            images = purdue_shapes.load(files[0]).images
        except purdue_shapes.DatasetError as error:
            raise UsageError(str(error)) from error
    return _fitted(np.asarray(images[: shape[0]]), shape, seed)


def photograph(shape: Sequence[int], seed: int = 0) -> Array | None:
    """Crops of a colour photograph, with values 0..255; None where scikit-image is not installed."""
    try:
        from skimage import data
    except ImportError:
        return None
    picture = data.chelsea()
    rows = np.linspace(0, max(picture.shape[0] - shape[1], 0), shape[0]).astype(int)
    crops = [picture[row : row + shape[1], 60 + row : 60 + row + shape[2]] for row in rows]
    return _fitted(np.stack(crops), shape, seed)


def _fitted(images: Array, shape: Sequence[int], seed: int) -> Array:
    """Tiled or cropped to the size, with the channels mixed to the number wanted."""
    count, height, width, channels = shape
    index = np.ix_(
        *(
            np.arange(wanted) % have
            for wanted, have in zip((count, height, width), images.shape[:3], strict=True)
        )
    )
    fitted = images[index].astype(np.float32)
    if channels == 3:
        return fitted
    mix = np.random.default_rng(seed).dirichlet(np.ones(3), channels).T
    return (fitted.astype(np.float64) @ mix).astype(np.float32)
