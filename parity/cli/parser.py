"""The parser of every command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from parity.cli.options.bisect import add_bisect
from parity.cli.options.check import add_check
from parity.cli.options.writing import add_convert, add_port, add_repro
from parity.core import __version__

COMMANDS = {
    "check": (
        "copy weights, evaluate both sides, compare",
        "Copy weights both ways, evaluate both sides on the same pictures, and compare element by element. "
        "Without names: every pair of [tool.parity] in pyproject.toml.",
    ),
    "bisect": (
        "find the commit at which a pair parted",
        "Find the first commit of your git repository at which a pair is DIVERGED, between one at which it is EQUAL and "
        "a later one. Commits are checked out in a worktree of its own; your files stay as they are.",
    ),
    "repro": (
        "write a script that shows one finding",
        "Write a script that builds a finding's two layers and shows the difference without parity, and its tensors.",
    ),
    "convert": (
        "carry a weight file over",
        "Read a weight file of one framework and write it for the other; nothing in the file is executed.",
    ),
    "port": (
        "write a model in the other framework, and prove it",
        "Write a model's source in the other framework, copy its weights, and prove the port equal.",
    ),
    "models": ("list the catalogue", "List every pair: generation, trainable parameters, and source."),
    "causes": (
        "list the known causes, or explain one",
        "List every known cause: what was done, what the difference looks like, and what fixes it. "
        "With a name: that cause with a picture, and its fix on either side.",
    ),
    "doctor": (
        "look at the environment",
        "Say what is installed, how it is set, and which known trouble it invites.",
    ),
    "completion": (
        "print the shell's completion script",
        'Print a script that completes commands, options and names: eval "$(parity completion bash)".',
    ),
}
"""Every command: what it does in a few words, and in a sentence."""
USAGES = {
    "check": "parity check [NAME ...] [options]\n       parity check --keras SIDE --torch SIDE [options]",
    "bisect": "parity bisect --good COMMIT [--bad COMMIT] NAME [options]\n"
    "       parity bisect --good COMMIT [--bad COMMIT] --keras SIDE --torch SIDE [options]",
    "port": "parity port --torch M:A --input SPEC -o F.py [options]\n       parity port --keras M:A -o F.py [options]",
}
"""In place of those that argparse makes: they fill a screen, also in front of each error."""
MODELS_RUN = {"check", "convert", "port"}


class _Commands(argparse.HelpFormatter):
    """Leaves room for the longest command: before Python 3.12 argparse forgets that commands are indented."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action.choices, dict):
            self._action_max_length = max(
                self._action_max_length, max(map(len, action.choices)) + 2 * self._indent_increment
            )


def parser() -> argparse.ArgumentParser:
    """The parser; among the parsed options are the `command`, and `models_run`: whether it runs the models' code."""
    made = argparse.ArgumentParser(
        prog="parity",
        description="Are a Keras model and a torch module the same?",
        formatter_class=_Commands,
    )
    made.add_argument("--version", action="version", version=f"parity {__version__}")
    commands = made.add_subparsers(required=True, metavar="COMMAND", dest="command")
    added = {name: _command(commands, name) for name in COMMANDS}
    add_check(added["check"])
    add_bisect(added["bisect"])
    add_repro(added["repro"])
    add_convert(added["convert"])
    add_port(added["port"])
    added["causes"].add_argument(
        "names", nargs="*", metavar="NAME", help="causes to explain; default: all, as a list"
    )
    added["completion"].add_argument(
        "shell", choices=("bash", "zsh", "fish"), help="the shell that will read it"
    )
    for name in ("models", "causes"):
        added[name].add_argument(
            "--json", type=Path, metavar="F", help="write the list as JSON; - writes to standard output"
        )
    for name in ("convert", "port"):
        added[name].add_argument("--verbose", action="store_true", help="show the tracebacks of errors")
    return made


def _command(commands: Any, name: str) -> argparse.ArgumentParser:
    text, more = COMMANDS[name]
    added: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=more, usage=USAGES.get(name)
    )
    added.set_defaults(models_run=name in MODELS_RUN)
    return added
