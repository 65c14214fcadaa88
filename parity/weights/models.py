"""Two models as sides, and the pairing of their layers: by name, or from one traced pass of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from parity.adapters import adapt, plain_weights, side_of
from parity.adapters.inputs.names import name_inputs
from parity.adapters.patching import layers_known
from parity.adapters.probe import (
    as_list,
    build,
    declared,
    flattened_images,
    in_keras_layout,
    random_inputs,
    to_torch_inputs,
    wrong_layout,
)
from parity.core.adapter import Adapter
from parity.core.errors import UsageError, in_a_line
from parity.core.trace import Trace, settle_flattened
from parity.core.types import Array, Side
from parity.pairing.leftover.ignored import patterns_of, without_ignored
from parity.pairing.pair import MappingLike, Pairing, pair_layers
from parity.weights.confirmed import confirmed, settled
from parity.weights.readings import settle
from parity.weights.traced import open_kernels, orientations, traced, unrun_tried
from parity.weights.written.cells import with_written_cells


def adapters_of(first: Any, second: Any, inputs: Any = None, device: str = "cpu") -> tuple[Adapter, Adapter]:
    """Adapters in the order given; the models must be one of each framework.

    Raises:
        UsageError: both models are of the same framework.
    """
    _not_channels_first((first, second), inputs)
    for model in (first, second):
        build(model, inputs)
    adapters = adapt(first, device), adapt(second, device)
    if adapters[0].side == adapters[1].side:
        raise UsageError(
            f"one model must be Keras and the other torch; got two {adapters[0].side} models. "
            "Use the framework's own state copy between models of the same framework."
        )
    name_inputs(*sorted_sides(*adapters), inputs)
    if inputs is not None:
        keras = sorted_sides(*adapters)[0]
        in_keras_layout(as_list(inputs, keras), keras)
    return adapters


def _not_channels_first(models: tuple[Any, Any], inputs: Any) -> None:
    """Refuse one image whose channels stand first, before a Keras model is built on it with wrong kernels."""
    keras = next((model for model in models if side_of(model) == "keras" and not model.built), None)
    torch = next((model for model in models if side_of(model) == "torch"), None)
    if keras is None or torch is None or inputs is None or len(values := as_list(inputs)) != 1:
        return
    kernel = next(
        (v.shape for name, v in torch.named_parameters() if v.dim() > 2 and name.endswith("weight")), None
    )
    shape = values[0].shape
    if kernel and len(kernel) == len(shape) and shape[1] == kernel[1] != shape[-1]:
        wanted = ", ".join([*("any" for _ in shape[2:]), str(shape[1])])
        wrong_layout([shape], "axis 1", f"({wanted})", 1, -1)


def sorted_sides(first: Adapter, second: Adapter) -> tuple[Adapter, Adapter]:
    """(keras, torch), in whichever order they came."""
    return (first, second) if first.side == "keras" else (second, first)


def pair(
    first: Any,
    second: Any,
    mapping: MappingLike | None = None,
    inputs: Any = None,
    *,
    layout: Any = None,
    ignore: Any = (),
) -> Pairing:
    """Pair the layers and tensors of two models, once for every `transfer` and `compare` that follows.

    The result serves as long as neither model gets or loses a layer. Whatever found no counterpart is in its
    `problems`; nothing is raised for it.

    Args:
        first: a Keras model and `second` a torch module, or the other way round.
        second: the model of the other framework.
        mapping: {Keras path: torch path, or tuple of torch paths}, of layers, containers or tensors.
        inputs: a sample input in the Keras layout, as `parity.compare` takes it; None draws one from the Keras model's
            own specification.
        layout: the order of axes in which torch takes it, as for `parity.compare`; None finds it.
        ignore: patterns of paths of layers or tensors of either side that are left out ("aux.*").

    Raises:
        UsageError: the two models are not one of each framework, the mapping is not made of paths, or a pattern names
            nothing.
    """
    with plain_weights(first, second):
        sides = sorted_sides(*adapters_of(first, second, inputs))
        return pair_models(*sides, mapping, inputs, layout, ignore)


def given(
    pairing: Pairing, keras: Adapter, torch: Adapter, mapping: MappingLike | None, ignore: Any = ()
) -> Pairing:
    """A pairing that the caller made before, once it is known to be of these two models.

    Raises:
        UsageError: it names layers or tensors that a model does not have, or leaves some out that it has, or a mapping
            comes with it.
    """
    if mapping:
        raise UsageError(
            "a pairing holds its mapping already; got pairing= and mapping=. Give the mapping to parity.pair."
        )
    if patterns := patterns_of(ignore):
        pairing = without_ignored(pairing, (keras.layers(), torch.layers()), patterns)
    for adapter, named in (
        (keras, {slot.keras for item in pairing.pairs for slot in item.slots}),
        (torch, {slot.torch for item in pairing.pairs for slot in item.slots}),
    ):
        known = {tensor.path for layer in adapter.layers().values() for tensor in layer.tensors}
        if strangers := sorted(named - known):
            raise UsageError(
                f"pairing must be of these two models; got {len(strangers)} tensors that the {adapter.side} model "
                f"does not have, the first {strangers[0]!r}. Pair the models anew with parity.pair."
            )
        if left := sorted(known - named - _without_partner(pairing, adapter.side)):
            raise UsageError(
                f"pairing must say of every tensor what becomes of it; got nothing of {len(left)} tensors of the "
                f"{adapter.side} model, the first {left[0]!r}. Pair the models anew with parity.pair, or leave tensors "
                "out with ignore=."
            )
    return pairing


def _without_partner(pairing: Pairing, side: Side) -> set[str]:
    """Tensors of one side that a pairing knows and pairs with none of the other's, or of which it states a problem."""
    first = side == "keras"
    return {
        *(pairing.unmatched_keras if first else pairing.unmatched_torch),
        *pairing.ignored[0 if first else 1],
        *(tensor.path for problem in pairing.problems for tensor in problem.held if tensor.side == side),
        *(path for problem in pairing.problems for path in problem.paths),
        *(path for owner, path in pairing.constants if owner == side),
        *(constant.path for item in pairing.pairs for constant in item.constants if constant.side == side),
    }


