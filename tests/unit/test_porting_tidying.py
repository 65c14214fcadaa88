"""The last repairs of a port's text: what an owner would stop at is gone, and nothing else."""

from __future__ import annotations

import ast
from collections import OrderedDict
from typing import Any

import pytest

from parity.porting.tidying.axes_said import in_keras_order, in_torch_order
from parity.porting.tidying.folding import folded
from parity.porting.tidying.names import global_names
from parity.porting.tidying.unused import without_empty_calls, without_unused
from parity.porting.tidying.words import in_keras_words, in_torch_words

FOLDED = {
    "a way that does nothing": (
        "def f(x):\n    # only for the jit\n    if x.training:\n        pass\n    else:\n        pass\n    return x\n",
        "def f(x):\n    return x\n",
    ),
    "the only statement": ("def f(x):\n    if x:\n        pass\n", "def f(x):\n"),
    "a test that does something stays": ("if f():\n    pass\n", "if f():\n    pass\n"),
    "an else that does nothing": (
        "if x:\n    y = 1\nelse:\n    # nothing\n    pass\nz = 2\n",
        "if x:\n    y = 1\nz = 2\n",
    ),
    "None is None": (
        'if kind == "abn" and (None is None):\n    y = 1\n',
        'if kind == "abn":\n    y = 1\n',
    ),
    "False and": ("x = (None is not None) and isinstance(norm, None)\n", "x = False\n"),
    "a value that is no condition keeps its and": ("x = name and True\n", "x = name and True\n"),
    "not False": ("x = a if not False else b\n", "x = a\n"),
    "if True": ("if True:\n    x = 1\nelse:\n    x = 2\ny = 3\n", "x = 1\ny = 3\n"),
    "a refused way": (
        "if wide:\n    x = 1\n    for i in x:\n        raise ValueError('not ported: a')\n"
        "    raise ValueError('not ported: b')\nelse:\n    x = 2\n",
        "if wide:\n    raise ValueError('not ported: b')\nelse:\n    x = 2\n",
    ),
    "an error of the source's own": (
        "if wide:\n    x = 1\n    raise ValueError('b')\n",
        "if wide:\n    x = 1\n    raise ValueError('b')\n",
    ),
    "a call of what does nothing": (
        'def log(x):\n    """Log."""\n\n\ndef f(x):\n    log(f)\n\n    return x\n',
        'def log(x):\n    """Log."""\n\n\ndef f(x):\n\n    return x\n',
    ),
    "a method that does nothing": (
        "class A:\n    def call(self, x):\n        self.check(x)\n        return x\n\n    def check(self, x):\n"
        "        return\n",
        "class A:\n    def call(self, x):\n        return x\n\n",
    ),
    "a method that another class fills": (
        "class A:\n    def call(self, x):\n        self.check(x)\n\n    def check(self, x):\n        return\n\n\n"
        "class B(A):\n    def check(self, x):\n        self.seen = x\n",
        None,
    ),
    "a constructor that passes on": (
        "class A(B):\n    size = 1\n\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n",
        "class A(B):\n    size = 1\n\n",
    ),
    "a reshape of a reshape": (
        "y = x * ops.reshape(ops.reshape(self.gamma, (1, -1, 1, 1)), (1, 1, 1, -1))\n",
        "y = x * ops.reshape(self.gamma, (1, 1, 1, -1))\n",
    ),
    "the sizes of a weight": (
        "self.token = self.add_weight(shape=(1, 4))\nn = ops.shape(self.token)[1] + ops.shape(x)[1]\n",
        "self.token = self.add_weight(shape=(1, 4))\nn = self.token.shape[1] + ops.shape(x)[1]\n",
    ),
    "code in an f-string stays": ("x = f'{None is None}'\n", "x = f'{None is None}'\n"),
}


@pytest.mark.parametrize(("text", "wanted"), FOLDED.values(), ids=FOLDED)
def test_what_is_known_is_folded(text: str, wanted: str | None) -> None:
    if wanted is not None and wanted.endswith(":\n"):
        wanted += "    pass\n"
    assert folded(text) == (text if wanted is None else wanted)
    ast.parse(folded(text))


def test_names_of_arguments_are_no_names_of_the_module() -> None:
    text = "def f(convolution):\n    windows = 1\n    return [convolution(windows, x) for x in pads]\n"
    assert global_names(text) == {"pads"}
    assert global_names("class A(Base):\n    size = 1\n    def f(self): return size\n") == {"Base", "size"}


def test_what_nothing_leads_to_goes() -> None:
    text = (
        '"""A port."""\n\nimport math\n\nimport keras\nfrom keras import layers, ops\n\nWIDTHS = (1, 2)\n\n\n'
        "# unread\n@register\ndef GELU():\n    return math.pi\n\n\nclass GELU(keras.Layer):\n    pass\n\n\n"
        "def build(layers=WIDTHS):\n    return GELU(ops.ones(layers))\n"
    )
    kept = without_unused(text, {"build"})
    assert "math" not in kept
    assert "unread" not in kept
    assert kept.count("GELU") == 2
    assert "from keras import ops\n" in kept
    assert "WIDTHS = (1, 2)\n" in kept


