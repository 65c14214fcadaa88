"""Weight files: every format into every other, nothing executed, nothing skipped, nothing half written."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.cli import main
from parity.core.errors import CheckpointError, PairingError
from parity.weights.checkpoint import Twin, convert, load_weights, read_through, save_weights, side_of_file

SUFFIXES = (".pt", ".pth", ".safetensors", ".weights.h5", ".keras")
KERAS, TORCH = f"{__file__}:keras_model", f"{__file__}:Net"


def keras_model() -> Any:
    image = keras.Input((None, None, 3))
    x = L.Conv2D(4, (3, 2), name="conv")(image)
    return keras.Model(image, L.BatchNormalization(epsilon=1e-5, name="norm")(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, (3, 2)), nn.BatchNorm2d(4)

    def forward(self, x: Any) -> Any:
        return self.norm(self.conv(x))


def state(model: Any) -> dict[str, bytes]:
    adapter = adapt(model)
    return {
        tensor.path: adapter.read(tensor.path).tobytes()
        for layer in adapter.layers().values()
        for tensor in layer.tensors
    }


def saved(path: Path, seed: int = 4) -> dict[str, bytes]:
    """Write random weights to the file; returns them."""
    model = keras_model() if side_of_file(path) == "keras" else Net()
    randomise(adapt(model), seed)
    save_weights(model, path)
    return state(model)


def loaded(path: Path) -> dict[str, bytes]:
    model = keras_model() if side_of_file(path) == "keras" else Net()
    load_weights(model, path)
    return state(model)


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_every_format_into_every_other_and_back(source: str, target: str, tmp_path: Path) -> None:
    first, second, third = tmp_path / f"a{source}", tmp_path / "new" / f"b{target}", tmp_path / f"c{source}"
    before = saved(first)
    assert convert(first, second, KERAS, TORCH) == 6
    assert convert(second, third, KERAS, TORCH) == 6
    assert loaded(third) == before
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


# --- files that must be refused --------------------------------------------------------------------


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (open, (str(self.victim), "w"))


def hostile(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"conv.weight": Hostile(path.parent / "victim")}))
        archive.writestr("archive/version", "3\n")


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Hostile(path.parent / "victim")))


def cut(path: Path) -> None:
    saved(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_model(path: Path) -> None:
    if side_of_file(path) == "torch":
        save_weights(nn.Conv2d(3, 4, 3), path)
    else:
        image = keras.Input((None, None, 3))
        save_weights(keras.Model(image, L.Conv2D(9, 3, name="conv")(image)), path)


def whole_module(path: Path) -> None:
    torch.save(Net(), path)


def missing_tensor(path: Path) -> None:
    state_dict = dict(Net().state_dict())
    del state_dict["norm.running_mean"]
    torch.save(state_dict, path)


def extra_tensor(path: Path) -> None:
    torch.save({**Net().state_dict(), "head.weight": torch.zeros(3)}, path)


def _edited(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        saved(path)
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                parts = {name: archive.read(name) for name in archive.namelist()}
            buffer = io.BytesIO(parts["model.weights.h5"])
            with h5py.File(buffer, "r+") as file:
                change(file)
            parts["model.weights.h5"] = buffer.getvalue()
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in parts.items():
                    archive.writestr(name, content)
        else:
            with h5py.File(path, "r+") as file:
                change(file)

    return write


def _group(file: h5py.File, name: str) -> Any:
    return file["layers"][next(key for key in file["layers"] if key.startswith(name))]


def _drop_layer(file: h5py.File) -> None:
    del file["layers"][next(key for key in file["layers"] if key.startswith("batch"))]


def _drop_tensor(file: h5py.File) -> None:
    del _group(file, "batch")["vars"]["2"]


def _empty_layer(file: h5py.File) -> None:
    variables = _group(file, "batch")["vars"]
    for name in list(variables):
        del variables[name]


def _extra_layer(file: h5py.File) -> None:
    file["layers"].create_group("conv2d_7/vars").create_dataset("0", data=np.zeros(3))


def _extra_tensor(file: h5py.File) -> None:
    _group(file, "conv")["vars"].create_dataset("2", data=np.zeros(3))


def _misshapen(file: h5py.File) -> None:
    variables = _group(file, "conv")["vars"]
    del variables["1"]
    variables.create_dataset("1", data=np.zeros(5))


REFUSED: list[tuple[str, Callable[[Path], None]]] = [
    *[(".pt", make) for make in (hostile, plain_pickle, cut, empty, other_model)],
    *[(".pt", make) for make in (whole_module, missing_tensor, extra_tensor)],
    *[(".safetensors", make) for make in (cut, empty, other_model)],
    *[(suffix, make) for suffix in (".weights.h5", ".keras") for make in (cut, empty, other_model)],
    *[
        (suffix, _edited(change))
        for suffix in (".weights.h5", ".keras")
        for change in (_drop_layer, _drop_tensor, _empty_layer, _extra_layer, _extra_tensor, _misshapen)
    ],
]  # fmt: skip
IDS = [f"{suffix}-{getattr(make, '__name__', '')}-{i}" for i, (suffix, make) in enumerate(REFUSED)]


@pytest.mark.parametrize(("suffix", "make"), REFUSED, ids=IDS)
def test_refused_and_the_destination_is_kept(
    suffix: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    source, destination = tmp_path / f"source{suffix}", tmp_path / "out.safetensors"
    make(source)
    destination.write_bytes(b"precious")
    with pytest.raises((CheckpointError, PairingError)) as error:
        convert(source, destination, KERAS, TORCH)
    assert source.name in str(error.value)
    assert destination.read_bytes() == b"precious"
    assert not (tmp_path / "victim").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.safetensors", source.name]


def test_the_configuration_in_a_keras_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    before = saved(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config.update({"module": "os", "class_name": "system", "config": f"touch {tmp_path / 'victim'}"})
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert loaded(path) == before
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("wrap", ["state_dict", "model_state_dict", "model", "module."])
def test_usual_wrappings_of_a_state_dict(wrap: str, tmp_path: Path) -> None:
    net = Net()
    randomise(adapt(net), 1)
    states = net.state_dict()
    whole = {f"module.{k}": v for k, v in states.items()} if wrap == "module." else {wrap: states, "epoch": 3}
    torch.save(whole, tmp_path / "a.pt")
    assert loaded(tmp_path / "a.pt") == state(net)


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        ("nowhere.pt", "b.keras", "must exist"),
        ("a.pt", "b.h5", "must end in"),
        ("a.bin", "b.pt", "must end in"),
        ("a.pt", "a.pt/b.keras", "a.pt"),
    ],
)
def test_paths_that_cannot_be(source: str, destination: str, message: str, tmp_path: Path,
                              capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    saved(tmp_path / "a.pt")
    arguments = [
        "convert",
        str(tmp_path / source),
        str(tmp_path / destination),
        "--keras",
        KERAS,
        "--torch",
        TORCH,
    ]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_command_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = saved(tmp_path / "a.pt")
    for a, b in (("a.pt", "b.keras"), ("b.keras", "c.pt")):
        assert (
            main(["convert", str(tmp_path / a), str(tmp_path / b), "--keras", KERAS, "--torch", TORCH]) == 0
        )
    assert loaded(tmp_path / "c.pt") == before
    assert "bit for bit" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "a.pt"), str(tmp_path / "b.keras")]) == 2
    assert main(["convert", str(tmp_path / "a.pt"), str(tmp_path / "b.keras"), "--model", "no such"]) == 2


@pytest.mark.slow
@pytest.mark.reference
def test_a_state_dict_of_dlstudio(tmp_path: Path) -> None:
    from tests.dlstudio import import_dlstudio

    theirs = import_dlstudio().SemanticSegmentation.mUNet(skip_connections=True, depth=8)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    assert (
        main(
            [
                "convert",
                str(tmp_path / "theirs.pt"),
                str(tmp_path / "ours.weights.h5"),
                "--model",
                "mUnet(depth=8)",
            ]
        )
        == 0
    )
    from tf_impl.munet import mUnet

    model = mUnet(depth=8)
    load_weights(model, tmp_path / "ours.weights.h5")
    kernel = model.skip64DN_arr[1].conv1.kernel.value.numpy()
    assert np.array_equal(kernel, theirs.skip64DN_arr[1].convo1.weight.detach().numpy().transpose(2, 3, 1, 0))


# ---- through a twin that a string names ----------------------------------------------------------------------


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A module that nobody imports: it makes a Keras model and reads a file into it."""
    module = SimpleNamespace(make=keras_model, read=load_weights)
    monkeypatch.setitem(sys.modules, "a_twin", module)  # type: ignore[arg-type]
    return module


