"""Resizing and sampling of images with other options, and short-time Fourier transforms with other windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch.nn import functional as F

from parity.adapters.torch.edits.edit import Called, Edit, given, of_first, with_given

LINEAR = {"linear", "bilinear", "trilinear"}
BY_RANK = {3: "linear", 4: "bilinear", 5: "trilinear"}
TABLE = 1024
"""TensorFlow's bicubic takes the nearest of so many places between two pixels."""
SPECTRA = {"stft": (5, 4), "istft": (5, 4)}
WINDOWS: dict[str, Callable[[int, bool], torch.Tensor]] = {
    "hann": lambda n, p: torch.hann_window(n, p, dtype=torch.float64),
    "hamming": lambda n, p: torch.hamming_window(n, p, dtype=torch.float64),
    "blackman": lambda n, p: torch.blackman_window(n, p, dtype=torch.float64),
    "bartlett": lambda n, p: torch.bartlett_window(n, p, dtype=torch.float64),
    "rectangular": lambda n, p: torch.ones(n, dtype=torch.float64),
}


def changed_sampling(step: Called) -> Iterator[Edit]:
    """The same resizing or sampling with other options."""
    x, out = step.x, step.out
    if x is None or out is None:
        return
    if step.name in {"interpolate", "upsample"}:
        yield from _resized(step, x, out)
    elif step.name == "grid_sample":
        yield from _sampled(step)
    elif step.name == "affine_grid":
        align = bool(step.given("align_corners", 2, False))
        yield Edit("resize-align-corners", f"align_corners={not align}", f"affine_grid with align_corners={align}",
                   with_given("align_corners", 2, not align))  # fmt: skip


def _resized(step: Called, x: torch.Tensor, out: torch.Tensor) -> Iterator[Edit]:
    mode, align = step.given("mode", 3, "nearest"), bool(step.given("align_corners", 4, False))
    antialias = bool(step.given("antialias", 6, False))
    size = tuple(out.shape[2:])
    own = _named(mode, align, antialias)
    linear = BY_RANK.get(x.ndim)
    modes = [
        "nearest",
        "nearest-exact",
        "area",
        *([linear] if linear else []),
        *(["bicubic"] if x.ndim == 4 else []),
    ]
    for name, corners, smooth in product(modes, (False, True), (False, True)):
        smoothed = name in LINEAR | {"bicubic"}
        if (name, corners, smooth) == (mode, align, antialias) or ((corners or smooth) and not smoothed):
            continue
        if smooth and (x.ndim != 4 or corners):
            continue
        options = {"align_corners": corners, "antialias": smooth} if smoothed else {}
        cause = ("resize-mode" if name != mode
                 else "resize-align-corners" if corners != align else "resize-antialias")  # fmt: skip
        yield Edit(cause, _named(name, corners, smooth), own,
                   of_first(lambda z, n=name, o=options: F.interpolate(z, size, mode=n, **o)))  # fmt: skip
    if mode == "bicubic":
        for a, cut, table in product((-0.5, -0.75), (True, False), (0, TABLE)):
            if (a, cut, table) != (-0.75, False, 0) or align or antialias:
                edge = "weights outside left out" if cut else "border repeated"
                yield Edit("cubic-coefficient", f"cubic with coefficient {a}, {edge}", f"{own}, coefficient -0.75",
                           of_first(lambda z, a=a, cut=cut, table=table: cubic(z, size, a, cut, table)))  # fmt: skip


def _named(mode: str, align: bool, antialias: bool) -> str:
    return mode + (" with align_corners" if align else "") + (" with antialias" if antialias else "")


def cubic(x: torch.Tensor, size: tuple[int, ...], a: float, cut: bool, table: int = 0) -> torch.Tensor:
    """Bicubic at half-pixel centres.

    Args:
        x: (N, C, H, W).
        size: (H, W) of the result.
        a: the coefficient of the kernel.
        cut: weights outside of the image are left out, and the rest sums to one; else the border is repeated.
        table: places between two pixels at which the weights are known; 0 for all.
    """
    rows, columns = (
        _cubic_weights(n, out, a, cut, table).to(x.dtype) for n, out in zip(x.shape[2:], size, strict=True)
    )
    return torch.einsum("ih,nchw,jw->ncij", rows, x, columns)


def _cubic_weights(n: int, out: int, a: float, cut: bool, table: int) -> torch.Tensor:
    at = (torch.arange(out, dtype=torch.float64) + 0.5) * n / out - 0.5
    first = torch.floor(at).long()
    if table:
        at = first + torch.round((at - first) * table) / table
    weights = torch.zeros(out, n, dtype=torch.float64)
    for offset in (-1, 0, 1, 2):
        place = first + offset
        d = (at - place).abs()
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        weight = torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
        if cut:
            weight = torch.where((place >= 0) & (place < n), weight, torch.zeros_like(weight))
        weights[torch.arange(out), place.clamp(0, n - 1)] += weight
    return weights / weights.sum(1, keepdim=True)


