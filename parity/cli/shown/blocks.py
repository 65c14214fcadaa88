"""Findings as a person reads them: a line for each cause, then each cause as a block; plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from parity.cli.terminal import READABLE, Screen
from parity.core.finding import Finding, Fix, Kind
from parity.report.data import Result
from parity.report.groups import CauseGroup
from parity.report.rests import first, rests_on
from parity.report.text import evidence_parts, listed, numbering, parted, proven_lines

SEVERITIES: Mapping[str, str] = {"error": "bold red", "warning": "bold yellow"}
MARGIN = (0, 0, 0, 2)
WIDE = 72
"""Columns from which the causes' lines have the places too."""
WIDEST = 96
"""Columns from which they have the files and lines as well."""


def findings(found: Sequence[Finding], screen: Screen, every: bool = False) -> RenderableType:
    """A dozen causes: in plain lines for a pipe; for a person a line for each, then each as a block.

    Args:
        found: the findings of a pair.
        screen: where they are shown.
        every: all of them, each by itself.
    """
    if not screen.watched:
        return Text("\n".join(listed(found, every)))
    groups, rest = parted(found, every)
    parts: list[RenderableType] = [Text("")]
    if len(groups) > 1:
        parts.append(Padding(causes(groups, min(screen.width, READABLE)), (0, 0, 1, 2)))
    parts += [_block(group) for group in groups]
    return Constrain(
        Group(
            *parts,
            *(Padding(Text(line), MARGIN) for line in rest),
            *(Padding(Text(line, "dim"), MARGIN) for line in numbering(groups)),
        ),
        READABLE,
    )


def causes(groups: Sequence[CauseGroup], width: int) -> RenderableType:
    """A line for each cause: severity, number, name, effect, and as far as they fit the place, the file and the line."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for style, no_wrap in (("", True), ("dim", True), ("", False), ("", True), ("", False), ("", False)):
        grid.add_column(style=style, no_wrap=no_wrap, overflow="fold")
    for group in groups:
        cells: list[Text] = [
            Text(group.severity, SEVERITIES[group.severity]),
            Text(str(group.number)),
            Text(group.name, "bold magenta" if group.main.cause else ""),
            Text(_effect(group)),
        ]
        if width >= WIDE:
            more = f" and {len(group.findings) - 1} more" if len(group.findings) > 1 else ""
            cells.append(Text(f"{group.main.place}{more}"))
        if width >= WIDEST:
            cells.append(Text(group.main.written, "cyan"))
        grid.add_row(*cells)
    return grid


def _effect(group: CauseGroup) -> str:
    """The greatest difference relative to the scale at its place."""
    return f"{group.effect:.1e}" if 0.0 < group.effect < float("inf") else ""


def _block(group: CauseGroup) -> RenderableType:
    """Severity, place and cause; file and line; what was measured, other places, and the fix; under their number."""
    number, finding = group.number, group.main
    kind = "" if finding.kind is Kind.ERROR else f": {finding.kind}"
    head = Text.assemble((group.severity, SEVERITIES[group.severity]), f"{kind} at ", (finding.place, "bold"))
    if finding.cause:
        head.append(f" [{finding.cause}]", "bold magenta")
    parts: list[RenderableType] = [head]
    if finding.written:
        parts.append(_places(finding))
    measured = Table.grid(padding=(0, 1, 0, 0))
    measured.add_column(style="dim")
    measured.add_column(overflow="fold")
    for part in evidence_parts(finding.evidence):
        measured.add_row("·", Text(part))
    if group.also:
        measured.add_row("·", Text(f"{len(group.findings)} places: {group.also}"))
    parts.append(measured)
    if finding.fix:
        tried = " (verified)" if finding.fix_verified else ""
        parts.append(Text.assemble((f"Fix{tried}:", "bold green"), f" {finding.fix}"))
        if isinstance(finding.fix, Fix) and finding.fix.otherwise:
            parts.append(Text.assemble(("or ", "bold green"), finding.fix.otherwise))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", width=5, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(f"{number}.", Group(*parts))
    return Padding(grid, (0, 0, 1, 0))


def _places(finding: Finding) -> Text:
    """file:line of either side; a terminal makes it a link."""
    lines = [(at, side) for at, side in ((finding.keras_at, "Keras"), (finding.torch_at, "torch")) if at]
    if len({at for at, _ in lines}) == 1:
        return Text.assemble((lines[0][0], "cyan"))
    parts = [Text.assemble((at, "cyan"), (f" {side}", "dim")) for at, side in lines]
    return Text("  ").join(parts)


def proven(result: Result, screen: Screen, whole: bool) -> list[RenderableType]:
    """What an EQUAL verdict rests on, in a line; and what it does not rest on, a line each, where all is asked for."""
    line = rests_on(result)
    if not line:
        return []
    if not screen.watched:
        return [Text("\n".join(proven_lines(result) if whole else proven_lines(result)[:1]))]
    shown, more = first(result.unproven) if whole else ([], "")
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("rests on", line)
    for i, entry in enumerate(shown):
        grid.add_row("" if i else "unproven", Text(entry, "yellow"))
    if more:
        grid.add_row("", Text(more, "dim"))
    return [Constrain(Padding(grid, (0, 0, 1 if whole else 0, 2)), READABLE)]