NAMED = Twin("a_twin:make", "a_twin:read", {})


def test_a_file_is_read_through_a_twin(tmp_path: Path, twin: SimpleNamespace) -> None:
    path, direct = tmp_path / "a.weights.h5", tmp_path / "a.pt"
    saved(path)
    model = Net()
    assert read_through(model, path, NAMED) == ()
    convert(path, direct, KERAS, TORCH)
    assert state(model) == loaded(direct)


def test_parts_alone_are_carried_over(tmp_path: Path, twin: SimpleNamespace) -> None:
    path = tmp_path / "a.weights.h5"
    saved(path)
    twin.read = lambda model, file: load_weights(model, file) or ["conv"]

    def make() -> Any:
        model = keras_model()
        model.conv = model.get_layer("conv")  # parts are attributes, as in a model that is a class
        return model

    twin.make = make
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert read_through(model, path, NAMED) == ("conv",)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"conv.weight", "conv.bias"}


def test_a_twin_that_does_not_fit_or_is_not_there(tmp_path: Path, twin: SimpleNamespace) -> None:
    path = tmp_path / "a.weights.h5"
    twin.make, twin.read = lambda: keras.Sequential([keras.Input((4,)), L.Dense(2)]), lambda model, file: None
    with pytest.raises(CheckpointError, match=r"a\.weights\.h5 must fit the network; got: every layer"):
        read_through(Net(), path, NAMED)
    with pytest.raises(ModuleNotFoundError, match="no_such_twin"):
        read_through(Net(), path, Twin("no_such_twin:make", "no_such_twin:read", {}))
