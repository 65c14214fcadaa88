"""Models written apart are paired by their dataflow: right, both ways, and never by a guess."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise, to_torch_inputs
from parity.pairing.dataflow.graph import graph_of
from parity.pairing.evidence import Evidence
from parity.pairing.pair import Pairing, pair_layers
from parity.pairing.problems.sentences import sentence
from parity.weights.models import pair_models
from tests.zoo_apart import CASES, Torch, image


def found(pairing: Pairing) -> dict[str, str]:
    """Keras path -> torch path(s) of the layers, and of the tensors that are paired on their own."""
    pairs = {item.keras: " ".join(item.torch) for item in pairing.pairs}
    return pairs | {slot.keras: slot.torch for item in pairing.pairs for slot in item.slots}


@pytest.mark.parametrize("name", CASES)
def test_written_apart(name: str) -> None:
    """Every layer finds its own, and with the weights carried over the two compute the same."""
    model, module, inputs, pairs = CASES[name]()
    pairing = pair_models(adapt(model), adapt(module), None, inputs)
    assert not pairing.problems
    assert {path: found(pairing)[path] for path in pairs} == pairs
    sample = inputs[0]
    for source, target in ((module, model), (model, module)):
        randomise(adapt(source), 3)
        parity.transfer(source, target, inputs=sample)
        report = parity.compare(model, module, sample)
        assert report.verdict == "EQUAL", str(report)


def test_either_would_do_is_said() -> None:
    model, module, inputs, _ = CASES["branches that may change places"]()
    pairing = pair_models(adapt(model), adapt(module), None, inputs)
    assert {item.keras: item.evidence for item in pairing.pairs} == {
        "p": Evidence.DATAFLOW_EITHER,
        "q": Evidence.DATAFLOW_EITHER,
        "out": Evidence.DATAFLOW,
    }


def test_names_that_the_dataflow_contradicts_are_said() -> None:
    model, module, inputs, _ = CASES["names that mislead"]()
    (note,) = pair_models(adapt(model), adapt(module), None, inputs).notes
    assert "a with b" in note


def two_branches(ours: Any, theirs: Any, head: str | None = None) -> tuple[Any, Any]:
    """Two branches of one shape, each with an activation, on either side."""
    i = keras.Input((None, None, 3))
    x = ours[0](L.Conv2D(8, 3, name="p")(i)) + ours[1](L.Conv2D(8, 3, name="q")(i))
    model = keras.Model(i, L.Conv2D(4, 1, activation=head, name="out")(x))
    module = Torch(
        lambda m, x: m.o(theirs[0](m.u(x)) + theirs[1](m.v(x))),
        o=nn.Conv2d(8, 4, 1), u=nn.Conv2d(3, 8, 3), v=nn.Conv2d(3, 8, 3),
    )  # fmt: skip
    return model, module


def test_a_difference_elsewhere_does_not_confuse_the_branches() -> None:
    """Softmax in one model alone: the graphs are not the same, the branches are told apart all the same."""
    model, module = two_branches((ops.relu, ops.sigmoid), (torch.sigmoid, F.relu), "softmax")
    pairs = found(pair_models(adapt(model), adapt(module), None, [image(2, 7, 9, 3)]))
    assert (pairs["p"], pairs["q"]) == ("v", "u")


def test_an_ambiguity_lists_the_candidates() -> None:
    """Other activations on each side: nothing says which branch is which."""
    model, module = two_branches((ops.relu, ops.sigmoid), (torch.tanh, F.elu))
    with pytest.raises(parity.PairingError) as error:
        parity.transfer(module, model)
    assert len(error.value.problems) == 2
    assert all("could be any of torch u, v" in problem for problem in error.value.problems)
    assert "mapping={'p': ...}" in str(error.value)
    assert parity.transfer(module, model, {"p": "u"}).copied == 6


def test_equal_weights_decide_where_the_dataflow_does_not() -> None:
    model, module = two_branches((ops.relu, ops.sigmoid), (torch.tanh, F.elu))
    randomise(adapt(module), 1)
    parity.transfer(module, model, {"p": "v", "q": "u"})
    pairs = found(pair_models(adapt(model), adapt(module), None, [image(2, 7, 9, 3)]))
    assert (pairs["p"], pairs["q"]) == ("v", "u")


def chain(missing: int | None, order: tuple[int, ...] = (0, 1, 2, 3)) -> tuple[Any, Any]:
    """Convolution and normalisation, again and again, of one shape; torch may lack one normalisation."""
    x = i = keras.Input((None, None, 4))
    for n in range(4):
        x = ops.relu(L.BatchNormalization(epsilon=1e-5, name=f"n{n}")(L.Conv2D(4, 3, name=f"c{n}")(x)))
    model = keras.Model(i, L.Conv2D(5, 1, name="out")(x))

    def run(m: Any, x: Any) -> Any:
        for n in order:
            x = m.convolutions[n](x)
            x = F.relu(x if n == missing else m.norms[str(n)](x))
        return m.last(x)

    module = Torch(
        run,
        last=nn.Conv2d(4, 5, 1),
        convolutions=nn.ModuleList(nn.Conv2d(4, 4, 3) for _ in range(4)),
        norms=nn.ModuleDict({str(n): nn.BatchNorm2d(4) for n in range(4) if n != missing}),
    )
    return model, module


@pytest.mark.parametrize("missing", [None, 0, 1, 2, 3])
def test_a_missing_layer_leaves_the_others_in_place(missing: int | None) -> None:
    model, module = chain(missing)
    pairing = pair_models(adapt(model), adapt(module), None, [image(2, 11, 13, 4)])
    wanted = {f"c{n}": f"convolutions.{n}" for n in range(4)} | {"out": "last"}
    wanted |= {f"n{n}": f"norms.{n}" for n in range(4) if n != missing}
    assert {item.keras: item.torch[0] for item in pairing.pairs} == wanted
    assert {problem.keras for problem in pairing.problems} == (set() if missing is None else {f"n{missing}"})


def test_steps_without_weights_correspond_too() -> None:
    model, module, inputs, _ = CASES["residual with a shortcut of the same shape"]()
    ours, theirs = adapt(model), adapt(module)
    pairing = pair_models(ours, theirs, None, inputs)
    traces = ours.trace(inputs)[1], theirs.trace([inputs[0].transpose(0, 3, 1, 2)])[1]
    kinds = [(traces[0].nodes[a].kind, traces[1].nodes[b].kind) for a, b in pairing.ops]
    assert len(kinds) == len(traces[0].nodes) == len(traces[1].nodes)
    assert all(a == b for a, b in kinds)
    assert [kind for kind, _ in kinds].count("add") == 2
    assert dict(kinds)["sigmoid"] == "sigmoid"


# --- parametrisations that are not the same and compute the same -------------------------------------


def normalised(keras_options: dict[str, Any], torch_options: dict[str, Any]) -> tuple[Any, Any]:
    i = keras.Input((None, None, 3))
    x = L.BatchNormalization(epsilon=1e-5, name="norm", **keras_options)(L.Conv2D(4, 3, name="conv")(i))
    module = Torch(
        lambda m, x: m.last(m.norm(m.conv(x))),
        conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4, **torch_options), last=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    return keras.Model(i, L.Conv2D(2, 1, name="last")(x)), module


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"scale": False, "center": False}])
def test_batchnorm_without_scale_or_centre(options: dict[str, bool]) -> None:
    """Into torch they become one and zero; from torch they must be."""
    model, module = normalised(options, {})
    randomise(adapt(model), 1)
    randomise(adapt(module), 2)
    parity.transfer(model, module)
    assert parity.compare(model, module).verdict == "EQUAL"
    if "scale" in options:
        assert torch.equal(module.norm.weight, torch.ones(4))
    if "center" in options:
        assert torch.equal(module.norm.bias, torch.zeros(4))
    parity.transfer(module, model)
    name = "weight" if "scale" in options else "bias"
    with torch.no_grad():
        getattr(module.norm, name)[1] = 0.5
    with pytest.raises(parity.PairingError, match=f"norm.{name} must be all"):
        parity.transfer(module, model)
    report = parity.compare(model, module)
    assert report.verdict == "DIVERGED"
    assert (report.first.keras, report.first.torch) == ("norm", "norm")


def test_batchnorm_without_affine_takes_keras_ones() -> None:
    model, module = normalised({}, {"affine": False})
    parity.transfer(module, model)
    assert parity.compare(model, module).verdict == "EQUAL"
    randomise(adapt(model), 1)
    with pytest.raises(parity.PairingError, match=r"norm\.gamma must be all 1"):
        parity.transfer(model, module)


def test_a_folded_bias_is_the_running_mean_less_it() -> None:
    model, module, inputs, _ = CASES["bias in front of batchnorm on one side"]()
    randomise(adapt(module), 1)
    result = parity.transfer(module, model)
    assert result.rewritten == ["0.bias", "1.running_mean"]
    mean, bias = module[1].running_mean.numpy(), module[0].bias.detach().numpy()
    assert (model.get_layer("n1").moving_mean.numpy() == mean - bias).all()
    assert (model.get_layer("c2").bias.numpy() == 0).all()
    again = parity.transfer(model, module)
    assert again.rewritten == ["c2.bias", "n2.moving_mean"]
    assert (module[0].bias.detach().numpy() == 0).all()
    assert (module[1].running_mean.numpy() == mean - bias).all()
    with torch.no_grad():
        module[1].running_mean[2] += 1e-3
    assert parity.compare(model, module, inputs[0]).first.torch == "1"


def test_a_bias_is_not_folded_past_an_activation() -> None:
    i = keras.Input((None, None, 3))
    x = L.BatchNormalization(name="n")(ops.relu(L.Conv2D(4, 3, use_bias=False, name="c")(i)))
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    with pytest.raises(parity.PairingError, match=r"0 \(Conv2d, paired with c\): bias \(4,\)"):
        parity.transfer(module, keras.Model(i, x))


# --- what must hold for any two models ----------------------------------------------------------------


def test_models_that_have_nothing_to_do_with_each_other() -> None:
    """Each against each: every pair fits in shape, no tensor is paired twice, and the rest is listed."""
    models = [case() for case in CASES.values()]
    ours = [(adapt(model), adapt(model).trace(inputs)[1]) for model, _, inputs, _ in models]
    theirs = []
    for model, module, inputs, _ in models:
        adapter = adapt(module)
        theirs.append((adapter, adapter.trace(to_torch_inputs(inputs, adapt(model)))[1]))
    for keras_side, keras_trace in ours:
        held = {
            tensor.path: tensor.shape for layer in keras_side.layers().values() for tensor in layer.tensors
        }
        for torch_side, torch_trace in theirs:
            shapes = {
                tensor.path: tensor.shape
                for layer in torch_side.layers().values()
                for tensor in layer.tensors
            }
            pairing = pair_layers(keras_side, torch_side, None, None, (keras_trace, torch_trace))
            slots = [slot for item in pairing.pairs for slot in item.slots]
            assert all(slot.layout.keras_shape == held[slot.keras] for slot in slots)
            whole = [slot for slot in slots if not slot.layout.partial]
            assert all(slot.layout.torch_shape == shapes[slot.torch] for slot in whole)
            assert len({slot.keras for slot in slots}) == len(slots)
            assert len({(slot.torch, slot.layout.torch_rows) for slot in slots}) == len(slots)
            done = {slot.keras for slot in slots} | {
                constant.path for item in pairing.pairs for constant in item.constants
            }
            listed = " ".join(sentence(problem) for problem in pairing.problems)
            assert all(path in done or path in listed or path in pairing.unmatched_keras for path in held)
            assert pairing.problems or not (pairing.unmatched_keras or pairing.unmatched_torch)


def residual(
    blocks: int, skipped: int | None = None, without: int | None = None, early: int | None = None
) -> tuple[Any, Any]:
    """Equal residual blocks; the torch side may lack a skip connection or a normalisation, or read too early."""
    x = i = keras.Input((None, None, 4))
    for n in range(blocks):
        y = L.BatchNormalization(epsilon=1e-5, name=f"n{n}")(L.Conv2D(4, 1, name=f"a{n}")(x))
        x = ops.relu(x + L.Conv2D(4, 1, name=f"b{n}")(ops.relu(y)))
    model = keras.Model(i, x)

    def run(m: Any, x: Any) -> Any:
        before = [x]
        for n in range(blocks):
            y = m.first[n](before[0] if n == early else x)
            y = m.second[n](F.relu(y if n == without else m.norms[str(n)](y)))
            x = F.relu(y if n == skipped else x + y)
            before.append(x)
        return x

    module = Torch(
        run,
        first=nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(blocks)),
        second=nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(blocks)),
        norms=nn.ModuleDict({str(n): nn.BatchNorm2d(4) for n in range(blocks) if n != without}),
    )
    return model, module


@pytest.mark.parametrize("fault", [{}, {"skipped": 0}, {"skipped": 3}, {"skipped": 5}, {"without": 0}, {"without": 3},
                                   {"skipped": 1, "without": 4}, {"early": 1}, {"early": 1, "skipped": 3}])  # fmt: skip
def test_one_fault_does_not_shift_repeated_blocks(fault: dict[str, int]) -> None:
    model, module = residual(6, **fault)
    pairing = pair_models(adapt(model), adapt(module), None, [image(2, 5, 6, 4)])
    wanted = {f"a{n}": f"first.{n}" for n in range(6)} | {f"b{n}": f"second.{n}" for n in range(6)}
    wanted |= {f"n{n}": f"norms.{n}" for n in range(6) if n != fault.get("without")}
    assert {item.keras: item.torch[0] for item in pairing.pairs} == wanted


@pytest.mark.parametrize("shuffle", range(6))
def test_pairing_does_not_depend_on_the_order_of_a_set(shuffle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python draws the order of strings in a set anew in each process."""

    def shuffled(*args: Any) -> Any:
        graph = graph_of(*args)
        edges = sorted(graph.edges, key=repr)
        random.Random(shuffle).shuffle(edges)
        graph.edges = dict.fromkeys(edges)  # type: ignore[assignment]  # it keeps this order
        return graph

    monkeypatch.setattr("parity.pairing.dataflow.both.graph_of", shuffled)
    model, module = residual(6, early=1)
    pairing = pair_models(adapt(model), adapt(module), None, [image(2, 5, 6, 4)])
    names = {"a": "first", "b": "second", "n": "norms"}
    assert {item.keras: item.torch[0] for item in pairing.pairs} == {
        f"{short}{n}": f"{long}.{n}" for short, long in names.items() for n in range(6)
    }


