"""Other tools on the same models, measured in the same way: python benchmarks/peers.py PEER [MODEL ...] [--json F].

Run it in an environment that has the peer, the frameworks and this checkout. One line a model comes out, and with --json
as many rows in the file. docs/peers.md has the environments and what was measured.

Every torch model has random weights and statistics, and runs in evaluation mode in float32. Equal means that the
greatest difference is below 1e-4 of the greatest value, on an input of other values than the one that was converted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np

SHAPE = (2, 3, 64, 96)
SECOND = (3, 3, 96, 128)
BOUND = 1e-4
MODELS = {
    "resnet18": ("torch_impl.resnet", "ResNet", {"depth": 18, "num_classes": 10}),
    "unet": ("torch_impl.unet", "UNet", {"in_channels": 3, "padded": True, "width": 16}),
    "vit": ("tests.public.torch_models", "ViT", {}),
}
"""By name: the module, the class and its arguments."""


@dataclass
class Converted:
    """What a peer gave.

    Attributes:
        run: takes images N, C, H, W and gives what the source gives, in torch's order of axes.
        kind: what it is, for the table.
        trainable: parameters that training changes.
        train: makes a training step and says whether the output changed; None where it cannot train.
    """

    run: Callable[[np.ndarray], np.ndarray]
    kind: str
    trainable: int
    train: Callable[[np.ndarray], bool] | None = None
    notes: list[str] = field(default_factory=list)


def source(name: str) -> Any:
    """The torch model, with statistics that are not those of a fresh one."""
    import importlib

    import torch

    module, attribute, arguments = MODELS[name]
    torch.manual_seed(0)
    model = getattr(importlib.import_module(module), attribute)(**arguments)
    for key, value in model.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif key.endswith("running_var"):
            value.uniform_(0.8, 1.2)
        elif value.dtype.is_floating_point and value.ndim == 1:
            value.add_(torch.randn_like(value) * 0.05)
    return model.eval()


def images(shape: Sequence[int], seed: int) -> np.ndarray:
    """Normal values, N, C, H, W."""
    return np.random.default_rng(seed).normal(size=tuple(shape)).astype("float32")


def in_torch_order(result: Any) -> np.ndarray:
    """A result of Keras or TensorFlow, with channels of images behind the batch."""
    value = np.asarray(result[0] if isinstance(result, list | tuple) else result)
    return np.moveaxis(value, -1, 1) if value.ndim == 4 else value


def of_keras(model: Any, *, last: bool, kind: str) -> Converted:
    """A Keras model that takes images channels last, or channels first."""

    def given(x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x

    def run(x: np.ndarray) -> np.ndarray:
        found = model(given(x), training=False)
        found = found[0] if isinstance(found, list | tuple) else found
        value = np.asarray(found.detach() if hasattr(found, "detach") else found)
        return np.moveaxis(value, -1, 1) if last and value.ndim == 4 else value

    def train(x: np.ndarray) -> bool:
        before = run(x)
        model.compile(optimizer="sgd", loss="mse")
        model.train_on_batch(given(x), np.zeros(tuple(model(given(x)).shape), "float32"))
        return not np.array_equal(before, run(x))

    count = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    return Converted(run, kind, count, train)


def of_torch(module: Any, kind: str) -> Converted:
    """A torch module."""
    import torch

    def run(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found = module.eval()(torch.tensor(x))
        return np.asarray(found[0] if isinstance(found, list | tuple) else found)

    def train(x: np.ndarray) -> bool:
        before = run(x)
        optimizer = torch.optim.SGD(module.parameters(), 0.01)
        found = module.train()(torch.tensor(x))
        found.square().mean().backward()
        optimizer.step()
        return not np.array_equal(before, run(x))

    count = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return Converted(run, kind, count, train)


def parity_port(model: Any, name: str, folder: Path) -> Converted:
    """This project: parity port --torch."""
    import parity
    from parity.adapters.spec import load_model

    module, attribute, arguments = MODELS[name]
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    x = np.moveaxis(images(SHAPE, 0), 1, -1)
    made = parity.port(f"{module}:{attribute}({given})", x, output=folder / "port.py", proved=False)
    if made.unwritten:
        raise ValueError(f"not whole: {made.unwritten[0]}")
    port = load_model(f"{folder / 'port.py'}:build")
    parity.transfer(model, port, inputs=x)
    lines = made.text.count("\n")
    return of_keras(port, last=True, kind=f"source, {len(made.written.classes)} classes, {lines} lines")


def nobuco(model: Any, name: str, folder: Path) -> Converted:
    """PyTorch to a Keras graph."""
    import nobuco as tool
    import torch
    from nobuco import ChannelOrder

    keras_model = tool.pytorch_to_keras(
        model, args=[torch.tensor(images(SHAPE, 0))], inputs_channel_order=ChannelOrder.TENSORFLOW
    )
    return of_keras(keras_model, last=True, kind="Keras graph")


def _onnx(model: Any, folder: Path, **more: Any) -> Path:
    import torch

    path = folder / "model.onnx"
    arguments = {"input_names": ["x"], "output_names": ["y"], "dynamo": False, **more}
    torch.onnx.export(model, (torch.tensor(images(SHAPE, 0)),), str(path), **arguments)
    return path


def onnx2keras(model: Any, name: str, folder: Path) -> Converted:
    """PyTorch to ONNX to a Keras graph, channels first or last."""
    import onnx
    from onnx2keras import onnx_to_keras

    keras_model = onnx_to_keras(onnx.load(_onnx(model, folder)), ["x"], change_ordering=True, verbose=False)
    return of_keras(keras_model, last=True, kind="Keras graph")


def onnx2kerastl(model: Any, name: str, folder: Path) -> Converted:
    """A fork of onnx2keras."""
    import onnx
    from onnx2kerastl import onnx_to_keras

    made = onnx_to_keras(onnx.load(_onnx(model, folder)), ["x"], change_ordering=True)
    keras_model = getattr(made, "converted_model", made)
    return of_keras(keras_model, last=True, kind="Keras graph")


def pytorch2keras(model: Any, name: str, folder: Path) -> Converted:
    """The older tool around onnx2keras."""
    import torch
    from pytorch2keras import pytorch_to_keras

    keras_model = pytorch_to_keras(
        model, torch.tensor(images(SHAPE, 0)), [SHAPE[1:]], change_ordering=True, verbose=False
    )
    return of_keras(keras_model, last=True, kind="Keras graph")


def onnx2tf(model: Any, name: str, folder: Path) -> Converted:
    """PyTorch to ONNX to a SavedModel, or a Keras model."""
    import onnx2tf as tool

    # Its own check downloads this file; normal values stand for it where there is no network.
    np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", images((20, 128, 128, 3), 3))
    os.chdir(folder)
    keras_model = tool.convert(
        input_onnx_file_path=str(_onnx(model, folder)),
        output_folder_path=str(folder / "tf"),
        non_verbose=True,
    )
    return of_keras(keras_model, last=True, kind="tf_keras graph, SavedModel, LiteRT")


def onnx_tf(model: Any, name: str, folder: Path) -> Converted:
    """PyTorch to ONNX to a TensorFlow function."""
    import onnx
    from onnx_tf.backend import prepare

    made = prepare(onnx.load(_onnx(model, folder)))
    return Converted(lambda x: np.asarray(made.run(x)[0]), "TensorFlow function", 0)


def ivy(model: Any, name: str, folder: Path) -> Converted:
    """Ivy's transpiler, which writes source."""
    import ivy as tool

    os.chdir(folder)
    sys.path.insert(0, str(folder))  # it imports what it has written there
    made = tool.transpile(type(model), source="torch", target="tensorflow")
    keras_model = made(**MODELS[name][2])
    return of_keras(keras_model, last=False, kind="source")


