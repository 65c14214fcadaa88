"""parity convert: a weight file of one framework as one of the other."""

from __future__ import annotations

import argparse

from parity import catalog
from parity.adapters.frameworks import import_frameworks
from parity.cli.asked import read_mapping
from parity.cli.exits import DONE
from parity.cli.terminal import waiting
from parity.core.errors import UsageError
from parity.weights import checkpoint


def run(options: argparse.Namespace) -> int:
    """Read a weight file of one framework and write it for the other; nothing in the file is executed."""
    mapping = read_mapping(options.mapping)
    if options.model:
        entry = catalog.find(options.model)
        keras, torch, mapping = entry.keras, entry.torch, mapping or dict(entry.mapping)
    elif options.keras and options.torch:
        keras, torch = options.keras, options.torch
    else:
        raise UsageError("convert must know the model; got neither --model nor both of --keras and --torch.")
    with waiting(f"{options.source} to {options.destination}"):
        import_frameworks()
        notes: list[str] = []
        count = checkpoint.convert(options.source, options.destination, keras, torch, mapping, notes.append)
    for text in notes:
        print(f"note: {text}")
    print(f"{options.destination}: {count} tensors, read back bit for bit")
    return DONE