def row(blocks: int) -> tuple[Any, Any]:
    """Convolutions, normalisations and activations in a row, under names of their own on each side."""
    x = i = keras.Input((2, 3, 4))
    modules: list[Any] = []
    for n in range(blocks):
        x = L.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"b{n}")(L.Conv2D(4, 1, name=f"c{n}")(x))
        x = L.Activation("tanh")(x)
        modules += [nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Tanh()]
    return keras.Model(i, x), nn.Sequential(*modules)


def test_inputs_in_float64_pair_as_well_as_in_float32() -> None:
    """NumPy's random numbers are float64, and torch refuses what Keras casts."""
    model, module = row(3)
    inputs = np.random.default_rng(0).standard_normal((2, 2, 3, 4))
    assert parity.transfer(module, model, inputs=inputs).copied == 18
    assert parity.compare(model, module, inputs).verdict == "EQUAL"
    assert parity.compare(model, module.double(), inputs.astype("float32")).verdict == "EQUAL"


def test_why_the_dataflow_was_not_looked_at_is_said() -> None:
    model, module = row(3)
    report = parity.compare(model, module, np.zeros((2, 5, 3, 4)))
    assert report.verdict == "INCONCLUSIVE"
    told = [f for f in report.findings if "could not be looked at: on input (2, 5, 3, 4) keras" in f.evidence]
    assert len(told) == 1, str(report)
    assert "give inputs that both models take" in str(told[0].fix)


@pytest.mark.slow
def test_rounding_that_normalisations_enlarge_is_no_difference() -> None:
    """Sixty normalisations by statistics of twelve pixels: in training mode the outputs are 2e-11 apart."""
    model, module = row(60)
    inputs = np.random.default_rng(0).standard_normal((2, 2, 3, 4))
    randomise(adapt(module), 3)
    parity.transfer(module, model, inputs=inputs)
    report = parity.compare(model, module, inputs, gradients=True)
    assert report.verdict == "EQUAL", str(report)
