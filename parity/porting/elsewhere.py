"""The port on further Keras backends, each in a process of its own, because a process has one backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from parity.adapters import adapt
from parity.adapters.frameworks import import_frameworks
from parity.adapters.probe import randomise
from parity.adapters.spec import load_model
from parity.core.errors import in_a_line
from parity.core.verdict import Verdict
from parity.porting.constants import settle
from parity.porting.proof import PortCheck, built, copied_weights, in_order, told
from parity.verdict.compare import compare

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
LIMIT = 900
"""Seconds that one backend may take."""
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""XLA's flags for JAX: a proof runs each operation a few times, and compiling it takes most of the time."""
CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
from parity.porting.elsewhere import main
main(sys.argv.pop(1))
"""


def further_backends(spec: str, port: Path, inputs: Any, seed: int) -> Iterator[PortCheck]:
    """The outputs again on each backend that is installed and is not this process's own.

    Args:
        spec: names the source.
        port: the file that holds `build()`.
        inputs: in the Keras layout.
        seed: of the random weights.
    """
    own = sys.modules["keras"].config.backend()
    for backend, name in BACKENDS.items():
        if backend != own and importlib.util.find_spec(backend) is not None:
            yield PortCheck(name, *_asked(backend, spec, port, inputs, seed))


def _asked(backend: str, spec: str, port: Path, inputs: Any, seed: int) -> tuple[Verdict, str]:
    keyed = isinstance(inputs, Mapping)
    arrays = list(inputs.values()) if keyed else inputs if isinstance(inputs, list) else [inputs]
    with tempfile.TemporaryDirectory(prefix="parity-port-") as folder:
        np.savez(Path(folder) / "inputs.npz", *arrays)
        asked = {
            "source": spec,
            "port": str(port),
            "seed": seed,
            "keys": [list(key) if isinstance(key, tuple) else key for key in inputs] if keyed else None,
            "several": keyed or isinstance(inputs, list),
        }
        (Path(folder) / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        child = [sys.executable, "-P", "-c", CHILD, json.dumps(sys.path), folder]
        try:
            done = subprocess.run(
                child,
                env=_environment(backend),
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Verdict.INCONCLUSIVE, f"stopped after {LIMIT} s"
        answer = Path(folder) / "answer.json"
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            return Verdict.INCONCLUSIVE, f"ended with code {done.returncode}: {last[:200]}"
        verdict, text = json.loads(answer.read_text(encoding="utf-8"))
    return Verdict[verdict], text


def _environment(backend: str) -> dict[str, str]:
    """What the process of a backend is started with; the user's own flags for XLA come last, and win."""
    chosen = {**os.environ, "KERAS_BACKEND": backend}
    if backend == "jax":
        chosen["XLA_FLAGS"] = f"{QUICKLY} {os.environ.get('XLA_FLAGS', '')}".strip()
    return chosen


def main(folder: str) -> None:
    """Answer what `further_backends` asks, from the files in a folder."""
    import_frameworks()
    asked = json.loads((Path(folder) / "asked.json").read_text(encoding="utf-8"))
    with np.load(Path(folder) / "inputs.npz") as held:
        arrays = [held[name] for name in held.files]
    inputs: Any = arrays if asked["several"] else arrays[0]
    if asked["keys"] is not None:
        keys = [tuple(key) if isinstance(key, list) else key for key in asked["keys"]]
        inputs = dict(zip(keys, arrays, strict=True))
    source, port = load_model(asked["source"]), built(Path(asked["port"]), inputs)
    randomise(adapt(source), asked["seed"])
    try:
        settle(source, port)
        copied_weights(source, port, inputs, None)
        report = compare(*in_order(source, port), inputs, quick=True)
        answer = report.verdict, f"{report.max_rel_diff:.1e}" if report else told(report)
    except Exception as error:  # the models' own code raises what it likes
        answer = Verdict.INCONCLUSIVE, in_a_line(error)
    (Path(folder) / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
