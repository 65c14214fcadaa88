"""A model's own functions are recorded expression by expression, and run as they did before."""

from __future__ import annotations

import ast
import copy
import cProfile
import gc
import pstats
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from parity.adapters.torch.recording import record  # noqa: E402

nn = torch.nn


def double(function):
    """A decorator of the user's."""

    def wrapper(*args, **kwargs):
        return 2 * function(*args, **kwargs)

    return wrapper


@double
def squared(x, power=2):
    return x**power


class Base(nn.Module):
    def __init__(self, width, norm=None):
        super().__init__()
        norm = norm or nn.BatchNorm2d
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = norm(width)
        self.__secret = [f"{width:>3}" for _ in range(2)]

    def forward(self, x, *rest, scale=1.0, **options):
        _, _, h, w = x.shape
        y = self.norm(self.conv(x))
        for i, part in enumerate([squared, lambda t: t + self.offset(t)]):
            y = part(y) + i
        y += 1
        y[:, 0:1, ...] = y[:, -1:]
        if self.training and options:
            y = y * 0
        return {"y": y * scale, "size": (h, w), "secret": self.__secret}

    @staticmethod
    def offset(t):
        return t.mean()


class Derived(Base):
    def __init__(self, width=4, **kwargs):
        super().__init__(width, **kwargs)
        self.head = nn.Sequential(*[nn.Conv2d(width, width, 1) for _ in range(2)])

    def forward(self, x):
        return self.head(super().forward(x, scale=0.5)["y"])


def small() -> nn.Module:
    return Derived(norm=partial(nn.BatchNorm2d, eps=1e-3))


@pytest.fixture(scope="module")
def recording():
    torch.manual_seed(0)
    return record(small, torch.rand(2, 3, 9, 8), torch.rand(1, 3, 7, 10))


def call_of(recording, qualname, phase):
    return next(c for c in recording.calls if c.function.qualname == qualname and c.phase == phase)


def test_the_model_computes_what_it_did(recording) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 9, 8)
    torch.rand(1, 3, 7, 10)
    plain = small().eval()
    plain.load_state_dict(recording.module.state_dict())
    with torch.no_grad():
        assert torch.equal(plain(x), recording.outputs["first"].owner)
        assert torch.equal(recording.module(x), recording.outputs["first"].owner)
    assert recording.notes == []


def test_every_expression_has_its_values(recording) -> None:
    sizes = []
    for phase in ("first", "second"):
        call = call_of(recording, "Base.forward", phase)
        assert call.arguments["scale"] == 0.5
        by_text = {call.function.source.of(n): v for n, v in call.values.items() if isinstance(n, ast.expr)}
        sizes.append(by_text["(h, w)"][0])
        assert [type(v).__name__ for v in by_text["part(y)"]] == ["SeenTensor"] * 2
        assert by_text["x"][0] is recording.inputs[phase][0]
        assert call.path == ""
        assert call.caller is not None
        assert call.caller.function.qualname == "Derived.forward"
        assert call.function.source.of(call.site) == "super().forward(x, scale=0.5)"
        assert call.result["secret"] == ["  4", "  4"]
    assert sizes == [(9, 8), (7, 10)]


def test_statements_that_ran_are_marked(recording) -> None:
    call = call_of(recording, "Base.forward", "training")
    texts = {call.function.source.of(statement) for statement in call.ran}
    assert "y += 1" in texts
    assert "y = y * 0" not in texts


def test_in_place_steps_give_both_values(recording) -> None:
    call = call_of(recording, "Base.forward", "first")
    step = next(n for n in call.values if isinstance(n, ast.AugAssign))
    assert call.values[step][0] is call.values[step.target][0]


def test_modules_know_the_call_that_made_them(recording) -> None:
    made = recording.modules
    assert set(made) == {"", "conv", "norm", "head", "head.0", "head.1"}
    assert made["norm"].call.function.source.of(made["norm"].site) == "norm(width)"
    assert made["norm"].positional == (4,)
    assert made["conv"].positional == (3, 4, 3)
    assert made["head.1"].site is made["head.0"].site
    assert [c.function.qualname for c in made[""].constructors] == ["Derived.__init__", "Base.__init__"]
    assert made[""].constructors[1].arguments["width"] == 4
    assert made["head"].constructors == ()


def test_functions_are_as_before_afterwards(recording) -> None:
    assert "_parity_frame" not in Base.forward.__code__.co_varnames
    assert "__parity_enter__" not in Base.forward.__globals__
    assert call_of(recording, "double.<locals>.wrapper", "first").arguments["args"][0].shape[0] == 2


def test_parameters_have_their_paths(recording) -> None:
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.register_buffer("shift", torch.ones(3))

        def forward(self, x):
            return x * self.scale + self.shift

    found = record(Scaled, torch.rand(2, 3))
    held = {seen.value.held: seen.value.trainable for seen in found.seen if getattr(seen.value, "held", None)}
    assert held == {"scale": True, "shift": False}


def test_an_error_of_the_model_is_its_own() -> None:
    class Failing(nn.Module):
        def forward(self, x):
            return x.reshape(7, 7, 7)

    before = copy.copy(Failing.forward.__code__)
    with pytest.raises(RuntimeError, match="invalid for input"):
        record(Failing, torch.rand(2, 3))
    assert Failing.forward.__code__ == before


class OwnMode(nn.Module):
    """A network with a `train` and a loading of its own, which no pass calls."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def train(self, mode=True):
        for part in self.children():
            part.train(mode)
        return super().train(mode)

    def load_state_dict(self, state, strict=True, assign=False):
        raise RuntimeError("only from its own file")

    def forward(self, x):
        return self.norm(x)


def test_what_runs_between_the_passes_is_not_recorded() -> None:
    recording = record(OwnMode, torch.rand(2, 3, 4, 4))
    assert {call.function.name for call in recording.calls} == {"__init__", "forward"}
    assert {call.phase for call in recording.calls} == {"build", "first", "training"}
    assert recording.module.norm.num_batches_tracked == 0


class Littering(nn.Module):
    """Its forward makes so many objects that garbage is collected."""

    def forward(self, x):
        kept = [[number] for number in range(3000)]
        return x * len(kept)


def test_what_the_collection_of_garbage_calls_is_not_the_models() -> None:
    called = []

    def collecting(phase, details):
        called.append(phase)

    threshold = gc.get_threshold()
    gc.callbacks.append(collecting)
    try:
        gc.set_threshold(10)
        recording = record(Littering, torch.rand(2, 3))
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collecting)
    assert called
    assert {call.function.name for call in recording.calls} == {"forward"}
    assert gc.isenabled()


def test_a_profiler_goes_on_afterwards() -> None:
    profiler = cProfile.Profile()
    with profiler:
        record(Littering, torch.rand(2, 3))
        sum(range(3))
    assert "sum" in " ".join(name for _, _, name in pstats.Stats(profiler).stats)


def test_no_hook_stays_on_all_modules() -> None:
    """What stays there is told to torch.compile, which warns of it."""
    record(lambda: torch.nn.Sequential(torch.nn.Linear(3, 2)), torch.rand(2, 3))
    assert not torch.nn.modules.module._has_any_global_hook()
