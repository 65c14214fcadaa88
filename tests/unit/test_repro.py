"""parity repro: the script shows the reported difference without parity, and fails where it is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.cli import main
from parity.core.finding import Finding
from parity.report.files import LIMIT, bounded, write_json
from parity.report.gaps import gap_of
from parity.report.repro.blueprints import with_blueprints
from parity.report.result import Report

BEHIND_A_WALL = """
import runpy, sys
sys.modules["parity"] = None
for path in sys.argv[1:]:
    try:
        runpy.run_path(path, run_name="__main__")
    except AssertionError as error:
        print("FAILED", error)
"""


def run_scripts(*paths: Path, **environment: str) -> str:
    """What the scripts print, run one after the other in a process where parity cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-c", BEHIND_A_WALL, *map(str, paths)],
        capture_output=True, text=True, check=False, timeout=300, cwd=paths[0].parent,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def changed(script: Path, old: str, new: str) -> Path:
    """A copy of the script, and of its tensors, with something else in it."""
    text = script.read_text()
    assert old in text
    copy = script.with_name(f"{script.stem}_changed.py")
    copy.write_text(text.replace(old, new))
    copy.with_suffix(".safetensors").write_bytes(script.with_suffix(".safetensors").read_bytes())
    return copy


def finding_of(layer: Any, module: Any, value: np.ndarray[Any, Any], **fields: Any) -> Finding:
    """What localising gives for a differing layer: identical inputs, both outputs, in float64."""
    import keras
    import torch

    from parity.adapters import adapt

    keras_side, torch_side = adapt(layer), adapt(module)
    swapped = value if value.ndim < 3 else np.moveaxis(value, -1, 1)
    with keras_side.precision("float64"), torch_side.precision("float64"):
        tensors = {
            "keras_input.0": value, "torch_input.0": swapped,
            "keras_output.0": keras_side.run_layer("", [value])[0], "torch_output.0": torch_side.run_layer("", [swapped])[0],
        }  # fmt: skip
    found = Finding("(the model itself)", "(the model itself)", "layer", None, "e", tensors=tensors, **fields)
    assert keras.config.floatx() == "float32"
    assert torch.get_default_dtype() == torch.float32
    return with_blueprints([found], keras_side, torch_side)[0]


def reported(folder: Path, *findings: Finding) -> Path:
    """A report's JSON with its tensors."""
    report = Report("DIVERGED", 1.0, 1.0, list(findings), environment={"keras backend": "tensorflow"})
    report.to_json(folder / "r.json")
    return folder / "r.json"


def make(report: Path, number: int = 1, *more: str) -> Path:
    script = report.parent / "out" / f"repro{number}.py"
    assert main(["repro", str(report), "--finding", str(number), "-o", str(script), *more]) == 0
    return script


def batchnorm() -> tuple[Any, Any]:
    import keras
    import torch

    rng = np.random.default_rng(0)
    layer, module = keras.layers.BatchNormalization(), torch.nn.BatchNorm2d(5)
    layer.build((None, None, None, 5))
    values = [rng.uniform(0.5, 1.5, 5).astype("float32") for _ in range(4)]
    layer.set_weights(values)
    names = ("weight", "bias", "running_mean", "running_var")
    module.load_state_dict(
        {name: torch.from_numpy(v) for name, v in zip(names, values, strict=True)}, strict=False
    )
    return layer, module


def flipped_convolution() -> tuple[Any, Any]:
    import keras
    import torch

    rng = np.random.default_rng(0)
    layer = keras.layers.Conv2D(4, (3, 2), strides=2, activation="relu")
    layer.build((None, None, None, 5))
    kernel, bias = rng.standard_normal((3, 2, 5, 4)).astype("float32"), np.ones(4, "float32")
    layer.set_weights([kernel, bias])
    module = torch.nn.Conv2d(5, 4, (3, 2), stride=2)
    turned = np.ascontiguousarray(kernel[::-1, ::-1].transpose(3, 2, 0, 1))
    module.load_state_dict({"weight": torch.from_numpy(turned), "bias": torch.from_numpy(bias)})
    return layer, module


PICTURE = np.random.default_rng(1).standard_normal((2, 7, 10, 5))


