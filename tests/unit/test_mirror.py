"""tf_impl and torch_impl are mirror images: same files, classes, functions, arguments, attributes."""

from __future__ import annotations

import ast
import importlib
import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs

ROOT = Path(__file__).resolve().parents[2]
HALVES = ("tf_impl", "torch_impl")
# What a framework asks of its own classes has no twin: Keras' protocol on one side, torch's on the other.
PROTOCOL = {
    "tf_impl": {
        "build",
        "call",
        "compute_output_shape",
        "get_config",
        "convolution_op",
        "update_step",
        "from_config",
        "update_state",
        "result",
    },
    "torch_impl": {"forward", "extra_repr", "update", "compute"},
}
# Classes that the other framework has ready: Keras has no sparse tensor that every backend knows.
READY_MADE = {"SparseMatrix"}


def public_files(half: str) -> set[str]:
    return {path.name for path in (ROOT / half).glob("*.py") if not path.name.startswith("_")}


FILES = sorted(public_files("tf_impl") & public_files("torch_impl"))


def arguments(node: ast.FunctionDef) -> list[tuple[str, str | None]]:
    """(name, default as written) of every argument but self and **kwargs."""
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults)) + list(
        node.args.defaults
    )
    pairs = list(zip(positional, defaults, strict=True))
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    return [
        (argument.arg, ast.unparse(default) if default is not None else None)
        for argument, default in pairs
        if argument.arg
        not in {"self", "cls", "params"}  # an optimizer gets the variables from the model in Keras
    ]


def is_public(method: str, half: str) -> bool:
    return method == "__init__" or not (method.startswith("_") or method in PROTOCOL[half])


