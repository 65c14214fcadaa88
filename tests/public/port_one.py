"""One port of the list, written and proved. Prints one line of JSON.

python -m tests.public.port_one NAME [--keep FOLDER] [--unproved] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

from tests.public.one import stub_torchvision
from tests.public.ports import KERAS, TORCH


def written(name: str, keep: Path | None, proved: bool, quick: bool) -> dict[str, Any]:
    """What became of one port."""
    import parity
    from parity.adapters.spec import load_model
    from parity.cli.inputs import inputs_of
    from tests.public.measures import measured

    row = {**TORCH, **KERAS}[name]
    started = time.perf_counter()
    output = None if keep is None else keep / f"{name}.py"
    made = parity.port(row.spec, inputs_of(row.input.split()), output=output, proved=proved, quick=quick)
    found: dict[str, Any] = {
        "name": name,
        "verdict": str(made.verdict),
        "proofs": {one.name: [str(one.verdict), one.text] for one in made.proofs},
        "unwritten": [str(one) for one in made.unwritten],
        "wrong": [str(one) for one in made.wrong],
        "seconds": round(time.perf_counter() - started, 1),
    }
    if name in TORCH or row.kind == "subclassed":
        found["measures"] = measured(made.written, load_model(row.spec)).to_dict()
    return found


def main() -> None:
    """Print the row of one port."""
    parser = argparse.ArgumentParser(prog="python -m tests.public.port_one", description=__doc__)
    parser.add_argument("name", choices=[*TORCH, *KERAS])
    parser.add_argument("--keep", type=Path, help="folder for the text")
    parser.add_argument("--unproved", action="store_true", help="write alone")
    parser.add_argument("--quick", action="store_true", help="prove quickly")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    from parity.adapters.frameworks import import_frameworks

    import_frameworks()
    stub_torchvision()
    os.environ["PYTHONPATH"] = str(
        Path(__file__).with_name("site")
    )  # the same in the processes of other backends
    print("ROW " + json.dumps(written(asked.name, asked.keep, not asked.unproved, asked.quick)), flush=True)


if __name__ == "__main__":
    main()