@pytest.mark.slow
@pytest.mark.usefixtures("keras_torch")
def test_batchnorm_epsilon_is_reproduced_without_parity(tmp_path: Path) -> None:
    layer, module = batchnorm()
    report = reported(tmp_path, finding_of(layer, module, PICTURE))
    entry = json.loads(report.read_text())["findings"][0]
    assert entry["blueprint"]["torch"] == [{"class": "BatchNorm2d", "arguments": {"num_features": 5}}]
    assert {"keras_input.0", "torch_output.0", "keras_weight.3", "torch_weight.0.running_var"} <= set(
        entry["tensors"]
    )
    script = make(report)
    text = script.read_text()
    assert "nn.BatchNorm2d(num_features=5)" in text
    assert "'epsilon': 0.001" in text
    first, _, second = run_scripts(script, changed(script, "'epsilon': 0.001", "'epsilon': 1e-05")).partition(
        "is reproduced"
    )
    assert "greatest difference" in first
    assert "FAILED reported" in second  # once fixed, the difference is no longer there
    report.write_text(report.read_text().replace('"blueprint"', '"recipe"'))
    assert make(report).read_text() == text  # a report of version 0.1


@pytest.mark.usefixtures("keras_torch")
def test_a_flipped_kernel_is_reproduced(tmp_path: Path) -> None:
    report = reported(
        tmp_path, Finding(None, None, "error", None, "e"), finding_of(*flipped_convolution(), PICTURE)
    )
    script = make(report, 2)
    assert "nn.Conv2d(in_channels=5, out_channels=4, kernel_size=(3, 2), stride=(2, 2))" in script.read_text()
    printed = run_scripts(script, KERAS_BACKEND="torch")
    gap = gap_of(finding_of(*flipped_convolution(), PICTURE).tensors)
    assert gap is not None
    assert f"greatest difference {gap.max():.6g}" in printed
    assert "is reproduced" in printed


def test_wiring_compares_what_arrived(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keras = rng.standard_normal((2, 4, 5, 6))
    torch = np.moveaxis(np.roll(keras, 3, axis=-1), -1, 1)
    finding = Finding("c", "d", "wiring", "concat-order", 'a """quoted""" \\ text',
                      tensors={"keras_input.0": keras, "torch_input.0": torch})  # fmt: skip
    script = make(reported(tmp_path, finding))
    text = script.read_text()
    assert "import keras" not in text
    assert "import torch" not in text
    printed = run_scripts(script, changed(script, "REPORTED = ", "REPORTED = 1.01 * "))
    where = np.unravel_index(np.argmax(np.abs(keras - np.roll(keras, 3, axis=-1))), keras.shape)
    assert str(tuple(map(int, where))) in printed
    assert printed.count("is reproduced") == 1
    assert printed.count("FAILED reported") == 1


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    tensors = {"keras_output.0": np.zeros((2, 4, 5, 6)), "torch_output.0": np.zeros((2, 6, 4, 4))}
    finding = Finding("c", "d", "shape", None, "e", tensors=tensors)
    printed = run_scripts(make(reported(tmp_path, finding)))
    assert "Keras (2, 4, 5, 6) torch (2, 6, 4, 4)" in printed
    assert "shapes is reproduced" in printed


@pytest.mark.usefixtures("keras_torch")
def test_what_is_not_the_frameworks_own_is_not_built_anew() -> None:
    import keras
    import torch

    from parity.adapters import adapt

    class Own(torch.nn.Conv2d):
        pass

    class OwnDense(keras.layers.Dense):
        pass

    patched, parametrised = (
        torch.nn.Conv2d(3, 4, 2),
        torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 4)),
    )
    patched.forward = lambda x: x  # type: ignore[method-assign]
    for module in (Own(3, 4, 2), patched, parametrised, torch.nn.Sequential(torch.nn.ReLU())):
        assert adapt(module).blueprint("") is None
    layers = [OwnDense(3), keras.layers.Dense(3, activation=lambda x: x), keras.layers.Lambda(lambda x: x)]
    for layer in layers:
        layer.build((None, 4))
        layer.built = True
        assert adapt(layer).blueprint("") is None
    patched_layer = keras.layers.Dense(3)
    patched_layer.build((None, 4))
    patched_layer.call = lambda x: x
    assert adapt(patched_layer).blueprint("") is None


@pytest.mark.usefixtures("keras_torch")
def test_a_layer_that_alone_does_not_give_what_was_saved_is_left_to_the_saved_tensors() -> None:
    from parity.adapters import adapt

    layer, module = batchnorm()
    found = finding_of(layer, module, PICTURE)
    assert found.blueprint["keras"] is not None
    other = replace(found, tensors={**found.tensors, "keras_output.0": found.tensors["keras_output.0"] + 1.0})
    (again,) = with_blueprints([other], adapt(layer), adapt(module))
    assert again.blueprint["keras"] is None
    assert again.blueprint["torch"] == found.blueprint["torch"]
    assert not any(key.startswith("keras_weight") for key in again.tensors)
    assert any(key.startswith("torch_weight") for key in again.tensors)