def litert_torch(model: Any, name: str, folder: Path) -> Converted:
    """PyTorch to LiteRT, for inference on devices."""
    import litert_torch as tool
    import torch

    made = tool.convert(model, (torch.tensor(images(SHAPE, 0)),))
    return Converted(lambda x: np.asarray(made(x)), "LiteRT file", 0)


def torch_module_wrapper(model: Any, name: str, folder: Path) -> Converted:
    """keras.layers.TorchModuleWrapper on Keras' torch backend: the module stays torch's."""
    import keras

    assert keras.backend.backend() == "torch", "set KERAS_BACKEND=torch"
    wrapped = keras.Sequential([keras.layers.TorchModuleWrapper(model)])
    return of_keras(wrapped, last=False, kind="the torch module in a Keras layer")


def onnx2torch(model: Any, name: str, folder: Path) -> Converted:
    """ONNX to a torch graph: the way that a Keras model goes, here with torch's own file."""
    from tests.public.one import stub_torchvision

    if not hasattr(stub_torchvision, "library"):
        stub_torchvision()
    from onnx2torch import convert

    return of_torch(convert(str(_onnx(model, folder, opset_version=17))), "torch.fx graph")


def onnx2pytorch(model: Any, name: str, folder: Path) -> Converted:
    """ONNX to a torch module that interprets the graph."""
    import onnx
    from onnx2pytorch import ConvertModel

    return of_torch(ConvertModel(onnx.load(_onnx(model, folder)), experimental=True), "torch module")


