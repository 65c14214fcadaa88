"""The commands that are killed, and what must hold of their files afterwards."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PYTHON = sys.executable
INPUTS = ("data.gz", "models.py", "x.pt")
"""What the commands read, in their folder."""
TINY = [
    "--depth", "2", "--preset", "lecture", "--steps", "6", "--check-every", "1", "--validation", "0.34",
    "--batch-size", "2", "--quiet", "--no-tensorboard",
]  # fmt: skip

MODELS = """
def keras_model():
    import keras
    return keras.Sequential([keras.layers.Input((8, 9, 3)), keras.layers.Conv2D(4, 3, name="conv")])


def torch_module():
    from torch import nn
    module = nn.Sequential()
    module.add_module("conv", nn.Conv2d(3, 4, 3))
    return module
"""


@dataclass(frozen=True)
class Killed:
    """One command.

    Attributes:
        arguments: of the command, given the folder with what it reads.
        writes: is called with that folder; reads every file with a final name, and raises where one is not whole.
        result: of a whole run: content by name. It must be the same after every kill, bit for bit.
        needs: packages without which it is left out.
        share: of the kills; those that take seconds to start get fewer.
        finish_every: after so many kills the command runs to its end. Between them it goes on from what is there.
    """

    arguments: Callable[[Path], list[str]]
    writes: Callable[[Path], None]
    result: Callable[[Path], dict[str, str]]
    needs: tuple[str, ...] = ()
    share: int = 2
    finish_every: int = 1


def _generate(home: Path) -> list[str]:
    return [
        PYTHON,
        "-m",
        "datasets.purdue_shapes",
        "generate",
        "--out",
        str(home / "out"),
        "--train",
        "300",
        "--test",
        "200",
    ]


def _generated(home: Path) -> None:
    from datasets.purdue_shapes import load

    for path in (home / "out").glob("*.gz"):
        load(path, cache=False)


def _shapes(home: Path) -> dict[str, str]:
    return {
        path.name: digest(gzip.decompress(path.read_bytes())) for path in sorted((home / "out").glob("*.gz"))
    }


def _train(half: str, steps: int) -> Callable[[Path], list[str]]:
    """Training whose steps take as long as its start, so that every second kill comes between two checks."""
    return lambda home: [
        PYTHON, "-m", f"{half}.train", "--data", str(home / "data.gz"), "--out", str(home / "out"), "--resume", *TINY,
        "--epochs", str(steps), "--steps", str(steps), "--check-every", "4",
    ]  # fmt: skip


def _trained(home: Path) -> None:
    out = home / "out"
    for path in [*out.glob("*.pt"), *out.glob("*.ckpt")]:
        if not path.name.startswith("partial-"):
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None, path
    for path in out.glob("*.weights.h5"):
        if not path.name.startswith("partial-"):
            _check_sealed(path)
    if (out / "config.json").exists():
        json.loads((out / "config.json").read_text())


def _weights(home: Path) -> dict[str, str]:
    """Each tensor of the last weights and of the best ones."""
    out, found = home / "out", dict[str, str]()
    for name in ("model", "best"):
        for path in out.glob(f"{name}.*"):
            found |= {f"{name} {part}": value for part, value in _tensors(path).items()}
    return found


def _tensors(path: Path) -> dict[str, str]:
    if path.suffix == ".h5":
        return _datasets(path)
    with zipfile.ZipFile(path) as archive:
        return {
            part: digest(archive.read(part))
            for part in archive.namelist()
            if "/data/" in part or part.endswith("data.pkl")
        }


def _datasets(path: Path) -> dict[str, str]:
    import h5py

    found: dict[str, str] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = digest(item[()].tobytes())

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def digest(content: bytes) -> str:
    """The SHA-256 of a content."""
    return hashlib.sha256(content).hexdigest()


def _check_sealed(path: Path) -> None:
    """That each tensor of a Keras file is there, and the checksum of all with them."""
    import h5py

    with h5py.File(path) as file:
        assert "segparity_sha256" in file.attrs, path
        file.visititems(
            lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None
        )  # each can be read


def _convert(home: Path) -> list[str]:
    names = home / "models.py"
    return [
        PYTHON, "-m", "parity", "convert", str(home / "x.pt"), str(home / "out.weights.h5"),
        "--keras", f"{names}:keras_model", "--torch", f"{names}:torch_module",
    ]  # fmt: skip


def _converted(home: Path) -> None:
    if (home / "out.weights.h5").exists():
        assert len(_datasets(home / "out.weights.h5")) == 2, "a kernel and a bias"


def _conversion(home: Path) -> dict[str, str]:
    return _datasets(home / "out.weights.h5")


def _check(home: Path) -> list[str]:
    names = home / "models.py"
    return [
        PYTHON, "-m", "parity", "check", "--keras", f"{names}:keras_model", "--torch", f"{names}:torch_module",
        "--json", str(home / "r.json"), "--html", str(home / "r.html"),
    ]  # fmt: skip


def _checked(home: Path) -> None:
    if (home / "r.json").exists():
        json.loads((home / "r.json").read_text())
    if (home / "r.html").exists():
        assert (home / "r.html").read_text().rstrip().endswith("</html>")


def _report(home: Path) -> dict[str, str]:
    """What must not change from run to run: times do."""
    (found,) = json.loads((home / "r.json").read_text())
    return {name: str(found[name]) for name in ("name", "verdict", "max_abs_diff", "findings")} | {
        "page": str((home / "r.html").exists())
    }


COMMANDS = {
    "generate": Killed(_generate, _generated, _shapes, share=36),
    "train, torch": Killed(_train("torch_impl", 160), _trained, _weights, ("torch",), 20, 3),
    "train, Keras": Killed(_train("tf_impl", 80), _trained, _weights, ("keras",), 12, 3),
    "convert": Killed(_convert, _converted, _conversion, ("keras", "torch"), 16),
    "check": Killed(_check, _checked, _report, ("keras", "torch"), 16),
}  # fmt: skip


def prepared(home: Path) -> Path:
    """A folder with what the commands read."""
    from datasets.purdue_shapes import generate, save

    home.mkdir(parents=True, exist_ok=True)
    save(home / "data.gz", generate(6, 1, (32, 40)))
    (home / "models.py").write_text(MODELS)
    return home


def with_weights(home: Path) -> None:
    """Weights of the torch module, for convert."""
    import torch

    torch.manual_seed(0)
    torch.save({"conv.weight": torch.randn(4, 3, 3, 3), "conv.bias": torch.randn(4)}, home / "x.pt")
