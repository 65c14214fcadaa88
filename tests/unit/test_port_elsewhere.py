"""What the process of a further backend answers. Here it is asked of this process's own backend."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from parity.porting.elsewhere import main

SOURCE = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.aux = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.conv(x)
        return (x, self.aux(x)) if self.training else x
"""
PORT = """
from keras import Model, layers


class Net(Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 1)

    def call(self, x):
        return self.conv(x)


build = Net
"""


def answer(folder: Path, source: str, port: str) -> tuple[str, str]:
    (folder / "source.py").write_text(source, encoding="utf-8")
    (folder / "port.py").write_text(port, encoding="utf-8")
    np.savez(folder / "inputs.npz", np.random.default_rng(0).standard_normal((2, 5, 7, 3)).astype("float32"))
    asked = {"source": f"{folder / 'source.py'}:Net", "port": str(folder / "port.py"), "seed": 0}
    (folder / "asked.json").write_text(
        json.dumps({**asked, "keys": None, "several": False}), encoding="utf-8"
    )
    main(str(folder))
    verdict, text = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return verdict, text


def test_layers_that_never_run_need_no_counterpart(tmp_path: Path) -> None:
    verdict, text = answer(tmp_path, SOURCE, PORT)
    assert verdict == "EQUAL", text


def test_a_wrong_port_is_found(tmp_path: Path) -> None:
    verdict, text = answer(tmp_path, SOURCE, PORT.replace("return self.conv(x)", "return 2 * self.conv(x)"))
    assert verdict == "DIVERGED", text


def test_a_layer_that_runs_is_missed(tmp_path: Path) -> None:
    verdict, text = answer(tmp_path, SOURCE.replace(" if self.training else x", ""), PORT)
    assert verdict == "INCONCLUSIVE"
    assert "aux" in text
