"""What torch should give at a place, with the torch calls that give it, for every tensor that differs there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from parity.adapters.torch.adapter import TorchAdapter
from parity.adapters.torch.edits.tape import RecordedCalls, Tape
from parity.causes.recorded import RecordedSteps, StepPlace
from parity.causes.regions.edited import Goal
from parity.causes.regions.region import Region, region
from parity.core.adapter import Adapter
from parity.core.finding import Kind
from parity.core.trace import Source
from parity.core.types import Array
from parity.replay.located import Apart
from parity.replay.tensors import WITHIN, compare

LARGEST = 2_000_000
"""Elements of the greatest tensor that is computed again and again."""


Ends = Callable[[Apart, int], tuple[Source, Source] | None]
"""Which output of which step of either side the number-th tensor of a place is; None where not known."""


def goals_of(
    places: Sequence[Apart],
    steps: Callable[[], RecordedSteps],
    ends: Ends,
    layers: tuple[Adapter, Mapping[str, tuple[str, ...]]],
) -> list[list[Goal]]:
    """What torch should give at each place, with its steps as they run now; nothing where they are not known.

    Args:
        places: the differences.
        steps: records both sides.
        ends: finds the steps that give the tensors of a place.
        layers: the torch side, and the paths of its layers by those of the Keras ones.
    """
    found: list[list[Goal]] = [[] for _ in places]
    behind: dict[int, list[tuple[Region, Array, Array]]] = {}
    for i, apart in enumerate(places):
        try:
            if apart.kind in {Kind.WIRING, Kind.OUTPUT}:
                behind[i] = _regions(apart, steps(), ends)
            else:
                found[i] = of_layer(apart, layers[0], layers[1][apart.call.path])
        except Exception:  # any model, any error: it costs the name, not the verdict
            behind.pop(i, None)
    try:
        made = of_steps(steps(), list(behind.values())) if any(behind.values()) else []
    except Exception:  # any model, any error
        made = []
    for i, goals in zip(behind, made, strict=False):
        found[i] = goals
    return found


def _regions(apart: Apart, steps: RecordedSteps, ends: Ends) -> list[tuple[Region, Array, Array]]:
    """The steps behind every tensor that differs at a place; nothing where some are not known."""
    found = []
    for number, (keras, torch) in enumerate(zip(apart.keras_result, apart.inputs, strict=False)):
        if compare([keras], [torch], one_pixel=True).differs:
            pair = ends(apart, number)
            known = None if pair is None else region(steps, *pair)
            if known is None:
                return []
            found.append((known, keras, torch))
    return found


def of_steps(
    steps: RecordedSteps, wanted: Sequence[Sequence[tuple[Region, Array, Array]]]
) -> list[list[Goal]]:
    """Goals of the steps between the layers; the torch model runs once for all of them.

    Args:
        steps: both sides, recorded.
        wanted: for each place the region, the Keras tensor and torch's of each tensor that differs.
    """
    flat = [item for place in wanted for item in place]
    kept = RecordedCalls([{node.id for node in region.torch} for region, _, _ in flat])
    if any(region.torch for region, _, _ in flat):
        steps.run_torch(kept)
    made = iter(zip(flat, kept.tapes, strict=True))
    found = []
    for place in wanted:
        goals = [_of_region(steps, *item, tape) for _ in place for item, tape in [next(made)]]
        found.append([goal for goal in goals if goal is not None] if None not in goals else [])
    return found


def _of_region(steps: RecordedSteps, region: Region, keras: Array, torch: Array, tape: Tape) -> Goal | None:
    end: StepPlace = region.ends[1]
    if max(keras.size, torch.size) > LARGEST or keras.dtype.kind != "f":
        return None
    if not region.torch:
        return Goal(Tape.of_tensor(torch), 0, keras, _alike(keras, torch))
    slot = tape.ends.get((end.node, end.output))
    return None if slot is None else Goal(tape.recorded(), slot, keras, _alike(keras, torch))


def of_layer(apart: Apart, torch: Adapter, paths: Sequence[str]) -> list[Goal]:
    """The goal of one layer that differs on identical inputs.

    Args:
        apart: the difference.
        torch: the side whose layer it is.
        paths: of the torch layer.
    """
    if len(paths) != 1 or len(apart.keras_result) != 1 or not isinstance(torch, TorchAdapter):
        return []
    if max(value.size for value in apart.outputs) > LARGEST:
        return []
    tape, ends = torch.recorded(paths[0], apart.inputs)
    keras = apart.keras_result[0]
    if not ends or keras.dtype.kind != "f":
        return []
    wanted = WITHIN[apart.within](keras) if apart.within else keras
    return [Goal(tape, ends[0], wanted, _alike(wanted, apart.outputs[0]))]


def _alike(keras: Array, torch: Array) -> Callable[[Array], bool]:
    """Whether a changed tensor is the Keras one, read as torch's own is read."""
    same_size = keras.size == torch.size

    def agrees(value: Array) -> bool:
        if same_size and value.shape != torch.shape:
            return False
        return bool(np.isfinite(value).all()) and not compare([keras], [value], one_pixel=True).differs

    return agrees
