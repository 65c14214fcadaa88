"""Write a network for TensorFlow's runtimes: python -m tf_impl.export --checkpoint F --out DIR --format savedmodel."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from datasets.errors import DataError, RunError, SettingsError
from datasets.exits import exit_code
from datasets.export import command
from datasets.export.agreement import Agreement, Floats, Run, agree, nudge
from datasets.export.command import check_samples, export_flags, first_line, whole
from tf_impl.checkpoints import read_checkpoint
from tf_impl.train import make_model

FORMATS = ("savedmodel", "litert")
LITERT_FILE = "model.tflite"
"""Its name in a folder."""


def export(
    model: Any, path: Path | str, samples: Sequence[Floats], format: str = FORMATS[0], fixed: bool = False
) -> list[Agreement]:
    """Write a network for another runtime, and compare what was written with the network.

    What is written takes any batch, and images of any size that the network takes.

    Shapes: samples (N, H, W, C) each; the input of what is written is the same.
    Args:
        model: the network, in float32 and on the CPU.
        path: the folder (or for litert a .tflite file); an export that differs is removed.
        samples: inputs to try, the first of at least two images.
        format: savedmodel or litert, which has LiteRT's own operations alone.
        fixed: whether it is for images of the first sample's size alone.
    Returns: how each sample's outputs agree.
    Raises:
        RunError: what the format cannot express, or a difference that rounding does not explain.
    """
    check_samples(samples, fixed)
    _, height, width, channels = samples[0].shape
    shape = (None, height, width, channels) if fixed else (None, None, None, channels)
    with whole(Path(path)) as place:
        if format == "savedmodel":
            _save(model, place, shape)
        else:
            _convert(model, place, shape)
        return verify(model, place, samples, format)


def verify(
    model: Any, path: Path | str, samples: Sequence[Floats], format: str = FORMATS[0]
) -> list[Agreement]:
    """Compare what was exported with the network.

    Shapes: samples (N, H, W, C) each.
    Args:
        model: the network.
        path: what was exported.
        samples: inputs to try.
        format: savedmodel or litert.
    Returns: how each sample's outputs agree.
    Raises:
        RunError: a difference that rounding does not explain.
    """
    return agree(partial(_outputs, model), load(path, format), partial(_nudged, model), samples)


def load(path: Path | str, format: str = FORMATS[0]) -> Run:
    """Read what was exported into its own runtime.

    Args:
        path: what was exported.
        format: savedmodel or litert.
    Returns: a function from images (N, H, W, C) to the outputs.
    Raises:
        DataError: the runtime cannot read it.
        RunError: the runtime cannot run it.
    """
    tensorflow = _tensorflow()
    try:
        run = (_saved if format == "savedmodel" else _interpreted)(tensorflow, Path(path))
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{path} must be readable as {format}; got: {first_line(error)}. Export it again."
        ) from error

    def checked(images: Floats) -> list[Floats]:
        try:
            return run(images)
        except Exception as error:  # TensorFlow has a class of its own for every kind
            raise RunError(
                f"{format} must run {path} on {images.shape}; got: {first_line(error)}. Export it with --fixed."
            ) from error

    return checked


def _saved(tensorflow: Any, path: Path) -> Run:
    """A SavedModel's function."""
    loaded = tensorflow.saved_model.load(str(path))

    def run(images: Floats) -> list[Floats]:
        return _arrays(loaded.serve(tensorflow.constant(images)))

    return run


def _interpreted(tensorflow: Any, path: Path) -> Run:
    """A LiteRT file's signature, whose outputs are named output_0, output_1, ..."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the interpreter will move to a package of its own
        interpreter = tensorflow.lite.Interpreter(model_path=str(_litert_file(path)))
    runner = interpreter.get_signature_runner()

    def run(images: Floats) -> list[Floats]:
        found = runner(images=images)
        return [found[name] for name in sorted(found, key=lambda name: int(name.rpartition("_")[2]))]

    return run


def _litert_file(path: Path) -> Path:
    return path if path.suffix == ".tflite" else path / LITERT_FILE


def _save(model: Any, path: Path, shape: Sequence[int | None]) -> None:
    """Write a SavedModel whose function `serve`, and signature of that name, is the network's inference."""
    tensorflow = _tensorflow()

    def inference(images: Any) -> Any:
        return model(images, training=False)

    with _expressing("savedmodel"):
        archive = keras.export.ExportArchive()
        archive.track(model)
        inputs = [tensorflow.TensorSpec(shape, "float32", name="images")]
        archive.add_endpoint("serve", inference, input_signature=inputs)
        archive.write_out(str(path), verbose=False)


def _convert(model: Any, path: Path, shape: Sequence[int | None]) -> None:
    """Write a LiteRT file, by way of a SavedModel."""
    tensorflow = _tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        _save(model, Path(folder) / "saved", shape)
        with _expressing("litert"):
            converter = tensorflow.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "saved"))
            converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS]
            content = converter.convert()
    if path.suffix != ".tflite":
        path.mkdir(parents=True)
    _litert_file(path).write_bytes(content)


@contextlib.contextmanager
def _expressing(format: str) -> Iterator[None]:
    """Report in one line what a format cannot express."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TensorFlow about its own old names
            yield
    except RunError:
        raise
    except Exception as error:  # the converter has a class of its own for every kind
        raise RunError(
            f"{format} must express the network; got {type(error).__name__}: {first_line(error)}. "
            "Export it with --fixed."
        ) from error


def _outputs(model: Any, images: Floats) -> list[Floats]:
    """Every output of the network."""
    return _arrays(model(images, training=False))


def _arrays(outputs: Any) -> list[Floats]:
    found = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [keras.ops.convert_to_numpy(value) for value in found]


@contextlib.contextmanager
def _nudged(model: Any, share: float) -> Iterator[None]:
    """Change every weight by a share of it; afterwards every bit is as before."""
    rng = np.random.default_rng(0)
    weights = [value for value in model.weights if "float" in value.dtype]
    kept = [keras.ops.convert_to_numpy(value).copy() for value in weights]
    try:
        for value, before in zip(weights, kept, strict=True):
            value.assign(nudge(before, share, rng))
        yield
    finally:
        for value, before in zip(weights, kept, strict=True):
            value.assign(before)


def _tensorflow() -> Any:
    """TensorFlow, on which Keras must run: these formats are its own."""
    if keras.config.backend() != "tensorflow":
        raise SettingsError(
            f"Keras must run on TensorFlow to export; got backend={keras.config.backend()}. "
            "Set KERAS_BACKEND=tensorflow: the checkpoint is the same."
        )
    return importlib.import_module("tensorflow")


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
    return exit_code(run, export_flags("tf_impl", FORMATS).parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
