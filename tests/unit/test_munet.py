"""mUnet of both halves: the same numbers for every option, the parameter counts, the schedules, the refusals."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs

# Keras 3.15 reads its variables with np.array, which NumPy 2.4 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")

ROOT = Path(__file__).parents[2]
HALVES = ["tf_impl", "torch_impl"]
LEAVES = {
    "kernel": ("weight", (3, 2, 0, 1)),
    "bias": ("bias", (0,)),
    "gamma": ("weight", (0,)),
    "beta": ("bias", (0,)),
    "moving_mean": ("running_mean", (0,)),
    "moving_variance": ("running_var", (0,)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "released": {"depth": 4},
    "no shortcuts": {"depth": 4, "skip_connections": False},
    "odd depth": {"depth": 3},
    "dense head": {"depth": 2, "head": "dense"},
    "two classes": {"depth": 2, "num_classes": 2},
    "dense, seven classes, no shortcuts": {
        "depth": 2,
        "head": "dense",
        "num_classes": 7,
        "skip_connections": False,
    },
    "printed": {"depth": 8, "schedule": "printed"},
    "intended": {"depth": 8, "schedule": "intended"},
}
OPTIONS["default"] = {}
BY_COST = [
    pytest.param(name, marks=pytest.mark.slow if options.get("depth", 16) > 4 else ())
    for name, options in OPTIONS.items()
]


def make(half: str, **arguments: Any) -> Any:
    needs("keras" if half == "tf_impl" else "torch")
    return importlib.import_module(f"{half}.munet").mUnet(**arguments)


def variables(layer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The Keras variables under the paths of PyTorch's attributes, found by walking the attributes."""
    import keras

    for name, value in vars(layer).items():
        if isinstance(value, keras.Variable):
            yield path + LEAVES[name.removeprefix("_")][0], value
        elif isinstance(value, keras.layers.Layer) and not name.startswith("_"):
            yield from variables(value, f"{path}{name}.")
        elif isinstance(value, list) and not name.startswith("_"):
            for number, each in enumerate(value):
                if isinstance(each, keras.layers.Layer):
                    yield from variables(each, f"{path}{name}.{number}.")


def to_torch(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def twins(**arguments: Any) -> tuple[Any, Any]:
    """(tf_impl, torch_impl) in float64 with the same random weights and running statistics."""
    import torch

    model, twin = make("torch_impl", **arguments).double(), make("tf_impl", **arguments, dtype="float64")
    rng = np.random.default_rng(0)
    found = dict(variables(twin))
    tensors = {name: each for name, each in model.state_dict().items() if "num_batches" not in name}
    assert found.keys() == tensors.keys()
    assert len(found) == len(twin.variables)
    for name, tensor in tensors.items():
        value = rng.standard_normal(tensor.shape)
        if tensor.ndim == 4:
            value /= np.sqrt(value[0].size)
        elif name.endswith(("running_var", "weight")):
            value = 0.5 + rng.random(tensor.shape)
        tensor.copy_(torch.from_numpy(value))
        found[name].assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)
    return twin, model


def images(height: int = 24, width: int = 33) -> np.ndarray:
    return np.random.default_rng(1).random((2, height, width, 3))


def run(model: Any, x: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return model(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)


def assert_close(got: Any, want: np.ndarray, relative: float = 1e-12) -> None:
    got = np.asarray(got)
    assert got.shape == want.shape
    assert got.dtype == want.dtype == np.float64
    assert want.std() > 0
    assert float(np.abs(got - want).max()) <= relative * float(np.abs(want).max())


@pytest.mark.parametrize("name", BY_COST)
def test_same_output_in_both_modes(keras_torch: None, name: str) -> None:
    twin, model = twins(**OPTIONS[name])
    x = images()
    want = run(model.eval(), x)
    assert_close(twin(x), want)
    trained = run(model.train(), x)
    assert np.abs(trained - want).max() > 1e-3 * np.abs(want).max()
    assert_close(twin(x, training=True), trained)
    statistics = {key: value for key, value in model.state_dict().items() if key.endswith("running_mean")}
    for path, variable in variables(twin):
        if path in statistics:  # running variances differ by the frameworks' own rules: see test_layers
            assert_close(variable, statistics[path].numpy())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["released", "no shortcuts", "intended"])