def test_words_of_torch() -> None:
    text = (
        'class A:\n    """Layer (nn.Module) of NCHW images.\n\n    Example:\n        >>> import torch\n\n'
        '        >>> A()\n\n    Returns:\n        torch.Tensor: x\n    """\n\n    # See note [TorchScript super()]\n'
        '    x = f("NCHW", 1e-05)  # type: ignore\n    y = 1  # about ONNX and NCHW\n'
    )
    assert in_keras_words(text) == (
        'class A:\n    """Layer (keras.Layer) of NHWC images.\n\n    Returns:\n        tensor: x\n    """\n\n'
        '    x = f("NCHW", 1e-5)\n    y = 1  # about ONNX and NHWC\n'
    )
    assert in_torch_words("x = 1e-06  # a keras.layers.Layer\n") == "x = 1e-6  # a nn.Module\n"


def test_axes_that_are_said() -> None:
    for torchs, kerass in (
        ("# (n, c, h, w) -> (n, hidden_dim, n_h, n_w)", "# (n, h, w, c) -> (n, n_h, n_w, hidden_dim)"),
        ("# (N, 8, ceil(H / 2), W') [B, C, H, W]", "# (N, ceil(H / 2), W', 8) [B, H, W, C]"),
    ):
        assert in_keras_order(torchs) == kerass
        assert in_torch_order(kerass) == torchs
    assert in_keras_order("# (n, d, (n_h * n_w)), B, C, H, W") == "# (n, (n_h * n_w), d), B, H, W, C"
    assert in_keras_order("# (N, S, heads, width) (n, d, k * m)") == "# (N, S, heads, width) (n, d, k * m)"


torch = pytest.importorskip("torch")
nn = torch.nn


class Row(nn.Module):  # type: ignore[name-defined,misc]
    """A stack that is gathered under names, as torchvision's ViT has it."""

    def __init__(self, depth: int = 2, width: int = 4, hidden: int | None = None) -> None:
        super().__init__()
        if depth > 9:
            raise ValueError("{} has too many rows: {}".format(self.__class__.__name__, depth))  # noqa: UP032
        self.places = nn.Parameter(torch.empty(1, 5, width).normal_(std=0.02))
        layers: Any = OrderedDict()
        for i in range(depth):
            layers[f"block_{i}"] = nn.Linear(width, width)
        self.blocks = nn.Sequential(layers)
        head: Any = OrderedDict()
        if hidden is None:
            head["head"] = nn.Linear(width, 3)
        else:
            head["pre"] = nn.Linear(width, hidden)
            head["head"] = nn.Linear(hidden, 3)
        self.head = nn.Sequential(head)

    def forward(self, x: Any) -> Any:
        return self.head(self.blocks(x + self.places))


def test_layers_under_names_stay_a_loop() -> None:
    from tests.ported import proved

    made = proved(Row, (2, 5, 4))
    for line in (
        "for i in range(depth):",
        'layers.append(keras.layers.Dense(width, name=f"block_{i}"))',
        'head.append(keras.layers.Dense(hidden, name="pre"))',
        "initializer=keras.initializers.RandomNormal(stddev=0.02)",
        "shape=(1, 5, width)",
        'raise ValueError("{} has too many rows: {}".format(self.__class__.__name__, depth))',
    ):
        assert line in made.text, made.text


class Unpacked(nn.Module):  # type: ignore[name-defined,misc]
    """Queries, keys and values as most people write them: a tensor that is unpacked."""

    def __init__(self, dim: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(dim, 3 * dim)

    def forward(self, x: Any) -> Any:
        n, t, dim = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        return (torch.softmax(q @ k.transpose(-2, -1), -1) @ v).transpose(1, 2).reshape(n, t, dim)


def test_a_tensor_that_is_unpacked() -> None:
    from tests.ported import proved

    made = proved(Unpacked, (2, 5, 8))
    assert "q, k, v = ops.unstack(" in made.text


def test_what_a_later_definition_hides_goes() -> None:
    """The body of a function reads a name when it runs; a default reads it at once."""
    text = "def act():\n    return 1\n\n\ndef used():\n    return act\n\n\nclass act:\n    made = used\n"
    assert "return 1" not in without_unused(text, {"act"})
    text = text.replace("def used():", "def used(kind=act):")
    assert "return 1" in without_unused(text, {"act"})


def test_a_call_of_what_says_nothing_goes() -> None:
    text = (
        'def check(x):\n    """Refuse."""\n\n\ndef kept(x):\n    return x\n\n\n'
        "def build(x):\n    check(x)\n    kept(x)\n    if x:\n        check(\n            x,\n        )\n    return x\n"
    )
    wanted = (
        "def kept(x):\n    return x\n\n\ndef build(x):\n    kept(x)\n    if x:\n        pass\n    return x\n"
    )
    assert without_unused(without_empty_calls(text), {"build"}).strip("\n") == wanted.strip("\n")


def test_a_call_whose_arguments_do_something_stays() -> None:
    text = (
        'def check(x):\n    """Refuse."""\n\n\ndef build(x):\n    check(x.pop())\n    check(ops.shape(x))\n'
    )
    kept = without_empty_calls(text)
    assert "check(x.pop())" in kept
    assert "check(ops.shape(x))" not in kept