@pytest.mark.usefixtures("keras_torch")
def test_what_comes_before_a_built_in_activation_may_have_been_compared() -> None:
    import keras

    from parity.adapters import adapt

    layer, module = flipped_convolution()
    found = finding_of(layer, module, PICTURE)
    assert found.blueprint["keras"]["config"]["config"]["activation"] == "relu"
    layer.activation = None
    plain = finding_of(layer, module, PICTURE).tensors["keras_output.0"]
    layer.activation = keras.activations.relu
    other = replace(found, tensors={**found.tensors, "keras_output.0": plain})
    (again,) = with_blueprints([other], adapt(layer), adapt(module))
    assert again.blueprint["keras"]["config"]["config"]["activation"] == "linear"


@pytest.mark.usefixtures("keras_torch")
def test_a_flattened_image_comes_in_the_order_of_each_side() -> None:
    import keras
    import torch

    from parity.adapters import adapt

    image = (4, 3, 5)
    layer = keras.layers.Dense(2)
    layer.build((None, 60))
    kernel, bias = layer.get_weights()
    module = torch.nn.Linear(60, 2)
    torch_kernel = np.moveaxis(kernel.reshape(*image, 2), 2, 0).reshape(60, 2).T
    module.load_state_dict({"weight": torch.from_numpy(1.5 * torch_kernel), "bias": torch.from_numpy(bias)})
    value = np.random.default_rng(0).standard_normal((2, 60))
    swapped = np.moveaxis(value.reshape(2, *image), -1, 1).reshape(2, 60)
    found = finding_of(layer, module, value)
    torch_output = adapt(module).run_layer("", [swapped.astype("float32")])[0].astype("float64")
    tensors = {
        **found.tensors,
        "keras_input.0": swapped,
        "torch_input.0": swapped,
        "torch_output.0": torch_output,
    }
    (made,) = with_blueprints(
        [replace(found, tensors=tensors)], adapt(layer), adapt(module), {"(the model itself)": image}
    )
    np.testing.assert_array_equal(made.tensors["keras_input.0"], value)
    np.testing.assert_array_equal(made.tensors["torch_input.0"], swapped)
    assert made.blueprint["keras"] is not None


TORCH_CASES = [
    ("ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1, dilation=2, bias=False)"),
    ("Conv1d(4, 6, 3, padding='same', groups=2, padding_mode='reflect')"),
    ("Linear(3, 4, bias=False)"),
    ("BatchNorm1d(3, eps=0.1, affine=False)"),
    ("LayerNorm((4, 5), eps=0.01, bias=False)"),
    ("GroupNorm(2, 4, affine=False)"),
    ("InstanceNorm2d(3, affine=True)"),
    ("PReLU(4)"),
    ("Embedding(7, 3, padding_idx=2)"),
    ("MaxPool2d(3, 2, padding=1, ceil_mode=True)"),
    ("AvgPool2d((3, 2), count_include_pad=False)"),
    ("AdaptiveAvgPool2d((1, None))"),
    ("Upsample(scale_factor=2, mode='bilinear', align_corners=True)"),
    ("LeakyReLU(0.3)"),
    ("GELU(approximate='tanh')"),
    ("Softmax(dim=1)"),
    ("Hardtanh(-2.0, 3.0)"),
    ("Dropout(0.3)"),
    ("ZeroPad2d((1, 2, 0, 1))"),
    ("PixelShuffle(2)"),
]


@pytest.mark.parametrize("call", TORCH_CASES)
@pytest.mark.usefixtures("keras_torch")
def test_a_constructor_call_builds_the_same_module(call: str) -> None:
    import torch

    from parity.adapters import adapt

    made = eval(f"torch.nn.{call}", {"torch": torch})
    blueprint = adapt(made).blueprint("")
    assert blueprint is not None
    again = getattr(torch.nn, blueprint[0]["class"])(**blueprint[0]["arguments"])
    assert repr(again) == repr(made)
    assert set(again.state_dict()) == set(blueprint[1])
    again.load_state_dict({name: torch.from_numpy(value) for name, value in blueprint[1].items()})


def test_more_than_the_limit_keeps_the_worst_batch_element() -> None:
    keras = np.zeros((4, 8, 1024))
    torch = keras.copy()
    torch[2, 3, 5] = 1.0
    tensors = {"keras_output.0": keras, "torch_output.0": torch, "keras_weight.0": np.zeros(7)}
    small = {"keras_output.0": np.ones((3, 2)), "torch_output.0": np.zeros((3, 2))}
    assert bounded([tensors, small], LIMIT) == ([tensors, small], [{}, {}])
    kept, notes = bounded([tensors, small], keras.nbytes)
    assert notes == [{"batch_element": 2}, {"batch_element": 0}]
    assert kept[0]["torch_output.0"].shape == (1, 8, 1024)
    assert kept[0]["torch_output.0"].max() == 1.0
    assert kept[0]["keras_weight.0"].shape == (7,)
    kept, notes = bounded([small, tensors], 1000)
    assert kept[1] == {}
    assert notes[0] == {"batch_element": 0}
    assert "tensors_left_out" in notes[1]
    uneven = {"keras_input.0": np.ones((3, 90)), "torch_input.0": np.zeros((2, 90))}
    assert bounded([uneven], 100)[0] == [{}]


