"""One rule decides the verdict; it reads kinds, never words, and a check pairs its two models once."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parity.core import verdict as rule
from parity.core.finding import Finding, Kind
from parity.core.verdict import Verdict, verdict_of

ROOT = Path(__file__).resolve().parents[2]


def found(*kinds: Kind, cause: str | None = None) -> list[Finding]:
    return [Finding("a", "b", kind, cause, "measured") for kind in kinds]


TABLE: dict[str, tuple[dict[str, Any], str]] = {
    "nothing found": ({"findings": [], "evaluated": True}, "EQUAL"),
    "nothing found, nothing evaluated": ({"findings": [], "evaluated": False}, "INCONCLUSIVE"),
    "a difference that shows before one side raises": (
        {"findings": found(Kind.SHAPE, Kind.ERROR), "evaluated": False}, "DIVERGED"),
    "an error alone": ({"findings": found(Kind.ERROR), "evaluated": True}, "INCONCLUSIVE"),
    "an unmatched tensor": ({"findings": found(Kind.UNMATCHED), "evaluated": True}, "INCONCLUSIVE"),
    "an unmatched tensor and a difference": (
        {"findings": found(Kind.UNMATCHED, Kind.LAYER), "evaluated": True}, "DIVERGED"),
    "one random side, of a known cause": (
        {"findings": found(Kind.NOT_REPEATABLE, cause="train-mode-left-on"), "evaluated": True, "noisy": ["torch"]},
        "DIVERGED"),
    "one random side, of an unknown cause": (
        {"findings": found(Kind.NOT_REPEATABLE), "evaluated": True, "noisy": ["torch"]}, "INCONCLUSIVE"),
    "two random sides": (
        {"findings": found(Kind.NOT_REPEATABLE, cause="train-mode-left-on"), "evaluated": True,
         "noisy": ["keras", "torch"]}, "INCONCLUSIVE"),
    "noise makes differences": (
        {"findings": found(Kind.NOT_REPEATABLE, Kind.GRADIENT), "evaluated": True, "noisy": ["torch"]},
        "INCONCLUSIVE"),
    "noise of a side that is not named": (
        {"findings": found(Kind.NOT_REPEATABLE, Kind.GRADIENT), "evaluated": True}, "INCONCLUSIVE"),
    "noise without a finding": ({"findings": [], "evaluated": True, "noisy": ["torch"]}, "INCONCLUSIVE"),
    "a part that is DIVERGED": (
        {"findings": [], "evaluated": True, "parts": [Verdict.EQUAL, Verdict.DIVERGED, Verdict.INCONCLUSIVE]},
        "DIVERGED"),
    "a part that is INCONCLUSIVE": (
        {"findings": [], "evaluated": True, "parts": [Verdict.INCONCLUSIVE, Verdict.EQUAL]}, "INCONCLUSIVE"),
    "equal parts and a lost tensor": (
        {"findings": found(Kind.ROUND_TRIP), "evaluated": True, "parts": [Verdict.EQUAL]}, "INCONCLUSIVE"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_one_rule(case: str) -> None:
    arguments, verdict = TABLE[case]
    assert verdict_of(**arguments) == verdict


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_proves_or_leaves_the_question_open(kind: Kind) -> None:
    verdict = verdict_of(found(kind), evaluated=True)
    assert verdict == ("DIVERGED" if kind.proves else "INCONCLUSIVE")
    assert kind.meaning


def test_exit_codes() -> None:
    assert {verdict.value: verdict.exit_code for verdict in Verdict} == {
        "EQUAL": 0,
        "DIVERGED": 1,
        "INCONCLUSIVE": 2,
    }


def test_a_kind_is_none_that_somebody_made_up() -> None:
    with pytest.raises(ValueError, match="looks odd"):
        Finding("a", "b", "looks odd", None, "measured")  # type: ignore[arg-type]
    assert Finding("a", "b", "layer", None, "measured").kind is Kind.LAYER  # type: ignore[arg-type]


class Mutant(ast.NodeTransformer):
    """The rule without one of its conditions."""

    def __init__(self, condition: str) -> None:
        self.condition, self.changed = condition, 0

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        kept = [value for value in node.values if ast.unparse(value) != self.condition]
        self.changed += len(node.values) - len(kept)
        if len(kept) == len(node.values):
            return node
        return kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)


CONDITIONS = [
    "not evaluated",
    "findings",
    "noisy",
    "noise",
    "proven",
    "Verdict.DIVERGED in parts",
    "Verdict.INCONCLUSIVE in parts",
    "len(set(noisy)) == 1",
    "any((finding.cause for finding in noise))",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_condition_of_the_rule_counts(condition: str) -> None:
    """The table above notices when any one of the rule's conditions is gone."""
    mutant = Mutant(condition)
    tree = ast.fix_missing_locations(
        mutant.visit(ast.parse(Path(str(rule.__file__)).read_text(encoding="utf-8")))
    )
    assert mutant.changed >= 1
    space: dict[str, Any] = {"__name__": "mutant"}
    exec(compile(tree, "mutant", "exec"), space)  # the rule itself, less a condition
    wrong = [
        case for case, (arguments, verdict) in TABLE.items() if space["verdict_of"](**arguments) != verdict
    ]
    assert wrong


