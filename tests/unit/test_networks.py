"""Every network trains and predicts from the scripts, whatever its outputs are, and on VOC's folder."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.errors import RunError
from datasets.prediction.reading import Reading
from datasets.purdue_shapes import generate, save
from datasets.training.feeding import framed, middle, network_inputs, surrounded
from datasets.training.networks import NETWORKS, named
from datasets.training.recipe import Recipe
from tests.conftest import needs

HALVES = {"tf_impl": "keras", "torch_impl": "torch"}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
SIZE = (32, 40)
SMALL = {
    "mUnet": "mUnet(depth=2)",
    "FCN": "fcn(width=8)",
    "VGGFCN": "VGGFCN(hidden=16, width=8, stride=16)",
    "UNet": "UNet(width=4, dropout=0.0, batch_norm=True)",  # unpadded, and larger than the images
    "DilatedFCN": "DilatedFCN(backbone='resnet18', width=8)",
    "DeepLabV2": "DeepLabV2(backbone='resnet18', width=8)",
    "DeepLabV3": "DeepLabV3(backbone='resnet18', channels=8, width=8, auxiliary=True)",
    "DeepLabV3Plus": "DeepLabV3Plus(backbone='resnet18', channels=8, width=8)",
    "BuildingNet": "BuildingNet(width=8)",
}
RUNS = [(half, name) for half in HALVES for name in SMALL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    for part, count, seed in (("train", 8, 0), ("test", 2, 1)):
        save(path / f"shapes-{count}-{part}.gz", generate(count, seed, SIZE))
    return path


def rows(out: Path) -> Any:
    return np.genfromtxt(out / "loss.csv", delimiter=",", skip_header=1)


@pytest.mark.slow
@pytest.mark.table(share=3)
@pytest.mark.parametrize(("half", "name"), RUNS)
def test_networks_train_and_predict_from_the_scripts(
    half: str, name: str, folder: Path, tmp_path: Path
) -> None:
    needs(HALVES[half])
    train, predict = (importlib.import_module(f"{half}.{script}") for script in ("train", "predict"))
    flags = ["--data", str(folder), "--out", str(tmp_path / "run"), "--model", SMALL[name], "--quiet"]
    flags += [
        "--epochs",
        "12",
        "--batch-size",
        "4",
        "--validation",
        "0.5",
        "--check-every",
        "12",
        "--no-tensorboard",
    ]
    assert train.main([*flags, "--augment", "none", "--learning-rate", "1e-2"]) == 0
    losses = rows(tmp_path / "run")[:, 2]
    assert len(losses) == 12
    assert losses[-1] < 0.9 * losses[0]  # of the same four images
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["name"] == name
    assert config["model"]["arguments"]["num_classes"] == 5
    checkpoint = tmp_path / "run" / importlib.import_module(f"{half}.checkpoints").CHECKPOINT
    command = [
        "--checkpoint",
        str(checkpoint),
        "--data",
        str(folder),
        "--out",
        str(tmp_path / "found"),
        "--quiet",
    ]
    assert predict.main(command) == 0
    scores = json.loads((tmp_path / "found" / "metrics.json").read_text())
    assert 0 <= scores["mean_iou"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["UNet", "DeepLabV3", "BuildingNet"])
def test_both_halves_train_alike_whatever_the_outputs(name: str) -> None:
    """In float64 from the same weights: the rim of the images, and the weight of the further outputs."""
    needs("torch")
    needs("keras")
    import torch  # isort: skip  (before TensorFlow)
    import keras

    import parity
    import tf_impl.train
    import torch_impl.train
    from datasets.training.recipe import Machine

    recipe = Recipe(
        batch_size=5, steps=2, loss="bce-dice", inputs="imagenet", auxiliary=0.3, learning_rate=1e-2
    )
    arguments = {**named(SMALL[name])[1], **NETWORKS[name].fixed, "num_classes": 5}
    networks = [half.train.make_model(arguments, "float64", name=name) for half in (torch_impl, tf_impl)]
    for module in networks[0].modules():  # what is dropped is drawn apart
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for layer in networks[1]._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    parity.transfer(*networks)
    data = generate(10, 3, SIZE)
    found = [
        half.train.train(network, data.images, data.masks, recipe, machine=Machine("float64"))
        for half, network in zip((torch_impl, tf_impl), networks, strict=True)
    ]
    assert len(found[0]) == 2
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_fcn_trains_on_vocs_folder(half: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs(HALVES[half])
    from tests.voc_folder import write

    root = tmp_path / "VOC2012"
    write(root)
    train, predict = (importlib.import_module(f"{half}.{script}") for script in ("train", "predict"))
    flags = ["--model", "FCN(width=8)", "--data", str(root), "--out", str(tmp_path / "run"), "--quiet"]
    flags += ["--crop", "40", "56", "--batch-size", "2", "--epochs", "3", "--inputs", "imagenet"]
    assert train.main(flags) == 2
    assert "Give --loss cross-entropy or cross-entropy-dice." in capsys.readouterr().err
    assert train.main([*flags, "--loss", "cross-entropy", "--void", "background"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"] | {"path": ""} == config["data"] | {
        "path": "",
        "void": "background",
        "crop": [40, 56],
    }
    assert config["model"]["arguments"]["num_classes"] == 21
    assert np.isfinite(rows(tmp_path / "run")[:, 2]).all()
    table = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "val_iou_aeroplane" in table[0]
    checkpoint = tmp_path / "run" / importlib.import_module(f"{half}.checkpoints").CHECKPOINT
    command = ["--checkpoint", str(checkpoint), "--data", str(root / "JPEGImages"), "--quiet"]
    assert predict.main([*command, "--out", str(tmp_path / "found"), "--limit", "2"]) == 0


def test_a_published_backbone_is_read_in_both(tmp_path: Path) -> None:
    needs("torch")
    import torch

    from torch_impl import ResNet
    from torch_impl.checkpoints import read_backbone
    from torch_impl.train import make_model

    torch.manual_seed(1)
    published, network = ResNet(18, width=8), {"name": "FCN", "arguments": {"num_classes": 3, "width": 8}}
    path = tmp_path / "resnet18.pth"
    state = published.state_dict()  # with its classifier, and as old files without the counts
    torch.save({name: value for name, value in state.items() if "num_batches" not in name}, path)
    model = make_model(network["arguments"], name="FCN")
    assert not torch.equal(model.backbone.conv1.weight, published.conv1.weight)
    read_backbone(model, path, network, "float32")
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, state[name]), name
    with pytest.raises(RunError, match=r"weights must fit it; got .* the first bn1.bias"):
        read_backbone(make_model({"width": 16}, name="FCN"), path, network, "float32")
    with pytest.raises(RunError, match="for networks that have one; got model=mUnet"):
        read_backbone(make_model({"depth": 2}), path, {"name": "mUnet"}, "float32")
    needs("keras")
    import tf_impl.train
    from tf_impl.checkpoints import read_backbone as keras_backbone

    other = tf_impl.train.make_model(network["arguments"], name="FCN")
    keras_backbone(other, path, network, "float32")
    kernel = np.array(other.backbone.conv1.weights[0])
    np.testing.assert_array_equal(kernel, published.conv1.weight.detach().numpy().transpose(2, 3, 1, 0))


def test_a_published_vgg_classifier_becomes_convolutions_in_both(tmp_path: Path) -> None:
    needs("torch")
    import torch

    from torch_impl import VGG16
    from torch_impl.checkpoints import read_backbone
    from torch_impl.train import make_model

    arguments: dict[str, Any] = {"num_classes": 3, "stride": 32, "hidden": 24, "width": 4}
    network = {"name": "VGGFCN", "arguments": arguments}
    torch.manual_seed(1)
    published = torch.nn.Sequential()
    published.add_module("features", VGG16(width=4).features)
    dense = torch.nn.Sequential(torch.nn.Linear(32 * 7 * 7, 24), torch.nn.ReLU(), torch.nn.Dropout())
    dense.append(torch.nn.Linear(24, 24)).append(torch.nn.Linear(24, 10))
    published.add_module("classifier", dense)
    path = tmp_path / "vgg16.pth"
    torch.save(published.state_dict(), path)
    model = make_model(arguments, name="VGGFCN")
    assert read_backbone(model, path, network, "float32") == ["backbone", "fc6", "fc7"]
    features = torch.randn(2, 32, 7, 7)
    with torch.no_grad():
        want = dense[3](torch.relu(dense[0](features.flatten(1))))
        got = model.fc7(torch.relu(model.fc6(features)))
    np.testing.assert_allclose(got.flatten(1), want, rtol=0, atol=1e-5)
    smaller = make_model(
        arguments | {"hidden": 16}, name="VGGFCN"
    )  # another classifier: its own weights stay
    assert read_backbone(smaller, path, network, "float32") == ["backbone"]
    needs("keras")
    import tf_impl.train
    from tf_impl.checkpoints import read_backbone as keras_backbone

    other = tf_impl.train.make_model(arguments, name="VGGFCN")
    assert keras_backbone(other, path, network, "float32") == ["backbone", "fc6", "fc7"]
    got = np.array(other.fc7(other.fc6(features.permute(0, 2, 3, 1).numpy()).numpy().clip(0)))
    np.testing.assert_allclose(got.reshape(2, -1), want, rtol=0, atol=1e-5)


def test_the_table_is_what_the_packages_have() -> None:
    needs("torch")
    import torch_impl

    every = [getattr(torch_impl, name) for name in torch_impl.__all__]
    with_classes = {
        each.__name__
        for each in every
        if inspect.isclass(each) and "num_classes" in inspect.signature(each).parameters
    }
    blocks = {"AtrousBranches", "ResNet", "ResNetV2"}
    assert with_classes - blocks == set(NETWORKS) == set(SMALL)


def test_names_and_arguments() -> None:
    assert named("unet") == ("UNet", {})
    assert named(" DeepLabV3(backbone='resnet18', rates=(2, 4), auxiliary=True) ") == (
        "DeepLabV3",
        {"backbone": "resnet18", "rates": (2, 4), "auxiliary": True},
    )
    for text in ("UNet(16)", "UNet(", "a.UNet", "UNet(width=x)", "UNet(**{'a': 1})", ""):
        with pytest.raises(RunError, match="name with arguments"):
            named(text)
    with pytest.raises(RunError, match=r"must be one of mUnet, .*; got model='unett'"):
        named("unett")


def test_arguments_must_be_the_networks_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("torch")
    from torch_impl import train

    flags = ["--data", str(folder), "--out", str(tmp_path), "--quiet", "--validation", "0.5"]
    for more, told in (
        (["--model", "fcn", "--depth", "8"], "are mUnet's; got model=FCN"),
        (["--model", "fcn(breadth=8)"], "breadth"),
        (["--model", "BuildingNet", "--head-bias", "-3"], "head_bias needs one layer"),
        (["--crop", "8", "8"], "are for VOC's folder"),
    ):
        assert train.main([*flags, *more]) == 2
        assert told in capsys.readouterr().err


def test_images_are_framed_and_outputs_cut_at_the_same_places() -> None:
    """A network that drops a rim gives back the images."""

    class Dropping:
        def input_size(self, height: int, width: int) -> tuple[int, int]:
            return 16 * (-(-height // 16)) + 184, 16 * (-(-width // 16)) + 184

    images = np.random.default_rng(0).integers(0, 256, (2, 33, 50, 3), np.uint8)
    framed_images = framed(images, Dropping())
    assert framed_images.shape == (2, 48 + 184, 64 + 184, 3)
    kept = framed_images[:, 92:-92, 92:-92]
    np.testing.assert_array_equal(kept[:, *middle(kept.shape[1:3], (33, 50))], images)
    assert framed(images, object()) is images
    line = np.arange(4, dtype=np.uint8)[None, :, None, None] * np.ones((1, 1, 2, 3), np.uint8)
    assert surrounded(line, (9, 2))[0, :, 0, 0].tolist() == [2, 1, 0, 1, 2, 3, 2, 1, 0]


@pytest.mark.parametrize("half", HALVES)
def test_unets_input_is_the_smallest_that_covers(half: str) -> None:
    needs(HALVES[half])
    own = importlib.import_module(f"{half}._shared.unet")
    for size in (1, 4, 5, 64, 100, 388, 389):
        found = own.input_size(size, False)
        own.check_image((found, found), False)
        assert own.output_size(found, False) >= size
        assert found == 188 or own.output_size(found - 16, False) < size
    assert [own.input_size(size, True) for size in (5, 64)] == [16, 64]


def test_imagenets_units() -> None:
    images = np.array([[[[0, 124, 255]]]], np.uint8)
    expected = [(0 - 0.485) / 0.229, (124 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(network_inputs(images, "imagenet", "float64")[0, 0, 0], expected, rtol=1e-15)
    reading = Reading.of({"recipe": {"loss": "cross-entropy", "inputs": "imagenet"}})
    np.testing.assert_array_equal(
        reading.scaled(images, "float32"), network_inputs(images, "imagenet", "float32")
    )


def test_one_image_alone_is_refused_where_averages_are_normalised(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("torch")
    from torch_impl import train

    flags = ["--data", str(folder), "--out", str(tmp_path / "run"), "--model", SMALL["DeepLabV3"], "--quiet"]
    assert train.main([*flags, "--batch-size", "7", "--validation", "0", "--epochs", "1"]) == 2
    assert "Choose another --batch-size than 7." in capsys.readouterr().err


def test_a_checkpoint_with_more_than_tensors_is_refused(tmp_path: Path) -> None:
    """A training script's own file: nothing of it is passed over without a word."""
    needs("torch")
    import torch

    from torch_impl.checkpoints import load_weights
    from torch_impl.train import make_model

    model, path = make_model({"depth": 2}), tmp_path / "model.pt"
    torch.save({"epoch": 3, **model.state_dict()}, path)
    with pytest.raises(RunError, match="tensors by name; got epoch of type int"):
        load_weights(model, path)
