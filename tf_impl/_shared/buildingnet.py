"""What the building network's reconstruction chose: the same file in both packages.

The lecture gives: a U whose arms are residual bottleneck blocks of convolutions and transposed convolutions; a
bottleneck layer at the bottom; ASPP after it with 1 x 1, 3 x 3 at rates 2, 4 and 6, and global context, joined
by a 3 x 3 convolution; a 1 x 1 convolution from ASPP to a coarse prediction; and skip connections that pass through
an Uncertainty Attention Module. It leaves open everything below. The paper's own choices may differ.
"""

from __future__ import annotations

from collections.abc import Sequence

CHANNELS = 3  # satellite images in red, green and blue
RATES = (2, 4, 6)  # from the lecture: of ASPP's 3 x 3 convolutions

# 1. How deep the U is, and how wide: four halvings, each doubling the channels, as U-Net has it.
LEVELS = 4
# 2. How many bottleneck blocks each level has on the way down: one, and it halves by its 3 x 3 convolution, as in
#    ResNet. On the way up each level has one that doubles, by a transposed convolution, and one that joins.
BLOCKS = 1
# 3. The doubling: kernel 4, stride 2, padding 1 reaches every pixel by as many taps; its shortcut has kernel 2.
UP = {"kernel_size": 4, "stride": 2, "padding": 1}
UP_SHORTCUT = {"kernel_size": 2, "stride": 2}
# 4. ASPP: each branch and the output have a quarter of the bottom's channels; the join has kernel 3 (the lecture) and
#    no dropout.
FUSE, DROPOUT = 3, 0.0
# 5. Uncertainty, from a score s with p = sigmoid(s): 4 * p * (1 - p), which is 1 where the prediction is undecided
#    (p = 1/2) and 0 where it is sure; of several classes the greatest counts. It is smooth, unlike 1 - |2p - 1|.
# 6. Attention: the skipped features times (1 + uncertainty), then a 3 x 3 convolution, normalisation and ReLU. What
#    is sure passes as it is; what is undecided is stressed.
# 7. Whose uncertainty: that of the prediction one level deeper, bilinearly enlarged; at the bottom this is ASPP's
#    coarse prediction.
# 8. Deep supervision: a 1 x 1 convolution to the classes at every level of the way up; every prediction is given
#    bilinearly enlarged to the picture's size, the finest first and the coarse one last.


def widths(width: int) -> tuple[int, ...]:
    """Channels of each level, the finest first, the bottom last."""
    return tuple(width * 2**level for level in range(LEVELS + 1))


def check_options(num_classes: int, width: int, rates: Sequence[int]) -> None:
    """Refuse options without a meaning."""
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1; got num_classes={num_classes}. Give a count.")
    if width < 4 or width % 4:
        raise ValueError(
            f"width must be a multiple of 4, of which bottlenecks have a quarter; got width={width}. Choose another."
        )
    if not rates or min(rates) < 1:
        raise ValueError(
            f"rates must hold numbers of at least 1; got rates={tuple(rates)}. The lecture has {RATES}."
        )
