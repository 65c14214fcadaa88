"""Every entry of the catalogue, both ways, in float64 and float32, on shapes images and a photograph made small."""

from __future__ import annotations

import pytest

from parity import catalog, samples
from parity.check import check_pair

BIG = {"mUnet", "mUnet-depth8", "mUnet-no-skip", "mUnet-printed", "mUnet-intended"}
# Networks that need larger pictures or much time: their own tests take them with few channels.
APART = ("resnet", "vgg", "fcn", "unet", "aspp", "deeplab", "buildingnet")
ENTRIES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in BIG else [])
    for name, entry in catalog.entries().items()
    if not entry.torch.startswith(tuple(f"torch_impl.{module}:" for module in APART))
]


@pytest.mark.table(share=3)
@pytest.mark.parametrize("name", ENTRIES)
def test_entry_is_equal(name: str) -> None:
    entry = catalog.find(name)
    channels = entry.input[3]
    photograph = samples.photograph((2, 16, 24, channels))
    assert photograph is not None
    result = check_pair(
        name,
        entry.keras,
        entry.torch,
        {"shapes": samples.shapes((2, 24, 16, channels), None), "photograph": photograph},
    )
    assert result.verdict == "EQUAL", result.findings
    assert len(result.reports) == 4
    assert result.max_rel_diff <= 1e-11
    assert all(report.elements > 0 for report in result.reports.values())