def test_same_gradients_in_training(keras_torch: None, name: str) -> None:
    import tensorflow as tf
    import torch

    twin, model = twins(**OPTIONS[name])
    x = images(16, 24)
    with tf.GradientTape() as tape:
        y = twin(x, training=True)
        parts = np.random.default_rng(2).standard_normal(y.shape)
        total = tf.reduce_sum(y * parts)
    names = [path for path, each in variables(twin) if each.trainable]
    grads = tape.gradient(total, [each.value for _, each in variables(twin) if each.trainable])
    given = torch.from_numpy(x.transpose(0, 3, 1, 2))
    (model(given) * torch.from_numpy(parts.transpose(0, 3, 1, 2).copy())).sum().backward()
    want = {path: each.grad for path, each in model.named_parameters()}
    assert set(names) == set(want)
    scale = max(float(each.abs().max()) for each in want.values() if each is not None)
    for path, grad in zip(names, grads, strict=True):
        assert (grad is None) == (want[path] is None), path
        if grad is not None:  # biases before a batch normalisation have a gradient of rounding alone
            off = np.abs(to_torch(np.asarray(grad)) - want[path].numpy()).max()
            assert off <= 1e-12 * scale, (path, off, scale)


COUNTS = {4: 2_561_605, 8: 4_040_773, 16: 6_999_109, 32: 12_915_781}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("depth", [4, 8, 16, pytest.param(32, marks=pytest.mark.slow)])
def test_parameter_counts(half: str, depth: int) -> None:
    model = make(half, depth=depth)
    if half == "tf_impl":
        count = sum(int(np.prod(each.shape)) for each in model.trainable_variables)
        assert len({each.path for each in model.variables}) == len(model.variables)  # no two of one name
    else:
        count = sum(each.numel() for each in model.parameters())
    assert count == COUNTS[depth]


NEVER = {  # declared where the channels change, as in the package, and never used
    *("skip64to128DN.conv2.weight", "skip64to128DN.conv2.bias"),
    *("skip64to128DN.bn2.weight", "skip64to128DN.bn2.bias"),
    *("skip128to64UP.convT2.weight", "skip128to64UP.convT2.bias"),
    *("skip128to64UP.bn2.weight", "skip128to64UP.bn2.bias"),
}


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("schedule", "used", "idle"),
    [
        # a block of 128 channels has 295,680 parameters, one of 64 has 74,112; NEVER are 148,032
        ("released", 5_076_997, {"skip128UP_arr": range(2, 8)}),
        (
            "printed",
            6_999_109 - 148_032 - 12 * 295_680 - 6 * 74_112,
            {"skip128UP_arr": range(2, 8), "skip128DN_arr": range(2, 8), "skip64UP_arr": range(2, 8)},
        ),
        ("intended", 6_999_109 - 148_032, {}),
    ],
)
def test_used_parameters(half: str, schedule: str, used: int, idle: dict[str, range]) -> None:
    """The parameters that a training step can change: those with a gradient."""
    model = make(half, schedule=schedule)
    x = images(8, 16).astype("float32")
    if half == "tf_impl":
        import tensorflow as tf

        named = [(path, each.value) for path, each in variables(model) if each.trainable]
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(x, training=True) ** 2)
        grads = tape.gradient(total, [each for _, each in named])
        sizes = {
            path: (int(np.prod(each.shape)), grad) for (path, each), grad in zip(named, grads, strict=True)
        }
    else:
        import torch

        (model(torch.from_numpy(x.transpose(0, 3, 1, 2))) ** 2).sum().backward()
        sizes = {path: (each.numel(), each.grad) for path, each in model.named_parameters()}
    assert sum(size for size, grad in sizes.values() if grad is not None) == used
    blocks = {f"{array}.{entry}" for array, entries in idle.items() for entry in entries}
    unused = {path for path, (_, grad) in sizes.items() if grad is None}
    assert {path for path in unused if ".".join(path.split(".")[:2]) not in blocks} == NEVER
    assert {".".join(path.split(".")[:2]) for path in unused - NEVER} == blocks


