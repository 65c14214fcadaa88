"""Layers without a name: Keras numbers them on through a process, so that two builds of one model differ in their names."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.adapters.spec import load_model
from parity.cli import main
from parity.core.errors import CheckpointError
from parity.weights.checkpoint import convert, load_weights, save_weights

SUFFIXES = (".weights.h5", ".keras")
HERE = Path(__file__)
SHAPE = (9, 11, 3)


def steps() -> list[Any]:
    """One network in layers without names; several of one class, two of one shape."""
    return [
        L.Conv2D(4, 3), L.BatchNormalization(epsilon=1e-5), L.ReLU(), L.Conv2D(4, 3), L.Conv2D(4, 3),
        L.Flatten(), L.Dense(5),
    ]  # fmt: skip


def applied(layers: list[Any], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def functional() -> Any:
    image = keras.Input(SHAPE)
    return keras.Model(image, applied(steps(), image))


def sequential() -> Any:
    return keras.Sequential([keras.Input(SHAPE), *steps()])


def nested() -> Any:
    """Two functional models without names inside a third one."""
    layers = steps()
    first, image = keras.Input(SHAPE), keras.Input(SHAPE)
    front = keras.Model(first, applied(layers[:4], first))
    second = keras.Input(front.output.shape[1:])
    back = keras.Model(second, applied(layers[4:], second))
    return keras.Model(image, back(front(image)))


class Subclassed(keras.Model):
    """Layers in a list, and in a private list, from which they are known by their own names alone."""

    def __init__(self) -> None:
        super().__init__()
        layers = steps()
        self.front, self._back = layers[:4], layers[4:]

    def call(self, x: Any) -> Any:
        return applied([*self.front, *self._back], x)


def subclassed() -> Any:
    model = Subclassed()
    model(np.zeros((1, *SHAPE), np.float32))
    return model


BUILDS: dict[str, Callable[[], Any]] = {
    build.__name__: build for build in (functional, sequential, nested, subclassed)
}


class Net(nn.Module):
    """The network under names that have nothing to do with Keras'."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(60, 5)
        self.a, self.norm, self.b, self.c = (
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3),
            nn.Conv2d(4, 4, 3),
        )

    def forward(self, x: Any) -> Any:
        return self.head(torch.flatten(self.c(self.b(F.relu(self.norm(self.a(x))))), 1))


class Mirrored(nn.Module):
    """Six convolutions of one shape, under the names that Keras gives in a process where it has built nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        for n in range(6):
            self.add_module(f"conv2d_{n}" if n else "conv2d", nn.Conv2d(3, 3, 1))

    def forward(self, x: Any) -> Any:
        for layer in self.children():
            x = torch.tanh(layer(x))
        return x


def six() -> Any:
    image = keras.Input(SHAPE)
    return keras.Model(image, applied([L.Conv2D(3, 1, activation="tanh") for _ in range(6)], image))


def values(model: Any) -> list[bytes]:
    """Every tensor, in the model's order."""
    adapter = adapt(model)
    return [
        adapter.read(tensor.path).tobytes() for layer in adapter.layers().values() for tensor in layer.tensors
    ]


def names(model: Any) -> list[str]:
    return [path for path, layer in adapt(model).layers().items() if layer.tensors]


# --- weight files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", BUILDS)
def test_files_are_converted_both_ways_again_and_again(name: str, suffix: str, tmp_path: Path) -> None:
    module = Net()
    randomise(adapt(module), 3)
    save_weights(module, tmp_path / "a.pt")
    specs = f"{HERE}:{name}", f"{HERE}:Net"
    for number in range(2):
        to, back = tmp_path / f"{number}{suffix}", tmp_path / f"{number}.safetensors"
        assert convert(tmp_path / "a.pt", to, *specs) == 12
        assert convert(to, back, *specs) == 12
        again = Net()
        load_weights(again, back)
        assert values(again) == values(module)


@pytest.mark.parametrize("name", BUILDS)
def test_one_format_of_keras_into_the_other(name: str, tmp_path: Path) -> None:
    model = BUILDS[name]()
    randomise(adapt(model), 3)
    save_weights(model, tmp_path / "a.keras")
    assert convert(tmp_path / "a.keras", tmp_path / "b.weights.h5", f"{HERE}:{name}", f"{HERE}:Net") == 12
    again = BUILDS[name]()
    load_weights(again, tmp_path / "b.weights.h5")
    assert values(again) == values(model)
    assert names(again) != names(model)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_from_a_process_that_numbered_otherwise(suffix: str, tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(HERE.parents[2])!r})\n"
        "import torch\n"
        "from parity.adapters.spec import load_model\n"
        "from parity.adapters import adapt\n"
        "from parity.adapters.probe import randomise\n"
        "from parity.weights.checkpoint import save_weights\n"
        "from pathlib import Path\n"
        "from keras import layers as L\n"
        "[L.Conv2D(1, 1) for _ in range(17)], [L.Dense(1) for _ in range(5)]\n"
        f"for name in {list(BUILDS)!r}:\n"
        f"    model = load_model(f'{HERE}:{{name}}')\n"
        "    randomise(adapt(model), 6)\n"
        f"    save_weights(model, Path({str(tmp_path)!r}) / f'{{name}}{suffix}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, build in BUILDS.items():
        model, wanted = build(), build()
        randomise(adapt(wanted), 6)
        load_weights(model, tmp_path / f"{name}{suffix}")
        assert values(model) == values(wanted), name


