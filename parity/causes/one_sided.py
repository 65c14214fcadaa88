"""Calls that one side alone makes: which are proven, what they do, and whether making them alike settles what follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from parity.causes.confirm import UNTRIED
from parity.causes.steps.identify import identify
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Fix, Kind
from parity.core.layout import activation_to_keras, activation_to_torch
from parity.core.types import Side
from parity.replay.located import Apart, Located
from parity.replay.tensors import compare

if TYPE_CHECKING:
    from parity.causes.between import Between

ALONE = {Kind.MISSING_CALL, Kind.EXTRA_CALL}
SETTLED = "with the call made alike, what arrives behind it agrees"


class OneSided:
    """The calls of one localisation that one side alone makes.

    Args:
        keras, torch: the sides.
    """

    def __init__(self, keras: Adapter, torch: Adapter) -> None:
        self.keras, self.torch = keras, torch
        self.layers = keras.layers(), torch.layers()

    def proven(self, located: Sequence[Located], between: Callable[[], Between]) -> list[Located]:
        """The calls that one side alone makes for certain.

        Of a layer without weights the other side may compute the same by a function. It is missing only where what
        arrives behind it shows that, or where no step of the other side gives what it gives.
        """
        arrivals = [item for item in located if item.apart and item.apart.kind in {Kind.WIRING, Kind.OUTPUT}]
        proven = []
        for item in located:
            if item.finding.kind not in ALONE:
                continue
            missing = item.finding.kind is Kind.MISSING_CALL
            path = str(item.finding.keras if missing else item.finding.torch)
            layers = self.layers[0 if missing else 1]
            inside = [name for name in layers if f"{name}.".startswith(f"{path}.")]
            behind = [known.apart for known in arrivals if known.order > item.order]
            if (
                any(layers[name].tensors for name in inside)
                or any(self.follows(item.finding, apart) for apart in behind if apart is not None)
                or not _computed(between, "keras" if missing else "torch", inside)
            ):
                proven.append(item)
        return proven

    def follows(self, finding: Finding, apart: Apart) -> bool:
        """Whether the layer that one side alone runs turns what arrived into what should have, or back."""
        missing = finding.kind == Kind.MISSING_CALL
        path = finding.keras if missing else finding.torch
        layers = self.layers[0 if missing else 1]
        if path not in layers or len(apart.keras_result) != 1 or len(apart.inputs) != 1:
            return False
        try:
            if missing:
                value = self.keras.run_layer(path, [activation_to_keras(apart.inputs[0])])
                return not compare(value, apart.inputs if value[0].shape != apart.keras_result[0].shape else
                                   [activation_to_torch(apart.keras_result[0])]).differs  # fmt: skip
            value = self.torch.run_layer(path, [activation_to_torch(apart.keras_result[0])])
            return not compare([activation_to_keras(apart.inputs[0])], value).differs
        except Exception:  # any layer, any error: it does not fit here
            return False

    def described(self, finding: Finding, settled: bool | None) -> Finding:
        """A missing or extra call with what it does, where that is an activation.

        Args:
            finding: the call.
            settled: whether making it alike settles what arrives behind it, on another input too; None where it does
                so on this input alone.
        """
        missing = finding.kind == Kind.MISSING_CALL
        path = finding.keras if missing else finding.torch
        having, lacking = ("Keras", "torch") if missing else ("torch", "Keras")
        add, leave = f"call {path} on the {lacking} side too", f"leave {path} out in {having}"
        fix = Fix(leave, add, add) if missing else Fix(add, leave, add)
        text = finding.evidence if settled is False else f"{finding.evidence}; {SETTLED}"
        text = f"{text}; {UNTRIED}" if settled is None else text
        verified = bool(settled)
        if self._is_activation(path, missing):
            return replace(finding, cause="activation-missing", evidence=text, fix=fix, fix_verified=verified)
        return replace(finding, evidence=text, fix=None if settled is False else fix, fix_verified=verified)

    def _is_activation(self, path: str | None, missing: bool) -> bool:
        layers = self.layers[0 if missing else 1]
        if path not in layers or not layers[path].leaf or layers[path].tensors:
            return False
        probe = np.random.default_rng(0).normal(0.0, 3.0, (2, 3, 5, 4))
        try:
            if missing:
                value = activation_to_torch(self.keras.run_layer(path, [activation_to_keras(probe)])[0])
            else:
                value = self.torch.run_layer(path, [probe])[0]
        except Exception:
            return False
        step = identify(probe, value)
        return step is not None and step.kind in {"activation", "softmax"}


def _computed(between: Callable[[], Between], side: Side, paths: Sequence[str]) -> bool:
    """Whether the other side gives, at some step, all that these layers give; also where that cannot be known."""
    try:
        steps = between()
        return all(steps.has_twins(side, path) for path in paths)
    except Exception:  # any model, any error: then nothing is proven
        return True
