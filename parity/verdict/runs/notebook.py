"""What a comparison is at, as one line below a notebook's cell."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from parity.verdict.runs.progress import Stage, heard, is_heard


def _in_notebook() -> bool:
    """Whether a kernel runs this, so that somebody sees what is displayed; imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def line_in_notebook() -> Iterator[None]:
    """While this is open, show the stages and their times in a line; nothing outside notebooks, or where one is shown."""
    if is_heard() or not _in_notebook():
        yield
        return
    from IPython.display import display

    stages: list[tuple[Stage, float]] = []

    def text(now: str = "") -> dict[str, str]:
        ends = [start for _, start in stages[1:]] + [time.perf_counter()]
        done = [f"{stage} {end - start:.1f} s" for (stage, start), end in zip(stages, ends, strict=True)]
        return {"text/plain": ", ".join([*(done[:-1] if now else done), *([f"{now} ..."] if now else [])])}

    shown: Any = display({"text/plain": "..."}, raw=True, display_id=True)

    def begun(stage: Stage) -> None:
        stages.append((stage, time.perf_counter()))
        shown.update(text(stage), raw=True)

    with heard(begun):
        try:
            yield
        finally:
            shown.update(text(), raw=True)
