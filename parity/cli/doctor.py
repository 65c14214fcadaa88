"""parity doctor: the environment, looked at."""

from __future__ import annotations

import argparse

from parity.adapters.frameworks import import_frameworks
from parity.cli.exits import DONE, FAILED
from parity.doctor import examine


def run(options: argparse.Namespace) -> int:
    """Say what is installed, how it is set, and which known trouble it invites."""
    import_frameworks()
    facts, checks = examine()
    print("  ".join(f"{name} {value}" for name, value in facts.items()))
    for check in checks:
        advice = f" -> {check.advice}" if check.advice else ""
        print(f"{'ok  ' if check.ok else 'FAIL'}  {check.subject}: {check.found}{advice}")
    return DONE if all(check.ok for check in checks) else FAILED
