"""One pair of the catalogue in every mode: parity's verdict, how far apart, how long; and whether that was expected."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.gpu.modes import multiplication
from benchmarks.gpu.plan import Mode

TF32_USED = 1e-5
"""TF32 that moves an output by more than this share of its scale was used. Its unit is 5e-4, float32's is 6e-8."""

Row = dict[str, Any]


def check(
    name: str,
    keras_spec: str,
    torch_spec: str,
    shape: Sequence[int],
    modes: Sequence[Mode],
    device: str,
    quick: bool = True,
) -> Iterator[Row]:
    """Rows of one pair, one a mode, as soon as each is there; weights are carried over once.

    Args:
        name: of the pair, for the rows.
        keras_spec: "module:attribute(arguments)" of the Keras side, as in the catalogue.
        torch_spec: the same of the torch side.
        shape: (N, H, W, C) of the picture.
        modes: in this order.
        device: "cpu" or "gpu".
        quick: one picture alone, and not the further probes, for each of which JAX compiles everything anew.
    """
    import parity
    from parity.adapters import adapt
    from parity.adapters.frameworks import import_frameworks
    from parity.adapters.probe import build, randomise
    from parity.adapters.spec import load_model
    from parity.samples import shapes

    import_frameworks()
    picture = shapes(shape, None)
    torch_module, keras_model = load_model(torch_spec, "torch"), load_model(keras_spec, "keras")
    build(keras_model, picture)
    randomise(adapt(torch_module))
    pairing = parity.pair(keras_model, torch_module, inputs=picture)
    parity.transfer(torch_module, keras_model, pairing=pairing)
    for mode in modes:
        started, compiled = time.perf_counter(), Compilations.total()
        with multiplication(mode.tf32, device):
            report = parity.compare(
                keras_model,
                torch_module,
                picture,
                dtype=mode.dtype,
                device=device,
                pairing=pairing,
                quick=quick,
            )
        row: Row = {
            "pair": name,
            "mode": mode.name,
            "verdict": str(report.verdict.value),
            "max_abs_diff": report.max_abs_diff,
            "max_rel_diff": report.max_rel_diff,
            "findings": [
                {
                    "kind": str(f.kind.value),
                    "cause": f.cause,
                    "keras": f.keras,
                    "torch": f.torch,
                    "evidence": f.evidence,
                }
                for f in report.findings
            ],
            "seconds": time.perf_counter() - started,
        }
        row |= {key: after - before for (key, after), before in zip(
            Compilations.total().items(), compiled.values(), strict=True)}  # fmt: skip
        if mode.tf32:
            row["tf32_moved"] = moved_by_tf32(keras_model, torch_module, picture, device)
        yield row | {"expected": is_expected(row)}


def is_expected(row: Mapping[str, Any]) -> bool:
    """EQUAL in every mode; only where TF32 was used, the difference is found, and TF32 is all that is blamed."""
    used = sum(moved > TF32_USED for moved in row.get("tf32_moved", {}).values())
    if not used:
        return bool(row["verdict"] == "EQUAL")
    causes = [finding["cause"] for finding in row["findings"]]
    return row["verdict"] == "DIVERGED" and len(causes) >= used and set(causes) == {"tf32"}


def moved_by_tf32(keras_model: Any, torch_module: Any, picture: Any, device: str) -> dict[str, float]:
    """How far TF32 moves each side's float32 output, as a share of its scale; measured without parity's verdict."""
    import numpy as np

    from parity.adapters import adapt
    from parity.adapters.probe import to_torch_inputs

    found = {}
    keras = adapt(keras_model, device)
    for side, inputs in (
        (keras, [picture]),
        (adapt(torch_module, device), to_torch_inputs([picture], keras)),
    ):
        outputs = []
        for tf32 in (False, True):
            with multiplication(tf32, device), side.precision("float32"):
                outputs.append([np.asarray(value, np.float64) for _, value in side.forward(inputs)])
        found[side.side] = max(
            float(np.abs(on - off).max() / max(np.abs(off).max(), 1e-30))
            for off, on in zip(*outputs, strict=True)
        )
    return found


class Compilations:
    """How often, and for how long, JAX compiled in this process."""

    count, seconds = 0, 0.0
    watching = False

    @classmethod
    def total(cls) -> dict[str, float]:
        """The figures so far; counting begins with the first question."""
        import jax

        if not cls.watching:
            cls.watching = True
            jax.monitoring.register_event_duration_secs_listener(cls._heard)
        return {"compilations": cls.count, "compile_seconds": cls.seconds}

    @classmethod
    def _heard(cls, event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            cls.count += 1
            cls.seconds += seconds
