"""The catalogue is data: it imports no framework, its names are unique, and arguments may be given."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from parity import catalog
from parity.cli import asked
from parity.cli.parser import parser
from parity.core.errors import UsageError


def test_entries_are_complete_and_mirrored() -> None:
    entries = catalog.entries()
    assert len(entries) >= 21
    for name, entry in entries.items():
        assert entry.name == name
        assert entry.source
        assert entry.generation
        assert entry.keras.removeprefix("tf_impl.") == entry.torch.removeprefix("torch_impl.")
        count, height, width, _ = entry.input
        assert count > 1
        assert height != width


@pytest.mark.parametrize(("name", "torch"), [
    ("mUnet", "torch_impl.munet:mUnet()"),
    ("mUnet(depth=4)", "torch_impl.munet:mUnet(depth=4)"),
    ("MaxPool2d(2)", "torch_impl.layers:MaxPool2d(2)"),
])  # fmt: skip
def test_find(name: str, torch: str) -> None:
    entry = catalog.find(name)
    assert (entry.name, entry.torch) == (name, torch)
    assert entry.keras == torch.replace("torch_impl", "tf_impl")


def test_quick_arguments_belong_to_the_same_factory() -> None:
    quick = [entry for entry in catalog.entries().values() if entry.quick]
    assert len(quick) >= 10
    for entry in quick:
        found = catalog.find(entry.name + entry.quick)
        assert found.torch.partition("(")[0] == entry.torch.partition("(")[0]
        assert found.torch != entry.torch
        assert (found.input, found.mapping) == (entry.input, entry.mapping)


def test_all_takes_the_quick_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = (catalog.find("Conv2d"), replace(catalog.find("MaxPool2d"), quick="(2)"))
    monkeypatch.setattr(catalog, "ENTRIES", entries)
    options = parser().parse_args(["check", "--all"])
    assert [pair.name for pair in asked.pairs(options)] == ["Conv2d", "MaxPool2d(2)"]
    options = parser().parse_args(["check", "MaxPool2d"])
    assert [pair.name for pair in asked.pairs(options)] == ["MaxPool2d"]


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="SkipBlockDN"):
        catalog.find("skipblockDN")
    with pytest.raises(UsageError, match="parity models"):
        catalog.find("nothing")


def test_no_framework_is_imported() -> None:
    code = "import sys, parity, parity.catalog as c; c.entries(); "
    code += "print([m for m in ('keras', 'torch', 'tensorflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
