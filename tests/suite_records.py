"""What a run of a suite found, as the JSON that docs/records keeps: `python -m tests.fuzz`, `python -m tests.kills`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def record(
    results: Mapping[str, Mapping[str, Any]],
    counted: str,
    faults: str,
    of: str,
    command: Sequence[str],
    seed: int,
    path: Path | None,
) -> int:
    """Sum up what was found, print it, and write it down; returns an exit code: 1 where anything was wrong.

    Args:
        results: what was found, by name. Each has a count, seconds, and a list of faults.
        counted, faults: their names there, such as "inputs" and "crashes".
        of: what the names are, such as "readers".
        command: the words of the command line that a reader of the record may repeat.
        seed: of the run.
        path: where the record goes; None where it is not kept.
    """
    whole = {
        "command": " ".join(["python", "-m", *command]),
        counted: sum(result[counted] for result in results.values()),
        "seconds": round(sum(result["seconds"] for result in results.values()), 1),
        faults: sum(len(result[faults]) for result in results.values()),
        "seed": seed,
        of: results,
    }
    print(f"{whole[counted]} {counted} in {whole['seconds']} s, {whole[faults]} {faults}")
    if path:
        path.write_text(json.dumps(whole, indent=1) + "\n")
    return int(bool(whole[faults]))
