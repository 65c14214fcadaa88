"""The lecture's own package, DLStudio, for tests: they are skipped where it is not installed."""

from __future__ import annotations

from typing import Any

from benchmarks import dlstudio
from tests.conftest import needs


def import_dlstudio() -> Any:
    """DLStudio's class `DLStudio`, as in `import_dlstudio().SemanticSegmentation.mUNet(depth=16)`."""
    needs("torch")
    needs("reference")
    return dlstudio.import_dlstudio()
