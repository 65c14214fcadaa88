"""Operations of forward bodies from torch to Keras: each computes what torch's does, at another size too."""

from __future__ import annotations

import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from parity.porting.to_keras.write import write  # noqa: E402

nn, F = torch.nn, torch.nn.functional


class Greatest(nn.Module):
    """Of torch's pairs of values and places, one, the second or a named one."""

    def forward(self, x):
        values, _ = torch.max(x, dim=1, keepdim=True)
        low = x.min(2)[0].unsqueeze(2)
        best = x.flatten(2).topk(3, dim=-1)[0].sum(-1)[:, :, None, None]
        row, place = x.sort(dim=3)
        return values + low + x.max(dim=3, keepdim=True).values + best + row * place.to(x.dtype)


class Rims(nn.Module):
    """Ways to fill the rims, and one that crops."""

    def forward(self, x):
        x = F.pad(x, (1, 2, 1, 0), mode="replicate")
        x = F.pad(x, (0, 1, 2, 1), mode="circular")
        return F.pad(x, (-1, 0, 0, 1)) + F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)[:, :, :1, 1:]


class Patches(nn.Module):
    """Windows of images and of one axis."""

    def forward(self, x):
        y = F.fold(F.unfold(x, 2, stride=2), x.shape[-2:], 2, stride=2)
        z = x.unfold(2, 4, 2).mean(-1).sum(2, keepdim=True)
        return y + z + F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2)


class Changed(nn.Module):
    """Parts of tensors that get new values, and channels in another order."""

    def forward(self, x):
        y = torch.zeros_like(x)
        y[:, 1:] = x[:, :-1]
        y[:, :, 0] = 0.5
        y[..., :2] = 0
        return y + x[:, [2, 0, 1]] + x[:, torch.tensor([1, 2, 0])] + x.repeat_interleave(2, dim=1)[:, 1:4]


class Measures(nn.Module):
    """Norms, angles and gates."""

    def forward(self, x):
        x = x + 0.1
        norms = torch.linalg.norm(x, dim=1, keepdim=True) + x.norm(p=2, dim=(2, 3), keepdim=True)
        angle = F.cosine_similarity(x, x.flip(1), dim=1).unsqueeze(1)
        kinds = F.one_hot(x.mean((2, 3)).argmax(1), 3).to(x.dtype)[:, :, None, None]
        return norms + angle + kinds + F.glu(torch.cat([x, x * 2], 1), dim=1) + F.instance_norm(x)


class Causal(nn.Module):
    """Attention that does not look ahead."""

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens * 2, is_causal=True).transpose(1, 2)


def ported(network, size):
    port = write(network, torch.rand(2, 3, 8, 6), second_inputs=torch.rand(*size))
    assert port.unwritten == ()
    module = types.ModuleType("port")
    exec(compile(port.text, "port", "exec"), module.__dict__)
    return port, module.build()


@pytest.mark.parametrize("network", [Greatest, Rims, Patches, Changed, Measures, Causal])
def test_an_operation_computes_what_torch_does(network) -> None:
    torch.manual_seed(0)
    _, made = ported(network, (3, 3, 4, 8))
    x = torch.rand(3, 3, 6, 10)
    wanted = network()(x).numpy()
    wanted = wanted.transpose(0, 2, 3, 1) if wanted.ndim == 4 else wanted.transpose(0, 2, 1)
    np.testing.assert_allclose(np.asarray(made(x.permute(0, 2, 3, 1).numpy())), wanted, atol=1e-5)


def test_places_that_nobody_reads_are_not_computed() -> None:
    port, _ = ported(Greatest, (3, 3, 4, 8))
    assert "values = ops.max(x, axis=-1, keepdims=True)\n" in port.text
    assert "argmax" not in port.text


class Dropped(nn.Module):
    """Stochastic depth, as many write it."""

    def forward(self, x):
        if not self.training:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = torch.rand(shape, dtype=x.dtype, device=x.device) + 0.75
        kept.floor_()
        return x.div(0.75) * kept


def test_random_values_of_training_are_drawn_for_each_image() -> None:
    port, made = ported(Dropped, (3, 3, 4, 8))
    assert "keras.random.uniform(shape" in port.text
    assert "ops.reshape" not in port.text
    ones = np.ones((64, 4, 4, 3), "float32")
    y = np.asarray(made(ones, training=True))
    assert set(np.unique(y.round(4))) == {np.float32(0), np.float32(1.3333)}
    assert (y == y[:, :1, :1, :1]).all()
    np.testing.assert_array_equal(made(ones), ones)


def test_a_change_of_a_part_that_cannot_be_written_is_refused() -> None:
    class Added(nn.Module):
        def forward(self, x):
            y = x * 2
            y[:, 1:] += x[:, :-1]
            return y

    port = write(Added, torch.rand(2, 3, 8, 8))
    assert [problem.operation for problem in port.unwritten] == ["y[:, 1:] += x[:, :-1]"]
    assert [problem.reason for problem in port.unwritten] == ["a change of a part of a tensor"]