def surface(source: str, half: str) -> dict[str, list[tuple[str, str | None]]]:
    """Arguments of every public function and method of a file, by name, and the names that it passes on."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found |= {f"__all__: {name}": [] for name in ast.literal_eval(node.value)}
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = arguments(node)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name not in READY_MADE:
            found[node.name] = []
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and is_public(method.name, half):
                    found[f"{node.name}.{method.name}"] = arguments(method)
    return found


def test_the_halves_have_the_same_files() -> None:
    assert public_files("tf_impl") == public_files("torch_impl")
    assert {
        "ops.py",
        "layers.py",
        "initializers.py",
        "blocks.py",
        "munet.py",
        "train.py",
        "predict.py",
    } <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_the_halves_have_the_same_names_and_arguments(file: str) -> None:
    keras, torch = (surface((ROOT / half / file).read_text(), half) for half in HALVES)
    assert keras == torch
    assert keras, f"{file} has nothing public to compare"


def test_a_changed_argument_is_noticed() -> None:
    before = "def f(x, stride=1): ..."
    assert surface(before, "tf_impl") != surface("def f(x, stride=2): ...", "tf_impl")
    assert surface(before, "tf_impl") != surface("def f(x, strides=1): ...", "tf_impl")
    assert surface("__all__ = ['f']", "tf_impl") != surface("__all__ = ['g']", "tf_impl")


def test_the_halves_export_the_same_names() -> None:
    needs("keras")
    needs("torch")
    keras, torch = (importlib.import_module(half) for half in HALVES)
    assert keras.__all__ == torch.__all__
    assert all(hasattr(half, name) for half in (keras, torch) for name in keras.__all__)


INSTANCES: dict[str, dict[str, Any]] = {
    "Conv2d": {
        "in_channels": 4,
        "out_channels": 6,
        "kernel_size": (3, 5),
        "stride": 2,
        "padding": 1,
        "dilation": 3,
    },
    "BatchNorm2d": {"num_features": 4},
    "MaxPool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "ConvTranspose2d": {
        "in_channels": 4,
        "out_channels": 6,
        "kernel_size": 3,
        "stride": 2,
        "output_padding": 1,
    },
    "Conv2DTranspose": {
        "in_channels": 4,
        "out_channels": 6,
        "kernel_size": 3,
        "stride": 2,
        "padding": "same",
    },
    "UpSampling2d": {"scale": (2, 3), "mode": "bilinear"},
    "SkipBlockDN": {"in_ch": 4, "out_ch": 4, "downsample": True},
    "SkipBlockUP": {"in_ch": 8, "out_ch": 8, "upsample": True},
    "mUnet": {
        "depth": 4,
        "num_classes": 3,
        "head": "dense",
        "schedule": "intended",
        "skip_connections": False,
    },
    "ResNet": {"depth": 50, "num_classes": 3, "output_stride": 16, "multi_grid": (1, 2, 4), "width": 4},
    "ResNetV2": {"depth": 18, "num_classes": 3, "output_stride": 8, "width": 4},
    "VGG16": {"output_stride": 16, "padding": 3, "ceil_mode": False, "width": 2},
    "FCN": {"num_classes": 3, "width": 4},
    "BuildingNet": {"num_classes": 2, "width": 4, "rates": (1, 2), "deep_supervision": False},
    "UncertaintyAttention": {"channels": 4},
    "ASPP": {
        "in_channels": 4,
        "rates": (2, 3),
        "out_channels": 5,
        "separable": True,
        "fuse": 3,
        "dropout": 0.1,
    },
    "AtrousBranches": {"in_channels": 4, "num_classes": 3, "rates": (2, 3), "pooling": "concat", "hidden": 5},
    "DepthwiseConv2d": {"channels": 4, "kernel_size": 3, "padding": 2, "dilation": 2},
    "DeepLabV2": {
        "num_classes": 3,
        "backbone": "resnet18",
        "output_stride": 16,
        "rates": (2, 3),
        "pooling": "concat",
        "width": 2,
    },
    "DeepLabV3": {
        "num_classes": 3,
        "backbone": "resnet18",
        "rates": (2, 3),
        "multi_grid": (1, 2),
        "auxiliary": True,
        "channels": 4,
        "width": 2,
    },
    "DeepLabV3Plus": {
        "num_classes": 3,
        "backbone": "resnet18",
        "separable": True,
        "low_channels": 5,
        "channels": 4,
        "width": 2,
    },
    "DilatedFCN": {
        "num_classes": 3,
        "backbone": "resnet18",
        "output_stride": 16,
        "auxiliary": True,
        "width": 2,
    },
    "UNet": {"num_classes": 3, "padded": True, "batch_norm": True, "dropout": 0.25, "width": 2},
    "VGGFCN": {"num_classes": 3, "stride": 8, "hidden": 5, "width": 2},
}
COMPOSITE = ["SkipBlockDN", "SkipBlockUP", "mUnet", "ResNet", "ResNetV2", "FCN", "UNet", "ASPP"]


def test_every_public_class_has_its_instance_here() -> None:
    needs("torch")
    half = importlib.import_module("torch_impl")
    classes = {name for name in half.__all__ if inspect.isclass(getattr(half, name))}
    modules = {name for name in classes if hasattr(getattr(half, name), "forward")}
    assert modules == set(INSTANCES)


@pytest.mark.parametrize("name", INSTANCES)
def test_instances_have_the_same_attributes(name: str) -> None:
    """Every constructor argument is an attribute on both sides, with the same value where it was given."""
    needs("keras")
    needs("torch")
    keras, torch = (getattr(importlib.import_module(half), name)(**INSTANCES[name]) for half in HALVES)
    compared = 0
    for argument, given in INSTANCES[name].items():
        attribute = (
            "backbone_name" if argument == "backbone" else argument
        )  # `backbone` is the network itself
        values = [pair(getattr(side, attribute)) for side in (keras, torch)]
        assert values == [pair(given)] * 2, argument
        compared += 1
    assert compared == len(INSTANCES[name])


def pair(value: object) -> object:
    """2 and (2, 2) are the same setting."""
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.parametrize("name", COMPOSITE)
def test_composite_classes_have_the_same_sublayers(name: str) -> None:
    needs("keras")
    needs("torch")
    from parity.adapters import adapt

    keras, torch = (
        adapt(getattr(importlib.import_module(half), name)(**INSTANCES[name])).layers() for half in HALVES
    )
    weighted = [{path for path, layer in side.items() if layer.tensors} for side in (keras, torch)]
    assert weighted[0] == weighted[1]
    assert weighted[0]


def shared_files(root: Path) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Content of each file of the two `_shared` folders, by its path within them: (tf_impl's, torch_impl's)."""
    folders = [root / half / "_shared" for half in ("tf_impl", "torch_impl")]
    names = {
        path.relative_to(folder).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {
        name: tuple((folder / name).read_bytes() if (folder / name).exists() else None for folder in folders)  # type: ignore[misc]
        for name in sorted(names)
    }


def test_the_shared_folders_are_the_same_byte_for_byte() -> None:
    files = shared_files(ROOT)
    assert len(files) >= 10
    assert [name for name, (keras, torch) in files.items() if keras != torch] == []


@pytest.mark.parametrize("fault", ["an edit", "a file more", "a file less"])
def test_a_shared_folder_that_drifts_is_noticed(tmp_path: Path, fault: str) -> None:
    for half in ("tf_impl", "torch_impl"):
        shutil.copytree(ROOT / half / "_shared", tmp_path / half / "_shared")
    victim = tmp_path / "torch_impl" / "_shared" / "unet.py"
    if fault == "an edit":
        victim.write_bytes(victim.read_bytes() + b"\n")
    elif fault == "a file less":
        victim.unlink()
    else:
        victim = victim.with_name("more.py")
        victim.write_text("")
    differing = [name for name, (keras, torch) in shared_files(tmp_path).items() if keras != torch]
    assert differing == [victim.name]
