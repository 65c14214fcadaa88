"""The notebooks run from top to bottom, and each has its place in the list."""

import runpy
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "examples" / "notebooks"
NAMES = sorted(path.stem for path in SOURCES.glob("*.py"))
BUILDER = runpy.run_path(str(ROOT / "docs" / "notebooks.py"))


def test_every_notebook_has_its_place() -> None:
    assert sorted(BUILDER["ORDER"]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("keras")
    matplotlib.use("Agg")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for own in ("torch_net", "keras_port", "keras_mended"):  # of the folder examples
        monkeypatch.delitem(sys.modules, own, raising=False)
    monkeypatch.chdir(SOURCES)
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", message="Animation was deleted")
        warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
        runpy.run_path(str(SOURCES / f"{name}.py"))
    matplotlib.pyplot.close("all")


def test_a_notebook_is_written_with_what_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("jupytext")
    pytest.importorskip("nbconvert")
    notebook, page = BUILDER["write"]("sizes", tmp_path)
    assert "162 settings agree" in notebook.read_text(encoding="utf-8")
    assert "162 settings agree" in page.read_text(encoding="utf-8")


def test_a_stranger_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        BUILDER["main"](["munet"])
    assert stop.value.code == 2
    assert "there are transposed_convolution" in capsys.readouterr().err