class Tables(keras.layers.Layer):
    """Weights without names, in a list."""

    def build(self, shape: Any) -> None:
        self.tables = [self.add_weight(shape=(3,), initializer="ones") for _ in range(3)]

    def call(self, x: Any) -> Any:
        return x * self.tables[0] + self.tables[1] * self.tables[2]


def tables() -> Any:
    image = keras.Input(SHAPE)
    return keras.Model(image, Tables()(image))


def test_weights_without_a_name_are_known_by_their_order(tmp_path: Path) -> None:
    tables()
    model = tables()
    paths = [
        tensor.path.rpartition(".")[2] for layer in adapt(model).layers().values() for tensor in layer.tensors
    ]
    assert paths == ["variable", "variable_1", "variable_2"]
    randomise(adapt(model), 1)
    save_weights(model, tmp_path / "a.keras")
    assert convert(tmp_path / "a.keras", tmp_path / "b.keras", f"{HERE}:tables", f"{HERE}:Net") == 3


# --- reading back is a check that can fail ---------------------------------------------------------------


class Forgetful(L.Dense):
    """A layer whose own saving loses its bias."""

    def save_own_variables(self, store: Any) -> None:
        store["0"] = np.asarray(keras.ops.convert_to_numpy(self._kernel))
        store["1"] = np.zeros(5, np.float32)


class Skipping(Forgetful):
    """A layer whose saving and loading both pass over its bias."""

    def save_own_variables(self, store: Any) -> None:
        store["0"] = np.asarray(keras.ops.convert_to_numpy(self._kernel))

    def load_own_variables(self, store: Any) -> None:
        self._kernel.assign(store["0"])


def forgetful() -> Any:
    image = keras.Input((7,))
    return keras.Model(image, Forgetful(5)(image))


def linear() -> Any:
    return nn.Sequential(nn.Linear(7, 5))


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that is imported once, as a package's are; a file named by its path is run each time."""
    module = types.ModuleType("house_of_models")
    monkeypatch.setitem(sys.modules, "house_of_models", module)
    return module


def test_what_saving_loses_is_seen(tmp_path: Path) -> None:
    linear = nn.Sequential(nn.Linear(7, 5))
    save_weights(linear, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"1 of 2 tensors changed: forgetful\.bias"):
        convert(tmp_path / "a.pt", tmp_path / "b.weights.h5", f"{HERE}:forgetful", f"{HERE}:linear")
    assert not (tmp_path / "b.weights.h5").exists()


def test_what_saving_loses_is_seen_in_a_model_that_is_named_as_an_object(
    package: Any, tmp_path: Path
) -> None:
    """Reading back goes into the very model that was saved: what loading leaves alone must not count as read."""
    package.made, package.linear = keras.Sequential([keras.Input((7,)), Skipping(5)]), linear
    save_weights(linear(), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="1 of 2 tensors changed"):
        convert(tmp_path / "a.pt", tmp_path / "b.keras", "house_of_models:made", "house_of_models:linear")
    package.made = keras.Sequential([keras.Input((7,)), L.Dense(5)])
    specs = "house_of_models:made", "house_of_models:linear"
    assert convert(tmp_path / "a.pt", tmp_path / "b.keras", *specs) == 2


def test_a_function_that_builds_another_model_each_time_is_refused(package: Any, tmp_path: Path) -> None:
    biases = iter([True, False])
    package.build = lambda: keras.Sequential([keras.Input((7,)), L.Dense(5, use_bias=next(biases))])
    package.linear = linear
    save_weights(linear(), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="the same tensors each time it is built"):
        convert(tmp_path / "a.pt", tmp_path / "b.keras", "house_of_models:build", "house_of_models:linear")


# --- names from one build to the next --------------------------------------------------------------------


def test_models_named_by_a_string_have_the_same_names_each_time() -> None:
    assert names(load_model(f"{HERE}:nested")) == names(load_model(f"{HERE}:nested"))


