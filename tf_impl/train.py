"""Train mUnet with the lecture's recipe: python -m tf_impl.train --data FILE --out FOLDER."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from datasets.runs import RunLog, exit_code, load_part, training_config, training_flags
from datasets.segmentation import Batch, Recipe, RunError, batches, check_pairs, finite, replacing
from tf_impl.munet import mUnet

CHECKPOINT = "model.weights.h5"


def make_model(
    arguments: dict[str, Any], dtype: str = "float32", device: str = "cpu", seed: int = 0
) -> mUnet:
    """A mUnet with weights drawn from the seed.

    Args:
        arguments: the constructor's arguments.
        dtype: float32 or float64, of weights and computation.
        device: cpu or gpu.
        seed: of the initial weights.
    Raises:
        RunError: arguments that the network refuses.
    """
    keras.utils.set_random_seed(seed)
    with _precision(dtype), keras.device(f"{device}:0"):
        try:
            return mUnet(**arguments)
        except ValueError as error:
            raise RunError(str(error)) from error


@contextlib.contextmanager
def _precision(dtype: str) -> Iterator[None]:
    """Make new layers, optimizers, losses and metrics compute in `dtype`.

    A network's own dtype leaves the learning rate and the loss in Keras' floatx, 6e-8 off in float32.
    """
    before = keras.config.floatx(), keras.config.dtype_policy()
    if dtype == "float64" and keras.config.backend() == "jax":
        import jax  # Keras has no name of its own for this setting

        jax.config.update("jax_enable_x64", True)  # JAX rounds to float32 otherwise; it is for good
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def to_network(images: NDArray[np.uint8], model: keras.Model) -> Any:
    """Raw images as the network takes them, in its dtype.

    Shapes: images (N, H, W, 3); returns (N, H, W, 3).
    """
    return images.astype(model.compute_dtype)


def from_network(outputs: Any) -> NDArray[np.floating]:
    """The network's outputs in the layout of the data's masks.

    Shapes: outputs (N, H, W, C); returns (N, C, H, W).
    """
    return np.moveaxis(keras.ops.convert_to_numpy(outputs), -1, 1)


def train(
    model: keras.Model,
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    recipe: Recipe,
    report: Callable[[Batch, float], object] = lambda batch, loss: None,
) -> list[float]:
    """Train a network in place on raw images and raw mask values.

    Shapes: images (N, H, W, 3); masks (N, C, H, W).
    Args:
        model: the network; its weights give device and dtype.
        images: raw values 0..255.
        masks: raw mask values 0..250.
        recipe: optimizer, batch order and length.
        report: called after every step with its Batch and its loss.
    Returns: the loss of every step, computed before the step's update.
    Raises:
        RunError: images and masks that do not fit, or a loss that is no finite number.
    Source: lecture, "Training mUnet with MSE Loss".
    """
    check_pairs(images, masks)
    losses = []
    with _precision(model.compute_dtype), warnings.catch_warnings():
        # Some of mUnet's blocks are declared and never used, as in the lecture: they have no gradient.
        warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
        # The network itself is not compiled, so that its checkpoint holds its weights and no optimizer's.
        trainer = keras.Sequential([model])
        trainer.compile(
            # TensorFlow rounds a Python float to float32 before Keras casts it; a NumPy float64 keeps its digits.
            optimizer=keras.optimizers.SGD(recipe.learning_rate, momentum=np.float64(recipe.momentum)),
            loss=_squared_error,
        )
        for batch in batches(len(images), recipe):
            inputs = to_network(images[batch.indices], model)
            targets = np.moveaxis(masks[batch.indices], 1, -1).astype(inputs.dtype)
            losses.append(finite(float(trainer.train_on_batch(inputs, targets)), batch))
            report(batch, losses[-1])
    return losses


def _squared_error(targets: Any, outputs: Any) -> Any:
    """Every squared error; Keras takes their mean. Its own loss takes it in float32 on JAX, whatever the dtype."""
    return keras.ops.square(outputs - targets)


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the weights and nothing else, whole or not at all."""
    with replacing(path) as partial:
        model.save_weights(partial)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read a checkpoint into a network that it fits exactly.

    Raises:
        RunError: no checkpoint, or one whose tensors differ from the network's in shape, number or precision.
    """
    try:
        stored = _stored(path)
    except OSError as error:
        raise RunError(
            f"a checkpoint must be a .weights.h5 file; got {path}: {error}. Check the path."
        ) from error
    own = Counter(tuple(weight.shape) for weight in model.weights)
    shapes = Counter(shape for shape, _ in stored)
    wrong = [f"{shape} missing" for shape in (own - shapes).elements()]
    # Keras itself would skip, without a word, what the file holds beyond the network's weights.
    wrong += [f"{shape} left over" for shape in (shapes - own).elements()]
    # Widening float32 to float64 is exact; narrowing would round the weights, again without a word.
    wrong += [str(dtype) for _, dtype in stored if not np.can_cast(dtype, model.variable_dtype)]
    if wrong:
        raise RunError(
            f"a checkpoint must fit the model's arguments; got {len(wrong)} tensors that do not in {path}, "
            f"the first {wrong[0]}. Give the --depth, --head and --dtype that it was trained with."
        )
    model.load_weights(path)


def _stored(path: Path) -> list[tuple[tuple[int, ...], Any]]:
    """Shape and dtype of every weight in a file, without an optimizer's variables."""
    found: list[tuple[tuple[int, ...], Any]] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith("optimizer/"):
            found.append((node.shape, node.dtype))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def find_device(wanted: str | None) -> str:
    """The device to run on: the one wanted, or a GPU where there is one."""
    found = "gpu" if any("gpu" in name.lower() for name in keras.distribution.list_devices()) else "cpu"
    if wanted == "gpu" != found:
        raise RunError("--device gpu must have a GPU that Keras' backend sees; got device=cpu. Leave it out.")
    return wanted or found


def run(options: argparse.Namespace) -> None:
    """Carry out one command line of the script."""
    recipe = Recipe.from_options(options)
    device = find_device(options.device)
    data = load_part(options.data, "train")
    versions = {"keras": keras.__version__, "backend": keras.config.backend()}
    config = training_config("tf_impl", options, data, device=device, **versions)
    model = make_model(config["model"], options.dtype, device, recipe.seed)
    if options.init:
        load_weights(model, options.init)
    with RunLog(options.out, config, options.log_every, options.quiet) as log, keras.device(f"{device}:0"):

        def report(batch: Batch, loss: float) -> None:
            log(batch, loss)
            if batch.is_last:
                save_weights(model, options.out / CHECKPOINT)

        train(model, data.images, data.masks, recipe, report)


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, training_flags("tf_impl").parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
