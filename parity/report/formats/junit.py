"""Results as JUnit's XML: a test case for each pair."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from parity.core.files.whole_file import whole_file
from parity.core.verdict import Verdict
from parity.report.data import Result
from parity.report.groups import groups
from parity.report.rests import rests_on
from parity.report.text import listed

UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def write_junit(path: Path, results: Sequence[Result], lacking: Sequence[Result] = ()) -> None:
    """Write the results: DIVERGED is a failure, INCONCLUSIVE an error.

    Args:
        path: the file; its folder is made where there is none.
        results: of all pairs.
        lacking: those that are EQUAL and fail, since something is unproven (--strict).

    Raises:
        OSError: the file cannot be written.
    """
    bad = [result.verdict for result in results]
    failed = bad.count(Verdict.DIVERGED) + len(lacking)
    suite = ElementTree.Element(
        "testsuite",
        name="parity",
        tests=str(len(results)),
        failures=str(failed),
        errors=str(bad.count(Verdict.INCONCLUSIVE)),
        skipped="0",
        time=f"{sum(result.seconds for result in results):.2f}",
    )
    for result in results:
        suite.append(_case(result, any(one is result for one in lacking)))
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        ElementTree.ElementTree(whole).write(partial, encoding="utf-8", xml_declaration=True)


def _case(result: Result, lacking: bool) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", classname="parity", name=_plain(result.name), time=f"{result.seconds:.2f}"
    )
    lines = "\n".join(listed(result.findings))
    if result.verdict is Verdict.EQUAL:
        text = "\n".join([rests_on(result), *(f"unproven: {entry}" for entry in result.unproven)])
        if lacking:
            made = ElementTree.SubElement(case, "failure", message="something is unproven", type="UNPROVEN")
            made.text = _plain(text)
        elif text:
            ElementTree.SubElement(case, "system-out").text = _plain(text)
        return case
    tag = "failure" if result.verdict is Verdict.DIVERGED else "error"
    names = ", ".join(dict.fromkeys(group.name for group in groups(result.findings)))
    message = f"{result.verdict}: {names or 'nothing could be compared'}"
    made = ElementTree.SubElement(case, tag, message=_plain(message), type=result.verdict.value)
    made.text = _plain(lines)
    return case


def _plain(text: str) -> str:
    return UNPRINTABLE.sub("?", text)
