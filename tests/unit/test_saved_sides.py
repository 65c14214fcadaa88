"""Sides in files and folders: what is read, what is refused and why, and whose weights are compared."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

from parity.cli import asked, main
from parity.cli.parser import parser
from parity.core.errors import UsageError
from parity.weights.saved.kinds import Saved, saved_kind
from parity.weights.saved.load import load_side
from parity.weights.saved.pickles import foreign_names

MODELS = """
import keras
from torch import nn

def build():
    x = keras.Input((8, 10, 3))
    return keras.Model(x, keras.layers.Conv2D(4, 3, name="conv")(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.conv(x)
"""


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def keras_model() -> Any:
    x = keras.Input((8, 10, 3))
    return keras.Model(x, keras.layers.Conv2D(4, 3, name="conv")(x))


def alike() -> tuple[Any, Whole]:
    """Both sides with the same random weights."""
    model, module = keras_model(), Whole()
    weight, bias = (value.detach().numpy() for value in (module.conv.weight, module.conv.bias))
    model.get_layer("conv").set_weights([weight.transpose(2, 3, 1, 0), bias])
    return model, module


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sides")
    (folder / "of_mine.py").write_text(MODELS)
    model, module = alike()
    model.save(folder / "m.keras")
    model.save_weights(folder / "m.weights.h5")
    with _quiet():
        model.save(folder / "m.h5")
    torch.save(module.state_dict(), folder / "state.pt")
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, folder / "training.pt")
    torch.save(module, folder / "whole.pt")
    torch.save(module, folder / "old.pth", _use_new_zipfile_serialization=False)
    from safetensors.torch import save_file

    save_file(module.state_dict(), str(folder / "state.safetensors"))
    torch.export.save(torch.export.export(module, (torch.zeros(2, 3, 8, 10),)), folder / "m.pt2")
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"\x08")
    (folder / "empty").mkdir()
    (folder / "bin").mkdir()
    (folder / "bin" / "config.json").write_text('{"architectures": ["BertModel"]}')
    (folder / "bin" / "pytorch_model.bin").write_bytes(b"")
    with zipfile.ZipFile(
        folder / "script.pt", "w"
    ) as archive:  # what torch.jit.save writes, which torch deprecates
        archive.writestr("script/constants.pkl", b"\x80\x02).")
        archive.writestr("script/code/__torch__.py", "")
    return folder


class _quiet:
    """Keras warns of HDF5, which is what is tried here."""

    def __enter__(self) -> None:
        import absl.logging

        self.level = absl.logging.get_verbosity()
        absl.logging.set_verbosity(absl.logging.ERROR)

    def __exit__(self, *_: object) -> None:
        import absl.logging

        absl.logging.set_verbosity(self.level)


@pytest.fixture
def folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(files)
    monkeypatch.syspath_prepend(str(files))
    return files


BUILD, NET = "of_mine.py:build", "of_mine.py:Net"
EQUAL: list[list[str]] = [
    ["--keras", "m.keras", "--torch", "m.pt2"],
    ["--keras", "m.h5", "--torch", NET, "--torch-weights", "state.safetensors"],
    ["--keras", BUILD, "--keras-weights", "m.weights.h5", "--torch", NET, "--torch-weights", "state.pt"],
    ["--keras", BUILD, "--keras-weights", "m.keras", "--torch", NET, "--torch-weights", "training.pt"],
    ["--keras", BUILD, "--torch", NET, "--torch-weights", "state.pt"],
    ["--keras", BUILD, "--keras-weights", "m.h5", "--torch", NET],
]


@pytest.mark.parametrize("arguments", EQUAL, ids=" ".join)
def test_saved_sides_are_compared_as_they_are(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = folder / "r.json"
    more = [] if "m.pt2" in arguments else ["--input", "2x8x10x3"]
    assert main(["check", *arguments, *more, "--quick", "--json", str(report)]) == 0, capsys.readouterr()
    (result,) = json.loads(report.read_text())
    saved = [side for side in ("keras", "torch") if f"--{side}-weights" in arguments or (f"--{side}" in arguments
             and not arguments[arguments.index(f"--{side}") + 1].startswith("of_mine"))]  # fmt: skip
    direction = "none" if len(saved) == 2 else f"{saved[0]}-to-{'torch' if saved[0] == 'keras' else 'keras'}"
    assert [name.partition(",")[0] for name in result["comparisons"]] == [direction]


def test_a_weight_of_the_file_that_differs_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither side gets random weights in its place."""
    _, module = alike()
    state = {name: value + 1e-3 for name, value in torch.load(folder / "state.pt", weights_only=True).items()}
    module.load_state_dict(state)
    torch.save(module.state_dict(), folder / "other.pt")
    arguments = ["--keras", "m.keras", "--torch", NET, "--torch-weights", "other.pt", "--quick"]
    assert main(["check", *arguments]) == 1
    assert "conv" in capsys.readouterr().out


def test_the_one_side_with_a_file_keeps_its_values(folder: Path) -> None:
    from parity.check import check_pair

    seen: list[Any] = []
    weights = {"torch": folder / "state.pt"}
    result = check_pair("p", BUILD, NET, {"x": np.ones((1, 8, 10, 3), np.float32)}, directions=("torch-to-keras",),
                        weights=weights, kept=("torch",), quick=True)  # fmt: skip
    assert result.verdict == "EQUAL"
    seen.append(load_side(NET, "torch", folder / "state.pt").conv.weight)
    assert torch.equal(seen[0], torch.load(folder / "state.pt", weights_only=True)["conv.weight"])


REFUSED = [
    (["--keras", BUILD, "--torch", "whole.pt"], "holds a module saved whole"),
    (["--keras", BUILD, "--torch", "old.pth"], "holds a module saved whole"),
    (["--keras", BUILD, "--torch", "whole.pt"], "test_saved_sides.Whole"),
    (["--keras", BUILD, "--torch", NET, "--torch-weights", "whole.pt"], "Save module.state_dict()"),
    (["--keras", BUILD, "--torch", "state.pt"], "--torch module:Class --torch-weights state.pt"),
    (["--keras", BUILD, "--torch", "state.safetensors"], "without the class that computes"),
    (["--keras", BUILD, "--torch", "script.pt"], "TorchScript in script.pt"),
    (["--keras", "m.weights.h5", "--torch", NET], "--keras module:build --keras-weights m.weights.h5"),
    (["--keras", "saved", "--torch", NET], "no layers. Give the .keras file"),
    (["--keras", "empty", "--torch", NET], "which is neither"),
    (["--keras", "bin", "--torch", NET], "got none in bin"),
    (["--keras", "nowhere.keras", "--torch", NET], "must exist; got 'nowhere.keras' for --keras"),
    (["--keras", "m.pt2", "--torch", "m.keras"], "which is one for torch. Swap them"),
    (["--keras", "m.keras", "--keras-weights", "m.weights.h5", "--torch", NET], "which has its weights"),
    (
        ["--keras", BUILD, "--keras-weights", "none.weights.h5", "--torch", NET],
        "--keras-weights must name a file",
    ),
    (["--keras", BUILD, "--keras-weights", "state.pt", "--torch", NET], "parity convert"),
]


@pytest.mark.parametrize(("arguments", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_is_no_side_is_refused_with_the_reason(
    arguments: list[str], text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments, "--input", "2x8x10x3"]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.pt2", "state.pt"])
def test_a_cut_file_is_one_line(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (folder / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: len(content) // 2])
    side = ["--keras", str(cut), "--torch", NET] if name.startswith("m.") and name != "m.pt2" else (
        ["--keras", BUILD, "--torch", str(cut)] if name == "m.pt2" else
        ["--keras", BUILD, "--torch", NET, "--torch-weights", str(cut)])  # fmt: skip
    assert main(["check", *side, "--input", "2x8x10x3"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_layer_of_ones_own_in_a_keras_file_says_what_to_do(tmp_path: Path) -> None:
    class Mine(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    x = keras.Input((3,))
    keras.Model(x, Mine()(x)).save(tmp_path / "m.keras")
    with pytest.raises(UsageError, match="--keras module:build --keras-weights"):
        load_side(str(tmp_path / "m.keras"), "keras")


def test_a_lambda_in_a_keras_file_is_not_run(tmp_path: Path) -> None:
    x = keras.Input((3,))
    keras.Model(x, keras.layers.Lambda(lambda v: v * 2)(x)).save(tmp_path / "m.keras")
    with pytest.raises(UsageError, match="lambdas, are in no file"):
        load_side(str(tmp_path / "m.keras"), "keras")


def test_pickled_objects_in_a_program_are_refused(tmp_path: Path, files: Path) -> None:
    """torch.export.load unpickles constants and inputs."""
    import pickle

    class Bad:
        def __reduce__(self) -> Any:
            return print, ("run",)

    assert foreign_names(files / "m.pt2") == []
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(files / "m.pt2") as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
        target.writestr("m/data/constants/custom_obj_0", pickle.dumps(Bad()))
    assert foreign_names(path) == ["builtins.print"]
    with pytest.raises(UsageError, match=r"calls builtins\.print"):
        saved_kind(str(path), "torch")


def test_what_a_path_is(folder: Path) -> None:
    assert saved_kind(BUILD, "keras") is None
    assert saved_kind("package.module:Name", "torch") is None
    assert saved_kind("m.keras", "keras") is Saved.KERAS
    assert saved_kind("m.pt2", "torch") is Saved.PROGRAM
    preset = folder / "preset"
    preset.mkdir(exist_ok=True)
    (preset / "config.json").write_text('{"registered_name": "keras_hub>BertBackbone"}')
    assert saved_kind("preset", "keras") is Saved.PRESET
    with pytest.raises(UsageError, match="Swap them"):
        saved_kind("preset", "torch")


def test_directions_follow_the_files(folder: Path) -> None:
    def directions(*arguments: str) -> Any:
        return asked.settings(parser().parse_args(["check", *arguments]))["directions"]

    assert directions("Conv2d") == asked.DIRECTIONS
    both = ["--keras", "m.keras", "--torch", "m.pt2"]
    assert directions(*both) == ("none",)
    assert directions(*both, "--transfer", "both") == asked.DIRECTIONS
    assert directions("--keras", "m.keras", "--torch", NET) == ("keras-to-torch",)
    assert directions("--keras", BUILD, "--torch", "m.pt2") == ("torch-to-keras",)


def test_a_hugging_face_folder_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    found = importlib.util.find_spec
    absent = ("transformers", "keras_hub")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else found(name))
    with pytest.raises(UsageError, match="pip install transformers"):
        load_side(str(tmp_path), "torch")
    with pytest.raises(UsageError, match="pip install keras-hub"):
        load_side(str(tmp_path), "keras")


@pytest.mark.parametrize("name", ["BertModel", "OfTheirOwn"])
def test_no_code_of_a_hugging_face_folder_is_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a package in the place of transformers: it sees what it is asked for."""
    import importlib.machinery
    import sys
    import types

    (tmp_path / "config.json").write_text(
        json.dumps({"architectures": [name], "auto_map": {"AutoModel": "mine.Net"}})
    )
    (tmp_path / "model.safetensors").write_bytes(b"")
    asked_for: dict[str, Any] = {}

    class BertModel:
        @staticmethod
        def from_pretrained(path: str, **more: Any) -> nn.Module:
            asked_for.update(more, path=path)
            return nn.Linear(2, 2)

    stub = types.ModuleType("transformers")
    stub.__spec__ = importlib.machinery.ModuleSpec("transformers", None)
    stub.__dict__.update(BertModel=BertModel, __version__="0")
    monkeypatch.setitem(sys.modules, "transformers", stub)
    if name != "BertModel":
        with pytest.raises(UsageError, match="Code that comes with a folder is not run"):
            load_side(str(tmp_path), "torch")
        return
    assert not load_side(str(tmp_path), "torch").training
    assert asked_for == {
        "path": str(tmp_path), "local_files_only": True, "trust_remote_code": False, "use_safetensors": True,
    }  # fmt: skip
