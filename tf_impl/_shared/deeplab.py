"""DeepLab's rules in plain numbers: the same file in both packages."""

from __future__ import annotations

from collections.abc import Sequence


def check_branches(in_channels: int, out_channels: int, rates: Sequence[int], pooling: str = "sum") -> None:
    """Refuse options without a meaning."""
    for name, value in (("in_channels", in_channels), ("channels of the output", out_channels)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}. Give a count.")
    if not rates or min(rates) < 1:
        raise ValueError(
            f"rates must hold numbers of at least 1; got rates={tuple(rates)}. Give some, such as (6, 12, 18)."
        )
    if pooling not in ("sum", "concat"):
        raise ValueError(f'pooling must be "sum" or "concat"; got pooling={pooling!r}. Choose one of them.')


def default_rates(rates: Sequence[int] | None, output_stride: int) -> tuple[int, ...]:
    """Give the rates, or the paper's: 6, 12 and 18 at stride 16, twice that at stride 8."""
    return tuple(rates) if rates is not None else tuple(rate * 16 // output_stride for rate in (6, 12, 18))


def low_level(backbone: str) -> int:
    """Give the place, among the backbone's feature maps, of those with stride 4."""
    return 1 if backbone.startswith("vgg") else 0
