"""A finding of a report that may come from a stranger: checked field by field before any of it is written down."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parity.core.errors import UsageError
from parity.report.repro.allowed import KERAS_BACKENDS, KERAS_LAYERS, TORCH_MODULES

TENSOR = re.compile(
    r"(keras|torch)_(input|output)\.\d{1,4}|keras_weight\.\d{1,4}|torch_weight\.\d{1,4}(\.\w{1,99})+"
)
DEPTH = 20
"""Levels of lists and objects in one value."""
SHOWN = 60
"""Characters of a refused value that its error quotes."""


@dataclass(frozen=True)
class KerasLayer:
    """What the Keras layer is built from.

    Attributes:
        config: "module", "class_name" and "config" for `keras.layers.deserialize`; plain values alone.
        training: whether the call takes `training`.
        list: whether the call takes a list of inputs.
    """

    config: dict[str, Any]
    training: bool
    list: bool


@dataclass(frozen=True)
class TorchModule:
    """What one torch module is built from.

    Attributes:
        name: of a class in torch.nn.
        arguments: of its constructor; plain values alone.
    """

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Reported:
    """A finding whose every field is a text for readers, a known name, or a plain value.

    Attributes:
        title: where and of what kind it is, as text.
        evidence: what was measured, as text.
        keras: how the Keras layer is built, None where the saved tensor stands for it.
        torch: how the torch modules are built, in their order; None likewise.
    """

    title: str
    evidence: str
    keras: KerasLayer | None
    torch: tuple[TorchModule, ...] | None


def checked(finding: Mapping[str, Any]) -> Reported:
    """A finding from a report's JSON.

    Raises:
        UsageError: a field is not of its type, or names what a script must not build; it names the field.
    """
    for name in ("keras", "torch", "cause"):
        if not isinstance(finding.get(name), str | None):
            raise _wrong(f"a finding's {name}", "a text or null", finding.get(name))
    for name in ("kind", "evidence"):
        if not isinstance(finding.get(name), str):
            raise _wrong(f"a finding's {name}", "a text", finding.get(name))
    place = " / ".join(dict.fromkeys(filter(None, (finding.get("keras"), finding.get("torch"))))) or "output"
    cause = f" [{finding['cause']}]" if finding.get("cause") else ""
    blueprint = finding.get("blueprint") or finding.get("recipe") or {}  # its name in reports of version 0.1
    if not isinstance(blueprint, dict):
        raise _wrong("a finding's blueprint", "an object or null", blueprint)
    keras, torch = blueprint.get("keras"), blueprint.get("torch")
    return Reported(
        title=f"{finding['kind']} at {place}{cause}",
        evidence=finding["evidence"],
        keras=None if keras is None else _keras_layer(keras),
        torch=None if torch is None else _torch_modules(torch),
    )


def checked_backend(environment: Any) -> str:
    """The Keras backend that a report names; TensorFlow where it names none.

    Raises:
        UsageError: it names something else.
    """
    if not isinstance(environment, dict):
        raise _wrong("a report's environment", "an object", environment)
    backend = environment.get("keras backend", KERAS_BACKENDS[0])
    if backend not in KERAS_BACKENDS:
        raise _wrong("a report's Keras backend", f"one of {', '.join(KERAS_BACKENDS)}", backend)
    return str(backend)


def checked_tensors(names: Sequence[str]) -> None:
    """Refuse tensors with names that no report gives.

    Raises:
        UsageError: it shows the first of them.
    """
    for name in names:
        if not TENSOR.fullmatch(name):
            raise _wrong("a tensor's name", "such as keras_output.0 or torch_weight.0.bias", name)


def _keras_layer(value: Any) -> KerasLayer:
    config = value.get("config") if isinstance(value, dict) else None
    if not isinstance(config, dict) or set(config) != {"module", "class_name", "config"}:
        raise _wrong("a Keras layer", "an object with module, class_name and config", value)
    name = config["class_name"]
    if config["module"] != "keras.layers" or not isinstance(name, str) or name not in KERAS_LAYERS:
        raise _wrong(
            "a Keras layer",
            "one of Keras' own that needs no further code",
            (config["module"], name),
        )
    if not isinstance(config["config"], dict):
        raise _wrong("a Keras layer's config", "an object", config["config"])
    _check_plain(config["config"], "a Keras layer's config")
    _check_inert(config["config"])
    return KerasLayer(config, value.get("training") is True, value.get("list") is True)


def _check_inert(value: Any) -> None:
    """Keras turns an object that names a class, and the text of an activation, into something else than itself."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in {"class_name", "registered_name", "module"} or key.startswith("__"):
                raise _wrong("a Keras layer's config", "plain values", f"{key} = {item!r}")
            if "activation" in key and not (item is None or (isinstance(item, str) and item.isidentifier())):
                raise _wrong("an activation", "the name of one of Keras' own", item)
            _check_inert(item)
    elif isinstance(value, list):
        for item in value:
            _check_inert(item)


def _torch_modules(values: Any) -> tuple[TorchModule, ...]:
    if not isinstance(values, list) or not values:
        raise _wrong("the torch modules", "a list of objects with class and arguments", values)
    return tuple(map(_torch_module, values))


def _torch_module(value: Any) -> TorchModule:
    if not isinstance(value, dict) or set(value) != {"class", "arguments"}:
        raise _wrong("a torch module", "an object with class and arguments", value)
    name, arguments = value["class"], value["arguments"]
    if not isinstance(name, str) or name not in TORCH_MODULES:
        raise _wrong("a torch module", "one of torch.nn's own that needs no further code", name)
    if not isinstance(arguments, dict):
        raise _wrong("a torch module's arguments", "an object", arguments)
    for key in arguments:
        if not key.isidentifier() or keyword.iskeyword(key) or key.startswith("_"):
            raise _wrong("an argument's name", "a Python identifier", key)
    _check_plain(arguments, "a torch module's arguments")
    return TorchModule(name, arguments)


def _check_plain(value: Any, what: str, depth: int = DEPTH) -> None:
    """Refuse what does not print as a literal of itself."""
    if depth == 0:
        raise _wrong(what, f"at most {DEPTH} levels deep", value)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, what, depth - 1)
            _check_plain(item, what, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, what, depth - 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _wrong(what, "of finite numbers", value)
    elif not (value is None or isinstance(value, str | bool | int)):
        raise _wrong(what, "plain values", value)


def _wrong(what: str, wanted: str, got: Any) -> UsageError:
    """The error for one field; what was got is quoted and cut."""
    shown = ascii(got)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    return UsageError(f"{what} must be {wanted}; got {shown} in the report. Write the report anew.")