def pair_models(
    keras: Adapter,
    torch: Adapter,
    mapping: MappingLike | None,
    inputs: Any,
    layout: Any = None,
    ignore: Any = (),
) -> Pairing:
    """Pair two models: by name where that settles every tensor, else from one traced forward pass of each."""
    with layers_known(keras, torch):
        return _paired(keras, torch, mapping, inputs, layout, ignore)


def _paired(
    keras: Adapter, torch: Adapter, mapping: MappingLike | None, inputs: Any, layout: Any, ignore: Any
) -> Pairing:
    patterns = patterns_of(ignore)
    named = pair_layers(keras, torch, mapping, ignore=patterns)
    if (
        not named.complete
        or any(not item.evidence.of_names for item in named.pairs)
        or open_kernels(named, keras, torch)
    ):
        traces = traces_of(keras, torch, inputs, mapping, layout)
        if isinstance(traces, tuple):
            _add_idle(keras, traces[0], inputs=inputs)
            turned = partial(pair_layers, keras, torch, mapping, traces[0].flattened, traces, patterns)
            values = _taken(keras, torch, inputs)
            pairing = settled(lambda turn: turned(turn=turn), keras, torch, values)
            pairing = with_written_cells(pairing, turned, (keras, torch), traces, values)
            if values is None:
                return pairing
            pairing = confirmed(pairing, keras, torch, traces, values)
            return unrun_tried(pairing, {keras: values, torch: to_torch_inputs(values, keras)})
        named.unrun = traces
        named.problems += orientations(named, keras, torch)
    flattened, doubts = flattened_images(keras, inputs)
    first = any(layer.settings.get("data_format") == "channels_first" for layer in keras.layers().values())
    images = "image" in doubts or bool(flattened and first)
    in_doubt = named.unrun is None and (images or bool(doubts))
    traces = traces_of(keras, torch, inputs, mapping, layout) if in_doubt else ""
    seen = traces if isinstance(traces, tuple) else None
    if seen is not None and images:  # else what torch flattens in another way is a fault, and no layout
        _add_idle(keras, seen[0], flattened)
        settle_flattened(*seen)
        flattened = seen[0].flattened
    if not flattened and seen is None:
        return named
    pairing = pair_layers(keras, torch, mapping, flattened, ignore=patterns, seen=seen)
    open_ = [] if named.unrun is None else orientations(pairing, keras, torch)
    return replace(pairing, unrun=named.unrun, problems=[*pairing.problems, *open_])