def order(schedule: str) -> list[str]:
    """The blocks in the order in which they run at depth 16, where a quarter of an array is two blocks."""

    def some(array: str, *entries: int) -> list[str]:
        return [f"{array}.{entry}" for entry in entries]

    first, rest = (0, 1), (2, 3, 4, 5, 6, 7)
    down128, up128, up64 = {
        "released": (rest, first, rest),
        "printed": (first, first, first),
        "intended": (rest, rest, rest),
    }[schedule]
    return [
        *some("skip64DN_arr", *first),
        "skip64dsDN",
        *some("skip64DN_arr", *rest),
        "skip64to128DN",
        *some("skip128DN_arr", *first),
        *some("skip128DN_arr", *down128),
        "skip128dsDN",
        "skip128usUP",
        *some("skip128UP_arr", *first),
        *some("skip128UP_arr", *up128),
        "skip128to64UP",
        *some("skip64UP_arr", *up64),
        "skip64usUP",
        *some("skip64UP_arr", *first),
    ]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("schedule", ["released", "printed", "intended"])
def test_schedules(half: str, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(half, schedule=schedule)
    names = {}
    for attribute in dir(model):
        if attribute.startswith("skip") and attribute != "skip_connections":
            value = getattr(model, attribute)
            entries = enumerate(value) if attribute.endswith("_arr") else ()
            names |= {id(each): f"{attribute}.{entry}" for entry, each in entries} or {id(value): attribute}
    ran: list[str] = []
    method = "call" if half == "tf_impl" else "forward"
    for kind in ("SkipBlockDN", "SkipBlockUP"):
        block = getattr(importlib.import_module(f"{half}.blocks"), kind)
        own = getattr(block, method)

        def note(self: Any, *given: Any, _own: Any = own, **more: Any) -> Any:
            ran.append(names[id(self)])
            return _own(self, *given, **more)

        monkeypatch.setattr(block, method, note)
    x = images(8, 16).astype("float32")
    if half == "tf_impl":
        model(x)
    else:
        run(model, x)
    assert ran == order(schedule)
    assert (len(set(ran)) == len(ran) == 4 * 8 + 6) == (schedule == "intended")


SIZES = {8: 8, 9: 8, 16: 16, 17: 16, 40: 40, 41: 40}
WRONG = {7: "8", 1: "8", 10: "9 and 16", 12: "9 and 16", 15: "9 and 16", 18: "17 and 24", 39: "33 and 40"}


@pytest.mark.parametrize("half", HALVES)
def test_sizes_that_fit(half: str) -> None:
    """Multiples of 8, or one more; each other size fails, and the next valid ones are named."""
    import itertools

    model = make(half, depth=2)

    def sizes(height: int, width: int) -> tuple[int, ...]:
        x = np.zeros((1, height, width, 3), "float32")
        if half == "torch_impl":
            return run(model.eval(), x).shape[1:3]
        shape = tuple(model(x).shape)
        assert shape == model.compute_output_shape(x.shape)
        return shape[1:3]

    for height, width in zip(SIZES, [*list(SIZES)[3:], *list(SIZES)[:3]], strict=True):
        assert sizes(height, width) == (SIZES[height], SIZES[width])
    for (wrong, nearest), first in itertools.product(WRONG.items(), (True, False)):
        match = (
            f"multiples of 8, or one more; got {'height' if first else 'width'}={wrong}.*size: {nearest}\\."
        )
        with pytest.raises(ValueError, match=match):
            sizes(*((wrong, 16) if first else (16, wrong)))


def test_the_package_fails_on_exactly_the_other_sizes() -> None:
    """The rule is the network's own: without the check PyTorch cannot put the saved channels back."""
    needs("torch")
    from torch_impl import munet

    model = munet.mUnet(depth=2).eval()
    for size in range(1, 34):
        works = True
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(munet, "check_image", lambda *_: None)
            try:
                run(model, np.zeros((1, size, 16, 3), "float32"))
            except RuntimeError:
                works = False
        assert works == (size >= 8 and size % 8 < 2), size


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("shape", [(1, 16, 24, 4), (1, 16, 24, 1), (16, 24, 3)])
def test_wrong_channels_or_axes(half: str, shape: tuple[int, ...]) -> None:
    model = make(half, depth=2)
    x = np.zeros(shape, "float32")
    if half == "tf_impl":
        with pytest.raises(ValueError, match=r"expected (shape=\(None, None, None, 3\)|ndim=4), found"):
            model(x)
    else:
        import torch

        with pytest.raises(ValueError, match=r"images must (have 3 channels|be \(N, 3, H, W\)); got"):
            model(torch.from_numpy(np.moveaxis(x, -1, -3)))


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 1}, "depth must be at least 2; got depth=1"),
        ({"num_classes": 0}, "num_classes must be at least 1; got num_classes=0"),
        ({"head": "sparse"}, "head must be .*; got head='sparse'"),
        ({"schedule": "lecture"}, "schedule must be one of .*; got schedule='lecture'"),
    ],
)
def test_options_without_a_meaning(half: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(half, **arguments)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("head", ["dlstudio", "dense"])
def test_the_pixels_that_each_head_reaches(half: str, head: str) -> None:
    """DLStudio's conv_out reaches even rows and columns alone: three quarters of the output are its bias."""
    model = make(half, depth=2, head=head)
    x = images(16, 24).astype("float32")
    y = np.asarray(model(x)) if half == "tf_impl" else run(model.eval(), x)
    bias = np.asarray(model.conv_out.bias if half == "tf_impl" else model.conv_out.bias.detach())
    reached = np.abs(y - bias) > 0
    share = [[float(reached[:, row::2, column::2].mean()) for column in (0, 1)] for row in (0, 1)]
    assert share == ([[1, 0], [0, 0]] if head == "dlstudio" else [[1, 1], [1, 1]])


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("released", "float32"),
        ("dense, seven classes, no shortcuts", "float64"),
        pytest.param("intended", "float64", marks=pytest.mark.slow),
    ],
)
def test_saved_and_loaded(name: str, dtype: str, tmp_path: Path) -> None:
    needs("keras")
    import keras

    model = make("tf_impl", **OPTIONS[name], dtype=dtype)
    rng = np.random.default_rng(0)
    for each in model.variables:
        each.assign(rng.random(each.shape) / np.sqrt(max(1, np.prod(each.shape[:-1]))))
    x = images().astype(dtype)
    want = np.asarray(model(x))
    assert want.dtype == dtype
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    other = make("tf_impl", **OPTIONS[name], dtype=dtype)
    assert not np.array_equal(np.asarray(other(x)), want)
    other.load_weights(tmp_path / "model.weights.h5")
    for each in (again, other):
        assert np.array_equal(np.asarray(each(x)), want)
    assert again.get_config() == model.get_config()
    assert {key: again.get_config()[key] for key in OPTIONS[name]} == OPTIONS[name]
    assert again.dtype == dtype


