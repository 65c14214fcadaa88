"""What is wrong with a data set, before a network is trained on it."""

from __future__ import annotations

from datasets.lint.command import lint, main
from datasets.lint.linter import Linter, Problem

__all__ = ["Linter", "Problem", "lint", "main"]