@pytest.mark.parametrize(("more", "note"), [(0, {}), (1, {"batch_element": 1})])
def test_a_report_holds_at_most_32_megabytes_of_tensors(
    tmp_path: Path, more: int, note: dict[str, int]
) -> None:
    """By the size of what is written: 32 MB are kept whole, and of eight bytes a row more only the worst element."""
    megabytes = 2**20
    keras = np.zeros((2, megabytes + more))
    torch = keras.copy()
    torch[1, 7] = 1.0
    tensors = {"keras_output.0": keras, "torch_output.0": torch}
    values = json.loads(
        reported(tmp_path, Finding("a", "a", "layer", None, "e", tensors=tensors)).read_text()
    )
    header = 1000
    assert (tmp_path / "r.safetensors").stat().st_size <= 32 * megabytes + header
    (entry,) = values["findings"]
    assert entry["tensors"] == list(tensors)
    assert {name: entry[name] for name in ("batch_element", "tensors_left_out") if name in entry} == note


def test_json_names_the_tensors_that_are_beside_it(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    scalar = {"keras_output.0": np.array(2.0), "torch_output.0": np.array(1.0)}
    image = np.arange(24.0).reshape(1, 2, 3, 4).transpose(0, 2, 3, 1)  # not contiguous
    findings = [
        Finding("a", "a", "layer", None, "e", tensors=scalar),
        Finding("b", "b", "unmatched", None, "e"),
        Finding("c", "c", "wiring", None, "e", tensors={"keras_input.0": image, "torch_input.0": image}),
    ]
    values = json.loads(reported(tmp_path, *findings).read_text())
    assert values["tensors_file"] == "r.safetensors"
    assert [entry.get("tensors") for entry in values["findings"]] == [
        list(scalar),
        None,
        ["keras_input.0", "torch_input.0"],
    ]
    held = load_file(tmp_path / "r.safetensors")
    assert set(held) == {"1.keras_output.0", "1.torch_output.0", "3.keras_input.0", "3.torch_input.0"}
    assert held["1.keras_output.0"].shape == ()
    np.testing.assert_array_equal(held["3.keras_input.0"], image)
    plain = tmp_path / "plain.json"
    write_json(plain, Report("EQUAL", 0.0, 0.0, []))
    assert "tensors_file" not in json.loads(plain.read_text())
    assert not plain.with_suffix(".safetensors").exists()


def test_what_cannot_be_reproduced_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding(
        "a", "a", "layer", None, "e", tensors={"keras_output.0": np.ones(2), "torch_output.0": np.zeros(2)}
    )
    report = reported(tmp_path, Finding(None, None, "unmatched", None, "e"), finding)
    several = tmp_path / "several.json"
    one = json.loads(report.read_text())
    several.write_text(
        json.dumps([{"name": "first", **one}, {"name": "second", **one}, {"name": "third", "findings": []}])
    )
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "other.json").write_text("[]")
    lost = tmp_path / "lost.json"
    lost.write_text(report.read_text().replace("r.safetensors", "gone.safetensors"))
    out = str(tmp_path / "x.py")
    for arguments, text in (
        ([report, "--finding", "3", "-o", out], "between 1 and 2"),
        ([report, "--finding", "1", "-o", out], "Findings with tensors: 2"),
        ([lost, "--finding", "2", "-o", out], "gone.safetensors"),
        ([several, "--finding", "2", "-o", out], "Pairs with findings: first, second"),
        ([several, "--finding", "2", "-o", out, "--pair", "fourth"], "--pair fourth"),
        ([tmp_path / "bad.json", "--finding", "1", "-o", out], "JSON"),
        ([tmp_path / "other.json", "--finding", "1", "-o", out], "findings"),
        ([tmp_path / "no.json", "--finding", "1", "-o", out], "no.json"),
        ([report, "--finding", "2", "-o", str(tmp_path / "r.py")], "must not replace"),
    ):
        assert main(["repro", *map(str, arguments)]) == 2
        assert text in capsys.readouterr().err
    assert not Path(out).exists()
    assert main(["repro", str(several), "--finding", "2", "--pair", "second", "-o", out]) == 0