def _sampled(step: Called) -> Iterator[Edit]:
    names = (("mode", "bilinear"), ("padding_mode", "zeros"), ("align_corners", False))
    now = [step.given(name, 2 + i, default) for i, (name, default) in enumerate(names)]
    mode, padding, align = now[0], now[1], bool(now[2])
    yield Edit("resize-align-corners", f"align_corners={not align}", f"grid_sample with align_corners={align}",
               with_given("align_corners", 4, not align))  # fmt: skip
    for tried in ("bilinear", "nearest", "bicubic"):
        if tried != mode:
            yield Edit(
                "resize-mode",
                f"mode {tried!r}",
                f"grid_sample in mode {mode!r}",
                with_given("mode", 2, tried),
            )
    for tried in ("zeros", "border", "reflection"):
        if tried != padding:
            yield Edit("padding-mode", f"padding {tried!r}", f"grid_sample with padding {padding!r}",
                       with_given("padding_mode", 3, tried))  # fmt: skip

    def turned(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return with_given("grid", 1, given(args, kwargs, "grid", 1).flip(-1))(function, args, kwargs)

    yield Edit("axis-order", "the grid as (row, column)", "the grid as (column, row)", turned)


# --- spectra --------------------------------------------------------------------------------------


def changed_windows(step: Called) -> Iterator[Edit]:
    """Another window of a short-time Fourier transform, or frames that stand elsewhere."""
    if step.name in SPECTRA:
        yield from _framed(step)
        return
    if step.name.endswith("_window"):
        flag = next(
            (value for value in step.args if isinstance(value, bool)), step.kwargs.get("periodic", True)
        )
        yield Edit(
            "stft-window",
            _kind(step.name, not flag),
            _kind(step.name, flag),
            with_given("periodic", 1, not flag),
        )
    elif step.name in {"mul", "multiply", "imul", "rmul"} and len(step.tensors) == 2:
        yield from _multiplied(step)


def _framed(step: Called) -> Iterator[Edit]:
    size, window = step.given("n_fft", 1), step.given("window", 4)
    length = step.given("win_length", 3) or size
    own = _known(window) if window is not None else "no window"
    for name, periodic in product(WINDOWS, (True, False)):
        if (text := _kind(name, periodic)) != own and not (name == "rectangular" and not periodic):

            def change(
                function: Any, args: Any, kwargs: Any, name: str = name, periodic: bool = periodic
            ) -> Any:
                x = next(iter(args), kwargs.get("input"))
                dtype = torch.float64 if x.dtype in {torch.float64, torch.complex128} else torch.float32
                return with_given("window", 4, WINDOWS[name](length, periodic).to(dtype))(
                    function, args, kwargs
                )

            yield Edit("stft-window", text, own, change)
    center = bool(step.given("center", 5, True))
    yield Edit("stft-frames", f"center={not center}", f"{step.name} with center={center}",
               with_given("center", 5, not center))  # fmt: skip
    if step.name == "stft":
        mode = step.given("pad_mode", 6, "reflect")
        for tried in ("reflect", "constant", "replicate", "circular"):
            if tried != mode and center:
                yield Edit("stft-frames", f"padded in mode {tried!r}", f"stft padded in mode {mode!r}",
                           with_given("pad_mode", 6, tried))  # fmt: skip
    place = 7 if step.name == "stft" else 6
    scaled = bool(step.given("normalized", place, False))
    yield Edit("stft-frames", f"normalized={not scaled}", f"{step.name} with normalized={scaled}",
               with_given("normalized", place, not scaled))  # fmt: skip


def _known(window: torch.Tensor) -> str:
    """The name of a window, by its values."""
    for name, periodic in product(WINDOWS, (True, False)):
        if torch.allclose(WINDOWS[name](len(window), periodic), window.double(), rtol=0, atol=1e-6):
            return _kind(name, periodic)
    return "the window that is given"


def _kind(name: str, periodic: bool) -> str:
    plain = name.removesuffix("_window")
    return (
        "no window" if plain == "rectangular" else f"{'periodic' if periodic else 'symmetric'} {plain} window"
    )


def _multiplied(step: Called) -> Iterator[Edit]:
    """Frames that are multiplied by a known window."""
    for number, operand in enumerate(step.tensors):
        if operand.ndim and operand.shape[-1] == operand.numel() > 3 and (own := _known(operand.reshape(-1))):
            if own == "the window that is given" or own == "no window":
                continue
            for name, periodic in product(("hann", "hamming", "blackman"), (True, False)):
                if (text := _kind(name, periodic)) != own:

                    def change(_: Any, args: Any, kwargs: Any, name: str = name, periodic: bool = periodic,
                               number: int = number) -> Any:  # fmt: skip
                        pair = [
                            value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)
                        ]
                        window = WINDOWS[name](pair[number].numel(), periodic).reshape(pair[number].shape)
                        return pair[1 - number] * window.to(pair[number].dtype)

                    yield Edit("stft-window", text, own, change)
