"""The training command line of both halves: its flags."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from datasets.training.networks import NETWORKS
from datasets.training.recipe import PRESETS, Recipe
from datasets.voc.folder import VOIDS

DTYPES = ("float32", "float64", "bfloat16")
GROUPS = {
    "length": "length of the run",
    "data": "data",
    "objective": "objective",
    "optimizer": "optimizer",
    "reproduction": "reproduction",
}


def training_flags(package: str) -> argparse.ArgumentParser:
    """The flags of `python -m tf_impl.train` and `python -m torch_impl.train`."""
    parser = argparse.ArgumentParser(
        f"python -m {package}.train",
        description="Train a segmentation network. A preset gives every setting; a flag given takes its place.",
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), default="best", help="default: %(default)s")
    run = parser.add_argument_group("the run")
    run.add_argument(
        "--data",
        type=Path,
        required=True,
        help="training file, a folder with one *train*.gz, or a folder in VOC2012's layout",
    )
    run.add_argument("--out", type=Path, required=True, help="folder for checkpoints, configuration and logs")
    run.add_argument("--init", type=Path, help="checkpoint to start from")
    run.add_argument(
        "--backbone",
        type=Path,
        help="published PyTorch weights of the network's backbone, such as resnet18's",
    )
    run.add_argument("--resume", action="store_true", help="go on from the folder's last checkpoint, if any")
    run.add_argument("--log-every", type=int, default=1000, help="batches a loss line; default: %(default)s")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    run.add_argument(
        "--tensorboard", action=argparse.BooleanOptionalAction, default=True, help="default: yes"
    )
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for item in fields(Recipe):
        _add_setting(groups[item.metadata["group"]], item)
    groups["data"].add_argument(
        "--crop",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="VOC: what is cut out of an image; default: 320 480",
    )
    groups["data"].add_argument(
        "--void", choices=VOIDS, help="VOC: what the border between objects is; default: ignore"
    )
    groups["reproduction"].add_argument(
        "--deterministic", action="store_true", help="the same numbers in every run; slower on a GPU"
    )
    _model_flags(parser)
    machine = _machine_flags(parser)
    machine.add_argument(
        "--workers", type=int, default=0, help="processes that read ahead; default: %(default)s"
    )
    machine.add_argument("--compile", action="store_true", help="torch.compile, or XLA for Keras")
    machine.add_argument(
        "--devices", type=int, default=1, help="GPUs (or CPUs) of this machine that share a batch"
    )
    machine.add_argument(
        "--processes", type=int, default=1, help="how many share a batch, each started with the same command"
    )
    machine.add_argument("--process", type=int, default=0, help="which of them this is, from 0")
    machine.add_argument(
        "--coordinator", metavar="HOST:PORT", help="of process 0, for the processes to find one another"
    )
    parser.set_defaults(dtype="float32")
    return parser


def _add_setting(group: Any, item: Any) -> None:
    """One flag for one field of the recipe, with every preset's default."""
    default = " or ".join(
        f"{settings['recipe'].get(item.name, item.default)} ({name})" for name, settings in PRESETS.items()
    )
    flag = "--" + item.name.replace("_", "-")
    text = f"{item.metadata['help']}; default: {default}".replace("%", "%%")
    if item.type == "bool":
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        return
    kind = {"float": float, "str": str}.get(item.type.partition(" ")[0], int)
    group.add_argument(flag, type=kind, choices=item.metadata["choices"], help=text)


def _model_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the network")
    group.add_argument(
        "--model",
        default="mUnet",
        metavar="NAME",
        help=f"{', '.join(NETWORKS)}; arguments as in 'UNet(width=16)'; default: %(default)s",
    )
    group = parser.add_argument_group("mUnet")
    group.add_argument("--depth", type=int, help="the lecture's depth")
    group.add_argument("--head", choices=("dlstudio", "dense"), help="dense reaches every pixel")
    group.add_argument("--schedule", choices=("released", "printed", "intended"), help="order of the blocks")
    group.add_argument("--skip-connections", action=argparse.BooleanOptionalAction, help="inside the blocks")


def _machine_flags(parser: argparse.ArgumentParser) -> Any:
    group = parser.add_argument_group("machine")
    group.add_argument("--dtype", choices=DTYPES, help="of computation; bfloat16 keeps float32 weights")
    group.add_argument("--device", choices=("cpu", "gpu"), help="default: a GPU where there is one")
    return group


MACHINE = ("devices", "workers", "compile", "deterministic", "coordinator", "processes", "process")


def machine_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the machine, except dtype and device."""
    return {name: getattr(options, name) for name in MACHINE}
