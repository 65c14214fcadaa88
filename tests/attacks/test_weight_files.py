"""Weight files that are damaged or made to harm: refused by name, or converted exactly with a note; nothing runs."""

from __future__ import annotations

import importlib
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from torch import nn

from datasets.errors import DataError
from parity.cli import main
from parity.core.errors import CheckpointError
from parity.weights.checkpoint import load_weights, save_weights

RAN = Path("PWNED")


class Runs:
    """A pickle of it runs code where it is read without care."""

    def __reduce__(self) -> Any:
        return Path.touch, (RAN,)


def keras_model() -> Any:
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="dense")])
    model.set_weights([np.arange(6, dtype="float32").reshape(3, 2), np.ones(2, "float32")])
    return model


def torch_module() -> nn.Module:
    module = nn.Sequential()
    module.add_module("dense", nn.Linear(3, 2))
    with torch.no_grad():
        module.get_submodule("dense").weight.copy_(torch.arange(6.0).reshape(2, 3))  # type: ignore[operator]
    return module


def torch_file(path: Path, **changed: torch.Tensor) -> Path:
    torch.save(
        {**torch_module().state_dict(), **{f"dense.{name}": value for name, value in changed.items()}}, path
    )
    return path


def keras_file(path: Path, value: Any, name: str = "bias") -> Path:
    """A Keras file whose bias, or kernel, has other values."""
    save_weights(keras_model(), path)
    place = {"bias": "layers/dense/vars/1", "kernel": "layers/dense/vars/0"}[name]
    with h5py.File(path, "a") as file:
        del file[place]
        file[place] = value
    return path


