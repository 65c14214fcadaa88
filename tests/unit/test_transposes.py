"""A port of a convolutional network has no transposes in its LiteRT file, and the count sees those of another."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

import parity  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="LiteRT is TensorFlow's")


@pytest.fixture(scope="module")
def transposes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("transposes", ROOT / "benchmarks" / "transposes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Joined(torch.nn.Module):
    """Channels split, weighed by their means, and joined, as convolutional networks do."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.gate = torch.nn.Linear(8, 8)
        self.up = torch.nn.ConvTranspose2d(8, 4, 2, 2)

    def forward(self, x):
        y = torch.relu(self.conv(x))
        b, c, _, _ = y.shape
        gate = torch.sigmoid(self.gate(y.mean((2, 3)))).view(b, c, 1, 1)
        first, second = torch.chunk(y * gate, 2, dim=1)
        return self.up(torch.cat((second, first), dim=1))


def test_a_port_of_a_convolutional_network_has_none(transposes, tmp_path) -> None:
    file = tmp_path / "port.py"
    image = torch.rand(1, 3, 32, 48).numpy().transpose(0, 2, 3, 1)
    made = parity.port(Joined, image, output=file, proved=False)
    assert not made.unwritten
    found = transposes.counted(file, "1x32x48x3")
    assert found["transposes"] == 0
    assert found["operations"] > 5


def test_a_network_that_turns_its_images_is_seen(transposes, tmp_path, capsys) -> None:
    file = tmp_path / "turned.py"
    file.write_text(
        "import keras\n\n\ndef build():\n"
        "    return keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Permute((3, 1, 2)),\n"
        "                             keras.layers.ReLU(), keras.layers.Permute((2, 3, 1)),\n"
        "                             keras.layers.Conv2D(4, 3), keras.layers.Permute((3, 1, 2))])\n"
    )
    assert transposes.main([str(file), "--input", "1x8x12x3"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].split("|")[3].strip() != "0"