def _add_idle(
    keras: Adapter, trace: Trace, images: Mapping[str, tuple[int, ...]] | None = None, inputs: Any = None
) -> None:
    """Add what is flattened in front of dense layers that the trace never met, as in heads that help training alone.

    Args:
        keras: the Keras side.
        trace: of it.
        images: as `flattened_images` gives them; None asks it.
        inputs: for it.
    """
    idle = {path for path, layer in keras.layers().items() if layer.family == "dense"}
    idle -= {node.path for node in trace.nodes if node.path is not None}
    if idle:
        found = flattened_images(keras, inputs)[0] if images is None else images
        trace.flattened.update({path: image for path, image in found.items() if path in idle})


def _taken(keras: Adapter, torch: Adapter, inputs: Any) -> list[Array] | None:
    """The inputs, or the first drawn ones that both sides take."""
    if inputs is not None:
        return declared(as_list(inputs, keras), keras)
    for values in random_inputs(keras):
        if not _said(keras, values) and not _said(torch, to_torch_inputs(values, keras)):
            return values
    return None


def traces_of(
    keras: Adapter, torch: Adapter, inputs: Any, mapping: MappingLike | None = None, layout: Any = None
) -> tuple[Trace, Trace] | str:
    """The graph of one forward pass of each side; where no input is known that both take, what is missing."""
    if inputs is None and not keras.input_specs():
        return "the Keras model does not say what it takes"
    reason = ""
    for values in [declared(as_list(inputs, keras), keras)] if inputs is not None else random_inputs(keras):
        side = keras.side
        try:
            first = traced(keras, values)
            side = torch.side
            if [len(order) for order in keras.orders] != [value.ndim for value in values]:
                settle(keras, torch, values, layout, mapping)
            return first, traced(torch, to_torch_inputs(values, keras))
        except Exception as error:  # any model, any error: these sizes are not for it
            shapes = ", ".join(str(value.shape) for value in values)
            said = str(error).strip().partition("\n")[0][:200]
            reason = reason or f"on input {shapes} {side} said {type(error).__name__}: {said}"
    return reason or "no input is known that both take"


def taking(
    keras: Adapter, torch: Adapter, inputs: Any, mapping: MappingLike | None, layout: Any
) -> tuple[list[list[Array]], list[str]]:
    """Inputs to compare on, with the torch side's order of axes settled on the first of them.

    Args:
        keras: the Keras side.
        torch: the torch side.
        inputs: what the caller gave; None draws some of the sizes that both sides take.
        mapping: the caller's pairs of layers.
        layout: the order that the caller asked for.

    Returns:
        The inputs to try in turn; and notes on which sizes were not taken, and on dtypes that are not the caller's.
    """
    if inputs is not None:
        own = as_list(inputs, keras)
        given_ = declared(own, keras)
        settle(keras, torch, given_, layout, mapping)
        return [given_], list(filter(None, map(_as_another_dtype, range(len(own)), own, given_)))
    drawn = random_inputs(keras)
    refused: list[str] = []
    kept: list[list[Array]] = []
    for number, values in enumerate(drawn if len(drawn) > 1 else ()):
        took = settle(keras, torch, values, layout, mapping)
        said = [_said(keras, values), "" if took else _said(torch, to_torch_inputs(values, keras))]
        if all(said):
            refused.append(f"{_sizes(values)} ({said[0]})")
            continue
        if any(said):  # what one side alone refuses may be a difference
            kept.append(values)
            continue
        note = f"compared at {_sizes(values)}, because both sides refused {'; '.join(refused)}"
        return [*kept, *drawn[number:]], [note] if refused else []
    settle(keras, torch, (kept or drawn)[0], layout, mapping)
    return kept or (drawn[:1] if refused else drawn), []


def _as_another_dtype(number: int, given: Array, taken: Array) -> str:
    """What says that torch, too, was given another dtype than the caller's; empty where it was not."""
    if given.dtype == taken.dtype or given.dtype.kind not in "ub":
        return ""
    return (
        f"input {number}: both sides were given {taken.dtype}, which Keras declares; what torch does with "
        f"{given.dtype} was not compared"
    )


def _said(model: Adapter, values: list[Array]) -> str:
    """Why a side does not take these inputs; empty where it does."""
    try:
        model.forward(values)
    except Exception as error:  # any model, any error: these sizes are not for it
        return in_a_line(error, 120)
    return ""


def _sizes(values: list[Array]) -> str:
    return " and ".join("x".join(map(str, value.shape)) for value in values)


def layer_pairs(pairing: Pairing) -> list[tuple[str, str | tuple[str, ...]]]:
    """The pairs by path, a single torch path as a string."""
    return [(item.keras, item.torch[0] if len(item.torch) == 1 else item.torch) for item in pairing.pairs]