def test_weights_exist_before_the_first_call() -> None:
    model = make("tf_impl", depth=2)
    assert model.built
    assert model.count_params() == sum(int(np.prod(each.shape)) for each in model.variables)
    assert model.skip64dsDN.conv2.kernel.shape == (3, 3, 64, 64)


def test_unknown_sizes_and_functional_models(keras_torch: None) -> None:
    import keras
    import tensorflow as tf

    twin, model = twins(depth=4)
    inputs = keras.Input((None, None, 3), dtype="float64")
    outputs = twin(inputs)
    assert outputs.shape == (None, None, None, 5)
    assert twin.compute_output_shape((None, 65, None, 3)) == (None, 64, None, 5)
    signature = [tf.TensorSpec((None, None, None, 3), "float64")]
    graph = tf.function(keras.Model(inputs, outputs), input_signature=signature)
    for size in ((24, 33), (16, 8)):
        assert_close(graph(images(*size)), run(model.eval(), images(*size)))


@pytest.mark.slow
def test_float64_as_the_default_dtype() -> None:
    """Keras fixes its default dtype when the first layer asks for it, so that another process sets it here."""
    needs("keras")
    child = """
import keras, numpy as np
keras.config.set_floatx("float64")
from tf_impl.munet import mUnet
model = mUnet(depth=2)
assert {each.dtype for each in model.variables} == {"float64"}
x = np.random.default_rng(0).random((2, 16, 24, 3))
y = np.asarray(model(x))
assert y.dtype == np.float64
named = mUnet(depth=2, dtype="float64")
named.set_weights(model.get_weights())
assert np.array_equal(np.asarray(named(x)), y)
assert np.abs(model.predict(x, verbose=0) - y).max() < 1e-12 * np.abs(y).max()
print("float64")
"""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", child], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "float64", done.stderr[-3000:]


