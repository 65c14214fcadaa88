"""parity repro: one finding of a report as a script."""

from __future__ import annotations

import argparse

from parity.cli.exits import DONE
from parity.report.repro.write import write


def run(options: argparse.Namespace) -> int:
    """Write a script that builds a finding's two layers and shows the difference without parity, and its tensors."""
    tensors = write(options.report, options.finding, options.output, options.pair)
    print(f"{options.output} and {tensors}: run it with python {options.output}")
    return DONE
