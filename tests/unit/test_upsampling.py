"""Conv2DTranspose against UpSampling2d: the same measures in both halves, and what they must be."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs

ROOT = Path(__file__).parents[2]
HALVES = ["tf_impl", "torch_impl"]


def compare(half: str, **arguments: Any) -> Any:
    needs("keras" if half == "tf_impl" else "torch")
    return importlib.import_module(f"{half}.upsampling").compare_upsampling(**arguments)


@pytest.mark.parametrize("half", HALVES)
def test_what_each_costs_and_covers(half: str) -> None:
    rows = {row.name: row for row in compare(half)}
    assert {name: (row.parameters, row.learnable) for name, row in rows.items()} == {
        "Conv2DTranspose kernel 2, stride 2": (5, "2 x 2 kernel, bias"),
        "Conv2DTranspose kernel 3, stride 2": (10, "3 x 3 kernel, bias"),
        "Conv2DTranspose kernel 4, stride 2": (17, "4 x 4 kernel, bias"),
        "UpSampling2d nearest": (0, "nothing"),
        "UpSampling2d bilinear": (0, "nothing"),
        "UpSampling2d nearest and Conv2d kernel 3": (10, "3 x 3 kernel, bias"),
    }
    assert {(row.input_size, row.output_size) for row in rows.values()} == {((18, 24), (36, 48))}
    uneven = rows.pop("Conv2DTranspose kernel 3, stride 2")
    # a kernel of 3 meets an output pixel with 2 x 2, 2 x 1 or 1 of its 9 equal weights, which sum to 4
    np.testing.assert_allclose(uneven.coverage, [[16 / 9, 8 / 9], [8 / 9, 4 / 9]], rtol=1e-13)
    assert uneven.coverage_spread == pytest.approx(12 / 9, rel=1e-13)
    for row in rows.values():
        np.testing.assert_allclose(row.coverage, 1, rtol=1e-13)
        assert row.coverage_spread < 1e-13


@pytest.mark.parametrize("half", HALVES)
def test_only_a_transposed_convolution_can_learn_a_checkerboard(half: str) -> None:
    for row in compare(half, channels=2, seed=3):
        if row.name.startswith("Conv2DTranspose"):
            assert row.seeded_spread > 0.05
        else:
            assert row.seeded_spread < 1e-13


@pytest.mark.parametrize("half", HALVES)
def test_the_seeded_phases_are_sums_of_the_kernel_s_taps(half: str) -> None:
    """By hand for a kernel of 4: "same" cuts one row, so that even rows take the taps 1 and 3."""
    kernel = np.random.default_rng(0).random((4, 4, 1, 1))[..., 0, 0]
    kernel *= 4 / kernel.sum()
    want = [[kernel[1 - r :: 2, 1 - c :: 2].sum() for c in (0, 1)] for r in (0, 1)]
    np.testing.assert_allclose(compare(half)[2].seeded, want, rtol=1e-13)


@pytest.mark.parametrize(("channels", "scale"), [(1, 2), (2, 3)])
def test_both_halves_measure_the_same(keras_torch: None, channels: int, scale: int) -> None:
    sides = [compare(half, channels=channels, scale=scale, seed=1) for half in HALVES]
    assert len(sides[0]) == len(sides[1]) == 6
    for keras_row, torch_row in zip(*sides, strict=True):
        for name in ("name", "parameters", "learnable", "input_size", "output_size"):
            assert getattr(keras_row, name) == getattr(torch_row, name)
        for name in ("coverage", "seeded"):
            np.testing.assert_allclose(getattr(keras_row, name), getattr(torch_row, name), rtol=1e-13)
        assert len(keras_row.pictures) == len(torch_row.pictures) == 3
        for got, want in zip(keras_row.pictures, torch_row.pictures, strict=True):
            assert got.dtype == want.dtype == np.float64
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)
        assert keras_row.pictures[2].shape == (18 * scale, 24 * scale)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.slow
def test_command(half: str, tmp_path: Path) -> None:
    """The command writes a figure and prints the table, and warns of nothing."""
    needs("keras" if half == "tf_impl" else "torch")
    out = tmp_path / "new" / "figure.png"
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", f"{half}.upsampling", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "RuntimeWarning" not in done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert lines[2].endswith("133%     89%")
    from matplotlib.image import imread

    picture = imread(out)
    assert picture.shape[0] > 600
    assert picture.shape[1] > 1200
    assert picture[..., :3].std() > 0.1


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.slow
def test_measures_without_matplotlib(half: str) -> None:
    needs("keras" if half == "tf_impl" else "torch")
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        f"from {half}.upsampling import compare_upsampling\n"
        "print(len(compare_upsampling()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "6", done.stderr[-2000:]
