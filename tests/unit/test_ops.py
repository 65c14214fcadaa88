"""Convolution arithmetic of both halves against loops and SciPy written here, and against the frameworks."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

from tests.conftest import needs

Pair = tuple[int, int]
HALVES = ("tf_impl", "torch_impl")


class Half:
    """One package with what the tests need of its framework: tensors in and out, convolutions, gradients."""

    def __init__(self, name: str) -> None:
        needs("keras" if name == "tf_impl" else "torch")
        self.name = name
        self.ops = importlib.import_module(f"{name}.ops")

    def tensor(self, array: np.ndarray) -> Any:
        return (
            self.framework().convert_to_tensor(array)
            if self.name == "tf_impl"
            else self.framework().tensor(array)
        )

    def numpy(self, tensor: Any) -> np.ndarray:
        return (
            self.framework().convert_to_numpy(tensor) if self.name == "tf_impl" else tensor.detach().numpy()
        )

    def framework(self) -> Any:
        return importlib.import_module("keras.ops" if self.name == "tf_impl" else "torch")

    def dtype(self, tensor: Any) -> str:
        return re.sub(r"<dtype: '(\w+)'>|torch\.", r"\1", str(tensor.dtype))

    def conv(self, X: np.ndarray, K: np.ndarray, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
        """The framework's own convolution; Keras' of a spread kernel: it refuses a stride with a dilation."""
        if self.name == "torch_impl":
            from torch.nn.functional import conv2d

            x, k = self.tensor(X)[None, None], self.tensor(K)[None, None]
            return self.numpy(conv2d(x, k, None, stride, padding, dilation))[0, 0]
        x, k = self.tensor(np.pad(X, [(p, p) for p in padding])), self.tensor(spread(K, dilation))
        return self.numpy(self.framework().conv(x[None, :, :, None], k[:, :, None, None], stride, "valid"))[
            0, :, :, 0
        ]

    def conv_transpose(
        self, X: np.ndarray, K: np.ndarray, stride: Pair, padding: Pair, extra: Pair, dilation: Pair
    ) -> np.ndarray:
        """The framework's own transposed convolution; Keras' of a spread kernel, "valid", then cut here."""
        if self.name == "torch_impl":
            from torch.nn.functional import conv_transpose2d

            x, k = self.tensor(X)[None, None], self.tensor(K)[None, None]
            return self.numpy(conv_transpose2d(x, k, None, stride, padding, extra, 1, dilation))[0, 0]
        x, k = self.tensor(X)[None, :, :, None], self.tensor(spread(K, dilation))[:, :, None, None]
        out = self.framework().conv_transpose(x, k, stride, "valid")
        full = np.pad(self.numpy(out)[0, :, :, 0], [(0, e) for e in extra])
        ends = [
            (n - 1) * s + d * (m - 1) + 1 + e - p
            for n, m, s, p, e, d in zip(X.shape, K.shape, stride, padding, extra, dilation, strict=True)
        ]
        return full[padding[0] : ends[0], padding[1] : ends[1]]

    def gradients(self, loss: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
        """Gradient of a scalar with respect to every array, by the framework's own differentiation."""
        import_module = importlib.import_module
        backend = "torch" if self.name == "torch_impl" else import_module("keras").backend.backend()
        tensors = [self.tensor(array) for array in arrays]
        if backend == "torch":
            tensors = [tensor.requires_grad_(True) for tensor in tensors]
            found = import_module("torch").autograd.grad(loss(*tensors), tensors)
        elif backend == "jax":
            found = import_module("jax").grad(loss, argnums=tuple(range(len(tensors))))(*tensors)
        else:
            with import_module("tensorflow").GradientTape() as tape:
                tape.watch(tensors)
                value = loss(*tensors)
            found = tape.gradient(value, tensors)
        return [self.numpy(gradient) for gradient in found]


