"""Training mode on both sides: what is frozen, random or trained on one side alone, and whether the outputs agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from parity.core.finding import Finding, Fix, Kind
from parity.core.layout import aligned
from parity.core.tolerance import difference
from parity.core.trainer import Dropped, Evaluation, WatchedCall
from parity.core.types import Array, Both, Side
from parity.pairing.pair import LayerPair
from parity.training.bench import Bench
from parity.training.dropout.places import compare_places
from parity.training.dropout.rates import compare_rates
from parity.training.gradients import compare_gradients

FROZEN = "batchnorm-frozen"


def train_mode(bench: Bench, gradients: bool) -> bool:
    """Make both sides alike in training mode, and compare outputs and gradients there; whether to go on."""
    result = bench.result
    bench.inference.close()
    before = bench.states()
    with bench.look():
        passes = bench.evaluate(True, None)
    _note_what_fit_leaves_off(bench, before.keras, passes.keras.dropped)
    _freeze_alike(bench, before)
    bench.load(before)
    dropped = Both(passes.keras.dropped, passes.torch.dropped)
    dropout = compare_rates(dropped, result)
    _leave_out_what_one_side_trains(bench)
    with bench.unchanged():
        passes = bench.evaluate(True, None, watch=True)
    agree, gap = bench.agree(passes, training=True)
    result.findings = [
        _with_fix_tried(f, agree, gap) if f in dropout or f.cause == FROZEN else f for f in result.findings
    ]
    if not agree and _unrepeatable(bench):
        return False
    if not agree:
        result.findings.append(first_output(bench, passes))
        result.notes.append(
            "gradients and steps in training mode were not compared: the outputs differ there"
        )
        return False
    if not dropout:
        compare_places(bench, dropped)
    return compare_gradients(bench, True) if gradients else True


def _with_fix_tried(finding: Finding, agree: bool, gap: float) -> Finding:
    """The finding, its fix verified where the outputs agree without what it names."""
    text = f"; without it the outputs in training mode agree to {gap:.1g}" if agree else ""
    return replace(finding, fix_verified=agree, evidence=f"{finding.evidence}{text}")


def _note_what_fit_leaves_off(bench: Bench, before: dict[str, Array], dropped: Sequence[Dropped]) -> None:
    """A note where Keras' own loop would not put the model into training mode."""
    trainer = bench.trainers.keras
    moves = any(not np.array_equal(value, before[path]) for path, value in trainer.state().items())
    if not trainer.trained_by_fit and (moves or dropped):
        bench.result.notes.append(
            "the Keras model's call has no `training` argument, so that fit() leaves its normalisations and dropout "
            "in inference mode; judged here as called with training=True"
        )


def _unrepeatable(bench: Bench) -> bool:
    """Whether a side gives different outputs for one input in training mode, with all known dropout off."""
    for trainer, inputs in zip(bench.trainers, bench.inputs, strict=True):
        with bench.unchanged():
            first = trainer.evaluate(inputs, None, training=True).outputs
        with bench.unchanged():
            again = trainer.evaluate(inputs, None, training=True).outputs
        pairs = zip(first, again, strict=True)
        if any(not np.array_equal(a, b, equal_nan=True) for (_, a), (_, b) in pairs):
            text = (
                f"two evaluations of the {trainer.side} model in training mode differ: "
                "a random step that is no dropout"
            )
            bench.result.findings.append(Finding(None, None, Kind.NOT_REPEATABLE, None, text))
            bench.result.noisy.add(trainer.side)
    return bool(bench.result.noisy)


# --- what one side alone freezes, drops or trains -----------------------------------------------------


def _freeze_alike(bench: Bench, before: Both[dict[str, Array]]) -> None:
    """Normalisations whose statistics move on one side alone: found, and frozen on both sides from here on."""
    after = bench.states()
    for pair in bench.pairing.pairs:
        slots = [slot for owner, slot in bench.statistics() if owner is pair]
        still = Both(
            all(np.array_equal(after.keras[s.keras], before.keras[s.keras]) for s in slots),
            all(np.array_equal(after.torch[s.torch], before.torch[s.torch]) for s in slots),
        )
        if not slots or still.keras == still.torch:
            continue
        floating = [slot for slot in slots if after.keras[slot.keras].dtype.kind == "f"]
        if len(floating) < 2:  # no mean and variance: a counter, or an average
            bench.result.findings.append(
                _moved_alone(pair, slots[0].keras, "torch" if still.keras else "Keras")
            )
            continue
        bench.result.findings.append(_frozen(pair, "keras" if still.keras else "torch"))
        trainers = bench.trainers
        moving, path = (trainers.torch, pair.torch[0]) if still.keras else (trainers.keras, pair.keras)
        bench.fixes.enter_context(moving.batchnorm(path, frozen=True))
        bench.untrained |= {slot.keras for slot in pair.slots}


