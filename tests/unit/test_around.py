"""The doctor's checks of what lies around: each finds its trouble, and is quiet without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity import around


def written(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def test_an_ordinary_folder_is_well(tmp_path: Path) -> None:
    checks = around.around(tmp_path)
    assert [check.subject for check in checks] == ["datasets", "names here", "versions"]
    assert all(check.ok and not check.advice for check in checks)


def test_a_project_s_own_datasets_is_named_with_what_to_do(tmp_path: Path) -> None:
    check = around.datasets_check(written(tmp_path, "datasets/__init__.py", "datasets/loader.py"))
    assert check.ok
    assert str(tmp_path / "datasets") in check.found
    assert "python -P -m datasets.lint" in check.advice


def test_hugging_face_s_is_named(tmp_path: Path) -> None:
    check = around.datasets_check(written(tmp_path, "datasets/__init__.py", "datasets/arrow_dataset.py"))
    assert "Hugging Face's is found first" in check.found


def test_a_taken_name_fails(tmp_path: Path) -> None:
    check = around.datasets_check(written(tmp_path, "datasets/__init__.py", "datasets/training.py"))
    assert not check.ok
    assert "has training as segparity has" in check.found
    assert "rename" in check.advice


def test_one_folder_in_site_packages_takes_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hugging Face's and ours, installed into the same folder."""
    folder = written(
        tmp_path, "datasets/__init__.py", "datasets/arrow_dataset.py", "datasets/training/recipe.py"
    )
    monkeypatch.setattr(around, "FOLDER", str(folder / "datasets"))
    check = around.datasets_check(tmp_path)
    assert check.ok


@pytest.mark.parametrize("name", ["torch.py", "keras/__init__.py", "numpy.py"])
def test_a_file_that_hides_a_package_fails(name: str, tmp_path: Path) -> None:
    check = around.shadow_check(written(tmp_path, name))
    assert not check.ok
    assert str(tmp_path / name) in check.found


def test_the_checkout_hides_nothing() -> None:
    assert around.shadow_check(Path(around.__file__).parents[1]).ok


def test_old_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = ["numpy>=1.26", 'keras>=3.10; extra == "tf"', 'torch>=2.6; extra == "torch"', "rich>=13"]
    monkeypatch.setattr(around, "requires", lambda name: stated)
    monkeypatch.setattr(
        around, "version", {"numpy": "2.0", "keras": "2.15.0", "torch": "2.13.0+cpu"}.__getitem__
    )
    check = around.version_check()
    assert not check.ok
    assert check.found == "keras 2.15.0 (at least 3.10 is needed)"
