"""The layout of ports is solved: what LiteRT makes of the nine networks' ports transposes nothing."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

keras = pytest.importorskip("keras")
if keras.backend.backend() != "tensorflow":
    pytest.skip("LiteRT files come from TensorFlow", allow_module_level=True)
import tensorflow as tf  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:[^.]*tf.lite.Interpreter is deprecated")
ROOT = Path(__file__).resolve().parents[2]
PORTS = sorted((ROOT / "docs" / "ports").glob("*.py"))


def operations(module: ModuleType, shape: tuple[int, ...], folder: Path) -> Counter[str]:
    """How often each operation stands in the LiteRT file of a port."""
    model = module.build()
    model.trainable = False
    signature = [keras.InputSpec(shape=shape, dtype="float32")]
    model.export(str(folder), verbose=False, input_signature=signature)
    content = tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    return Counter(one["op_name"] for one in interpreter._get_ops_details())


@pytest.mark.parametrize("file", PORTS, ids=lambda file: file.stem)
def test_nothing_is_transposed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location(f"port_of_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    spec.loader.exec_module(module)
    (sizes,) = re.findall(r"model\(ops\.zeros\(\(([\d, ]+)\)\)", file.read_text(encoding="utf-8"))
    found = operations(module, tuple(map(int, sizes.split(","))), tmp_path)
    assert found["CONV_2D"] > 3, found
    assert found["TRANSPOSE"] == 0, found


def test_a_transposition_would_be_counted(tmp_path: Path) -> None:
    module = ModuleType("turned")

    def build() -> keras.Model:
        x = image = keras.Input((8, 10, 3))
        for size in (3, 1):
            x = keras.ops.transpose(keras.layers.Conv2D(4, size)(x), (0, 2, 1, 3))
        return keras.Model(image, keras.layers.Conv2D(2, 1)(x))

    module.build = build  # type: ignore[attr-defined]
    assert operations(module, (1, 8, 10, 3), tmp_path)["TRANSPOSE"] == 2
