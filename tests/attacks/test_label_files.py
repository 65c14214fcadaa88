"""`datasets.tiles` on mutated label files and pictures: a good end or one clear line, never a traceback."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.tiles import main
from tests.fuzz import seeds

TIMES = 250
VALUES = (None, True, -1, 1e308, 10**400, "", "x", "²", "9" * 5000, [], {}, [[]], {"type": "Feature"})


def bytes_mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, doubled, taken out, or the end cut off."""
    held = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        place = rng.randrange(len(held) or 1)
        kind = rng.randrange(4)
        if kind == 0 and held:
            held[place] = rng.randrange(256)
        elif kind == 1:
            del held[place : place + rng.randint(1, 9)]
        elif kind == 2:
            held[place:place] = held[place : place + rng.randint(1, 30)]
        elif len(held) > 20:
            del held[rng.randrange(len(held) // 2, len(held)) :]
    return bytes(held)


def json_mutated(data: bytes, rng: random.Random) -> bytes:
    """One value somewhere in it replaced by another kind of value."""
    whole = json.loads(data)
    place, key, inner = None, None, whole
    for _ in range(rng.randint(1, 8)):
        if not isinstance(inner, dict | list) or not inner:
            break
        place, key = inner, rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        inner = inner[key]
    if place is not None:
        place[key] = rng.choice(VALUES)
    return json.dumps(whole).encode()


Change = Callable[[bytes, random.Random], bytes]
CASES: dict[str, tuple[str, Callable[[], list[bytes]], Change, list[str]]] = {
    "polygons, bytes": ("x.json", seeds.geojson, bytes_mutated, ["--polygons", "{}", "--pixels"]),
    "polygons, values": ("x.json", seeds.geojson, json_mutated, ["--polygons", "{}", "--pixels", "--property", "class"]),
    "label PNG": ("x.png", lambda: seeds.pictures()[:2], bytes_mutated, ["--labels", "{}", "--instances"]),
    "label TIFF": ("x.tif", lambda: seeds.tiffs()[:1], bytes_mutated, ["--labels", "{}", "--instances"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mutated_label_file_ends_in_one_clear_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, make, change, flags = CASES[name]
    image = tmp_path / "image.png"
    image.write_bytes(seeds.pictures()[2])
    path, rng = tmp_path / file, random.Random(name)
    flags = [flag.format(path) for flag in flags]
    refused = 0
    for number in range(TIMES):
        path.write_bytes(change(rng.choice(make()), rng))
        out = str(tmp_path / f"out{number}")
        code = main([str(image), "--out", out, "--names", "ground", "house", "--size", "3", "3", *flags])
        said = capsys.readouterr().err
        assert code in (0, 2), said
        if code == 2:
            refused += 1
            assert said.startswith("error: "), said
            assert said.count("\n") == 1, said
            assert "Report it" not in said, said
    assert refused > TIMES // 10, "the mutations must do something"


def test_a_mutated_picture_that_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, path, labels = random.Random(1), tmp_path / "image.tif", tmp_path / "x.json"
    labels.write_bytes(seeds.geojson()[0])
    for number in range(TIMES):
        path.write_bytes(bytes_mutated(seeds.tiffs()[0], rng))
        flags = ["--names", "ground", "house", "--size", "3", "3", "--polygons", str(labels)]
        assert main([str(path), "--out", str(tmp_path / f"out{number}"), *flags]) in (0, 2)
        said = capsys.readouterr().err
        assert "Report it" not in said, said
        assert said.count("\n") <= 1, said
