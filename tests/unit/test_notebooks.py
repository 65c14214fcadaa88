"""The notebooks run from top to bottom, and each has its place in the list."""

import json
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


SOURCE = """# %% [markdown]
# # A head
#
# Words.

# %%
print("<b>")


# %%
draw()
"""


def test_a_notebook_is_a_page_of_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what its cells showed, unless they have changed since."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from book.notebooks import notebook_page

    source = tmp_path / "examples" / "notebooks" / "small.py"
    run = tmp_path / "build" / "notebooks" / "small.ipynb"
    for path in (source, run):
        path.parent.mkdir(parents=True)
    source.write_text(SOURCE)
    assert "run `make notebooks`" in notebook_page(tmp_path, "small").markdown
    printed = {"output_type": "stream", "name": "stdout", "text": ["<b>\n"]}
    drawn = {"output_type": "display_data", "data": {"image/png": "aGVsbG8=", "text/plain": "<Figure>"}}
    cells = [
        {"source": "# A head\n\nWords."},
        {"source": 'print("<b>")', "outputs": [printed]},
        {"source": "draw()", "outputs": [drawn]},
    ]
    run.write_text(json.dumps({"cells": cells}))
    page = notebook_page(tmp_path, "small")
    assert page.markdown.partition("---\n\n")[2].startswith("# A head\n\nWords.\n\n```python\nprint")
    assert "<code>&lt;b&gt;</code>" in page.markdown
    assert "](small-1.png)" in page.markdown
    assert page.files == {"notebooks/small-1.png": b"hello"}
    source.write_text(SOURCE.replace("draw()", "draw(2)"))
    assert "run `make notebooks`" in notebook_page(tmp_path, "small").markdown


def test_a_stranger_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        BUILDER["main"](["munet"])
    assert stop.value.code == 2
    assert "there are transposed_convolution" in capsys.readouterr().err
