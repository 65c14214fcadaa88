"""The commands that are killed, and what must hold of their files afterwards."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PYTHON = sys.executable
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
        needs: packages without which it is left out.
        share: of the kills; those that take seconds to start get fewer.
    """

    arguments: Callable[[Path], list[str]]
    writes: Callable[[Path], None]
    needs: tuple[str, ...] = ()
    share: int = 2


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


def _train(half: str) -> Callable[[Path], list[str]]:
    return lambda home: [
        PYTHON, "-m", f"{half}.train", "--data", str(home / "data.gz"), "--out", str(home / "out"), "--resume", *TINY
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
    import h5py

    if (home / "out.weights.h5").exists():
        with h5py.File(home / "out.weights.h5") as file:
            file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)


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


COMMANDS = {
    "generate": Killed(_generate, _generated, share=8),
    "train, torch": Killed(_train("torch_impl"), _trained, ("torch",), 4),
    "train, Keras": Killed(_train("tf_impl"), _trained, ("keras",)),
    "convert": Killed(_convert, _converted, ("keras", "torch")),
    "check": Killed(_check, _checked, ("keras", "torch")),
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
