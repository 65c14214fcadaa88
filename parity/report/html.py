"""Reports as one self-contained HTML page: no script, nothing to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
:root{--ink:#1d2733;--dim:#5c6b7a;--line:#dde3ea;--ok:#1a7f4b;--bad:#b3261e;--open:#9a6700;--back:#f6f8fa}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);max-width:72rem;margin:2rem auto;padding:0 1.2rem}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2.2rem 0 .4rem}
p{margin:.4rem 0}.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%;margin:.6rem 0}
th,td{padding:.4rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;color:var(--dim);font-size:.85rem}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:13px ui-monospace,monospace;background:var(--back);padding:.05rem .3rem;border-radius:3px;
overflow-wrap:break-word}
td.p{min-width:9rem;max-width:18rem}
.v{font-weight:600;white-space:nowrap}
.EQUAL{color:var(--ok)}.DIVERGED{color:var(--bad)}.INCONCLUSIVE{color:var(--open)}
details{margin:.3rem 0}summary{cursor:pointer;color:var(--dim)}
"""
VERDICTS = ("EQUAL", "DIVERGED", "INCONCLUSIVE")


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The page for a list of results as plain values (Result.to_dict or Report.to_dict)."""
    counts = {verdict: sum(item["verdict"] == verdict for item in results) for verdict in VERDICTS}
    head = " · ".join(
        f'<span class="v {name}">{count} {name}</span>' for name, count in counts.items() if count
    )
    facts: Mapping[str, str] = next((item["environment"] for item in results if item.get("environment")), {})
    versions = " · ".join(f"{escape(name)} {escape(value)}" for name, value in facts.items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Parity report</title><style>{STYLE}</style><h1>Parity report</h1><p>{head}</p>"
        "<p class=dim>Differences are the greatest of any output element, relative to the output's greatest magnitude. "
        "float64 judges the structure (bound 1e-11); float32 is judged against each side's own float64 result.</p>"
        f"{_table(results)}{''.join(_details(item) for item in results)}"
        f"<h2>Environment</h2><p class=dim>{versions}</p></html>\n"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td><a href="#{escape(item["name"])}">{escape(item["name"])}</a></td>'
        f"<td class=n>{item.get('parameters', 0):,}</td><td class=n>{_number(item['max_rel_diff'])}</td>"
        f"<td class=n>{_number(item.get('float32_rel_diff'))}</td><td class=n>{item['seconds']:.1f}</td>"
        f'<td class="v {item["verdict"]}">{item["verdict"]}</td></tr>'
        for item in results
    )
    return (
        "<table><tr><th>system<th class=n>parameters<th class=n>float64<th class=n>float32<th class=n>seconds"
        "<th>verdict</tr>"
        f"{rows}</table>"
    )


def _details(item: Mapping[str, Any]) -> str:
    findings = "".join(
        f"<tr><td class=n>{i}</td><td>{escape(finding['kind'])}</td>{_place(finding['keras'])}"
        f"{_place(finding['torch'])}<td>{_why(finding)}</td></tr>"
        for i, finding in enumerate(item["findings"], 1)
    )
    table = (
        f"<table><tr><th class=n>#<th>kind<th>Keras layer<th>torch layer<th>evidence</tr>{findings}</table>"
        if findings
        else "<p class=dim>No difference found.</p>"
    )
    comparisons = "".join(
        f"<tr><td>{escape(name)}</td><td class=n>{report['elements']:,}</td><td class=n>{_number(report['structure'])}</td>"
        + "".join(
            f"<td class=n>{_number(report['precision'].get(key))}</td>"
            for key in ("keras_error", "torch_error", "disagreement", "allowed")
        )
        + f'<td class="v {report["verdict"]}">{report["verdict"]}</td></tr>'
        for name, report in item.get("comparisons", {}).items()
    )
    if comparisons:
        comparisons = (
            "<details><summary>Comparisons</summary><table><tr><th>weights copied, picture<th class=n>elements"
            "<th class=n>float64<th class=n>Keras float32 error<th class=n>torch float32 error<th class=n>float32 apart"
            f"<th class=n>allowed<th>verdict</tr>{comparisons}</table></details>"
        )
    notes = "".join(f"<p class=dim>{escape(note)}</p>" for note in item.get("notes", []))
    name, verdict = escape(item["name"]), item["verdict"]
    head = f'<h2 id="{name}">{name} <span class="v {verdict}">{verdict}</span></h2>'
    return f"{head}{table}{notes}{comparisons}"


def _place(path: str | None) -> str:
    """A cell with a path, which may break after a dot."""
    return f"<td class=p><code>{escape(path or '–').replace('.', '.<wbr>')}</code></td>"


def _why(finding: Mapping[str, Any]) -> str:
    cause = f"<b>{escape(finding['cause'])}</b>: " if finding["cause"] else ""
    fix = ""
    if finding["fix"]:
        fix = f"<br>Fix{' (verified)' if finding['fix_verified'] else ''}: {escape(finding['fix'])}"
    evidence = ";<br>".join(map(escape, finding["evidence"].split("; ")))
    return f"{cause}{evidence}{fix}"
