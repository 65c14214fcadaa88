"""Every rule for layers by the name of the class."""

from __future__ import annotations

from collections.abc import Callable

from parity.porting.to_torch.leaves import (
    activations,
    attention,
    convolutions,
    dense,
    merging,
    pooling,
    preprocessing,
    sequences,
    shaping,
)
from parity.porting.to_torch.piece import ModuleText
from parity.porting.to_torch.use import RefusedError, StepUse
from parity.porting.to_torch.values import kinds

SPECTRAL = "nn.utils.parametrizations.spectral_norm"

RULES: dict[str, Callable[[StepUse], None]] = {
    **activations.RULES, **attention.RULES, **convolutions.RULES, **dense.RULES, **merging.RULES, **pooling.RULES,
    **preprocessing.RULES, **sequences.RULES, **shaping.RULES,
}  # fmt: skip


def spectral_norm(use: StepUse) -> None:
    """SpectralNormalization around a layer that is one module in torch."""
    wrapper, steps = use.layer, int(use.layer.power_iterations)
    use.layer = wrapper.layer
    kind = next((kind for kind in kinds(use.layer) if kind in RULES), "")
    if not kind:
        raise RefusedError(f"a SpectralNormalization of the layer {type(use.layer).__name__}")
    RULES[kind](use)
    if len(use.piece.members) != 1 or not use.piece.members[0].made.kind.startswith("nn."):
        raise RefusedError(f"a SpectralNormalization of a {kind} that is no module of torch's own")
    inner = use.piece.members[0].made
    settings = {"n_power_iterations": steps}
    use.piece.members[0].made = ModuleText(SPECTRAL, settings, inside={"module": inner})


RULES["SpectralNormalization"] = spectral_norm
