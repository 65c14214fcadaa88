"""Write docs/layers.md: Keras and PyTorch side by side, by looking at both: python docs/defaults.py [--check]."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "layers.md"
NOTHING = inspect.Parameter.empty
SKIPPED = {"self", "kwargs", "args", "device", "dtype", "name", "inplace", "size_average", "reduce", "foreach", "fused",
           "capturable", "differentiable", "maximize", "params"}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two classes, and what a parameter of one is called on the other; a value turns Keras' meaning into torch's."""

    keras: str
    torch: str
    names: dict[str, str]
    turned: tuple[str, ...] = ()  # Keras' value is 1 minus torch's
    note: str = ""


CONV = {"filters": "out_channels", "kernel_size": "kernel_size", "strides": "stride", "padding": "padding",
        "dilation_rate": "dilation", "groups": "groups", "use_bias": "bias"}  # fmt: skip
TRANSPOSED = {name: mate for name, mate in CONV.items() if name != "groups"} | {
    "output_padding": "output_padding"
}
POOL = {"pool_size": "kernel_size", "strides": "stride", "padding": "padding"}
NORM = {"epsilon": "eps", "center": "bias", "scale": "elementwise_affine"}
RNN = {"units": "hidden_size", "use_bias": "bias", "dropout": "dropout"}
ADAM = {"learning_rate": "lr", "beta_1": "betas[0]", "beta_2": "betas[1]", "epsilon": "eps", "weight_decay": "weight_decay",
        "amsgrad": "amsgrad"}  # fmt: skip
SAME = (
    "With a stride, Keras' `same` pads more behind than in front; PyTorch pads alike ([same-padding-asymmetry]"
    "(handbook/cause-same-padding-asymmetry.md))."
)
START = "First values: Glorot uniform in Keras, Kaiming uniform with a = √5 in PyTorch; biases zero in Keras, uniform in PyTorch."

SYNONYMS = ((None, 0), ("valid", 0), (False, "none"), ("sum_over_batch_size", "mean"))

