"""The picture of several runs' losses: what is printed, drawn beside them, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.curves import levels, main


def config(loss: str = "mse", head: str = "dlstudio", constant: float | None = 400.0) -> dict[str, object]:
    return {
        "package": "torch_impl",
        "model": {"name": "mUnet", "arguments": {"head": head}},
        "recipe": {"loss": loss},
        "dtype": "float32",
        "data": {"mse_of_best_constant": constant},
    }


def make_run(folder: Path, checks: str = "", **settings: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config(**settings)))  # type: ignore[arg-type]
    (folder / "loss.csv").write_text("step,epoch,loss\n1,1,5.0\n2,1,3.0\n3,1,1.0\n")
    (folder / "metrics.csv").write_text(f"step,val_mean_iou\n{checks}")
    return folder


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({}, [400.0, 300.0]),
        ({"head": "dense"}, [400.0]),
        ({"loss": "bce-dice"}, []),
        ({"constant": None}, []),
    ],
)
def test_levels_are_the_constant_and_the_sparse_heads_floor(settings: dict, values: list[float]) -> None:
    assert [value for value, _ in levels(config(**settings)).values()] == values


def test_runs_on_other_data_keep_their_own_levels() -> None:
    assert len(levels(config()) | levels(config(constant=500.0))) == 4


def test_the_command_prints_the_end_of_each_run_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", checks="2,0.25\n3,0.5\n", loss="bce-dice")]
    picture = tmp_path / "curves.png"
    assert main([*map(str, runs), "--window", "2", "--out", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "a: loss 2.0000 over the last 2 steps",
        "b: loss 2.0000 over the last 2 steps, mean IoU 0.5000",
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--window", "4"], "at least 4 steps; got 3"), (["--names", "one", "two"], "got 2 and 1")],
)
def test_what_cannot_be_drawn_is_refused(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "a")
    assert main([str(run), "--out", str(tmp_path / "F.png"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "F.png").exists()
