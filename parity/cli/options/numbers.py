"""Numbers on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def at_least(bound: int) -> Callable[[str], int]:
    """A whole number that is not below the bound."""

    def number(text: str) -> int:
        value = int(text)
        if value < bound:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {bound}; got {text}")
        return value

    number.__name__ = "whole number"  # what argparse calls it where int() refuses the text
    return number
