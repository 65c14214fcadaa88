"""`python -m tests.fuzz --inputs 200000`: every reader under atheris, guided by coverage; records what was found.

Each reader runs in a process of its own: a crash of a library's compiled part ends that process alone, and is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.suite_records import record

CHILD = "SEGPARITY_FUZZED_READER"
"""Environment variable: the reader that this process fuzzes."""
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [
    "datasets",
    "parity",
    "tf_impl",
    "torch_impl",
    "json",
    "pickle",
    "csv",
    "zipfile",
    "gzip",
    "tifffile",
    "shapely",
]
KEPT = ("timeout-", "crash-", "oom-", "leak-")
"""How the names of the files begin in which libFuzzer keeps an input that ended its process."""
LIMITS = ["-timeout=60", "-rss_limit_mb=4096", "-max_len=65536", "-print_final_stats=1"]


def fuzz_one(name: str, inputs: int, seed: int, found: Path) -> None:
    """Give one reader so many inputs; never returns: the library ends the process.

    Args:
        name: of the reader.
        inputs: how many.
        seed: of the mutations.
        found: gets a JSON line for each kind of crash, with an input that shows it, in hexadecimal digits.
    """
    import atheris

    with atheris.instrument_imports(include=PACKAGES, enable_loader_override=False):
        from tests.fuzz.readers import FOLDER, READERS, crash_of

        reader, kinds = READERS[name], set[str]()
        corpus = Path(FOLDER.name) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(reader.seeds()):
            (corpus / str(number)).write_bytes(data)
            crash_of(reader, data)  # what is imported on demand is seen too

    def one(data: bytes) -> None:
        crash = crash_of(reader, data)
        kind = crash and crash.partition(": ")[0]
        if crash and kind and kind not in kinds:
            kinds.add(kind)
            with found.open("a") as file:
                file.write(json.dumps({"crash": crash, "input": data.hex()}) + "\n")

    arguments = [sys.argv[0], f"-runs={inputs}", f"-seed={seed}", *LIMITS, str(corpus)]
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def fuzz(name: str, inputs: int, seed: int) -> dict[str, Any]:
    """Fuzz one reader in a process of its own; returns inputs, seconds, edges covered, and what crashed."""
    with tempfile.TemporaryDirectory() as folder:
        found, start = Path(folder) / "found", time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "tests.fuzz",
            "--inputs",
            str(inputs),
            "--seed",
            str(seed),
            "--found",
            str(found),
        ]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, CHILD: name, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
        )  # fmt: skip
        said = done.stderr.decode("utf-8", "replace")
        crashes = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
        if done.returncode:
            kept = [path.read_bytes() for path in Path(folder).iterdir() if path.name.startswith(KEPT)]
            crash = f"the process ended with {done.returncode}: {said[-1500:]}"
            crashes.append({"crash": crash, "input": kept[0].hex() if kept else ""})
    ran = [line.split()[-1] for line in said.splitlines() if "number_of_executed_units" in line]
    covered = [line.split("cov: ")[1].split()[0] for line in said.splitlines() if " cov: " in line]
    return {
        "inputs": int(ran[-1]) if ran else 0,
        "seconds": round(time.perf_counter() - start, 1),
        "edges": int(covered[-1]) if covered else 0,
        "crashes": crashes,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 where nothing crashed, 1 where anything did."""
    from tests.fuzz.readers import READERS

    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--inputs", type=int, default=200_000, metavar="N", help="of all readers; default: %(default)s"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the mutations; default: %(default)s"
    )
    parser.add_argument("--reader", action="append", choices=list(READERS), help="this one; default: all")
    parser.add_argument("--json", type=Path, metavar="F", help="where the figures go")
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.reader or list(READERS)
    shares = sum(READERS[name].share for name in names)
    results = {}
    for name in names:
        results[name] = fuzz(name, -(-options.inputs * READERS[name].share // shares), options.seed)
        shown = {key: value for key, value in results[name].items() if key != "crashes"}
        print(f"{name}: {shown}, {len(results[name]['crashes'])} crashes", flush=True)
        for crash in results[name]["crashes"]:
            print(f"  {crash['crash']}", flush=True)
    command = ["tests.fuzz", "--inputs", str(options.inputs)]
    return record(results, "inputs", "crashes", "readers", command, options.seed, options.json)


if __name__ == "__main__":
    if CHILD in os.environ:
        own = argparse.ArgumentParser()
        own.add_argument("--inputs", type=int)
        own.add_argument("--seed", type=int)
        own.add_argument("--found", type=Path)
        asked = own.parse_args()
        fuzz_one(os.environ[CHILD], asked.inputs, asked.seed, asked.found)
    else:
        sys.exit(main())
