"""Seeds every fault and prints what parity makes of it: python -m tests.mutation.suite [CAUSE ...]"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch  # noqa: F401  (before TensorFlow)

import parity
from tests.mutation.faults import FAULTS, Fault
from tests.mutation.models import VICTIMS, clean
from tests.mutation.undone import undone


@dataclass(frozen=True)
class Outcome:
    """What parity made of one mutant."""

    detected: bool
    placed: bool
    named: bool
    verified: bool
    report: Any


def outcome(fault: Fault) -> Outcome:
    """Seed one fault and compare."""
    model, module, values = clean(fault.victim)
    with undone(fault.seed(module), model, module):
        report = parity.compare(model, module, values)
    first = report.first
    # A fault of two layers, or of a step that feeds several, is named at each; all must bear the one cause.
    causes = {finding.cause for finding in report.findings if finding.kind != "error"}
    return Outcome(
        report.verdict == "DIVERGED",
        first is not None and first.torch in fault.places,
        causes == {fault.cause},
        first is not None and first.fix_verified,
        report,
    )


def training() -> list[tuple[str, str, Callable[[], None]]]:
    """Mutants of other models: cause, model, and the test that seeds one and asserts all four columns."""
    from tests.mutation import test_inner_step_faults as n
    from tests.mutation import test_recurrent_faults as r
    from tests.mutation import test_step_faults as s
    from tests.mutation import test_training_faults as t
    from tests.unit import test_attention_causes as a
    from tests.unit import test_shared_axes as p

    single = {case: next(iter(causes)) for case, (_, causes) in t.OPTIMIZERS.items() if len(causes) == 1}
    return [
        *((fault.cause, name, partial(t.test_fault_at_a_layer_is_found_and_named, fault, name))
          for fault in t.FAULTS if fault.cause for name in t.MODELS),
        *(("batchnorm-running-variance", name, partial(t.test_clean_control, name)) for name in t.MODELS),
        *((single[case], name, partial(t.test_optimizers_that_differ, case, name))
          for case, name in t.PAIRS if single.get(case)),
        *(("dropout-rate", name, partial(t.test_dropout, name)) for name in ("dense", "image", "functional")),
        *(("dropout-kind", name, partial(t.test_dropout_kind, name)) for name in t.KINDS),
        *(("shared-layer-duplicated", name, partial(t.test_a_shared_layer_that_became_two, name)) for name in t.SHARED),
        *(("double-softmax", name, partial(t.test_double_softmax, name)) for name in t.CLASSIFIERS),
        *(("loss-reduction", name, partial(t.test_loss_reduction, name)) for name in t.MODELS[:3]),
        *(("loss-broadcast", name, partial(t.test_a_loss_that_broadcasts, name)) for name in ("dense", "image", "signal")),
        *(("loss-axes", name, partial(t.test_a_loss_over_other_axes, name)) for name in ("image", "signal", "volume")),
        *((cause, name, partial(r.test_a_recurrent_fault_is_named_with_a_fix_that_was_tried, cause, name))
          for cause, name in r.FAULTS),
        *((cause.strip(), name, partial(a.test_a_fault_in_an_attention_has_its_name, cause, name))
          for cause, name in a.CASES),
        *((cause, f"{halves} {fused}", partial(a.test_positions_that_turn_queries_and_keys, cause, halves, fused))
          for cause, halves, fused in a.TURNINGS),
        *(("shared-axes", name, partial(p.test_slopes_for_each_position_are_named, name)) for name in p.CASES),
        *(("key-dim", name, partial(a.test_key_dim_is_the_size_of_one_head, name)) for name in a.SIZES),
        *((cause, f"{kind} {fault}", partial(n.test_a_step_within_a_layer_is_named, cause, kind, fault))
          for cause, kind, fault in n.FAULTS),
        *((case.cause, name, partial(s.test_a_step_is_named_with_a_fix_that_was_tried, case, name))
          for case in s.CASES for name in s.MODELS),
        *(("position-offset", way, partial(a.test_positions_counted_from_another_number, way, 1)) for way in a.PLACES),
    ]  # fmt: skip


def passed(test: Callable[[], None]) -> bool:
    """Whether a test holds; what it says where it does not is printed."""
    try:
        test()
    except AssertionError as error:
        print(f"--- {test}: {str(error)[:1000]}")
        return False
    return True


def main(causes: list[str]) -> int:
    """Print the table; the exit code says whether the shares hold."""
    if unknown := set(causes) - {fault.cause for fault in FAULTS} - {cause for cause, _, _ in training()}:
        print(
            f"every cause must be one that is seeded; got {', '.join(sorted(unknown))}. `parity causes` lists them."
        )
        return 2
    results: dict[str, list[tuple[Fault, Outcome]]] = {}
    for fault in FAULTS:
        if not causes or fault.cause in causes:
            started = time.perf_counter()
            result = outcome(fault)
            results.setdefault(fault.cause, []).append((fault, result))
            if not (result.detected and result.placed and result.named):
                print(
                    f"--- {fault.cause} in {fault.victim} at {fault.name} "
                    f"({time.perf_counter() - started:.1f} s)\n{result.report}"
                )
    table = {
        cause: [(f.victim, r.detected, r.placed, r.named, r.verified) for f, r in items]
        for cause, items in results.items()
    }
    for cause, name, test in training():
        if not causes or cause in causes:
            table.setdefault(cause, []).append((name, *[passed(test)] * 4))
    print(
        f"{'cause':<28} {'mutants':>7} {'models':>6} {'detected':>8} {'placed':>6} {'named':>6} {'fix verified':>12}"
    )
    rows = [*sorted(table.items()), ("all", [item for items in table.values() for item in items])]
    for cause, items in rows:
        counts = [sum(values) for values in list(zip(*items, strict=True))[1:]]
        models = len({item[0] for item in items})
        print(
            f"{cause:<28} {len(items):>7} {models:>6} {counts[0]:>8} {counts[1]:>6} {counts[2]:>6} {counts[3]:>12}"
        )
    controls = [parity.compare(*clean(name)).verdict for name in VICTIMS]
    print(f"clean controls: {controls.count('EQUAL')} of {len(controls)} EQUAL")
    total = len(rows[-1][1])
    held = counts[0] == total and counts[1] >= 0.98 * total and counts[2] >= 0.95 * total
    return 0 if held and set(controls) == {"EQUAL"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
