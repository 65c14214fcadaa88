"""What --input and --layout say, and the files that hold inputs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from parity.cli import main
from parity.cli.inputs import inputs_of, layout_of, sizes_of
from parity.core.errors import UsageError

PAIR = """
import keras
import torch
from keras import layers as L, ops
from torch import nn

def tokens():
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = keras.Input((None,), dtype="bool", name="mask")
    h = L.Embedding(1000, 8, name="emb")(ids)
    h = h * ops.expand_dims(ops.cast(mask, h.dtype), -1)
    return keras.Model([ids, mask], L.Dense(3, name="fc")(h))

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.fc = nn.Embedding(1000, 8), nn.Linear(8, 3)
    def forward(self, mask, ids):
        assert mask.dtype is torch.bool
        return {"logits": self.fc(self.emb(ids) * mask[..., None])}

def image():
    x = keras.Input((None, None, 3))
    return keras.Model(x, L.Conv2D(4, 3, name="c")(x))

class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.c(x)

def signal():
    x = keras.Input((6, 6))
    return keras.Model(x, L.Conv1D(4, 3, name="c")(x))

class Signal(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv1d(6, 4, 3)
    def forward(self, x):
        return self.c(x)
"""
IDS, MASK = "ids=2x16:int32:0..1000", "mask=2x16:bool"
CASES: list[tuple[str, str, list[str], int, str]] = [
    ("tokens", "Tokens", ["--input", IDS, "--input", MASK], 0, "1 of 1 EQUAL"),
    ("tokens", "Tokens", ["--input", "mask=2x16", "--input", "ids=2x16"], 0, "1 of 1 EQUAL"),
    ("tokens", "Tokens", ["--input", "tokens.npz"], 0, "1 of 1 EQUAL"),
    ("tokens", "Tokens", ["--input", "ids=tokens.npz", "--input", "mask,mask=2x16"], 0, "1 of 1 EQUAL"),
    ("tokens", "Tokens", ["--input", IDS, "--input", "2x16:bool"], 2, "names or none"),
    ("tokens", "Tokens", ["--input", IDS, "--input", "foo=2x16:bool", "--input", MASK], 2, "foo"),
    ("image", "Image", ["--input", "image.npy"], 0, "1 of 1 EQUAL"),
    ("image", "Image", ["--input", "image.png"], 0, "1 of 1 EQUAL"),
    ("image", "Image", ["--input", "2x3x20x24"], 2, "np.moveaxis"),
    ("signal", "Signal", ["--layout", "channels-first"], 0, "1 of 1 EQUAL"),
    ("signal", "Signal", ["--layout", "same"], 1, "0 of 1 EQUAL"),
    ("signal", "Signal", ["--layout", "0=021"], 0, "1 of 1 EQUAL"),
    ("signal", "Signal", ["--layout", "nchw"], 2, "layout must be"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    (tmp_path / "calls.py").write_text(PAIR)
    np.savez(
        tmp_path / "tokens.npz", ids=rng.integers(0, 1000, (2, 16)), mask=np.arange(32).reshape(2, 16) % 3 < 2
    )
    np.save(tmp_path / "image.npy", rng.standard_normal((2, 12, 15, 3)))
    Image.fromarray(rng.integers(0, 256, (14, 11, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("keras", "torch", "options", "code", "text"), CASES)
def test_check(
    keras: str,
    torch: str,
    options: list[str],
    code: int,
    text: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "--keras", f"calls.py:{keras}", "--torch", f"calls.py:{torch}", *options]) == code
    captured = capsys.readouterr()
    assert text in " ".join((captured.out + captured.err).split())


def test_forms() -> None:
    first, second, third = inputs_of([IDS, "keep,attention_mask=2x16:bool", "2x3:float32:-1.5..2e0"])
    assert (first.name, first.sizes, first.dtype, first.least, first.below) == (
        "ids",
        (2, 16),
        "int32",
        0,
        1000,
    )
    assert (second.name, second.dtype) == (("keep", "attention_mask"), "bool")
    assert (third.name, third.least, third.below) == (None, -1.5, 2.0)
    assert sizes_of("2x65x96x3") == (2, 65, 96, 3)
    assert layout_of(None) is None
    assert layout_of(["same"]) == "same"
    assert layout_of(["ids=same", "x=0312"]) == {"ids": "same", "x": "0312"}


@pytest.mark.parametrize(
    "text",
    ["", "2x", "2x16:int33", "2x16::0..3", "2x16:int32:0", "2x16:int32:5..5", "2x16:int32:0.5..3", "=2x3", "a,=2x3",
     "a,b,c=2x3", "2x16:bool:0..2", "2x16:uint8:0..300", "nowhere.npy", "x=nowhere.png", "2x16:int32:0..1:2"],
)  # fmt: skip
def test_no_such_form(text: str) -> None:
    with pytest.raises(UsageError, match="--input"):
        inputs_of([text])


@pytest.mark.parametrize("texts", [["same", "same"], ["a=same", "same"], ["a=same", "a=0312"]])
def test_no_such_layouts(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--layout"):
        layout_of(texts)


def header(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


BAD: dict[str, bytes] = {
    "huge.npy": header("(1000000000, 1000000000)") + bytes(8),
    "short.npy": header("(100,)") + bytes(8),
    "object.npy": header("(1,)", "|O") + bytes(64),
    "text.npy": b"no array",
    "text.npz": b"no archive",
    "text.png": b"no picture",
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_hold_no_input(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    with pytest.raises(UsageError, match="--input must name a file"):
        inputs_of([str(tmp_path / name)])


def test_arrays_of_an_archive(tmp_path: Path) -> None:
    path, content = tmp_path / "a.npz", io.BytesIO()
    np.save(content, np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content.getvalue())
        archive.writestr("y.npy", header("(10,)") + bytes(40))
    assert [one.name for one in inputs_of([str(path)])] == ["x", "y"]
    (one,) = inputs_of([f"x={path}"])
    assert one.array is not None
    assert np.array_equal(one.array, np.arange(6.0).reshape(2, 3))
    with pytest.raises(UsageError, match="name one of them"):
        inputs_of([f"z={path}"])