def test_a_check_pairs_its_models_once(monkeypatch: pytest.MonkeyPatch, keras_torch: None) -> None:
    from parity import check
    from parity.verdict import compare
    from parity.weights import models, transfer

    calls: list[tuple[Any, ...]] = []
    plain = models.pair_models

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return plain(*arguments)

    for module in (models, transfer, compare):
        monkeypatch.setattr(module, "pair_models", counted)
    result = check.check_pair(
        "Conv2d", "tests.networks:conv_keras", "tests.networks:conv_torch", {"one": None, "two": None}
    )
    assert result.verdict == "EQUAL", result.findings
    assert len(result.reports) == 4
    assert len(calls) == 1


def others() -> tuple[Any, Any]:
    import keras
    from torch import nn

    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="out")]), nn.Sequential(
        nn.Linear(4, 2)
    )


def test_a_pairing_of_other_models_is_refused(keras_torch: None) -> None:
    import parity
    from tests import networks

    pairing = parity.pair(networks.conv_keras(), networks.conv_torch())
    for call in (parity.transfer, parity.compare):
        with pytest.raises(parity.UsageError, match="pairing must be of these two models; got 6 tensors"):
            call(*others(), pairing=pairing)
        with pytest.raises(parity.UsageError, match="a pairing holds its mapping already"):
            call(networks.conv_keras(), networks.conv_torch(), mapping={"a": "b"}, pairing=pairing)


def test_a_pairing_that_says_nothing_of_a_tensor_is_refused(keras_torch: None) -> None:
    from dataclasses import replace

    import parity
    from tests import networks

    model, module = networks.conv_keras(), networks.conv_torch()
    pairing = parity.pair(model, module)
    first, *rest = pairing.pairs
    for pairs in (rest, [replace(first, slots=first.slots[1:]), *rest]):
        for call in (parity.transfer, parity.compare):
            with pytest.raises(
                parity.UsageError, match="pairing must say of every tensor what becomes of it"
            ):
                call(model, module, pairing=replace(pairing, pairs=pairs))
    assert parity.compare(model, module, pairing=pairing) is not None


def test_a_problem_excuses_no_other_tensor_that_a_pairing_leaves_out(keras_torch: None) -> None:
    from dataclasses import replace

    import keras
    from torch import nn

    import parity

    image = keras.Input((None, None, 3))
    layers = [keras.layers.Conv2D(4, 3, name="a"), keras.layers.Conv2D(5, 3, name="b")]
    model = keras.Model(image, layers[1](layers[0](image)))
    module = nn.Sequential()
    module.add_module("a", nn.Conv2d(3, 4, 3))
    module.add_module("b", nn.Conv2d(4, 6, 3))
    pairing = parity.pair(model, module)
    assert pairing.open
    assert parity.compare(model, module, pairing=pairing).verdict != "EQUAL"
    with pytest.raises(
        parity.UsageError, match=r"got nothing of 2 tensors of the keras model, the first 'a\.bias'"
    ):
        parity.compare(
            model, module, pairing=replace(pairing, pairs=[p for p in pairing.pairs if p.keras != "a"])
        )


