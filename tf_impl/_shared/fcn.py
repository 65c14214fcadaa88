"""The numbers of the fully convolutional networks on VGG16: the same file in both packages."""

from __future__ import annotations

BACKBONE_PADDING = 100  # of the image, so that fc6 has 7 x 7 pixels even from the smallest one
# Rows and columns to leave away at the top and the left, so that the centres of pixels meet: of the scores of a
# pooling, and of the enlarged scores by their stride. They stand so in the authors' released definitions.
CROPS: dict[str | int, int] = {"pool4": 5, "pool3": 9, 32: 19, 16: 27, 8: 31}


def check_options(num_classes: int, width: int, stride: int = 32, hidden: int = 1) -> None:
    """Refuse options without a meaning."""
    if stride not in (32, 16, 8):
        raise ValueError(f"stride must be 32, 16 or 8; got stride={stride!r}. Choose one of them.")
    for name, value in (("num_classes", num_classes), ("width", width), ("hidden", hidden)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {name}={value}. Give a count.")
