"""The networks' pages in a browser: nothing is wider than the page, on a phone and on a desk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsers import BROWSERS, in_browser

pytestmark = pytest.mark.browser
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "models"
WIDTHS = (390, 500, 800, 1280)  # pixels

# A frame has the width of the window that it stands for, and its own media queries.
MEASURE = """
const found = {};
for (const name of NAMES) for (const width of WIDTHS) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.src = `${name}?frame`;
  await new Promise((ready) => { frame.onload = ready; document.body.append(frame); });
  const page = frame.contentDocument, root = page.documentElement;
  const cut = [...page.querySelectorAll(".code, .wide")].filter((box) => box.scrollWidth > box.clientWidth + 1);
  const out = [...page.querySelectorAll("body *")].filter((each) => !each.closest(".drawing")
    && each.getBoundingClientRect().right > width + 1);
  found[`${name} at ${width}`] = [root.scrollWidth - width, cut.length, out.map((each) => each.tagName).slice(0, 5)];
  frame.remove();
}
return found;
"""


def measured(browser: str, folder: Path, tmp_path: Path) -> dict[str, Any]:
    names = sorted(path.name for path in folder.glob("*.html"))
    assert len(names) > 1
    script = MEASURE.replace("NAMES", json.dumps(names)).replace("WIDTHS", json.dumps(WIDTHS))
    found: dict[str, Any] = in_browser(browser, folder, "index.html", script, tmp_path / "profile")
    return found


@pytest.mark.parametrize("browser", BROWSERS)
def test_nothing_is_cut_or_overflows(browser: str, tmp_path: Path) -> None:
    found = measured(browser, FOLDER, tmp_path)
    assert {name: what for name, what in found.items() if what[0] > 0 or what[1] or what[2]} == {}


def test_a_wide_table_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    text = (FOLDER / "unet.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text((FOLDER / "index.html").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "unet.html").write_text(
        text.replace("table-layout: fixed", "min-width: 1280px"), encoding="utf-8"
    )
    found = measured("chromium", folder, tmp_path)
    assert found["unet.html at 500"][1]
    assert not found["index.html at 500"][1]


@pytest.mark.parametrize("browser", BROWSERS)
def test_the_switch_of_the_site_counts_on_a_page_of_its_own(browser: str, tmp_path: Path) -> None:
    """What the site keeps is for its root: a page in a folder reads it there, whatever the machine prefers."""
    script = """
    const key = `${new URL("..", location).pathname}.__palette`, ground = [];
    for (const scheme of ["slate", "default", null]) {
      if (scheme) localStorage.setItem(key, JSON.stringify({index: 0, color: {scheme}})); else localStorage.removeItem(key);
      const frame = document.createElement("iframe");
      frame.src = "unet.html?frame";
      await new Promise((ready) => { frame.onload = ready; document.body.append(frame); });
      ground.push(getComputedStyle(frame.contentDocument.body).backgroundColor);
    }
    return ground;
    """
    light, dark = "rgb(255, 255, 255)", "rgb(20, 24, 28)"
    assert in_browser(browser, FOLDER, "index.html", script, tmp_path / "profile") == [dark, light, light]
