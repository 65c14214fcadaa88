"""Carries a command out: its module is imported here, once the arguments are known to be right."""

from __future__ import annotations

import argparse
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress

from parity.cli.exits import FAILED
from parity.cli.shown.errors import TRACEBACK, told
from parity.cli.terminal import complain
from parity.core.errors import UsageError


def carried_out(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code, whatever the models' own code raises.

    Args:
        options: parsed.
        arguments: that they were parsed from.
    """
    options.arguments = tuple(arguments)
    try:
        return _run(options)
    except UsageError as error:
        complain(str(error) or type(error).__name__)
    except SystemExit as error:  # the models' code, not ours: argparse has done its work before
        complain(
            f"the models' own code must not end the process; got sys.exit({error.code!r}) before a verdict."
        )
    except Exception as error:  # a model's own code raises what it likes
        if getattr(options, "verbose", False) or os.environ.get(TRACEBACK):
            with suppress(OSError, ValueError):
                traceback.print_exc()
        complain(told(error))
    return FAILED


def _run(options: argparse.Namespace) -> int:
    name = options.command
    if name == "check":
        from parity.cli import check

        return check.run(options)
    if name == "bisect":
        from parity.cli.bisecting import command

        return command.run(options)
    if name in ("models", "causes"):
        from parity.cli.listing import known

        return known.models(options) if name == "models" else known.causes(options)
    if name == "completion":
        from parity.cli.listing import completion

        return completion.run(options)
    if name == "doctor":
        from parity.cli.listing import doctor

        return doctor.run(options)
    from parity.cli.writing import convert, port, repro

    return {"convert": convert.run, "port": port.run, "repro": repro.run}[name](options)
