"""Images sampled at places that a network computes: positions from -1 to 1 across the image, x before y."""

from keras import ops


def affine_grid(theta, height, width, align_corners=False):
    """The places of an affine map: theta (N, 2, 3) -> (N, height, width, 2)."""

    def places(count):
        steps = ops.cast(ops.arange(count), theta.dtype)
        return 2 * steps / (count - 1) - 1 if align_corners else (2 * steps + 1) / count - 1

    x, y = ops.meshgrid(places(width), places(height), indexing="xy")
    base = ops.stack([x, y, ops.ones_like(x)], axis=-1)
    return ops.einsum("hwk,njk->nhwj", base, theta)


def grid_sample(x, grid, padding_mode="zeros", align_corners=False):
    """The pixels of (N, H, W, C) at the places of a grid (N, h, w, 2), between pixels bilinear: (N, h, w, C).

    Beyond the rims are zeros, or with padding_mode="border" the nearest pixels.
    """
    height, width = ops.shape(x)[1:3]
    columns = _shares(_pixels(grid[..., 0], width, padding_mode, align_corners), width)
    rows = _shares(_pixels(grid[..., 1], height, padding_mode, align_corners), height)
    return ops.einsum("nhwj,nhwjc->nhwc", columns, ops.einsum("nhwi,nijc->nhwjc", rows, x))


def _shares(pixels, count):
    """How much each pixel of an axis gives to a place on it."""
    apart = ops.abs(pixels[..., None] - ops.cast(ops.arange(count), pixels.dtype))
    return ops.maximum(1 - apart, 0)


def _pixels(places, count, padding_mode, align_corners):
    """Places from -1 to 1 as pixels of an axis."""
    count = ops.cast(count, places.dtype)
    pixels = (places + 1) / 2 * (count - 1) if align_corners else ((places + 1) * count - 1) / 2
    return ops.clip(pixels, 0, count - 1) if padding_mode == "border" else pixels
