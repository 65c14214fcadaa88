"""The description of the machine: it describes, and never fails or warns."""

from __future__ import annotations

import warnings

import pytest

from parity.core.environment import environment
from tests.conftest import needs


def test_a_warning_of_torch_about_the_gpu_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's CUDA build on a machine without a GPU, imported after TensorFlow."""
    needs("torch")
    import torch

    def warn() -> bool:
        warnings.warn("CUDA initialization: Error loading CUDA libraries", stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warn)
    facts = environment()
    assert "gpu" not in facts
    assert facts["torch threads"] == str(torch.get_num_threads())