# --- DLStudio's names ---------------------------------------------------------------------------------------


def dlstudio_state(depth: int = 4, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Random arrays under DLStudio's names."""
    rng = np.random.default_rng(0)
    names = {}
    for name, value in make("torch_impl", depth=depth).state_dict().items():
        old = name.replace(".conv1", ".convo1").replace(".conv2", ".convo2").replace(".convT", ".convoT")
        names[old] = np.asarray(
            rng.random(value.shape) / max(1, value.numel() / max(value.shape, default=1)) ** 0.5, dtype
        )
    assert "skip64to128DN.convo2.weight" in names
    assert "skip128to64UP.convoT1.bias" in names
    return names


def from_dlstudio(half: str, state: dict[str, np.ndarray], **arguments: Any) -> Any:
    model = importlib.import_module(f"{half}.munet").mUnet
    if half == "torch_impl":
        import torch

        return model.from_dlstudio(
            {name: torch.from_numpy(value) for name, value in state.items()}, **arguments
        )
    return model.from_dlstudio(state, **arguments)


@pytest.mark.parametrize(
    ("depth", "skip", "dtype"), [(2, False, "float64"), (4, True, "float64"), (8, True, "float32")]
)
def test_from_dlstudio(keras_torch: None, depth: int, skip: bool, dtype: str) -> None:
    state = dlstudio_state(depth, dtype)
    twin, model = (from_dlstudio(half, state, skip_connections=skip) for half in HALVES)
    for each in (twin, model):
        assert (each.depth, each.skip_connections, each.num_classes) == (depth, skip, 5)
        assert (each.head, each.schedule) == ("dlstudio", "released")
    new = {name.replace("convo", "conv"): value for name, value in state.items()}
    tensors = model.state_dict()
    assert tensors.keys() == new.keys()
    for name, value in tensors.items():
        if not name.endswith("num_batches_tracked"):
            assert np.array_equal(value.numpy(), new[name])
    found = dict(variables(twin))
    assert len(found) == len(twin.variables)
    for name, variable in found.items():
        assert np.array_equal(to_torch(np.asarray(variable)), new[name])
        assert variable.dtype == dtype
    if dtype == "float64":
        assert_close(twin(images()), run(model.eval(), images()))


def spoil(state: dict[str, np.ndarray], fault: str) -> dict[str, np.ndarray]:
    state = dict(state)
    if fault == "everything":
        del state["conv_in.bias"]
        state["conv_on.bias"] = np.zeros(64, "float32")
        state["conv_out.weight"] = np.zeros((64, 5, 4, 4), "float32")
        state["skip64DN_arr.1.convo1.weight"] = state["skip64DN_arr.1.convo1.weight"][:, :32]
    elif fault == "a block":
        state = {name: each for name, each in state.items() if not name.startswith("skip64DN_arr.1.")}
    elif fault == "names":
        state = {f"module.{name}": each for name, each in state.items()}
    elif fault == "dtypes":
        state["conv_in.bias"] = state["conv_in.bias"].astype("float64")
    elif fault == "integers":
        state = {name: each.astype("int64") for name, each in state.items()}
    elif fault == "both spellings":
        state["skip64dsDN.conv1.weight"] = state["skip64dsDN.convo1.weight"] + 1
    return state


FAULTS = {
    "everything": [
        r"missing=\['conv_in.bias'\], extra=\['conv_on.bias'\]",
        r"conv_out.weight \(64, 5, 4, 4\) instead of \(64, 5, 3, 3\)",
        r"skip64DN_arr.1.conv1.weight \(64, 32, 3, 3\) instead of \(64, 64, 3, 3\)",
    ],
    "a block": [r"missing=\[\], extra=\['skip128DN_arr.1.bn1.bias'"],
    "names": ["names must be those of DLStudio's mUNet"],
    "dtypes": [r"share one floating dtype; got dtypes=\[.*float32.*float64"],
    "integers": [r"share one floating dtype; got dtypes=\[.*int64"],
    "both spellings": ["each tensor must be given once.*skip64dsDN.conv1.weight"],
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("fault", FAULTS)
def test_from_dlstudio_refuses_what_does_not_fit(keras_torch: None, half: str, fault: str) -> None:
    state = spoil(dlstudio_state(), fault)
    with pytest.raises(ValueError) as caught:
        from_dlstudio(half, state)
    for message in FAULTS[fault]:
        assert caught.match(message)


def test_load_state_dict_takes_both_spellings_and_no_third() -> None:
    needs("torch")
    import torch

    state = {name: torch.from_numpy(value) for name, value in dlstudio_state().items()}
    model = make("torch_impl", depth=4)
    model.load_state_dict(state)
    want = model.state_dict()
    other = make("torch_impl", depth=4)
    other.load_state_dict(want)
    inside = torch.nn.Sequential(torch.nn.Identity(), make("torch_impl", depth=4))
    inside.load_state_dict({f"1.{name}": value for name, value in state.items()})
    for each in (other, inside[1]):
        assert all(torch.equal(*pair) for pair in zip(each.state_dict().values(), want.values(), strict=True))
    assert torch.equal(want["skip64dsDN.conv1.weight"], state["skip64dsDN.convo1.weight"])
    with pytest.raises(RuntimeError, match=r"Unexpected key.*skip64dsDN.convo1.weight"):
        make("torch_impl", depth=4).load_state_dict({**state, "skip64dsDN.conv1.weight": torch.zeros(1)})
    with pytest.raises(RuntimeError, match=r"Missing key.*skip64DN_arr.2"):
        make("torch_impl", depth=8).load_state_dict(state)


# --- other backends, and the other framework absent ---------------------------------------------------------

CHILD = """
import sys
import numpy as np
import keras
from tf_impl.munet import mUnet
assert keras.backend.backend() == sys.argv[2]
assert sys.argv[2] == "torch" or "torch" not in sys.modules
data = dict(np.load(sys.argv[1]))
x, want, trained = (data.pop(name) for name in ("x", "want", "trained"))
model = mUnet.from_dlstudio(data)
assert model.dtype == "float64"
for training, expected in ((False, want), (True, trained)):
    got = keras.ops.convert_to_numpy(model(x, training=training))
    assert got.shape == expected.shape and got.dtype == np.float64
    off = float(np.abs(got - expected).max() / np.abs(expected).max())
    assert off < 1e-12, (training, off)
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_munet_on_every_backend(keras_torch: None, backend: str, tmp_path: Path) -> None:
    """float64, both modes, from NumPy arrays under DLStudio's names; without torch where that is no backend."""
    if backend == "jax":
        needs("jax")
    state = dlstudio_state(4, "float64")
    model = from_dlstudio("torch_impl", state)
    x = images()
    want, trained = run(model.eval(), x), run(model.train(), x)
    np.savez(tmp_path / "state.npz", x=x, want=want, trained=trained, **state)  # type: ignore[arg-type]
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "state.npz"), backend],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "equal"
