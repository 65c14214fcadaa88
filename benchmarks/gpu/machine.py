"""What is measured on: the card, its driver and memory, and every version. Runs in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.modes import set_environment

ROOT = Path(__file__).resolve().parents[2]
MARK = "machine: "


class NoDeviceError(RuntimeError):
    """The device that was asked for cannot be used by both frameworks."""


def describe(device: str, seconds: float = 120.0) -> dict[str, str]:
    """Facts by name, found with the environment in which the work will run; it is set here.

    Without XLA's switch for repeatable kernels where this build of JAX does not know it: it would end the process.

    Raises:
        NoDeviceError: a framework is missing, or cannot use the device.
    """
    for deterministic in (True, False):
        set_environment(device, deterministic)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.gpu.machine", device],
                cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise NoDeviceError(
                f"PyTorch and JAX must answer within {seconds:.0f} s; got no answer from the {device}. Look at the driver."
            ) from error
        found = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
        if done.returncode == 0 and found:
            facts: dict[str, str] = json.loads(found[-1].removeprefix(MARK))
            return facts | {
                "xla deterministic": "yes" if deterministic else "no: this XLA has no such switch"
            }
        if "nknown flag" not in done.stderr:
            break
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    raise NoDeviceError(
        f"PyTorch and JAX must both compute on the {device}; got: {last} Or try the script with --device cpu."
    )


def main() -> None:
    """Print the facts as one line of JSON; a traceback where the device cannot be used."""
    device = sys.argv[1]
    from parity.adapters.devices import keras_device, torch_device
    from parity.adapters.frameworks import import_torch
    from parity.core.environment import environment

    import_torch()  # not import_frameworks: it would swallow the last words of a framework that ends the process
    import jax
    import keras  # noqa: F401  # part of the question
    import torch

    where, there = torch_device(device), keras_device(device)
    with jax.default_device(there):
        assert float(jax.numpy.ones(3).sum()) == 3.0
    assert float(torch.ones(3, device=where).sum()) == 3.0
    facts = environment() | {"device": device, "jax device": str(there.device_kind)}
    facts = {name: value for name, value in facts.items() if "tf32" not in name}  # each mode sets it
    if device == "gpu":
        free, total = torch.cuda.mem_get_info()
        facts |= {
            "card": torch.cuda.get_device_name(0),
            "compute capability": ".".join(map(str, torch.cuda.get_device_capability(0))),
            "memory GiB": f"{total / 2**30:.0f}",
            "free GiB": f"{free / 2**30:.0f}",
            "driver": _driver(),
            "cuda of torch": str(torch.version.cuda),
            "cudnn of torch": str(torch.backends.cudnn.version()),
        }
    else:
        facts |= {"card": f"none: a stand-in on {os.cpu_count()} CPU cores"}
    print(MARK + json.dumps(facts))


def _driver() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown: nvidia-smi does not answer"
    return done.stdout.splitlines()[0].strip()


if __name__ == "__main__":
    main()
