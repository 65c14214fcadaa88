"""How many transposes a port has once it is exported: python benchmarks/transposes.py [FILE --input SIZES].

Each port becomes a LiteRT file in memory, and its TRANSPOSE operations are counted. A convolutional network that a person
writes in Keras has none. Without FILE the ports of docs/ports are taken, with the inputs they were proved on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "records" / "twin_ports.json"


def operations(model: Any, shape: Sequence[int]) -> Counter[str]:
    """How often each operation stands in the LiteRT file of a Keras model.

    Args:
        model: built.
        shape: of its input, batch included.
    """
    import tensorflow

    signature = tensorflow.TensorSpec(tuple(shape), tensorflow.float32)
    lite = tensorflow.lite
    with tempfile.TemporaryDirectory() as folder:  # only a saved model's weights become constants
        model.export(folder, format="tf_saved_model", verbose=False, input_signature=[signature])
        content = lite.TFLiteConverter.from_saved_model(folder).convert()
    plain = lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LiteRT is about to move to a package of its own
        interpreter = lite.Interpreter(model_content=content, experimental_op_resolver_type=plain)
    return Counter(step["op_name"] for step in interpreter._get_ops_details())


def counted(file: Path, size: str) -> dict[str, int]:
    """The operations of a port in all, and its transposes."""
    from parity.adapters.spec import load_model

    found = operations(load_model(f"{file}:build"), [int(part) for part in size.split("x")])
    return {"operations": sum(found.values()), "transposes": found["TRANSPOSE"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a port has a transpose."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="a port to Keras")
    parser.add_argument("--input", help="the sizes of its input, such as 1x64x96x3")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.file is not None:
        if options.input is None:
            parser.error("a file needs --input, the sizes of its input, such as 1x64x96x3")
        rows = {options.file.stem: (options.file, options.input)}
    else:
        known = json.loads(RECORD.read_text(encoding="utf-8"))
        rows = {name: (ROOT / "docs" / "ports" / f"{name}.py", row["input"]) for name, row in known.items()}
    print("| port | operations | transposes |\n|---|---|---|")
    worst = 0
    for name, (file, size) in rows.items():
        found = counted(file, size)
        worst = max(worst, found["transposes"])
        print(f"| {name} | {found['operations']} | {found['transposes']} |", flush=True)
    return int(worst > 0)


if __name__ == "__main__":
    sys.exit(main())
