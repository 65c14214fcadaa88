"""Ways of a body that some calls take and others do not, and parts of it that run several times or not at all."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from tests.ported import proved  # noqa: E402

nn, F = torch.nn, torch.nn.functional


class Joining(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x, skip=None):
        x = self.conv(x)
        if skip is not None and skip.shape[1] != 0:
            x = x + skip
        y = x if skip is None else torch.cat([x, skip], dim=1)
        return y[:, :4]


class Optional(nn.Module):
    """A condition whose second half is read in some calls alone."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.blocks = nn.ModuleList([Joining() for _ in range(3)])

    def forward(self, x):
        x = skip = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x, skip if i < 2 else None)
        return x


def test_a_condition_read_in_part_is_one_method() -> None:
    text = proved(Optional, (2, 5, 7, 3)).text
    assert text.count("def call") == 2
    assert "if skip is not None and (ops.shape(skip)[-1] != 0):" in text


class Divisible(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 2, stride=2)

    def forward(self, x):
        h, w = x.shape[-2:]
        if h % 2 != 0 or w % 2 != 0:
            wanted = (h // 2 + 1) * 2
            raise RuntimeError(f"the height must be even; got {h}. Give {wanted}.")
        return self.conv(x)


def test_what_the_source_refuses_the_port_refuses() -> None:
    text = proved(Divisible, (2, 8, 6, 3)).text
    assert "wanted = (h // 2 + 1) * 2" in text
    assert 'raise RuntimeError(f"the height must be even; got {h}. Give {wanted}.")' in text


class Twice(nn.Module):
    """Two parts of one statement that need a name each, and one that runs for each item."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 5, 3)

    def forward(self, x):
        both = torch.cat([self.first(x).flatten(2).max(2)[0], self.second(x).flatten(2).max(2)[0]], 1)
        each = [conv(x).flatten(1).mean(1, keepdim=True) for conv in (self.first, self.second)]
        return torch.cat([both, *each], 1)


def test_names_in_front_of_a_statement_are_its_own() -> None:
    text = proved(Twice, (2, 6, 7, 3)).text
    assert "(inner := " in text


class Summed(nn.Module):
    """Sums that start as the number 0."""

    def __init__(self, depth=2):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1) for _ in range(depth)])

    def forward(self, x):
        out = 0
        for conv in self.convs:
            out += conv(x)
        return out.mean((2, 3))


def test_a_sum_from_nought_keeps_the_order_of_axes() -> None:
    assert "transpose" not in proved(Summed, (2, 6, 7, 3)).text


class Counted(nn.Module):
    """Whole numbers and truth values between floating ones, which Keras does not convert by itself."""

    def forward(self, x):
        steps = torch.arange(x.shape[1], device=x.device)
        shares = steps / x.shape[1]
        mask = x > 0.25
        half = (steps > 1.5)[None]
        return x * mask + steps * shares + half * 2.0, (mask & half).float()


def test_operands_have_one_dtype() -> None:
    proved(Counted, (3, 6))


class Flat(nn.Module):
    """A signal with one channel, whose strides say nothing: views must run on it as on any other."""

    def __init__(self):
        super().__init__()
        self.conv, self.dense = nn.Conv2d(1, 4, 3), nn.Linear(4 * 6 * 5, 2)

    def forward(self, x):
        x = self.conv(x)
        return self.dense(x.view(x.size(0), -1))


def test_images_of_one_channel_lie_as_torch_makes_them() -> None:
    proved(Flat, (2, 8, 7, 1))


class Choosing(nn.Module):
    """Conditions on what the constructor was given, which go one way in all instances, or in most."""

    def __init__(self, width, use_max=False, mode="sum", scale=None, pre_norm=True):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.use_max = use_max
        self.mode = mode
        self.scale = scale
        self.pre_norm = pre_norm

    def forward(self, x):
        if self.pre_norm:
            x = self.norm(x)
        y = self.fc(x)
        if self.use_max:
            y = y + x.amax(dim=1, keepdim=True)
        if self.scale is not None:
            y = y * self.scale
        if self.mode == "sum":
            return y + x
        elif self.mode == "mul":
            return y * x
        else:
            raise ValueError(self.mode)


class Chosen(nn.Module):
    def __init__(self, width=8, early=False):
        super().__init__()
        self.first = Choosing(width)
        self.second = Choosing(width, mode="mul")
        self.head = nn.Linear(width, 3)
        self.early = early

    def forward(self, x):
        x = self.second(self.first(x))
        if not self.early:
            return self.head(x)
        return x


@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called")
def test_a_way_of_a_forward_that_no_run_took_is_refused_and_not_left_out() -> None:
    made = proved(Chosen, (2, 5, 8))
    space: dict = {"__name__": "port"}
    exec(made.text, space)
    numbers = np.ones((1, 5, 8), "float32")
    for options in (
        {"use_max": True}, {"scale": 2.0}, {"mode": "other"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"not ported|other"):
            space["Choosing"](8, **options)(numbers)
    with pytest.raises(ValueError, match=r"not ported: the way behind not self\.early"):
        space["Chosen"](early=True)(numbers)
    plain = space["Choosing"](8, pre_norm=False)
    plain(numbers)
    assert not plain.norm.built  # the way without the norm is the source's own


def test_each_option_changes_what_is_computed() -> None:
    text = proved(Chosen, (2, 5, 8)).text
    assert "if self.pre_norm:\n            x = self.norm(x)\n" in text
    assert 'elif self.mode == "mul":' in text