GROUPS: dict[str, list[Pair]] = {
    "Convolution": [
        Pair("layers.Conv1D", "nn.Conv1d", CONV, note=START),
        Pair("layers.Conv2D", "nn.Conv2d", CONV, note=f"{SAME} {START}"),
        Pair("layers.Conv3D", "nn.Conv3d", CONV, note=START),
        Pair("layers.Conv2DTranspose", "nn.ConvTranspose2d", TRANSPOSED,
             note="Keras' `same` crops at other places ([transpose-crop-offset](handbook/cause-transpose-crop-offset.md)). "
                  "In PyTorch `padding` is a crop of the output."),
        Pair("layers.DepthwiseConv2D", "nn.Conv2d", {"kernel_size": "kernel_size", "strides": "stride", "padding": "padding",
             "dilation_rate": "dilation", "use_bias": "bias"}, note="In PyTorch: `groups=in_channels`."),
    ],
    "Dense and embedding": [
        Pair("layers.Dense", "nn.Linear", {"units": "out_features", "use_bias": "bias"},
             note=f"Keras works on the last axis of any rank, as PyTorch does. {START}"),
        Pair("layers.Embedding", "nn.Embedding", {"input_dim": "num_embeddings", "output_dim": "embedding_dim"},
             note="First values: uniform within 0.05 in Keras, normal with deviation 1 in PyTorch."),
    ],
    "Normalisation": [
        Pair("layers.BatchNormalization", "nn.BatchNorm2d", {"momentum": "momentum", "epsilon": "eps", "scale": "affine"},
             turned=("momentum",), note="Keras' momentum weighs the old value, PyTorch's the new batch: 0.99 is PyTorch's 0.01. "
             "PyTorch stores the unbiased variance. The axis is the last in Keras, the second in PyTorch."),
        Pair("layers.LayerNormalization", "nn.LayerNorm", NORM),
        Pair("layers.GroupNormalization", "nn.GroupNorm", {"groups": "num_groups", "epsilon": "eps", "scale": "affine"}),
        Pair("layers.RMSNormalization", "nn.RMSNorm", {"epsilon": "eps"}, note="PyTorch's `None` is the dtype's own epsilon."),
    ],
    "Pooling, resizing, padding": [
        Pair("layers.MaxPooling2D", "nn.MaxPool2d", POOL, note=SAME),
        Pair("layers.AveragePooling2D", "nn.AvgPool2d", POOL, note="Keras leaves the padding out of the mean; PyTorch counts it "
             "([pool-count-include-pad](handbook/cause-pool-count-include-pad.md))."),
        Pair("layers.UpSampling2D", "nn.Upsample", {"size": "scale_factor", "interpolation": "mode"}),
        Pair("layers.ZeroPadding2D", "nn.ZeroPad2d", {"padding": "padding"}, note="PyTorch takes left, right, top, bottom."),
    ],
    "Activations and dropout": [
        Pair("layers.LeakyReLU", "nn.LeakyReLU", {"negative_slope": "negative_slope"}),
        Pair("layers.ReLU", "nn.ReLU", {}),
        Pair("layers.ELU", "nn.ELU", {"alpha": "alpha"}),
        Pair("layers.PReLU", "nn.PReLU", {"alpha_initializer": "init"}, note="Keras has a slope for each position by default."),
        Pair("layers.Softmax", "nn.Softmax", {"axis": "dim"}),
        Pair("activations.gelu", "nn.GELU", {"approximate": "approximate"}, note="`keras.ops.gelu` approximates by default."),
        Pair("activations.softplus", "nn.Softplus", {}),
        Pair("layers.Dropout", "nn.Dropout", {"rate": "p"}),
        Pair("layers.SpatialDropout2D", "nn.Dropout2d", {"rate": "p"}),
    ],
    "Recurrence and attention": [
        Pair("layers.SimpleRNN", "nn.RNN", RNN, note="Keras returns the last state, PyTorch all of them, sequence first."),
        Pair("layers.LSTM", "nn.LSTM", RNN, note="Keras returns the last state, PyTorch all of them, sequence first. Keras sets "
             "the forget gate's bias to 1."),
        Pair("layers.GRU", "nn.GRU", RNN, note="The gates stand in another order ([gate-order](handbook/cause-gate-order.md))."),
        Pair("layers.MultiHeadAttention", "nn.MultiheadAttention", {"num_heads": "num_heads", "dropout": "dropout",
             "use_bias": "bias", "value_dim": "vdim"}, note="`key_dim` is the size of one head, `embed_dim` of all. A mask's True "
             "keeps in Keras and hides in PyTorch."),
    ],
    "Optimizers": [
        Pair("optimizers.SGD", "optim.SGD", {"learning_rate": "lr", "momentum": "momentum", "nesterov": "nesterov",
             "weight_decay": "weight_decay"}, note="Keras' velocity holds the learning rate "
             "([sgd-learning-rate-in-buffer](handbook/cause-sgd-learning-rate-in-buffer.md)). Keras' weight decay is decoupled."),
        Pair("optimizers.Adam", "optim.Adam", ADAM, note="Equal epsilons are not equal Adam "
             "([adam-epsilon](handbook/cause-adam-epsilon.md))."),
        Pair("optimizers.AdamW", "optim.AdamW", ADAM),
        Pair("optimizers.RMSprop", "optim.RMSprop", {"learning_rate": "lr", "rho": "alpha", "momentum": "momentum",
             "epsilon": "eps", "centered": "centered", "weight_decay": "weight_decay"}),
    ],
    "Losses": [
        Pair("losses.BinaryCrossentropy", "nn.BCEWithLogitsLoss", {"reduction": "reduction"},
             note="Keras' `from_logits=False` takes probabilities; PyTorch's class takes logits."),
        Pair("losses.SparseCategoricalCrossentropy", "nn.CrossEntropyLoss", {"ignore_class": "ignore_index",
             "reduction": "reduction"}, note="Keras takes probabilities by default, PyTorch logits, with classes on the second axis."),
        Pair("losses.MeanSquaredError", "nn.MSELoss", {"reduction": "reduction"}),
        Pair("losses.Huber", "nn.HuberLoss", {"delta": "delta", "reduction": "reduction"}),
    ],
}  # fmt: skip


def find(framework: Any, name: str) -> Any:
    """The class or function of this dotted name."""
    for part in name.split("."):
        framework = getattr(framework, part)
    return framework


def parameters(thing: Callable[..., Any]) -> dict[str, Any]:
    """Every parameter's default, in order; a pair of betas is two parameters."""
    found: dict[str, Any] = {}
    for name, parameter in _signature(thing).parameters.items():
        if name in SKIPPED or name.endswith(("_regularizer", "_constraint")):
            continue
        if name == "betas":
            found.update({f"betas[{place}]": value for place, value in enumerate(parameter.default)})
        else:
            found[name] = parameter.default
    return found


def _signature(thing: Any) -> inspect.Signature:
    """Of a class with its parents', where it hands the rest on to them; Keras' own base class is left out."""
    if not inspect.isclass(thing):
        return inspect.signature(thing)
    kept: dict[str, inspect.Parameter] = {}
    for parent in thing.__mro__:
        if "__init__" not in vars(parent) or parent.__name__ == "Layer":
            continue
        stated = inspect.signature(vars(parent)["__init__"]).parameters.values()
        open_ended = any(each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL) for each in stated)
        for each in stated:
            handed = parent.__name__ == "RNNBase" and each.name == "mode"  # by each of its subclasses
            if not handed and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL):
                kept.setdefault(each.name, each.replace(kind=each.KEYWORD_ONLY, annotation=NOTHING))
        if not open_ended or parent.__module__.startswith("keras"):
            break
    return inspect.Signature(list(kept.values()))


