"""The rooms of the two sides have the same files, except for what one framework alone needs."""

from __future__ import annotations

from pathlib import Path

ADAPTERS = Path(__file__).parents[2] / "parity" / "adapters"
KERAS_ALONE = {
    "calls/alone.py",  # much of Keras' own Python stands around a call, and little of torch's
    "recording/dropping.py",  # a torch module says its mode by itself
    "helpers/functions/__init__.py",
    "helpers/functions/images.py",
    "helpers/functions/plain.py",
    "whole.py",  # saved with its configuration, which torch modules do not have
    "exact.py",  # float64 that Keras or its backend would pass through float32
    "exact_steps/__init__.py",  # and what is computed from further steps for it
    "exact_steps/pooling.py",
    "exact_steps/resizing.py",
    "recurrent/exchanged.py",  # activations that Keras' cells have as attributes, and cells in torch code as steps
    "flattening.py",  # H, W, C behind a flattening, which torch reads as C, H, W
    "training/batchnorm.py",  # torch's rule for the statistics, put into a Keras layer
    "training/extras.py",  # losses, regularisers and training steps that a Keras model brings along
    "training/gradient.py",  # three backends, three ways to differentiate
    "training/making.py",  # a Keras optimizer in float64 is a new one
    *(
        f"recording/{name}.py"
        for name in (
            "inlined",
            "made_with",
            "modes",
            "ports",
            "record",
            "scope",
            "tensorflow_calls",
            "variables",
        )
    ),  # a call, for ports from Keras
    *(  # layers that ports from torch carry with them
        f"helpers/{name}.py"
        for name in (
            [
                "activations",
                "configuration",
                "convolution",
                "normalization",
                "padding",
                "pooling",
                "products",
                "resizing",
                "sequences/__init__",
                "sequences/attention",
                "sequences/recurrent",
                "sequences/transformer",
                "shuffling",
                "transposed",
            ]
        )
    ),
}
TORCH_ALONE = {
    "calls/own_module.py",
    *(
        f"helpers/{name}.py"
        for name in ("activations", "attention", "layers", "padding", "pooling", "recurrence", "statistics")
    ),  # of ports to torch
    "recording/derived.py",  # layers of the user that compute what torch's compute
    "recording/passes.py",  # how a torch model is recorded for a port
    "recording/snapshots.py",
    "influence.py",  # which weights move the outputs, by one backward pass: one side suffices
    "parametrized.py",  # weights that a pass computes from others; Keras' are plain in inference
    "training/recipe.py",  # what goes with a torch optimizer: a schedule, a clipping, an average
    "training/stepping.py",  # one step with it, which a Keras optimizer does by itself
    "calls/last_steps.py",  # run again alone, to measure how far rounding moves an element: on the torch side
    "reference.py",  # the arithmetic against which causes are proven
    "training/softmax.py",  # written out, to measure the rounding of its backward pass: on the torch side first
    "recurrent/stepwise.py",  # torch's recurrent functions written out, to measure the rounding of their steps
    *(  # changes of single torch calls that are tried as causes
        f"edits/{name}.py"
        for name in (
            [
                "__init__",
                "axes",
                "edit",
                "every",
                "functions",
                "images",
                "norms",
                "numbers",
                "orders",
                "positions",
                "sampling",
                "tape",
            ]
        )
    ),
}


def files(side: str) -> set[str]:
    return {path.relative_to(ADAPTERS / side).as_posix() for path in (ADAPTERS / side).rglob("*.py")}


def test_both_sides_have_the_same_files() -> None:
    assert files("keras") - KERAS_ALONE == files("torch") - TORCH_ALONE
    assert files("keras") >= KERAS_ALONE
    assert files("torch") >= TORCH_ALONE
    assert len(files("keras") & files("torch")) >= 10