def test_a_user_s_own_names_and_settings_are_left_alone() -> None:
    """As after `keras.utils.clear_session` they would not be."""
    before = L.Conv2D(1, 1).name
    keras.config.set_dtype_policy("float64")
    try:
        mine = six()
        load_model(f"{HERE}:six")
        assert keras.config.dtype_policy().name == "float64"
    finally:
        keras.config.set_dtype_policy("float32")
    number = int(before.rpartition("_")[2]) if "_" in before else 0
    assert [layer.name for layer in mine.layers[1:]] == [f"conv2d_{number + i}" for i in range(1, 7)]
    assert L.Conv2D(1, 1).name == f"conv2d_{number + 7}"
    assert np.isfinite(np.asarray(mine(np.ones((1, *SHAPE))))).all()


def test_a_layer_that_a_function_keeps_keeps_its_name(package: Any) -> None:
    """Another build then may not use that name again in one graph."""

    @functools.cache
    def backbone() -> Any:
        image = keras.Input(SHAPE)
        return keras.Model(image, L.Conv2D(4, 3)(L.Conv2D(4, 3)(image)))

    def build() -> Any:
        return keras.Model(backbone().input, L.Conv2D(2, 1)(backbone().output))

    package.build = build
    first, second = load_model("house_of_models:build"), load_model("house_of_models:build")
    assert names(first)[:2] == names(second)[:2]
    assert first.layers[-1] is not second.layers[-1]


class Branches(nn.Module):
    """Two branches of one shape with activations that Keras' twin has not: nothing but a mapping says which is which."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v, self.out = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.out(torch.tanh(self.u(x)) + F.elu(self.v(x)))


def branches() -> Any:
    image = keras.Input(SHAPE)
    first, second = L.Conv2D(4, 3, activation="relu"), L.Conv2D(4, 3, activation="sigmoid")
    return keras.Model(image, L.Conv2D(2, 1)(first(image) + second(image)))


OF_LAYERS = {"conv2d": "v", "conv2d_1": "u"}
OF_TENSORS = {
    f"{layer}.{name}": f"{module}.{torch_name}"
    for layer, module in OF_LAYERS.items()
    for name, torch_name in (("kernel", "weight"), ("bias", "bias"))
}


@pytest.mark.parametrize("mapping", [OF_LAYERS, OF_TENSORS], ids=["layers", "tensors"])
def test_one_mapping_serves_every_build(mapping: dict[str, str]) -> None:
    for _ in range(2):
        L.Conv2D(1, 1)  # so that no build here is the first of its process
        model, module = branches(), Branches()
        result = parity.transfer(module, model, mapping)
        first, second, last = names(model)
        assert first != "conv2d"
        assert {pair: dict(result.pairs)[pair] for pair in (second, last)} == {second: "u", last: "out"}
        (note,) = [note for note in result.notes if "counts this model's layers alone" in note]
        assert f" is {first}" in note
    wrong = dict(zip(names(model), ("u", "v"), strict=False))
    (note,) = [
        note for note in parity.transfer(module, model, wrong).notes if "as Keras numbered them" in note
    ]
    assert first in note


def test_an_automatic_name_that_is_in_no_build_is_explained() -> None:
    with pytest.raises(
        parity.PairingError, match=r"numbers layers without a name anew in each build"
    ) as error:
        parity.transfer(Branches(), branches(), {"conv2d_123456": "u"})
    assert "did you mean conv2d_" in str(error.value)


def test_mirrored_names_pair_the_same_layers_in_every_build() -> None:
    """By their numbers alone, the second build's first would find torch's second."""
    wanted = ["conv2d", *(f"conv2d_{n}" for n in range(1, 6))]
    for _ in range(2):
        L.Conv2D(1, 1)
        model, module = six(), Mirrored()
        randomise(adapt(module), 3)
        result = parity.transfer(module, model)
        assert [torch_path for _, torch_path in result.pairs] == wanted
        assert not result.notes
        assert parity.compare(model, module).verdict == "EQUAL"


def test_the_command_line_says_the_same_of_a_pair_whatever_was_built_before(tmp_path: Path) -> None:
    mapping, found = tmp_path / "map.json", []
    mapping.write_text(json.dumps({"conv2d": "u", "conv2d_1": "v"}))
    for number in range(2):
        report = tmp_path / f"{number}.json"
        pair = ["--keras", f"{HERE}:branches", "--torch", f"{HERE}:Branches", "--mapping", str(mapping)]
        assert main(["check", *pair, "--transfer", "torch-to-keras", "--json", str(report)]) == 1
        (result,) = json.loads(report.read_text())
        found.append(
            [(item["keras"], item["torch"], item["kind"], item["cause"]) for item in result["findings"]]
        )
        load_model(f"{HERE}:six")
    assert found[0] == found[1]
    assert found[0]
