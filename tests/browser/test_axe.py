"""axe-core reads the pages: no fault that keeps people out, in light and dark, on a desk and on a phone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parity.report.files import write_html
from parity.report.result import Result
from tests.browser.browsers import in_browser
from tests.browser.synthetic import made_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "build" / "axe" / "axe_playwright_python" / "axe.min.js"
WIDTHS = (390, 1280)  # pixels
SITE = (
    "index.html", "results.html", "handbook/cause-kernel-flip.html", "api/index.html", "models/unet.html",
    "arithmetic/index.html",
)  # fmt: skip
"""One page of each sort. The last is the interactive one."""
SECONDS = 500
"""For all of them on a busy machine."""

# Every page stands in a frame of its own, in which axe runs; what is folded is opened first.
READ = """
const source = await (await fetch("/axe.min.js")).text();
const found = {};
for (const name of PAGES) for (const width of WIDTHS) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.src = name;
  await new Promise((ready) => { frame.onload = ready; document.body.append(frame); });
  const page = frame.contentDocument;
  for (const each of page.querySelectorAll("details")) each.open = true;
  await new Promise((ready) => setTimeout(ready, 300));
  frame.contentWindow.eval(source);
  const {violations, passes} = await frame.contentWindow.axe.run(page, {resultTypes: ["violations"]});
  const faults = violations.filter((rule) => ["serious", "critical"].includes(rule.impact));
  found[`${name} at ${width}`] = {
    passes: passes.length,
    dark: frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches,
    faults: faults.map((rule) => `${rule.id} x ${rule.nodes.length}: ` + rule.nodes.slice(0, 3).map(
      (node) => `${node.target.join(" ")} ${node.any.concat(node.all, node.none).map((one) => one.message).join("; ")}`)),
  };
  frame.remove();
}
return found;
"""


def read(folder: Path, pages: list[str], profile: Path, dark: bool) -> dict[str, Any]:
    """What axe finds in pages below a folder."""
    if not AXE.is_file():
        pytest.skip("needs browser; `make env` puts axe-core into build/axe")
    (folder / "start.html").write_text("<!doctype html><html><head></head><body></body></html>")
    if not (folder / "axe.min.js").exists():
        (folder / "axe.min.js").write_bytes(AXE.read_bytes())
    script = READ.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS))
    found: dict[str, Any] = in_browser(
        "chromium", folder, "start.html", script, profile, width=1300, dark=dark, seconds=SECONDS
    )
    assert len(found) == len(pages) * len(WIDTHS)
    assert all(one["passes"] > 5 and one["dark"] is dark for one in found.values())
    return {name: one["faults"] for name, one in found.items() if one["faults"]}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the site, and with reports of one pair, of several, and of none that differ."""
    folder = tmp_path_factory.mktemp("pages")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    write_html(folder / "one.html", made_up(30, 4))
    reports = [made_up(12, faults, seed=faults) for faults in (0, 2)]
    results = [
        Result(f"pair {i}", 5, report.verdict, 1.0, 0.5, None, report.findings, {"a": report})
        for i, report in enumerate(reports)
    ]
    write_html(folder / "several.html", results)
    return folder


def test_nothing_keeps_people_out(pages: Path, tmp_path: Path) -> None:
    """One test, so that one worker builds the site."""
    names = ["one.html", "several.html", *(f"site/{name}" for name in SITE)]
    found = {dark: read(pages, names, tmp_path / f"profile-{dark}", dark) for dark in (False, True)}
    assert found == {False: {}, True: {}}


def test_seeded_faults_are_noticed(tmp_path: Path) -> None:
    page = "<!doctype html><html lang=en><head><title>t</title></head><body><main><h1>t</h1>{}</main></body></html>"
    (tmp_path / "right.html").write_text(
        page.format("<p>text</p><button>press</button>" + "<label>a<input></label>")
    )
    (tmp_path / "wrong.html").write_text(
        page.format("<p style='color: #bbb'>text</p><button></button><input>")
    )
    found = read(tmp_path, ["right.html", "wrong.html"], tmp_path / "profile", dark=False)
    assert list(found) == ["wrong.html at 390", "wrong.html at 1280"]
    assert {fault.split(" ")[0] for fault in found["wrong.html at 390"]} == {
        "button-name",
        "color-contrast",
        "label",
    }