def _moved_alone(pair: LayerPair, path: str, side: str) -> Finding:
    """What is no normalisation's, and changes in training on one side alone."""
    text = f"in training mode {side} alone changes {path}, which no gradient reaches"
    return Finding(pair.keras, ", ".join(pair.torch), Kind.TRAINING, None, text)


def _frozen(pair: LayerPair, side: Side) -> Finding:
    """A normalisation that one side freezes."""
    names = pair.keras, ", ".join(pair.torch)
    frozen, moving, how = (
        ("Keras", "torch", "trainable=False") if side == "keras" else ("torch", "Keras", "eval()")
    )
    text = (
        f"in training mode {frozen} leaves the statistics as they are ({how}: it normalises by them), "
        f"{moving} normalises by the batch and updates them"
    )
    fix = (
        Fix(f"trainable=True on Keras {names[0]}", still := f"torch {names[1]}.eval() after train(), with "
            "requires_grad_(False)", f"{still}; or trainable=True in Keras")
        if side == "keras"
        else Fix(frozen_too := f"trainable=False on Keras {names[0]}", f"train() on torch {names[1]}",
                 f"{frozen_too}; or train() on torch {names[1]}")
    )  # fmt: skip
    return Finding(*names, Kind.TRAINING, FROZEN, text, fix)


def _leave_out_what_one_side_trains(bench: Bench) -> None:
    """Parameters that one side alone trains: found, and left out of the rest."""
    trained = Both(bench.trainers.keras.trainable(), bench.trainers.torch.trainable())
    explained = {f.keras for f in bench.result.findings if f.cause == FROZEN}
    for pair in bench.pairing.pairs:
        names = pair.keras, ", ".join(pair.torch)
        for constant in pair.constants:
            if not constant.folded and constant.path in trained.of(constant.side):
                side, absent = ("Keras", "torch") if constant.side == "keras" else ("torch", "Keras")
                name = constant.path.rpartition(".")[2]
                text = f"{name}: trained in {side}, and the {absent} layer has none"
                fix = f"freeze it in {side}, or give the {absent} layer one"
                bench.result.findings.append(Finding(*names, Kind.TRAINING, None, text, fix))
        one_sided = [s for s in pair.slots if (s.keras in trained.keras) != (s.torch in trained.torch)]
        bench.untrained |= {slot.keras for slot in one_sided}
        if one_sided and pair.keras not in explained:
            side, how = (
                ("Keras", "requires_grad=False or a buffer in torch")
                if one_sided[0].keras in trained.keras
                else ("torch", "trainable=False in Keras")
            )
            tensors = ", ".join(slot.keras.rpartition(".")[2] for slot in one_sided)
            text = f"{tensors}: trained in {side} alone ({how})"
            fix = "freeze or train it on both sides"
            bench.result.findings.append(Finding(*names, Kind.TRAINING, None, text, fix))


# --- where the outputs differ -------------------------------------------------------------------------


def first_output(bench: Bench, passes: Both[Evaluation]) -> Finding:
    """The first watched call, in execution order, whose output differs in training mode."""
    partners = {(call.path, call.index): call for call in passes.torch.calls}
    for call in passes.keras.calls:
        path = bench.watched[call.path]
        partner = partners.get((path, call.index))
        if partner is None:
            continue
        fit = aligned(call.output, partner.output)
        if fit is not None and difference(call.output, fit[0]).within():
            continue
        if call.inputs and not _same_inputs(call, partner):
            continue  # it got something else already (an activation built in here, a step of its own there)
        text = f"in training mode the output differs: {difference(call.output, fit[0]) if fit else 'shapes'}"
        return Finding(call.path, path, Kind.TRAINING, None, text)
    return Finding(None, None, Kind.TRAINING, None, "in training mode the outputs differ, at no paired layer")


def _same_inputs(keras: WatchedCall, torch: WatchedCall) -> bool:
    """Whether the torch call got everything that the Keras call got."""
    if len(torch.inputs) < len(keras.inputs):
        return False
    for value, partner in zip(keras.inputs, torch.inputs, strict=False):
        fit = aligned(value, partner)
        if fit is None or not difference(value, fit[0]).within():
            return False
    return True