PEERS: dict[str, Callable[[Any, str, Path], Converted]] = {
    "parity": parity_port,
    "nobuco": nobuco,
    "onnx2keras": onnx2keras,
    "onnx2kerastl": onnx2kerastl,
    "pytorch2keras": pytorch2keras,
    "onnx2tf": onnx2tf,
    "onnx-tf": onnx_tf,
    "ivy": ivy,
    "litert-torch": litert_torch,
    "TorchModuleWrapper": torch_module_wrapper,
    "onnx2torch": onnx2torch,
    "onnx2pytorch": onnx2pytorch,
}


def measured(peer: str, name: str) -> dict[str, Any]:
    """One row: what came out, and how it compares."""
    row: dict[str, Any] = {"peer": peer, "model": name}
    try:
        if peer not in ("onnx2torch", "onnx2pytorch", "TorchModuleWrapper"):
            import tensorflow  # noqa: F401  before torch, as their libraries want it
    except ImportError:
        pass
    model = source(name)
    expected = sum(p.numel() for p in model.parameters())
    import torch

    with torch.no_grad():
        first, second = images(SHAPE, 1), images(SECOND, 2)
        wanted = np.asarray(model(torch.tensor(first)))
        wanted_second = np.asarray(model(torch.tensor(second))) if name != "vit" else None
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        try:
            made = PEERS[peer](model, name, Path(folder))
        except BaseException as error:  # what a peer raises, SystemExit too
            said = traceback.format_exception_only(error)[-1].strip()
            return {**row, "failed": said[:300], "seconds": round(time.perf_counter() - started, 1)}
        row |= {"seconds": round(time.perf_counter() - started, 1), "kind": made.kind}
        row["trainable"] = f"{made.trainable} of {expected}"
        row["difference"] = _difference(made.run, first, wanted)
        row["equal"] = isinstance(row["difference"], float) and row["difference"] < BOUND
        if wanted_second is not None:
            found = _difference(made.run, second, wanted_second)
            row["second size"] = found if isinstance(found, str) else bool(found < BOUND)
        try:
            row["trains"] = made.train is not None and made.train(first)
        except BaseException as error:
            row["trains"] = traceback.format_exception_only(error)[-1].strip()[:200]
    return row


def _difference(run: Callable[[np.ndarray], np.ndarray], x: np.ndarray, wanted: np.ndarray) -> float | str:
    """The greatest difference in units of the greatest value; what was raised, where it did not run."""
    try:
        found = run(x)
    except BaseException as error:
        return traceback.format_exception_only(error)[-1].strip()[:200]
    if found.shape != wanted.shape:
        return f"shape {found.shape}, not {wanted.shape}"
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one peer on one model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("models", nargs="*", help=f"all without any: {', '.join(MODELS)}")
    parser.add_argument("--json", type=Path, help="file to which the rows are added")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    for name in asked.models or MODELS:
        row = measured(asked.peer, name)
        print(json.dumps(row), flush=True)
        if asked.json:
            rows = json.loads(asked.json.read_text(encoding="utf-8")) if asked.json.exists() else []
            kept = [one for one in rows if (one["peer"], one["model"]) != (row["peer"], row["model"])]
            asked.json.write_text(json.dumps([*kept, row], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
