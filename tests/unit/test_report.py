"""Reports: plain values, one self-contained page, text that fits a screen."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from parity.causes import CAUSES
from parity.core.finding import Finding, Kind
from parity.report.files import write_html, write_json
from parity.report.page.pictures import LARGEST, Picture, pictures
from parity.report.plain import plain
from parity.report.result import Report, Result
from parity.report.text import SHOWN, listed, short, summary
from tests.browser.synthetic import made_up

INF = float("inf")
FINDINGS = [
    Finding("a.conv", "a.conv", "layer", None, "on <identical> inputs & so on: greatest difference 0.1"),
    Finding("b", "c.0", "wiring", "concat-order", "input differs", "swap the operands", True),
    Finding(None, None, "output", None, "x" * 400),
]


def report(findings: list[Finding], verdict: str = "DIVERGED") -> Report:
    return Report(
        verdict,
        INF,
        0.5,
        findings,
        notes=["a note"],
        precision={"keras_error": INF},
        elements=6,
        pairs=[("a", "a")],
    )


def test_truth_and_first() -> None:
    assert not report(FINDINGS)
    assert report(FINDINGS).first is FINDINGS[0]
    assert report([], "EQUAL")
    assert report([], "EQUAL").first is None
    assert not report([], "INCONCLUSIVE")


def test_json_holds_no_infinities(tmp_path: Path) -> None:
    report(FINDINGS).to_json(tmp_path / "r.json")
    values = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert values["max_abs_diff"] is None
    assert values["max_rel_diff"] == 0.5
    assert values["precision"] == {"keras_error": None}
    assert values["findings"][1] == {
        "keras": "b", "torch": "c.0", "kind": "wiring", "cause": "concat-order", "evidence": "input differs",
        "fix": "swap the operands", "fix_verified": True,
    }  # fmt: skip
    result = Result(
        "name", verdict="DIVERGED", max_abs_diff=INF, findings=FINDINGS, reports={"x": report(FINDINGS)}
    )
    assert "Infinity" not in json.dumps(plain(result), allow_nan=False)


def test_the_keys_of_a_result_and_their_order() -> None:
    """Other programs read them: a key that goes or moves changes what `parity check --json` writes."""
    values = plain(Result("name", reports={"one way, picture": report(FINDINGS)}))
    assert list(values) == [
        "name", "verdict", "parameters", "max_abs_diff", "max_rel_diff", "float32_rel_diff", "findings",
        "comparisons", "seconds", "environment", "unproven", "proof", "causes",
    ]  # fmt: skip
    figures = [
        "verdict", "max_abs_diff", "max_rel_diff", "notes", "dtype", "structure", "structure_abs", "precision",
        "pairs", "layers", "graphs", "elements", "seconds", "training",
        "unproven", "proof",
    ]  # fmt: skip
    assert list(values["comparisons"]["one way, picture"]) == figures
    assert list(report([]).to_dict()) == [
        *figures[:3],
        "findings",
        *figures[3:13],
        "environment",
        *figures[13:],
        "causes",
    ]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.links, self.rows, self.images, self.targets = "", [], [], [], set()
        self.data = ""
        self._script: str | None = None
        self.feed(text)

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        elif self._script == "graphs-data":
            self.data += data

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        values = dict(attrs)
        self._script = (values.get("class") or tag) if tag in {"script", "style"} else None
        self.links += [value for name, value in attrs if name in {"src", "href"}]
        self.targets.add(values.get("id"))
        if "data-text" in values:
            self.rows.append(values)

    def handle_endtag(self, tag: str) -> None:
        self._script = None


def test_the_page_is_self_contained_and_escaped(tmp_path: Path) -> None:
    result = Result(
        "<pair> & co",
        verdict="DIVERGED",
        max_abs_diff=INF,
        findings=FINDINGS,
        reports={"x": report(FINDINGS)},
    )
    write_html(tmp_path / "sub" / "r.html", [result])
    parsed = Page((tmp_path / "sub" / "r.html").read_text())
    for text in (
        "<pair> & co",
        "<identical> inputs & so on",
        "Fix (verified): swap the operands",
        "concat-order",
        CAUSES["concat-order"].mechanism,
        "x" * 400,
        "1 DIVERGED",
        "inf absolute",
        "a note",
    ):
        assert text in parsed.text
    for link in parsed.links:
        assert link.startswith("data:image/png;base64,") or link[1:] in parsed.targets, link
    text = (tmp_path / "sub" / "r.html").read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|\bfetch\(|XMLHttpRequest", text)


def traced() -> Report:
    """A report with layers, one of which two torch modules make, and graphs."""
    made = made_up(20, 2)
    made.layers[3]["torch"] = "body.0.3, body.0.3b"
    made.layers[5] |= {"own": INF, "arrived": None, "finding": None}
    made.graphs["torch"]["nodes"][-1]["label"] = "</script><b>"
    return made


def test_layers_and_graphs_are_in_the_page(tmp_path: Path) -> None:
    made = traced()
    write_html(tmp_path / "r.html", made)
    parsed = Page((tmp_path / "r.html").read_text())
    faulty = [i for i, row in enumerate(made.layers) if row["finding"] is not None]
    assert len(parsed.rows) == 20
    assert [i for i, row in enumerate(parsed.rows) if row.get("class") == "bad"] == sorted([*faulty, 5])
    assert parsed.text.count("▶ first divergence") == 1
    assert "inf" in parsed.text
    data = json.loads(parsed.data)
    assert len(data["keras"]["nodes"]) == len(made.graphs["keras"]["nodes"])
    assert data["torch"]["edges"] == made.graphs["torch"]["edges"]
    assert [node[5] for node in data["keras"]["nodes"] if node[3]] == list(range(20))
    state = {node[5]: node[6] for node in data["keras"]["nodes"]}
    assert {i for i, name in state.items() if name == "bad"} == {*faulty, 5}
    assert state[-1] == ""
    assert state[0] == "ok"
    assert data["torch"]["nodes"][-1][1] == "</script><b>"


def test_figures_of_training_are_in_the_page(tmp_path: Path) -> None:
    made = report([], "EQUAL")
    made.training = {"gradients_training": 1.25e-13, "losses": {"keras": [1.5, 1.25], "torch": [1.5, 1.25]}}
    write_html(tmp_path / "r.html", made)
    write_html(tmp_path / "s.html", [Result("name", verdict="EQUAL", reports={"one way": made})])
    for name, start in (("r.html", ""), ("s.html", "one way: ")):
        text = Page((tmp_path / name).read_text()).text
        assert f"{start}gradients, training1.25e-13{start}losseskeras 1.5, 1.25; torch 1.5, 1.25" in text
    write_html(tmp_path / "t.html", report([], "EQUAL"))
    assert "Training" not in Page((tmp_path / "t.html").read_text()).text


def test_a_result_shows_the_layers_of_the_comparison_that_differs(tmp_path: Path) -> None:
    equal, unequal = made_up(20, 0), made_up(20, 2)
    findings = [Finding("elsewhere", None, "unmatched", None, "e"), *unequal.findings]
    result = Result("name", verdict="DIVERGED", findings=findings, reports={"a": equal, "b": unequal})
    write_html(tmp_path / "r.html", [result])
    parsed = Page((tmp_path / "r.html").read_text())
    assert sum(row.get("class") == "bad" for row in parsed.rows) == 2
    assert "#pair-0-finding-2" in parsed.links
    assert "#pair-0-finding-3" in parsed.links
    assert "#pair-0-finding-1" not in parsed.links
    write_json(tmp_path / "r.json", [result])
    json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(name))


def opened(picture: Picture) -> Image.Image:
    """The PNG that a picture's address holds."""
    head, _, body = picture.source.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_a_picture_of_a_few_values() -> None:
    """Read back: sizes, palette and pixels; magenta where a value is no number."""
    keras = np.array([[0.0, 2.0, 1.0], [np.nan, 0.0, 0.0]])
    shown = pictures(
        {"keras_output.0": keras, "torch_output.0": np.array([[0.0, 2.0, 1.0], [0.0, 1e-3, 0.0]])}
    )
    assert shown is not None
    first, _, gap = map(opened, shown.images)
    assert first.mode == "P"
    assert first.size == (3, 2)
    np.testing.assert_array_equal(np.asarray(first), [[0, 254, 127], [255, 0, 0]])
    np.testing.assert_array_equal(np.asarray(gap), [[0, 0, 0], [255, 254, 0]])
    for image, colours in ((first, "viridis"), (gap, "inferno")):
        pixels = np.asarray(image.convert("RGB"))
        low, high = (matplotlib.colormaps[colours](end, bytes=True)[:3] for end in (0.0, 1.0))
        np.testing.assert_array_equal(pixels[0, 0], low)
        np.testing.assert_array_equal(pixels[np.asarray(image) == 254][0], high)
        np.testing.assert_array_equal(pixels[1, 0], [255, 0, 255])