REWORDED = """
import ast, hashlib, importlib.abc, importlib.machinery, json, sys
import torch
import keras

ROOMS = ("parity.core", "parity.pairing", "parity.weights", "parity.replay", "parity.causes", "parity.verdict",
         "parity.training", "parity.check")
words = 0

class Prose(ast.NodeTransformer):
    # Every text of more than one word becomes another, the same one wherever the same text stands.
    def visit_Constant(self, node):
        global words
        if isinstance(node.value, str) and " " in node.value.strip() or (
            isinstance(node.value, str) and node.value != node.value.strip() and node.value.strip(" ;,:.()").isalpha()
        ):
            words += 1
            node.value = "~" + hashlib.sha256(node.value.encode()).hexdigest()[:8] + "~"
        return node

    def visit_Call(self, node):
        # What is split or matched is data with spaces in it, not prose: the pieces are read where they are made.
        if isinstance(node.func, ast.Attribute) and node.func.attr in {"partition", "rpartition", "compile", "sub"}:
            return node
        return self.generic_visit(node)

class Loader(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data, path, *, _optimization=-1):
        return compile(ast.fix_missing_locations(Prose().visit(ast.parse(data))), path, "exec")
    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if not name.startswith(ROOMS) or name == "parity.core.trace":  # its table of names is data, split at spaces
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        if found is not None and isinstance(found.loader, importlib.machinery.SourceFileLoader):
            found.loader = Loader(found.loader.name, found.loader.path)
        return found

sys.meta_path.insert(0, Finder())
import parity
from tests.mutation.faults import FAULTS
from tests.mutation.models import VICTIMS, clean

wanted, wrong = set(sys.argv[1].split(",")), []
for fault in FAULTS:
    if fault.cause in wanted:
        wanted.remove(fault.cause)
        model, module, values = clean(fault.victim)
        with fault.seed(module):
            report = parity.compare(model, module, values)
        causes = {finding.cause for finding in report.findings}
        if report.verdict != "DIVERGED" or causes != {fault.cause} or report.first.torch not in fault.places:
            wrong.append([fault.cause, report.verdict, [[f.keras, f.torch, f.kind, f.cause] for f in report.findings]])
for name in list(VICTIMS)[:3]:
    verdict = parity.compare(*clean(name)).verdict
    if verdict != "EQUAL":
        wrong.append([name, verdict])
model, module, values = clean(next(iter(VICTIMS)))
module.register_parameter("spare", torch.nn.Parameter(torch.zeros(3)))
verdict = parity.compare(model, module, values).verdict
if verdict != "INCONCLUSIVE":
    wrong.append(["a tensor more", verdict])
print(json.dumps({"words": words, "left": sorted(wanted), "wrong": wrong}))
"""


CAUSES = (
    "kernel-flip,group-layout,output-padding,transpose-crop-offset,missing-bias,weight-not-copied,batchnorm-epsilon,"
    "layernorm-epsilon,activation-missing,softmax-axis,double-softmax,flatten-order,concat-order,"
    "pool-ceil-mode,resize-align-corners,channel-order,stride-placement,train-mode-left-on"
)


@pytest.mark.slow
def test_a_message_reworded_changes_no_verdict(keras_torch: None) -> None:
    """With every text of the deciding rooms replaced, seeded faults keep their verdict, places and causes."""
    done = subprocess.run(
        [sys.executable, "-c", REWORDED, CAUSES],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["words"] > 500
    assert result["left"] == []
    assert result["wrong"] == []
