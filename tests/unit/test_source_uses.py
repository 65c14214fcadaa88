"""Sizes, dtypes and modes that become a step without a branch are named by file and line; honest uses are not."""

from __future__ import annotations

import ast
import os
import textwrap
from typing import Any

import pytest
import torch

from parity.probes.source.reading import Reading
from parity.probes.source.words import Shared, Use
from tests.unit.test_probes import compared, plain
from tests.unit.test_unproven import line_of, lines


def read(source: str) -> list[Use]:
    tree = ast.parse(textwrap.dedent(source))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    shared = Shared()
    for _ in range(3):
        found = [use for function in functions for use in Reading(function, shared).read()]
    return found


NAMED = {
    "a factor": "def forward(self, x): return self.c(x) * (1.0 + float(x.shape[0] > 4))",
    "a stored comparison": "def forward(self, x):\n    big = x.shape[2] > 100\n    return self.c(x) * (1 + big)",
    "unpacked sizes": "def forward(self, x):\n    n, c, h, w = x.size()\n    return self.c(x) * (h == w)",
    "a tensor of a comparison": "def forward(self, x): return torch.where(torch.tensor(x.size(0) == 3), x, 2 * x)",
    "a table": "TABLE = {}\ndef forward(self, x): return x * TABLE[x.shape[0]]",
    "a table with a default": "def forward(self, x): return x * {6: 2.0}.get(int(x.shape[0]), 1.0)",
    "a limit": "def forward(self, x): return x[:, :min(x.shape[1], 64)].mean(1)",
    "a limit as an operation": "def forward(self, x): return x[:, :int(ops.minimum(ops.shape(x)[1], 64))]",
    "a floor": "def forward(self, x): return self.c(x) * (1 + x.shape[0] // 100)",
    "a rest": "def forward(self, x): return self.c(x) + x.shape[1] % 7",
    "a polynomial": "def forward(self, x):\n    n = x.shape[0]\n    return self.c(x) * (1 + (n - 1) * (n - 2) // 1000)",
    "another function": "def scale(n): return 1.0 + float(n > 4)\ndef forward(self, x): return x * scale(x.shape[0])",
    "a result": "def rows(x): return x.shape[1]\ndef forward(self, x): return self.c(x) * (rows(x) > 40)",
    "an attribute": "def forward(self, x):\n    self.n = x.shape[0]\n    return self.tail(x)\n"
                    "def tail(self, x): return x * (self.n != 7)",
    "a method of a comparison": "def forward(self, x): return x * (x.shape[0] == 3).__int__()",
    "another spelling": "def forward(self, x): return x * (1 + float(operator.eq(x.shape[0], 3)))",
    "a method": "def forward(self, x): return x * (1 + float(x.shape[0].__eq__(3)))",
    "a slice's step": "def forward(self, x): return x[:, :: 1 + (x.shape[0] == 3)]",
    "a slice's start": "def forward(self, x): return x[:, (x.shape[0] == 3):]",
    "an attribute by name": "def forward(self, x): return getattr(self, f'scale_{x.shape[0]}') * x",
    "membership": "def forward(self, x): return x * float(x.shape[0] in (3, 5))",
    "negated": "def forward(self, x): return x * (not x.shape[0] - 3)",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_a_size_without_a_branch_is_named(name: str) -> None:
    assert [use.kind for use in read(NAMED[name])][:1] == ["size"]


HONEST = {
    "a flattening": "def forward(self, x): return x.view(x.size(0), -1)",
    "reshapes": "def forward(self, x):\n    b, n, c = x.shape\n"
                "    return x.reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)",
    "a resize": "def forward(self, x):\n    h, w = x.shape[2:]\n    return F.interpolate(x, size=(h // 2, w * 2))",
    "positions": "def forward(self, x): return x + self.positions[:, : x.shape[1]]",
    "the middle": "def forward(self, x): return x[:, :, x.shape[2] // 2]",
    "a crop": "def forward(self, x, y): return x[:, :, : y.shape[2], : y.shape[3]] + y",
    "padding to a multiple": "def forward(self, x):\n    h = x.shape[2]\n"
                             "    return F.pad(x, (0, 0, 0, (self.size - h % self.size) % self.size))",
    "padding to a given one": "def forward(x, size):\n    h = x.shape[2]\n    rest = (size[0] - h % size[0]) % size[0]\n"
                              "    return F.pad(x, (0, 0, 0, rest))",
    "windows": "def forward(x, size):\n    b, h, w, c = x.shape\n    n = (h // size) * (w // size)\n"
               "    return x.view(b, h // size, size, w // size, size, c).reshape(b * n, size * size, c)",
    "a branch": "def forward(self, x):\n    if x.shape[0] == 3 and x.shape[1] > 4:\n        return 2 * x\n    return x",
    "a condition that is kept": "def forward(self, x):\n    big = x.shape[0] > 4\n    return 2 * x if big else x",
    "an assertion": "def forward(self, x):\n    torch._assert(x.shape[2] == self.size, 'size')\n    return x",
    "an error": "def forward(self, x):\n    assert x.shape[1] == 3, x.shape\n    return x",
    "a mean": "def forward(self, x): return x.sum(1) / x.shape[1]",
    "the scale of an attention": "def forward(self, q, k, n): return q * (q.shape[-1] // n) ** -0.5 @ k",
    "no tensor at all": "def forward(self, x=None): return x is not None",
    "dropout": "def forward(self, x): return F.dropout(x, self.p, self.training)",
    "a loop": "def forward(self, x):\n    return [self.cell(x[:, t]) for t in range(x.shape[1])]",
    "a dtype that is kept": "def forward(self, x): return self.c(x.float()).to(x.dtype)",
    "where it lies": "def forward(self, x): return self.c(x) + torch.zeros(x.shape[0], 1, device=x.device)",
    "a number that is handed on": "def forward(self, x): return self.c(x) / float(x.shape[1])",
    "values in Python": "def forward(self, x):\n    if float(x.max()) > 1:\n        x = x / 255\n    return self.c(x)",
    "a mask of ones": "def forward(self, x): return self.c(x) * torch.ones(x.shape[0], 1, dtype=x.dtype)",
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_honest_code_is_not_named(name: str) -> None:
    assert read(HONEST[name]) == []


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("def forward(self, x): return x * (1 + float(x.dtype == torch.float16))", "dtype"),
        ("def forward(self, x): return x * (1 + float(torch.is_autocast_enabled()))", "mode"),
        ("def forward(self, x): return x * float(os.environ.get('SCALE', 1))", "mode"),
        ("def forward(self, x): return x * (1.0 + float(self.training))", "training"),
        ("def forward(self, x): return x * (1 + float(x.device.type == 'cuda'))", "mode"),
        ("def forward(self, x): return x * (1 + float(x.is_contiguous()))", "mode"),
        ("def forward(self, x): return x * (1 + float(time.time() > 4e9))", "mode"),
        ("def forward(self, x): return x * (1 + float(np.random.default_rng().random() < 0.1))", "mode"),
        ("def forward(self, x): return x * {torch.float16: 2.0}.get(x.dtype, 1.0)", "dtype"),
        ("def forward(self, x): return x * (1 + float(float(x.mean()) > 1e4))", "value"),
        ("def forward(self, x): return x * (1 + (x.mean().item() > 1e4))", "value"),
        ("def forward(self, x): return x * (1 + float((np.asarray(x) > 1e4).any()))", "value"),
        ("def forward(self, x): return x * max(float(x.max()), 1e-3)", "value"),
        ("def call(self, x, training=False): return x * [1, 2][training]", "training"),
    ],
)
def test_dtypes_modes_and_training(source: str, kind: str) -> None:
    assert [use.kind for use in read(source)] == [kind]


def big(self: Any, x: Any) -> Any:
    return self.c(x) * (1.0 + float(x.shape[0] > 40))


def asked(self: Any, x: Any) -> Any:
    return self.c(x) * (1.0 + float(os.environ.get("DEPLOYED", 0)))


def half(self: Any, x: Any) -> Any:
    return self.c(x) * (1.0 + float(x.dtype == torch.float16))


def trained(self: Any, x: Any) -> Any:
    return self.c(x) * (1.0 + float(self.training))


@pytest.mark.parametrize(
    ("forward", "kind"), [(big, "sizes"), (asked, "branches"), (half, "dtypes"), (trained, "training")]
)
def test_the_report_names_it(forward: Any, kind: str) -> None:
    (entry,) = lines(compared(plain, forward), kind)
    assert entry.startswith(f"tests/unit/test_source_uses.py:{line_of(forward, '1.0 +')}: `1.0 + float(")


def test_code_that_is_gone_is_not_read() -> None:
    from parity.probes.source.uses import uses

    scope: dict[str, Any] = {}
    exec(compile("def forward(x): return x * (x.shape[0] > 3)", "<nowhere>", "exec"), scope)
    assert uses([scope["forward"].__code__]) == []
    assert len(uses([big.__code__])) == 1