@pytest.fixture(params=HALVES)
def half(request: pytest.FixtureRequest) -> Half:
    return Half(request.param)


def whole(seed: int, *shape: int) -> np.ndarray:
    """Whole numbers in float64, so that every sum of products is exact whatever its order."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float64)


def spread(K: np.ndarray, dilation: Pair) -> np.ndarray:
    found = np.zeros([d * (k - 1) + 1 for d, k in zip(dilation, K.shape, strict=True)])
    found[:: dilation[0], :: dilation[1]] = K
    return found


def loop_conv(X: np.ndarray, K: np.ndarray, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    X = np.pad(X, [(p, p) for p in padding])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, K.shape, strict=True)]
    rows = range(0, X.shape[0] - reach[0] + 1, stride[0])
    columns = range(0, X.shape[1] - reach[1] + 1, stride[1])
    Y = np.zeros((len(rows), len(columns)))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            Y[a, b] = (X[i : i + reach[0] : dilation[0], j : j + reach[1] : dilation[1]] * K).sum()
    return Y


def scipy_conv(X: np.ndarray, K: np.ndarray, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    X = np.pad(X, [(p, p) for p in padding])
    return correlate2d(X, spread(K, dilation), "valid")[:: stride[0], :: stride[1]]


def loop_trans_conv(
    X: np.ndarray, K: np.ndarray, stride: Pair, padding: Pair, extra: Pair, dilation: Pair
) -> np.ndarray:
    shape = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(X.shape, stride, dilation, K.shape, extra, strict=True)
    ]
    Y = np.zeros(shape)
    for (i, j), x in np.ndenumerate(X):
        for (u, v), k in np.ndenumerate(K):
            Y[i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]] += x * k
    return Y[padding[0] : shape[0] - padding[0], padding[1] : shape[1] - padding[1]]


def loop_matrix(K: np.ndarray, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    """A matrix from its meaning: column n is the convolution of the image whose only pixel is number n."""
    images = np.eye(size[0] * size[1]).reshape(-1, *size)
    return np.stack([loop_conv(X, K, stride, padding, dilation).ravel() for X in images], axis=1)


def pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def named(case: tuple) -> str:
    return "-".join(str(value) if isinstance(value, int) else f"{value[0]}x{value[1]}" for value in case)


# input size, kernel size, stride, padding, dilation: H != W, odd and even, kernels that are not square
CASES = [
    ((5, 7), (2, 3), 1, 0, 1),
    ((6, 9), (3, 2), 2, 1, 1),
    ((7, 5), (3, 3), (2, 3), (1, 0), 1),
    ((9, 8), (2, 3), 1, (0, 2), 2),
    ((11, 10), (3, 2), 2, 1, (2, 3)),
    ((1, 1), (1, 1), 1, 0, 1),
    ((1, 6), (1, 4), (1, 2), 0, 1),
    ((4, 5), (4, 5), 1, 0, 1),
    ((8, 4), (5, 2), 3, 2, 1),
    ((3, 4), (2, 2), 1, 3, 1),  # the padding is wider than the kernel: outputs that see zeros alone
    ((7, 9), (2, 2), (4, 3), 0, 1),  # the stride is greater than the kernel: pixels that are never seen
    ((6, 5), (2, 2), 5, (4, 3), 4),
]
# as above, and output_padding, for the transposed direction
TRANSPOSED = [
    ((5, 7), (2, 3), 1, 0, 0, 1),
    ((3, 4), (3, 2), 2, 1, (1, 0), 1),
    ((4, 2), (3, 3), (2, 3), (1, 0), (1, 2), 1),
    ((3, 5), (2, 3), 1, (0, 2), (1, 0), 2),
    ((4, 3), (3, 2), 2, 1, (1, 2), (2, 3)),
    ((1, 1), (4, 3), 1, (1, 0), 0, 1),
    (
        (3, 2),
        (1, 1),
        2,
        0,
        1,
        2,
    ),  # the lecture's upsampler: kernel 1, stride and dilation 2, output_padding 1
    ((8, 7), (2, 2), 1, 3, 0, 1),  # padding beyond kernel - 1: N is negative
    ((5, 6), (2, 3), 2, (3, 4), 1, 1),
    ((4, 3), (2, 2), (4, 3), 0, (3, 1), 1),
]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_corr2d_equals_a_loop_and_scipy(half: Half, case: tuple) -> None:
    size, kernel, *geometry = case
    X, K = whole(1, *size), whole(2, *kernel)
    found = half.numpy(half.ops.corr2d(half.tensor(X), half.tensor(K), *geometry))
    pairs = [pair(value) for value in geometry]
    np.testing.assert_array_equal(found, loop_conv(X, K, *pairs))
    np.testing.assert_array_equal(found, scipy_conv(X, K, *pairs))


@pytest.mark.parametrize("method", ["loop", "fast"])
@pytest.mark.parametrize("case", TRANSPOSED, ids=named)
def test_trans_conv_equals_a_loop(half: Half, case: tuple, method: str) -> None:
    size, kernel, *geometry = case
    X, K = whole(3, *size), whole(4, *kernel)
    found = half.numpy(half.ops.trans_conv(half.tensor(X), half.tensor(K), *geometry, method=method))
    np.testing.assert_array_equal(found, loop_trans_conv(X, K, *(pair(value) for value in geometry)))


@pytest.mark.parametrize("case", CASES, ids=named)
def test_conv_matrix_dense_sparse_and_transposed(half: Half, case: tuple) -> None:
    size, kernel, *geometry = case
    K = whole(5, *kernel)
    expected = loop_matrix(K, size, *(pair(value) for value in geometry))
    k, x, y = half.tensor(K), whole(6, expected.shape[1], 3), whole(7, expected.shape[0])
    for build, matrix in ((half.ops.conv_matrix, expected), (half.ops.conv_transpose_matrix, expected.T)):
        sparse = build(k, size, *geometry, sparse=True)
        assert isinstance(sparse, half.ops.SparseMatrix)
        assert tuple(sparse.shape) == matrix.shape
        for found in (build(k, size, *geometry), sparse.to_dense()):
            np.testing.assert_array_equal(half.numpy(found), matrix)
        places = np.asarray(sparse.indices())
        in_order = places[0] * matrix.shape[1] + places[1]
        assert (np.diff(in_order) > 0).all()  # coalesced: no place twice, sorted by row, then by column
        right = x if matrix is expected else y
        np.testing.assert_array_equal(half.numpy(sparse @ half.tensor(right)), matrix @ right)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_zeroed_rows_drop_to_the_strided_matrix(half: Half, case: tuple) -> None:
    size, kernel, stride, padding, dilation = case
    for K in (whole(8, *kernel), np.zeros(kernel)):  # a kernel of zeros must lose the same rows
        one = loop_matrix(K, size, (1, 1), pair(padding), pair(dilation))
        full = half.ops.conv_output_size(size, kernel, 1, padding, dilation)
        rows = np.arange(one.shape[0]).reshape(full)[:: pair(stride)[0], :: pair(stride)[1]].ravel()
        zeroed = half.ops.strided_matrix_zeroed_rows(half.tensor(K), size, stride, padding, dilation)
        expected = np.zeros_like(one)
        expected[rows] = one[rows]
        np.testing.assert_array_equal(half.numpy(zeroed), expected)
        strided = half.numpy(half.ops.conv_matrix(half.tensor(K), size, stride, padding, dilation))
        np.testing.assert_array_equal(half.numpy(half.ops.drop_zeroed_rows(zeroed, full, stride)), strided)
        x = whole(9, one.shape[1])
        y = half.ops.drop_zeroed_rows(half.tensor(expected @ x), full, stride)  # slide 42 drops them from y
        np.testing.assert_array_equal(half.numpy(y), strided @ x)


@pytest.mark.parametrize(
    ("dilation", "trailing"), [(1, False), (2, False), (2, True), ((3, 2), False), ((1, 4), True)]
)
def test_dilate_kernel(half: Half, dilation: int | Pair, trailing: bool) -> None:
    K, (down, right) = whole(10, 3, 2), pair(dilation)
    expected = np.zeros((3 * down, 2 * right))
    expected[::down, ::right] = K
    if not trailing:
        expected = expected[: 2 * down + 1, : right + 1]
    found = half.numpy(half.ops.dilate_kernel(half.tensor(K), dilation, trailing=trailing))
    np.testing.assert_array_equal(found, expected)


def steps(loss: Callable[..., float], arrays: list[np.ndarray], number: int) -> np.ndarray:
    """Gradient of a loss that is linear in each array: the exact effect of adding one to each entry."""
    found = np.zeros_like(arrays[number])
    for place in np.ndindex(found.shape):
        moved = [array.copy() for array in arrays]
        moved[number][place] += 1
        found[place] = loss(*moved) - loss(*arrays)
    return found


GRADIENTS: dict[str, tuple[Callable[..., Any], Callable[..., np.ndarray]]] = {
    "corr2d": (
        lambda ops, X, K: ops.corr2d(X, K, 2, (1, 0), (1, 2)),
        lambda X, K: loop_conv(X, K, (2, 2), (1, 0), (1, 2)),
    ),
    "trans_conv-fast": (
        lambda ops, X, K: ops.trans_conv(X, K, (2, 3), 1, (1, 0), 2),
        lambda X, K: loop_trans_conv(X, K, (2, 3), (1, 1), (1, 0), (2, 2)),
    ),
    "trans_conv-loop": (
        lambda ops, X, K: ops.trans_conv(X, K, (2, 3), 1, (1, 0), 2, method="loop"),
        lambda X, K: loop_trans_conv(X, K, (2, 3), (1, 1), (1, 0), (2, 2)),
    ),
    "dilate_kernel": (
        lambda ops, X, K: ops.dilate_kernel(X, (2, 3)),
        lambda X, K: loop_trans_conv(X, np.ones((1, 1)), (2, 3), (0, 0), (0, 0), (1, 1)),
    ),
    "conv_matrix": (
        lambda ops, X, K: ops.conv_matrix(K, (4, 5), 2, 1),
        lambda X, K: loop_matrix(K, (4, 5), (2, 2), (1, 1), (1, 1)),
    ),
    "conv_matrix-sparse": (
        lambda ops, X, K: ops.conv_matrix(K, (2, 2), 1, 1, sparse=True) @ X,
        lambda X, K: loop_matrix(K, (2, 2), (1, 1), (1, 1), (1, 1)) @ X,
    ),
    "conv_transpose_matrix": (
        lambda ops, X, K: ops.conv_transpose_matrix(K, (4, 5), (1, 2)),
        lambda X, K: loop_matrix(K, (4, 5), (1, 2), (0, 0), (1, 1)).T,
    ),
    "strided_matrix_zeroed_rows": (
        lambda ops, X, K: ops.strided_matrix_zeroed_rows(K, (4, 5), (1, 3)),
        lambda X, K: loop_matrix(K, (4, 5), (1, 1), (0, 0), (1, 1)) * ([[1], [0], [0], [1]] * 3),
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_flow_to_image_and_kernel(half: Half, name: str) -> None:
    function, oracle = GRADIENTS[name]
    X, K = whole(11, 4, 5), whole(12, 2, 2)
    weights = whole(13, *oracle(X, K).shape)

    def loss(x: Any, k: Any) -> Any:
        total = (
            half.framework().sum
        )  # of both arrays too: a gradient of None is then never about an unused one
        return total(function(half.ops, x, k) * half.tensor(weights)) + 0 * (total(x) + total(k))

    def exact(x: np.ndarray, k: np.ndarray) -> float:
        return float((oracle(x, k) * weights).sum())

    found = half.gradients(loss, X, K)
    for number in (0, 1):
        np.testing.assert_array_equal(found[number], steps(exact, [X, K], number))
    assert any(np.abs(gradient).max() > 0 for gradient in found)


def test_dtype_is_kept_and_integers_take_the_floating_one(half: Half) -> None:
    X, K = whole(14, 4, 5), whole(15, 2, 3)
    for dtype in ("float64", "float32", "float16"):
        x, k, integer = (
            half.tensor(X.astype(dtype)),
            half.tensor(K.astype(dtype)),
            half.tensor(K.astype("int64")),
        )
        for kernel in (k, integer):
            assert half.dtype(half.ops.corr2d(x, kernel)) == dtype
            assert half.dtype(half.ops.trans_conv(x, kernel)) == dtype
            assert half.dtype(half.ops.trans_conv(x, kernel, method="loop")) == dtype
        for sparse in (False, True):
            matrix = half.ops.conv_matrix(k, (4, 5), sparse=sparse)
            assert half.dtype(matrix.values() if sparse else matrix) == dtype
        assert half.dtype(half.ops.strided_matrix_zeroed_rows(k, (4, 5))) == dtype
        assert half.dtype(half.ops.dilate_kernel(k, 2)) == dtype
    assert half.dtype(half.ops.kernel2matrix(half.tensor(np.array([[0, 1], [2, 3]])))) == "float32"
    integers = half.tensor(np.array([[1, 2], [3, 4]]))
    assert half.dtype(half.ops.trans_conv(integers, integers)) == "float32"


def test_sizes_are_numbers_for_numbers_and_pairs_for_pairs(half: Half) -> None:
    ops = half.ops
    assert ops.conv_output_size(16, 3) == 14
    assert ops.conv_output_size((16, 20), 3) == (14, 18)
    assert ops.conv_output_size(16, (3, 5)) == (14, 12)
    assert ops.conv_output_size(16, 3, [2, 1]) == (7, 14)
    assert ops.conv_transpose_output_size(4, 3, 2) == 9
    assert ops.conv_transpose_output_size((4, 5), 3, 2) == (9, 11)
    assert ops.conv_transpose_output_size(4, 3, 2, output_padding=(0, 1)) == (9, 10)
    assert ops.transposed_input_padding(4) == 3
    assert ops.transposed_input_padding((4, 3), 1, (1, 2)) == (2, 3)
    assert ops.transposed_input_padding(2, 3) == -2  # two rows come off


IMAGE, KERNEL = np.ones((4, 5)), np.ones((2, 3))
REFUSED: dict[str, tuple[str, Callable[[Any, Callable[..., Any]], Any]]] = {
    "image of rank 3": (
        "X must be .* rank 2; got X of shape",
        lambda o, t: o.corr2d(t(np.ones((1, 4, 5))), t(KERNEL)),
    ),
    "kernel of rank 4": ("K must be", lambda o, t: o.trans_conv(t(IMAGE), t(np.ones((1, 1, 2, 3))))),
    "kernel of rank 1": ("K must be", lambda o, t: o.conv_matrix(t(np.ones(3)), 4)),
    "empty image": ("X must be .* non-empty", lambda o, t: o.trans_conv(t(np.ones((0, 3))), t(KERNEL))),
    "complex kernel": ("K must be a real", lambda o, t: o.dilate_kernel(t(KERNEL + 1j), 2)),
    "two dtypes": (
        "one floating dtype; got X=.*float64, K=.*float32",
        lambda o, t: o.corr2d(t(IMAGE), t(KERNEL.astype("float32"))),
    ),
    "large kernel": (
        r"must fit .* got size=\(2, 3\), kernel_size=\(4, 5\)",
        lambda o, t: o.corr2d(t(KERNEL), t(IMAGE)),
    ),
    "large dilated kernel": ("must fit", lambda o, t: o.conv_matrix(t(KERNEL), (4, 5), dilation=(1, 3))),
    "large kernel, zeroed rows": ("must fit", lambda o, t: o.strided_matrix_zeroed_rows(t(KERNEL), (4, 2))),
    "kernel2matrix": ("must fit", lambda o, t: o.kernel2matrix(t(IMAGE))),
    "stride 0": ("stride must be", lambda o, t: o.corr2d(t(IMAGE), t(KERNEL), stride=0)),
    "stride -1": ("stride must be", lambda o, t: o.trans_conv(t(IMAGE), t(KERNEL), stride=(1, -1))),
    "stride of zeroed rows": (
        "stride must be",
        lambda o, t: o.strided_matrix_zeroed_rows(t(KERNEL), (4, 5), 0),
    ),
    "dilation 0": ("dilation must be", lambda o, t: o.dilate_kernel(t(KERNEL), 0)),
    "padding -1": ("padding must be", lambda o, t: o.conv_output_size(4, 2, padding=-1)),
    "padding as text": ("padding must be", lambda o, t: o.corr2d(t(IMAGE), t(KERNEL), padding="same")),
    "a fraction": ("stride must be", lambda o, t: o.conv_output_size(4, 2, 1.5)),
    "three numbers": ("size must be", lambda o, t: o.conv_output_size((4, 5, 6), 2)),
    "input size 0": ("input_size must be", lambda o, t: o.conv_matrix(t(KERNEL), (4, 0))),
    "output_padding": (
        "smaller than stride or dilation",
        lambda o, t: o.trans_conv(t(IMAGE), t(KERNEL), 2, 0, 2),
    ),
    "no output left": (
        r"at least one pixel .* got output size \(1, -1\)",
        lambda o, t: o.trans_conv(t(IMAGE), t(KERNEL), padding=(2, 4)),
    ),
    "method": (
        "method must be 'fast' or 'loop'; got method='slow'",
        lambda o, t: o.trans_conv(t(IMAGE), t(KERNEL), method="slow"),
    ),
    "rows to drop": ("one row for every output pixel", lambda o, t: o.drop_zeroed_rows(t(IMAGE), (2, 3))),
    "rank of rows to drop": (
        "one row for every output pixel",
        lambda o, t: o.drop_zeroed_rows(t(np.ones((4, 1, 1))), 2),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_refused_with_what_must_hold(half: Half, name: str) -> None:
    message, call = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        call(half.ops, half.tensor)
    assert "; got " in str(caught.value)
    assert str(caught.value).count(". ") >= 1  # and what to do about it


def test_sparse_product_refuses_another_size_or_dtype(half: Half) -> None:
    matrix = half.ops.conv_matrix(half.tensor(KERNEL), (4, 5), sparse=True)
    for x in (np.ones(19), np.ones((19, 2)), np.ones(20, "float32")):
        with pytest.raises((ValueError, RuntimeError)):  # torch's own errors in torch_impl
            matrix @ half.tensor(x)


def test_a_large_matrix_is_built_sparse(half: Half) -> None:
    matrix = half.ops.conv_matrix(half.tensor(whole(16, 3, 3)), 512, padding=1, sparse=True)  # dense: 550 GB
    assert tuple(matrix.shape) == (512 * 512, 512 * 512)
    assert matrix.values().shape[0] == (3 * 512 - 2) ** 2  # nine entries a pixel, less those in the padding


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Pair]:
    def pairs(low: int, high: int) -> st.SearchStrategy[Pair]:
        return st.tuples(st.integers(low, high), st.integers(low, high))

    return {
        "size": draw(pairs(1, 9)),
        "kernel_size": draw(pairs(1, 4)),
        "stride": draw(pairs(1, 3)),
        "padding": draw(pairs(0, 3)),
        "dilation": draw(pairs(1, 3)),
    }


SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)


@pytest.mark.parametrize("name", HALVES)
@given(geometry=geometries(), seed=st.integers(0, 2**16))
@SETTINGS
def test_property_of_the_matrix_and_its_transpose(name: str, geometry: dict[str, Pair], seed: int) -> None:
    """<Cx, y> = <x, C'y>; sparse is dense; C is the framework's convolution; C' is its transpose."""
    half = Half(name)
    size, kernel, *rest = geometry.values()
    try:
        out = half.ops.conv_output_size(size, kernel, *rest)
    except ValueError:
        assume(False)
    X, K, Y = whole(seed, *size), whole(seed + 1, *kernel), whole(seed + 2, *out)
    C, T = (
        build(half.tensor(K), size, *rest) for build in (half.ops.conv_matrix, half.ops.conv_transpose_matrix)
    )
    sparse = half.ops.conv_matrix(half.tensor(K), size, *rest, sparse=True)
    C, T, sparse = half.numpy(C), half.numpy(T), half.numpy(sparse.to_dense())
    np.testing.assert_array_equal(C, sparse)
    np.testing.assert_array_equal(T, C.T)
    assert (C @ X.ravel()) @ Y.ravel() == X.ravel() @ (T @ Y.ravel())
    stride, padding, dilation = rest
    np.testing.assert_array_equal((C @ X.ravel()).reshape(out), half.conv(X, K, stride, padding, dilation))
    back = [
        n - ((m - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, m, k, s, p, d in zip(size, out, kernel, *rest, strict=True)
    ]  # the output_padding that leads back to this size
    np.testing.assert_array_equal(
        (T @ Y.ravel()).reshape(size), half.conv_transpose(Y, K, stride, padding, tuple(back), dilation)
    )


@pytest.mark.parametrize("name", HALVES)
@given(geometry=geometries(), extra=st.tuples(st.integers(0, 2), st.integers(0, 2)))
@SETTINGS
def test_property_of_the_size_formulas(name: str, geometry: dict[str, Pair], extra: Pair) -> None:
    """Both formulas give the framework's own output shape, and refuse where it refuses."""
    half = Half(name)
    size, kernel, stride, padding, dilation = geometry.values()
    X, K = np.ones(size), np.ones(kernel)
    for formula, run, arguments in (
        (half.ops.conv_output_size, half.conv, (stride, padding, dilation)),
        (half.ops.conv_transpose_output_size, half.conv_transpose, (stride, padding, extra, dilation)),
    ):
        try:
            expected = formula(size, kernel, *arguments)
        except ValueError:
            if name == "torch_impl":  # Keras' own functions return an empty tensor, or ignore the argument
                with pytest.raises(RuntimeError):
                    run(X, K, *arguments)
            continue
        assert run(X, K, *arguments).shape == expected


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_other_backends_run_the_same_tests(backend: str) -> None:
    """Keras' other backends pass the tables of this file and its neighbours, in a process of their own."""
    needs("keras")
    needs(backend)
    here = Path(__file__).parent
    files = [str(here / f"test_{name}.py") for name in ("ops", "worked_numbers", "initializers")]
    # JAX compiles every operation for every shape: no loops, and three rows of the tables for its sake
    tables = "11x10-3x2 or 7x5-3x3 or 4x3-3x2 or gradients or dtype or refused or sizes"
    chosen = f"tf_impl and not property and not -loop and (worked or initializers or {tables})"
    quiet = "ignore:__array__ implementation:DeprecationWarning"  # Keras 3.15's torch backend on NumPy 2.4
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        quiet,
        "-k",
        chosen,
        *files,
    ]
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
    done = subprocess.run(
        command, env=environment, cwd=here.parents[1], capture_output=True, text=True, check=False
    )
    summary = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert summary
    assert int(summary[1]) >= 100
    assert "skipped" not in done.stdout.splitlines()[-1]