WIDE = torch.tensor([1e300, 0.5], dtype=torch.float64)
FINE = torch.tensor([0.1, 0.5], dtype=torch.float64)
TORCH_TYPES = {
    "complex64": torch.ones(2, dtype=torch.complex64),
    "int8": torch.ones(2, dtype=torch.int8),
    "int64": torch.ones(2, dtype=torch.int64),
    "bool": torch.ones(2, dtype=torch.bool),
    "float64 beyond float32": WIDE,
    "float64 between two of float32": FINE,
}
KERAS_TYPES = {
    "complex64": np.ones(2, "complex64"), "int8": np.ones(2, "int8"), "bool": np.ones(2, bool),
    "float64 beyond float32": WIDE.numpy(), "float64 between two of float32": FINE.numpy(),
    "text": np.array([b"1", b"2"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH_TYPES)
def test_torch_types_that_do_not_fit_are_refused_by_name(name: str, tmp_path: Path) -> None:
    module = torch_module()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"dense\.bias of \w+ for float32"):
        load_weights(module, torch_file(tmp_path / "x.pt", bias=TORCH_TYPES[name]))
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", KERAS_TYPES)
def test_keras_types_that_do_not_fit_are_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vars/1 of \S+ for float32"):
        load_weights(keras_model(), keras_file(tmp_path / "x.weights.h5", KERAS_TYPES[name]))


def test_types_that_hold_each_value_are_converted_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = [0.5, -3.0]
    for value in (torch.tensor(exact, dtype=torch.float64), torch.tensor(exact, dtype=torch.bfloat16)):
        module, notes = torch_module(), list[str]()
        load_weights(module, torch_file(tmp_path / "x.pt", bias=value), notes.append)
        assert module.state_dict()["dense.bias"].tolist() == exact
        assert notes == [f"dense.bias: {str(value.dtype)[6:]} became float32, exactly"]
    for name in ("float64", "float16"):
        model, notes = keras_model(), list[str]()
        load_weights(model, keras_file(tmp_path / "x.weights.h5", np.array(exact, name)), notes.append)
        assert model.get_weights()[1].tolist() == exact
        assert notes == [f"layers/dense/vars/1: {name} became float32, exactly"]
    nan = torch.tensor([float("nan"), float("inf")], dtype=torch.float64)
    load_weights(torch_module(), torch_file(tmp_path / "x.pt", bias=nan))
    pair = ["--keras", f"{__file__}:keras_model", "--torch", f"{__file__}:torch_module"]
    torch_file(tmp_path / "x.pt", bias=torch.tensor(exact, dtype=torch.float64))
    assert main(["convert", str(tmp_path / "x.pt"), str(tmp_path / "y.weights.h5"), *pair]) == 0
    assert "note: dense.bias: float64 became float32, exactly" in capsys.readouterr().out
    for value, name in ((WIDE, "float64"), (torch.ones(2, dtype=torch.complex64), "complex64")):
        assert (
            main(
                [
                    "convert",
                    str(torch_file(tmp_path / "x.pt", bias=value)),
                    str(tmp_path / "z.weights.h5"),
                    *pair,
                ]
            )
            == 2
        )
        assert f"dense.bias of {name} for float32" in capsys.readouterr().err
        assert not (tmp_path / "z.weights.h5").exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """One bit of a weight is turned."""
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<6f", *range(6))) + 9] ^= 1
    path.write_bytes(data)


def packed(path: Path) -> None:
    """The same archive, compressed: two megabytes could be two gigabytes."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def runs(path: Path) -> None:
    path.write_bytes(pickle.dumps({"dense.weight": Runs()}))


def runs_in_an_archive(path: Path) -> None:
    torch.save({"dense.weight": Runs()}, path)


def huge(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["layers/dense/vars/0"]
        file.create_dataset(
            "layers/dense/vars/0", (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip"
        )


def linked(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.SoftLink("/layers/dense/vars/1")


def elsewhere(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", (3, 2), "f4", external=[("/etc/passwd", 0, 24)])


def renamed(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.move("layers/dense", "layers/other")
        file.attrs.pop("segparity_sha256", None)  # as another program writes it


def declared(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")


def text(path: Path) -> None:
    path.write_text("<html>no such page</html>")


Change = Callable[[Path], None]
FILES: list[tuple[str, Change]] = [
    *((suffix, change) for suffix in (".pt", ".safetensors", ".weights.h5", ".keras") for change in (cut, text)),
    (".pt", flipped), (".pt", packed), (".pt", runs), (".pt", runs_in_an_archive), (".keras", packed), (".keras", flipped),
    (".weights.h5", huge), (".weights.h5", linked), (".weights.h5", soft), (".weights.h5", elsewhere),
    (".weights.h5", renamed), (".safetensors", declared), (".safetensors", runs),
]  # fmt: skip


def by_name(cases: list[tuple[str, Change]]) -> list[Any]:
    return [pytest.param(of, change, id=f"{change.__name__} {of}") for of, change in cases]


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to be in; at the end nothing in a file has run there."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not RAN.exists()


@pytest.mark.parametrize(("suffix", "change"), by_name(FILES))
def test_a_file_that_is_not_whole_or_made_to_harm_is_one_error(
    suffix: str, change: Change, nothing_runs: Path
) -> None:
    path = nothing_runs / f"x{suffix}"
    model = torch_module() if suffix in (".pt", ".safetensors") else keras_model()
    save_weights(model, path)
    change(path)
    with pytest.raises(CheckpointError):
        load_weights(model, path)


HALVES = {"torch_impl": ".pt", "tf_impl": ".weights.h5"}
OF_KERAS = (huge, linked, soft, elsewhere, renamed)
OF_A_HALF = [(half, change) for half in HALVES for change in (cut, text, runs)]
OF_A_HALF += [("tf_impl", change) for change in OF_KERAS]
OF_A_HALF += [("torch_impl", packed), ("torch_impl", runs_in_an_archive)]


@pytest.mark.parametrize(("half", "change"), by_name(OF_A_HALF))
def test_so_it_is_in_both_halves(half: str, change: Change, nothing_runs: Path) -> None:
    checkpoints = importlib.import_module(f"{half}.checkpoints")
    model = torch_module() if half == "torch_impl" else keras_model()
    path, state = nothing_runs / f"x{HALVES[half]}", nothing_runs / checkpoints.STATE
    checkpoints.save_weights(model, path)
    checkpoints.load_weights(model, path)
    checkpoints.save_weights(model, state)
    for file, read in (
        (path, lambda: checkpoints.load_weights(model, path)),
        (state, lambda: checkpoints.read_progress(nothing_runs)),
    ):
        change(file)
        with pytest.raises(DataError):
            read()


def test_an_altered_tensor_is_noticed_in_both_halves(tmp_path: Path) -> None:
    from tf_impl import checkpoints as keras_side
    from torch_impl import checkpoints as torch_side

    for side, model, suffix in (
        (keras_side, keras_model(), ".weights.h5"),
        (torch_side, torch_module(), ".pt"),
    ):
        path = tmp_path / f"x{suffix}"
        side.save_weights(model, path)
        side.load_weights(model, path)
        flipped(path)
        with pytest.raises(DataError, match="altered"):
            side.load_weights(model, path)


def test_whole_numbers_are_no_weights_in_both_halves(tmp_path: Path) -> None:
    from tf_impl import checkpoints as keras_side
    from torch_impl import checkpoints as torch_side

    for values in (np.ones(2, "int8"), np.ones(2, "complex64"), np.ones(2, "float64")):
        with pytest.raises(DataError):
            keras_side.load_weights(keras_model(), keras_file(tmp_path / "x.weights.h5", values))
        with pytest.raises(DataError):
            torch_side.load_weights(
                torch_module(), torch_file(tmp_path / "x.pt", bias=torch.from_numpy(values))
            )