@pytest.mark.parametrize("lacking", [["PIL"], ["matplotlib"], ["PIL", "matplotlib"], []])
def test_a_page_without_the_packages_that_draw_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: list[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in lacking else find_spec(name)
    )
    for name in lacking:
        monkeypatch.setitem(sys.modules, name, None)
    made = made_up(10, 2)
    write_html(tmp_path / "r.html", made)
    text = (tmp_path / "r.html").read_text()
    assert text.count("<img") == (0 if lacking else 6)
    assert text.count("pip install 'segparity[report]'") == bool(lacking)
    assert ("Pillow" in text) == ("PIL" in lacking)
    write_html(tmp_path / "s.html", report(FINDINGS))  # nothing to show, so nothing to install
    assert "pip install" not in (tmp_path / "s.html").read_text()


@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (2, 7, 5), (2, 300, 41, 3), (2, 4, 30, 21, 3)])
def test_pictures_ring_the_greatest_difference(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    keras = rng.standard_normal(shape)
    torch = np.array(keras + 1e-9)
    at = tuple(size // 2 for size in shape)
    torch[at] += 1.0
    swapped = np.moveaxis(torch, -1, 1) if len(shape) > 2 else torch
    shown = pictures({"keras_output.0": keras, "torch_output.0": np.asarray(swapped)})
    assert shown is not None
    assert shown.at == at
    height, width = shown.shape
    assert height * width == (
        np.prod(shape) if len(shape) < 3 else np.prod(shape[-3:-1] if len(shape) > 3 else shape[1:])
    )
    column, row = (share / 100 * size - 0.5 for share, size in zip(shown.mark, (width, height), strict=True))
    expected = ([0, 0, *(at[:-1] if len(shape) > 3 else at)])[-2:]
    np.testing.assert_allclose([row, column], expected, atol=0.05)
    assert [image.name for image in shown.images] == ["Keras", "torch", "|difference|"]
    assert opened(shown.images[2]).size == (min(width, LARGEST), min(height, LARGEST))


def test_a_small_picture_keeps_the_greatest_difference_of_a_large_one() -> None:
    keras = np.zeros((1, 1000, 700, 1))
    torch = keras.copy()
    torch[0, 601, 333, 0] = 1.0
    shown = pictures({"keras_output.0": keras, "torch_output.0": torch})
    assert shown is not None
    rows = np.asarray(opened(shown.images[2]))
    assert rows.shape == (LARGEST, LARGEST)
    assert rows.max() == 254
    assert np.argwhere(rows == 254).tolist() == [[601 * LARGEST // 1000, 333 * LARGEST // 700]]


def test_pictures_of_what_is_not_finite_and_of_nothing() -> None:
    keras, torch = np.ones((2, 5)), np.ones((2, 5))
    assert pictures({"keras_output.0": keras, "torch_output.0": torch}) is None
    assert pictures({"keras_output.0": keras, "torch_output.0": np.ones((2, 6))}) is None
    assert pictures({}) is None
    torch[1, 3] = np.nan
    shown = pictures({"keras_output.0": keras, "torch_output.0": torch})
    assert shown is not None
    assert shown.at == (1, 3)
    assert shown.images[2].range == "infinite in places"


def test_text() -> None:
    text = summary(report(FINDINGS))
    assert text.startswith("DIVERGED: 6 output elements")
    assert "1. error: layer at a.conv\n     on <identical>" in text
    assert (
        "2. error: wiring at b / c.0 [concat-order]\n     input differs\n     Fix (verified): swap the operands"
        in text
    )
    assert "note: a note" in text
    many = listed([replace(finding, cause=None) for finding in FINDINGS * 10])  # else one entry a cause
    assert sum(line[2:5].strip()[:1].isdigit() for line in many[:-1]) == SHOWN
    assert "18 more" in many[-1]
    assert short("mUnet(depth=4)") == "mUnet(depth=4)"
    assert short("FCN-8s(stride=8, width=8)") == "FCN-8s(...)"
    assert short("a.b:c ~ d.e:f " * 3) == "a.b:c ~ d.e:f " * 3


def test_every_kind_is_explained() -> None:
    assert {finding.kind for finding in FINDINGS} <= set(Kind)
