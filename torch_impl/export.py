"""Write a network for ONNX Runtime: python -m torch_impl.export --checkpoint F --out F.onnx."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.errors import DataError, RunError
from datasets.exits import exit_code
from datasets.export import command
from datasets.export.agreement import Agreement, Floats, Run, agree, nudge
from datasets.export.command import check_samples, export_flags, first_line, whole
from datasets.files import extra
from torch_impl.checkpoints import read_checkpoint
from torch_impl.train import make_model

FORMATS = ("onnx",)


def export(
    model: Any, path: Path | str, samples: Sequence[Floats], format: str = FORMATS[0], fixed: bool = False
) -> list[Agreement]:
    """Write a network for another runtime, and compare what was written with the network.

    The file takes any batch, and images of any size that the network takes.

    Shapes: samples (N, H, W, C) each; the file's input is (N, C, H, W).
    Args:
        model: the network, in float32 and on the CPU.
        path: the file; an export that differs is removed.
        samples: inputs to try, the first of at least two images.
        format: onnx.
        fixed: whether the file is for images of the first sample's size alone.
    Returns: how each sample's outputs agree.
    Raises:
        RunError: what the format cannot express, or a difference that rounding does not explain.
    """
    check_samples(samples, fixed)
    with whole(Path(path)) as file:
        with _evaluating(model):
            _write(model, file, samples[0], fixed)
        return verify(model, file, samples, format)


def verify(
    model: Any, path: Path | str, samples: Sequence[Floats], format: str = FORMATS[0]
) -> list[Agreement]:
    """Compare an exported file with the network.

    Shapes: samples (N, H, W, C) each.
    Args:
        model: the network.
        path: what was exported.
        samples: inputs to try.
        format: onnx.
    Returns: how each sample's outputs agree.
    Raises:
        RunError: a difference that rounding does not explain.
    """
    with _evaluating(model):
        return agree(partial(_outputs, model), load(path, format), partial(_nudged, model), samples)


def load(path: Path | str, format: str = FORMATS[0]) -> Run:
    """Read an exported file into its own runtime.

    Args:
        path: what was exported.
        format: onnx.
    Returns: a function from images (N, H, W, C) to the outputs.
    Raises:
        MissingExtra: the runtime is not installed.
        DataError: the runtime cannot read the file.
        RunError: the runtime cannot run it.
    """
    onnxruntime = extra("onnxruntime", "export")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a class of its own for every kind
        raise DataError(
            f"ONNX Runtime must read {path}; got: {first_line(error)}. Export it again."
        ) from error
    name = session.get_inputs()[0].name

    def run(images: Floats) -> list[Floats]:
        try:
            return session.run(None, {name: np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
        except Exception as error:
            raise RunError(
                f"ONNX Runtime must run {path} on {images.shape}; got: {first_line(error)}. Export it with --fixed."
            ) from error

    return run


def _write(model: torch.nn.Module, path: Path, sample: Floats, fixed: bool) -> None:
    """Write the file; the batch, and unless `fixed` height and width, are left open."""
    for name in ("onnx", "onnxscript"):
        extra(name, "export")
    axes = (0,) if fixed else (0, 2, 3)
    try:
        with _quiet():
            torch.onnx.export(
                model,
                (_images(sample),),
                str(path),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=["images"],
                dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.DYNAMIC),),
            )
    except Exception as error:  # the exporter has a class of its own for every kind
        raise RunError(
            f"ONNX must express the network; got {type(error).__name__}: {first_line(error)}. Export it with --fixed."
        ) from error


def _images(images: Floats) -> torch.Tensor:
    """(N, H, W, C) -> (N, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@torch.no_grad()
def _outputs(model: torch.nn.Module, images: Floats) -> list[Floats]:
    """Every output of the network."""
    found = model(_images(images))
    found = found if isinstance(found, list | tuple) else [found]
    return [value.numpy() for value in found]


@contextlib.contextmanager
def _nudged(model: torch.nn.Module, share: float) -> Iterator[None]:
    """Change every weight by a share of it; afterwards every bit is as before."""
    rng = np.random.default_rng(0)
    weights = [value for value in model.state_dict().values() if value.is_floating_point()]
    kept = [value.clone() for value in weights]
    try:
        for value in weights:
            value.copy_(torch.from_numpy(nudge(value.numpy(), share, rng)))
        yield
    finally:
        for value, before in zip(weights, kept, strict=True):
            value.copy_(before)


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """In evaluation mode; afterwards each module as before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's words on torchvision, which it looks for, and on PyTorch's own old names."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _opened(checkpoint: Path, config: dict[str, Any]) -> Any:
    """The network of a configuration with its checkpoint's weights, on the CPU."""
    network = config["model"]
    model = make_model(network["arguments"], config["dtype"], "cpu", name=network["name"])
    read_checkpoint(model, checkpoint, network, config["dtype"])
    return model


def run(options: argparse.Namespace) -> None:
    """Carry out one command line of the script."""
    command.run(options, _opened, export)


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, export_flags("torch_impl", FORMATS).parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
