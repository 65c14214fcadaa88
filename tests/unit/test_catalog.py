"""The catalogue is data: it imports no framework, its names are unique, and arguments may be given."""

from __future__ import annotations

import subprocess
import sys

import pytest

from parity import catalog
from parity.errors import UsageError


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


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match="SkipBlockDN"):
        catalog.find("nothing")


def test_no_framework_is_imported() -> None:
    code = "import sys, parity, parity.catalog as c; c.entries(); "
    code += "print([m for m in ('keras', 'torch', 'tensorflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
