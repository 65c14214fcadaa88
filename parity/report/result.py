"""The report of one comparison with its faces: text, JSON and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parity.report.data import Comparison, Result
from parity.report.files import write_html, write_json
from parity.report.page.fragment import fragment
from parity.report.plain import plain
from parity.report.plot import plot
from parity.report.text import summary

__all__ = ["Report", "Result"]


class Report(Comparison):
    """What a comparison found, and its faces; `Comparison` lists the attributes."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a figure that is not finite becomes None, because JSON cannot hold it."""
        return plain(self)

    def to_json(self, path: str | Path) -> None:
        """Write the report as JSON and the findings' tensors, at most 32 MB, to a .safetensors file next to it."""
        write_json(path, self)

    def to_html(self, path: str | Path) -> None:
        """Write the report as one self-contained page."""
        write_html(path, self)

    def __str__(self) -> str:
        """The verdict, its figures, and every finding."""
        return summary(self)

    def _repr_html_(self) -> str:
        """The report in a notebook."""
        return fragment(self)

    def plot(self, axes: Any = None) -> Any:
        """Draw each layer's error in execution order, or what an EQUAL verdict rests on.

        Args:
            axes: matplotlib's, to draw into; None makes a figure.

        Returns:
            The axes.

        Raises:
            UsageError: matplotlib is not installed.
        """
        return plot(self, axes)