def same(pair: Pair, name: str, keras: Any, torch: Any) -> bool:
    """Whether two defaults mean the same."""
    if NOTHING in (keras, torch):
        return keras is torch
    if name in pair.turned:
        return bool(abs((1 - keras) - torch) < 1e-12)
    spread = [tuple(v) if isinstance(v, (tuple, list)) else (v,) for v in (keras, torch)]
    if all(len(set(v)) == 1 for v in spread):
        keras, torch = spread[0][0], spread[1][0]
    if (keras, torch) in SYNONYMS:
        return True
    return bool(keras == torch)


def shown(value: Any) -> str:
    """A default as text."""
    if value is NOTHING:
        return "required"
    return f"`{value!r}`"


def rows(pair: Pair, keras: Any, torch: Any) -> list[tuple[str, str, str, str, bool]]:
    """Keras' name and default, torch's name and default, and whether they differ; each parameter stands once."""
    ours, theirs = parameters(find(keras, pair.keras)), parameters(find(torch, pair.torch))
    unknown = [f"{a}, {b}" for a, b in pair.names.items() if a not in ours or b not in theirs]
    if unknown:
        raise KeyError(
            f"{pair.keras} ~ {pair.torch} must have the parameters that the table names; got {unknown}"
        )
    return [
        (name, shown(ours[name]), mate, shown(theirs[mate]), not same(pair, name, ours[name], theirs[mate]))
        for name, mate in pair.names.items()
    ]


def alone(pair: Pair, keras: Any, torch: Any) -> tuple[list[str], list[str]]:
    """Parameters of one side, with their defaults."""
    ours, theirs = parameters(find(keras, pair.keras)), parameters(find(torch, pair.torch))
    mates = set(pair.names.values())
    return (
        [
            f"`{n}`" + ("" if v is NOTHING else f" = {shown(v)}")
            for n, v in ours.items()
            if n not in pair.names
        ],
        [f"`{n}`" + ("" if v is NOTHING else f" = {shown(v)}") for n, v in theirs.items() if n not in mates],
    )


def heading(pair: Pair) -> str:
    """Both names."""
    return f"{pair.keras.rpartition('.')[2]} and {pair.torch}"


def page() -> str:
    """The whole document."""
    import torch  # isort: skip
    import keras

    lines = [
        "# Keras and PyTorch, default by default", "",
        f"Read from Keras {keras.__version__} and PyTorch {torch.__version__.partition('+')[0]} by `python docs/defaults.py`. A "
        "test compares this page with both frameworks. **Bold** defaults differ: state them on both sides of a port.", "",
        "Images are N, H, W, C in Keras and N, C, H, W in PyTorch. Regularizers, constraints, "
        "`dtype`, `device` and `name` are left out.", "",
    ]  # fmt: skip
    lines += ["## Every default that differs", "", "| layer | Keras | PyTorch |", "|---|---|---|"]
    for pair in (pair for pairs in GROUPS.values() for pair in pairs):
        anchor = re.sub(r"[^a-z0-9_]+", "-", heading(pair).lower().replace(".", ""))
        link = f"[{pair.keras.rpartition('.')[2]}](#{anchor})"
        for name, left, mate, right, differs in rows(pair, keras, torch):
            if differs:
                lines.append(f"| {link} | `{name}` = {left} | `{mate}` = {right} |")
    lines.append("")
    for head, pairs in GROUPS.items():
        lines += [f"## {head}", ""]
        for pair in pairs:
            lines += [f"### {heading(pair)}", ""]
            both = rows(pair, keras, torch)
            if both:
                lines += ["| Keras | default | PyTorch | default |", "|---|---|---|---|"]
                for name, left, mate, right, differs in both:
                    left, right = (f"**{value}**" if differs else value for value in (left, right))
                    lines.append(f"| `{name}` | {left} | `{mate}` | {right} |")
                lines.append("")
            extra = zip(("Keras alone", "PyTorch alone"), alone(pair, keras, torch), strict=True)
            stated = [f"| {side} | {'; '.join(names)} |" for side, names in extra if names]
            lines += ["| side | arguments |", "|---|---|", *stated, ""] if stated else []
            lines += [pair.note, ""] if pair.note else []
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it is as it would be written."""
    text = page()
    if "--check" in arguments:
        return 0 if PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
