"""What either half writes for other runtimes is the network: compared at once, refused where it differs."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datasets.errors import RunError
from datasets.export import agreement
from datasets.export.agreement import Agreement, agree, nudge
from datasets.export.command import whole
from datasets.purdue_shapes import CLASSES
from parity.core import tolerance
from tests.conftest import needs
from tests.networks import make

# Keras' variables lack a keyword that NumPy 2 asks for; NumPy then copies, as it should.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
FORMATS = {"onnx": "torch_impl", "savedmodel": "tf_impl", "litert": "tf_impl"}
OUT = {"onnx": "model.onnx", "savedmodel": "model", "litert": "model.tflite"}


def module(format: str) -> Any:
    """The half's export module, where its frameworks and the format's runtime are there."""
    half = FORMATS[format]
    needs("torch" if half == "torch_impl" else "keras")
    for name in ("onnx", "onnxscript", "onnxruntime") if format == "onnx" else ("tensorflow",):
        pytest.importorskip(name, reason=f"needs {name}; install the extra export")
    return importlib.import_module(f"{half}.export")


def samples(channels: int, *shapes: tuple[int, int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((*shape, channels)).astype(np.float32) for shape in shapes]


# ---- what counts as equal: NumPy alone ----------------------------------------------------------------------

WEIGHTS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


class Plain:
    """A network of one matrix, and of another one exported."""

    def __init__(self) -> None:
        self.weights = WEIGHTS

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        return [images @ self.weights]

    def nudged(self, share: float) -> Any:
        @contextlib.contextmanager
        def context() -> Any:
            self.weights = nudge(WEIGHTS, share, np.random.default_rng(0))
            yield
            self.weights = WEIGHTS

        return context()


def test_another_order_of_summation_agrees() -> None:
    plain, [x] = Plain(), samples(3, (2, 5, 7))
    backwards = [(x[..., ::-1].astype(np.float64) @ WEIGHTS[::-1]).astype(np.float32)]
    [found] = agree(plain, lambda images: backwards, plain.nudged, [x])
    assert found
    assert 0 < found.greatest < found.allowed < 1e-4 * found.scale


@pytest.mark.parametrize("fault", ["weight", "nan", "infinite", "shape", "outputs", "constant"])
def test_what_differs_is_refused(fault: str) -> None:
    plain, [x] = Plain(), samples(3, (2, 5, 7))
    [want] = plain(x)
    faults: dict[str, list[np.ndarray]] = {
        "weight": [x @ (WEIGHTS + np.float32(1e-4) * (WEIGHTS.max() == WEIGHTS))],
        "nan": [np.where(want == want.max(), np.nan, want)],
        "infinite": [np.where(want == want.max(), np.inf, want)],
        "shape": [want[:, :, :6]],
        "outputs": [want, want],
        "constant": [np.zeros_like(want)],
    }
    with pytest.raises(RunError, match="file must"):
        agree(plain, lambda images: faults[fault], plain.nudged, [x])


def test_the_allowance_follows_from_the_network() -> None:
    """A network whose output is a small difference of large numbers is allowed more of its scale."""

    class Cancelling(Plain):
        def __call__(self, images: np.ndarray) -> list[np.ndarray]:
            return [1e4 * (images @ self.weights) - 1e4 * (images @ WEIGHTS) + images @ WEIGHTS]

    [x] = samples(3, (2, 5, 7))
    allowed = [agree(each, each, each.nudged, [x])[0].allowed for each in (Plain(), Cancelling())]
    assert allowed[1] > 1000 * allowed[0]


def write_twice(place: Path) -> None:
    place.mkdir()
    (place / "saved_model.pb").write_text("third")
    place.write_text("fourth")


def test_a_place_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    saved, full = tmp_path / "new" / "saved", tmp_path / "full"
    for content in ("first", "second"):  # the second takes the place of the first
        with whole(saved) as place:
            place.mkdir()
            (place / "saved_model.pb").write_text(content)
    with pytest.raises(IsADirectoryError), whole(saved) as place:
        write_twice(place)
    assert (saved / "saved_model.pb").read_text() == "second"
    assert [path.name for path in saved.parent.iterdir()] == ["saved"]
    full.mkdir()
    (full / "photographs").write_text("precious")
    with pytest.raises(RunError, match="must be new"), whole(full) as place:
        place.mkdir()
    assert (full / "photographs").read_text() == "precious"


# ---- the two halves ------------------------------------------------------------------------------------------

# (class, arguments, shapes of the inputs (N, H, W)): mUnet's last layer, a transposed convolution of stride 2 and
# dilation 2, and a network that resizes to the picture's size. docs/export.md has every network in every format.
NETWORKS: dict[str, tuple[str, dict[str, Any], list[tuple[int, int, int]]]] = {
    "conv_out": (
        "ConvTranspose2d",
        {
            "in_channels": 3,
            "out_channels": 5,
            "kernel_size": 3,
            "stride": 2,
            "dilation": 2,
            "output_padding": 1,
            "padding": 2,
        },
        [(2, 9, 14), (1, 16, 11)],
    ),
    "DeepLab": (
        "DeepLabV2",
        {"num_classes": 3, "backbone": "vgg16", "rates": (1, 2), "width": 2},
        [(2, 33, 50), (1, 40, 25)],
    ),
}
CASES = [("conv_out", "onnx"), ("conv_out", "litert"), ("DeepLab", "onnx"), ("DeepLab", "savedmodel")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "format"), CASES)
def test_the_export_is_the_network(name: str, format: str, tmp_path: Path) -> None:
    """Two batches of two sizes agree; a weight changed afterwards does not."""
    export = module(format)
    kind, arguments, shapes = NETWORKS[name]
    model, x = make(FORMATS[format], kind, **arguments), samples(3, *shapes)
    found = export.export(model, tmp_path / OUT[format], x, format)
    assert [one.shape for one in found] == [each.shape for each in x]
    assert all(one.greatest <= one.allowed < 1e-3 * one.scale for one in found)
    assert [path.name for path in tmp_path.iterdir()] == [OUT[format]]
    weight = change(model)
    with pytest.raises(RunError, match="greatest difference"):
        export.verify(model, tmp_path / OUT[format], x, format)
    assert weight > 0


def change(model: Any) -> float:
    """Make one element of the first kernel larger; how much."""
    by = 1e-2
    if hasattr(model, "state_dict"):
        import torch

        with torch.no_grad():
            next(iter(model.parameters())).view(-1)[0] += by
        return by
    kernel = next(weight for weight in model.weights if weight.path.endswith("kernel"))
    value = np.array(kernel)
    value.flat[0] += by
    kernel.assign(value)
    return by


@pytest.mark.parametrize("half", ["torch_impl", "tf_impl"])
def test_weights_and_modes_come_back(half: str) -> None:
    """The comparison moves every weight; afterwards they are what they were, to the bit."""
    export = module({"torch_impl": "onnx", "tf_impl": "savedmodel"}[half])
    layer = make(half, "BatchNorm2d", num_features=4)
    before = [np.array(value) for value in arrays(layer)]
    with export._nudged(layer, 2.0**-14):
        moved = [np.array(value) for value in arrays(layer)]
    assert any((a != b).any() for a, b in zip(before, moved, strict=True))
    for a, b in zip(before, arrays(layer), strict=True):
        np.testing.assert_array_equal(a, np.array(b))


def arrays(layer: Any) -> list[Any]:
    if hasattr(layer, "weights"):
        return list(layer.weights)
    return [value.numpy().copy() for value in layer.state_dict().values()]


# ---- the scripts ---------------------------------------------------------------------------------------------

ARGUMENTS = {
    "depth": 2,
    "head": "dlstudio",
    "schedule": "released",
    "skip_connections": True,
    "num_classes": 5,
}
CONFIG: dict[str, Any] = {
    "model": {"name": "mUnet", "arguments": ARGUMENTS},
    "classes": list(CLASSES),
    "recipe": {"inputs": "unit", "loss": "bce-dice"},
    "dtype": "float32",
}


@pytest.fixture(scope="module", params=["onnx", "savedmodel"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A mUnet's checkpoint beside its configuration, exported by the script: what it was told, said and wrote."""
    export = module(request.param)
    half, folder = FORMATS[request.param], tmp_path_factory.mktemp("run")
    checkpoint = folder / importlib.import_module(f"{half}.checkpoints").CHECKPOINT
    model = importlib.import_module(f"{half}.train").make_model(ARGUMENTS)
    importlib.import_module(f"{half}.checkpoints").save_weights(model, checkpoint)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    out = folder / "new" / OUT[request.param]
    words = ["--checkpoint", str(checkpoint), "--format", request.param, "--size", "32x40"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert export.main([*words, "--out", str(out)]) == 0
    return SimpleNamespace(module=export, words=words, said=said.getvalue(), out=out)


@pytest.mark.slow
def test_the_command_writes_compares_and_says(exported: Any) -> None:
    lines = exported.said.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["input (2, 32, 40, 3)", "input (1, 48, 88, 3)"]
    assert "rounding explains" in lines[0]
    assert "any batch, images of any size; inputs: unit, outputs: logits" in lines[2]
    assert [path.name for path in exported.out.parent.iterdir()] == [exported.out.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    "exported", ["onnx"], indirect=True
)  # the rest of the way is shared; weights are above
def test_an_export_that_differs_leaves_nothing(
    exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exporter writes another network than the checkpoint's: one line, exit code 2, no file."""
    monkeypatch.setattr(exported.module, "_write", lambda model, path, *rest: shutil.copy(exported.out, path))
    checkpoint = exported.module.read_checkpoint

    def read(model: Any, *rest: Any) -> None:
        checkpoint(model, *rest)
        change(model)

    monkeypatch.setattr(exported.module, "read_checkpoint", read)
    assert exported.module.main([*exported.words, "--out", str(tmp_path / exported.out.name)]) == 2
    error = capsys.readouterr().err
    assert "the file must give the network's outputs; got input (2, 32, 40, 3): greatest difference" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("half", ["torch_impl", "tf_impl"])
def test_inputs_that_say_nothing_are_refused(half: str, tmp_path: Path) -> None:
    export = module({"torch_impl": "onnx", "tf_impl": "savedmodel"}[half])
    layer = make(half, "Conv2d", in_channels=3, out_channels=2, kernel_size=3)
    two = samples(3, (2, 9, 8), (1, 8, 9))
    for wrong, fixed in (([], False), (two[1:], False), ([two[0][0]], False), (two, True)):
        with pytest.raises(RunError, match="samples must"):
            export.export(layer, tmp_path / "out", wrong, fixed=fixed)
    with pytest.raises(RunError, match="float32"):
        export.export(layer, tmp_path / "out", [two[0].astype(np.float64)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["PRECISION_FACTOR", "COORDINATE_FACTOR"])
def test_the_bound_is_that_of_parity(name: str) -> None:
    """`datasets` imports nothing of parity, so the bound is written down twice."""
    assert getattr(agreement, name) == getattr(tolerance, name)


def test_the_roundoff_is_that_of_parity() -> None:
    assert tolerance.UNIT_ROUNDOFF["float32"] == agreement.ROUNDOFF


def test_an_agreement_is_true_within_what_rounding_explains() -> None:
    assert Agreement((1, 2, 2, 3), 1.0, 1.0, 1.0, (0,), 0)
    assert not Agreement((1, 2, 2, 3), float("inf"), 1.0, 1.0, (0,), 0)
    assert not Agreement((1, 2, 2, 3), float("nan"), 1.0, 1.0, (0,), 0)


def test_a_comparison_of_nothing_is_refused() -> None:
    sample = np.ones((2, 4, 6, 3), np.float32)

    def nudged(share: float) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def network(images: Any) -> list[Any]:
        return [images * 2]

    def nan(images: Any) -> list[Any]:
        return [images * np.nan]

    assert len(agree(network, network, nudged, [sample])) == 1
    with pytest.raises(RunError, match="there must be images to compare on"):
        agree(network, network, nudged, [])
    for nothing in (nan, lambda images: [images[:0]], lambda images: []):
        with pytest.raises(RunError, match="must give finite numbers to compare"):
            agree(nothing, nothing, nudged, [sample])


def test_a_network_that_overflows_when_it_is_nudged_is_allowed_no_more() -> None:
    sample, calls = np.ones((2, 4, 6, 3), np.float32), [0]

    def network(images: Any) -> list[Any]:
        calls[0] += 1
        return [images if calls[0] == 1 else images * np.inf]

    with pytest.raises(RunError, match="must give the network's outputs"):
        agree(network, lambda images: [images * 1.01], lambda share: contextlib.nullcontext(), [sample])
