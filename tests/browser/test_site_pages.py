"""A site's pages in a browser: no page is wider than a phone, and what is wide scrolls within its own frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsers import in_browser

pytestmark = pytest.mark.browser
WIDTHS = (390,)  # pixels

TOGETHER = 6  # frames
LIMIT = 400  # seconds

# A frame has the width of the window that it stands for, and its own media queries.
MEASURE = """
const found = {}, names = NAMES;
const measure = async (frame, name) => {
  frame.style.cssText = `width: ${WIDTHS[0]}px; height: 900px; border: 0`;
  frame.src = `${name}?frame`;
  await new Promise((ready) => { frame.onload = ready; document.body.append(frame); });
  const page = frame.contentDocument, root = page.documentElement;
  const scrolls = (each) => {
    for (let box = each.parentElement; box && box !== page.body; box = box.parentElement)
      if (["auto", "scroll", "hidden"].includes(frame.contentWindow.getComputedStyle(box).overflowX)) return true;
    return false;
  };
  for (const width of WIDTHS) {
    frame.style.width = `${width}px`;
    const out = [...page.querySelectorAll("article *, body > main *")].filter((each) =>
      each.getBoundingClientRect().right > width + 1 && !scrolls(each));
    const over = Math.max(root.scrollWidth, page.body.scrollWidth) - root.clientWidth;
    const reach = out.slice(0, 3).map((each) => each.outerHTML.slice(0, 90));
    if (over > 0 || reach.length) found[`${name} at ${width}`] = [over, reach];
  }
  frame.remove();
};
const next = async () => { while (names.length) await measure(document.createElement("iframe"), names.shift()); };
await Promise.all(Array.from({length: TOGETHER}, next));
return found;
"""


def overflowing(folder: Path, tmp_path: Path) -> dict[str, Any]:
    """Pages by name and width, with how many pixels too wide they are and what reaches out."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    script = MEASURE.replace("NAMES", json.dumps(names)).replace("WIDTHS", json.dumps(WIDTHS))
    script = script.replace("TOGETHER", str(TOGETHER))
    found: dict[str, Any] = in_browser(
        "chromium", folder, "index.html", script, tmp_path / "profile", seconds=LIMIT
    )
    return found


def test_a_wide_page_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    body = "<!doctype html><html><head><title>t</title></head><body><article>{}</article></body></html>"
    (folder / "index.html").write_text(body.format("<p>narrow</p>"), encoding="utf-8")
    wide = '<table style="width: 700px"><tr><td>wide</td></tr></table>'
    (folder / "wide.html").write_text(body.format(wide), encoding="utf-8")
    (folder / "framed.html").write_text(
        body.format(f'<div style="overflow-x: auto">{wide}</div>'), encoding="utf-8"
    )
    found = overflowing(folder, tmp_path)
    assert list(found) == ["wide.html at 390"]
    assert found["wide.html at 390"][0] > 300
