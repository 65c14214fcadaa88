"""Names that a port may not take over as they are, because Keras uses them itself."""

from __future__ import annotations

import ast

NOT_PORTED = "not ported: "
"""What is said where a port is asked for something that no run of the source did."""

TAKEN = frozenset(
    [
        "activity_regularizer",
        "add_loss",
        "add_metric",
        "add_weight",
        "autocast",
        "build",
        "build_from_config",
        "built",
        "call",
        "compile",
        "compiled",
        "compute_dtype",
        "compute_mask",
        "compute_output_shape",
        "compute_output_spec",
        "count_params",
        "distribute_strategy",
        "dtype",
        "dtype_policy",
        "evaluate",
        "export",
        "fit",
        "from_config",
        "get_build_config",
        "get_compile_config",
        "get_config",
        "get_layer",
        "get_weights",
        "input",
        "input_dtype",
        "input_spec",
        "inputs",
        "jit_compile",
        "layers",
        "load_weights",
        "loss",
        "losses",
        "metrics",
        "metrics_names",
        "metrics_variables",
        "name",
        "non_trainable_variables",
        "non_trainable_weights",
        "optimizer",
        "output",
        "outputs",
        "path",
        "predict",
        "quantization_mode",
        "quantize",
        "rematerialized_call",
        "run_eagerly",
        "save",
        "save_weights",
        "set_weights",
        "stateless_call",
        "steps_per_execution",
        "stop_training",
        "summary",
        "supports_jit",
        "supports_masking",
        "symbolic_call",
        "test_step",
        "to_json",
        "train_step",
        "trainable",
        "trainable_variables",
        "trainable_weights",
        "variable_dtype",
        "variables",
        "weights",
    ]
)
"""Attributes and methods of keras.layers.Layer and keras.Model."""


def attribute(name: str) -> str:
    """The name of a module's attribute in the port: its own, with a `_` behind where Keras has one of that name."""
    return f"{name}_" if name in TAKEN else name


OWN = ("name", "trainable", "dtype")
"""Arguments that every layer of Keras has."""


def argument(name: str) -> str:
    """The name of a constructor's argument in the port: with a `_` behind where every layer of Keras has one so called."""
    return f"{name}_" if name in OWN else name


def method(name: str) -> str:
    """The name of a module's method in the port."""
    return "call" if name == "forward" else attribute(name)


def in_one(text: str) -> str:
    """An expression that stands over several lines, with the parentheses that hold it together.

    >>> print(in_one("a\nif b else c"))
    (a
    if b else c)
    """
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return f"({text})"
    return text


def within_torch(module: str | None) -> bool:
    """Whether a Python module is a part of torch: `torch.nn`, and neither `torchvision` nor the user's `torch_models`."""
    return (module or "").partition(".")[0] == "torch"


def not_ported(source: str) -> str:
    """The statement that refuses a way which no run of the source took.

    Args:
        source: the first statement of that way.
    """
    said = " ".join(source.split())
    said = said if len(said) < 70 else f"{said[:66]} ..."
    return f"raise ValueError({NOT_PORTED + said!r})"
