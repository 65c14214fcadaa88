"""A report in a notebook: as HTML, as a plot, and the stages while it is made; and the markers of typed packages."""

from __future__ import annotations

import builtins
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from parity.core.errors import UsageError
from parity.core.finding import Finding, Kind
from parity.core.verdict import Verdict
from parity.report.proof import Proof, Share, Unproven, UnprovenKind
from parity.report.result import Report
from parity.verdict.runs import progress
from parity.verdict.runs.notebook import line_in_notebook

ROOT = Path(__file__).resolve().parents[2]
WRONG = Finding(
    "down", "body.down", Kind.LAYER, "same-padding-asymmetry", "<b>one</b>; two", "pad", True, keras_at="a.py:3", effect=1.4
)  # fmt: skip
LAYERS = [
    {"keras": "a", "torch": "a", "own": 0.0, "arrived": 0.0, "finding": None},
    {"keras": "down", "torch": "body.down", "own": 1.4, "arrived": 1e-16, "finding": 0},
    {"keras": "b", "torch": "b", "own": None, "arrived": float("inf"), "finding": None},
]
DIVERGED = Report(Verdict.DIVERGED, 8.8, 1.4, [WRONG], notes=["a <note>"], layers=LAYERS, elements=12)
EQUAL = Report(
    Verdict.EQUAL, 1e-16, 1e-16, [], elements=12, proof=Proof(("main",), Share(3, 4), Share(2, 2)),
    unproven=[Unproven(UnprovenKind.BRANCHES, "net.py:3: x > 0")],
)  # fmt: skip
NOTHING = Report(
    Verdict.INCONCLUSIVE, float("inf"), float("inf"), [Finding(None, None, Kind.ERROR, None, "it raised")]
)


class Balanced(HTMLParser):
    """Sees that every tag is closed where it must be, and keeps the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        if tag not in ("br", "li"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "li":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_says_the_causes_and_holds_no_markup_of_others() -> None:
    page = Balanced(DIVERGED._repr_html_())
    assert not page.seen & {"script", "style", "html", "body", "link"}
    for text in ("DIVERGED", "error", "same-padding-asymmetry", "body.down", "a.py:3", "1.4e+00", "<b>one</b>", "a <note>",
                 "Fix (verified): pad"):  # fmt: skip
        assert text in page.text
    page = Balanced(EQUAL._repr_html_())
    assert "rests on: 3 of 4 tensors moved the outputs, 2 of 2 branches taken, 1 probe" in page.text
    assert "1 not proven" in page.text
    assert "no outputs could be compared" in Balanced(NOTHING._repr_html_()).text


@pytest.mark.parametrize("report", [DIVERGED, EQUAL, NOTHING], ids=lambda report: str(report.verdict))
def test_a_plot_is_drawn_for_every_verdict(report: Report) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    axes = report.plot()
    axes.figure.canvas.draw()
    assert str(report.verdict) in axes.get_title(loc="left")
    texts = " ".join(text.get_text() for text in axes.texts)
    if report is DIVERGED:
        assert "same-padding-asymmetry" in texts
        own = next(line for line in axes.lines if line.get_label() == "of the layer itself")
        assert list(own.get_xdata()) == [1, 2]  # the third has no error of its own
    elif report is EQUAL:
        assert "3 of 4 tensors moved the outputs" in texts
    pyplot.close(axes.figure)
    _, given = pyplot.subplots()
    assert report.plot(given) is given
    pyplot.close(given.figure)


def test_without_matplotlib_the_plot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'segparity\[report\]'"):
        DIVERGED.plot()


class Handle:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def update(self, data: dict[str, str], raw: bool) -> None:
        assert raw
        self.texts.append(data["text/plain"])


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """A notebook's kernel, as far as it is asked."""
    handle = Handle()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    display.display = lambda *_, **__: handle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return handle


def test_a_notebook_shows_the_stages_and_their_times(kernel: Handle) -> None:
    with line_in_notebook():
        progress.at("pairing")
        progress.at("forward")
        with line_in_notebook():  # a comparison within another one shows no second line
            progress.at("causes")
    assert kernel.texts == [
        "pairing ...", "pairing 0.0 s, forward ...", "pairing 0.0 s, forward 0.0 s, causes ...",
        "pairing 0.0 s, forward 0.0 s, causes 0.0 s",
    ]  # fmt: skip


def test_elsewhere_nothing_is_shown(kernel: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with progress.heard(said.append), line_in_notebook():  # the terminal's own line is there
        progress.at("pairing")
    assert (said, kernel.texts) == (["pairing"], [])
    monkeypatch.setattr(
        sys.modules["IPython"], "get_ipython", lambda: types.SimpleNamespace()
    )  # a terminal's shell
    with line_in_notebook():
        progress.at("pairing")
    monkeypatch.delitem(sys.modules, "IPython")
    with line_in_notebook():
        progress.at("pairing")
    assert kernel.texts == []


def test_compare_shows_them(kernel: Handle, keras_torch: None) -> None:
    import keras
    import numpy as np
    import torch

    import parity

    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")])
    inputs = np.ones((2, 3), np.float32)
    parity.transfer(module, model, mapping={"a": "0"})
    parity.compare(model, module, inputs, mapping={"a": "0"}, quick=True)
    assert kernel.texts[0] == "pairing ..."
    assert "forward" in kernel.texts[-1]


def test_every_package_has_the_marker_of_types() -> None:
    """`datasets` is a namespace, which has none itself: each package in it has one."""
    packages = [ROOT / "parity", ROOT / "tf_impl", ROOT / "torch_impl"]
    packages += [path.parent for path in (ROOT / "datasets").glob("*/__init__.py")]
    assert len(packages) > 8
    assert [str(path) for path in packages if not (path / "py.typed").is_file()] == []
    assert not (ROOT / "datasets" / "py.typed").exists()
