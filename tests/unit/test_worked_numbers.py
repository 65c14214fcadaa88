"""Every worked number of the four sources that can be checked, through both halves.

Slides are those of the lecture on semantic segmentation (Kak & Bouman, Purdue, 2025); D2L is Dive into Deep
Learning. Where a printed number cannot be right, the test says so and pins what is true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from tests.unit.test_ops import HALVES, Half, whole

Tensor = Any
TWO = np.array([[0.0, 1], [2, 3]])
THREE = np.arange(9.0).reshape(3, 3)
INTEGERS = np.array([[0, 1], [2, 3]])  # D2L's kernel is an integer tensor beside a floating image
NINE = np.arange(1.0, 10).reshape(3, 3)
SIXTEEN = np.arange(1.0, 17).reshape(4, 4)


@pytest.fixture(params=HALVES)
def half(request: pytest.FixtureRequest) -> Half:
    return Half(request.param)


# source -> (what is computed, from tensors made by t, with the functions o; what the source prints)
MATRICES: dict[str, tuple[Callable[[Any, Callable[..., Tensor]], Tensor], list]] = {
    "D2L transposed convolution, the loop": (
        lambda o, t: o.trans_conv(t(TWO), t(TWO), method="loop"),
        [[0, 0, 1], [0, 4, 6], [4, 12, 9]],
    ),
    "D2L transposed convolution, nn.ConvTranspose2d": (
        lambda o, t: o.trans_conv(t(TWO), t(TWO)),
        [[0, 0, 1], [0, 4, 6], [4, 12, 9]],
    ),
    "D2L transposed convolution, padding 1": (lambda o, t: o.trans_conv(t(TWO), t(TWO), padding=1), [[4]]),
    "D2L transposed convolution, stride 2": (
        lambda o, t: o.trans_conv(t(TWO), t(TWO), stride=2),
        [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]],
    ),
    "D2L transposed convolution, corr2d": (
        lambda o, t: o.corr2d(t(THREE), t(INTEGERS)),
        [[19, 25], [37, 43]],
    ),
    "D2L transposed convolution, kernel2matrix": (
        lambda o, t: o.kernel2matrix(t(INTEGERS)),
        [
            [0, 1, 0, 2, 3, 0, 0, 0, 0],
            [0, 0, 1, 0, 2, 3, 0, 0, 0],
            [0, 0, 0, 0, 1, 0, 2, 3, 0],
            [0, 0, 0, 0, 0, 1, 0, 2, 3],
        ],
    ),
    "D2L transposed convolution, W x": (
        lambda o, t: o.kernel2matrix(t(TWO)) @ t(THREE.reshape(9, 1)),
        [[19], [25], [37], [43]],
    ),
    "D2L transposed convolution, W' x": (
        lambda o, t: o.conv_transpose_matrix(t(TWO), 3) @ t(TWO.reshape(4, 1)),
        [[0], [0], [1], [0], [4], [6], [4], [12], [9]],
    ),
    "D2L fully convolutional networks, convolution": (
        lambda o, t: o.corr2d(t(SIXTEEN), t(NINE)),
        [[348, 393], [528, 573]],
    ),
    "D2L fully convolutional networks, W": (
        lambda o, t: o.conv_matrix(t(NINE), 4),
        [
            [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0],
            [0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0],
            [0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0],
            [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9],
        ],
    ),
    "D2L fully convolutional networks, W x": (
        lambda o, t: o.conv_matrix(t(NINE), 4) @ t(SIXTEEN.reshape(16, 1)),
        [[348], [393], [528], [573]],
    ),
}


@pytest.mark.parametrize("source", MATRICES)
def test_printed_matrices(half: Half, source: str) -> None:
    compute, printed = MATRICES[source]
    np.testing.assert_array_equal(half.numpy(compute(half.ops, half.tensor)), printed)


# source -> (function, arguments, the printed size)
SIZES = {
    "slide 12: 16x16, 3x3": ("conv_output_size", (16, 3), 14),
    "slide 13: 16x16 and the 6x6 operator": ("conv_output_size", (16, 6), 11),
    "what the frameworks give for slide 13": ("conv_output_size", (16, 3, 1, 0, 2), 12),
    "slide 31: 3x3, 2x2": ("conv_output_size", (3, 2), 2),
    "slide 38: 4x4, 2x2": ("conv_output_size", (4, 2), 3),
    "slide 42: about half": ("conv_output_size", (4, 2, 2), 2),
    "slide 51: padding 0": ("transposed_input_padding", (4, 0, 1), 3),
    "slide 51: padding 1": ("transposed_input_padding", (4, 1, 1), 2),
    "slide 51: padding 2": ("transposed_input_padding", (4, 2, 1), 1),
    "slide 52: 1x1, kernel 4": ("conv_transpose_output_size", (1, 4), 4),
    "slide 52: padding 1": ("conv_transpose_output_size", (1, 4, 1, 1), 2),
    "slide 52: the kernel on the 7x7 input": ("conv_output_size", (7, 4), 4),
    "slide 52: the kernel on the 5x5 input": ("conv_output_size", (5, 4), 2),
    "slide 58: 4x4, kernel 3, stride 2": ("conv_transpose_output_size", (4, 3, 2), 9),
    "slide 62: padding 1": ("conv_transpose_output_size", (4, 3, 2, 1), 7),
    "D2L FCN: 64x64 halved": ("conv_output_size", (64, 4, 2, 1), 32),
    "D2L FCN: and back": ("conv_transpose_output_size", (32, 4, 2, 1), 64),
    "D2L FCN: 320x480": ("conv_output_size", ((320, 480), 64, 32, 16), (10, 15)),
    "D2L FCN: and back to 320x480": ("conv_transpose_output_size", ((10, 15), 64, 32, 16), (320, 480)),
    "D2L FCN: the photograph": ("conv_transpose_output_size", ((561, 728), 4, 2, 1), (1122, 1456)),
    "D2L: kernel 5, padding 2, stride 3": ("conv_output_size", (16, 5, 3, 2), 6),
    "D2L: and back to 16": ("conv_transpose_output_size", (6, 5, 3, 2), 16),
    "Keras: kernel 2, stride 1": ("conv_transpose_output_size", (2, 2, 1), 3),
    "Keras: kernel 3, stride 1": ("conv_transpose_output_size", (2, 3, 1), 4),
    "Keras: kernel 3, stride 2": ("conv_transpose_output_size", (2, 3, 2), 5),
}


@pytest.mark.parametrize("source", SIZES)
def test_printed_sizes(half: Half, source: str) -> None:
    function, arguments, printed = SIZES[source]
    assert getattr(half.ops, function)(*arguments) == printed


@pytest.mark.parametrize("stride", [2, 3, 16, 32])
def test_kernel_2s_and_padding_half_s_enlarge_by_s(half: Half, stride: int) -> None:
    """D2L, fully convolutional networks: for an even stride; an odd one has no padding of s/2."""
    sizes = half.ops.conv_transpose_output_size((10, 15), 2 * stride, stride, stride // 2)
    assert (sizes == (10 * stride, 15 * stride)) == (stride % 2 == 0)


@pytest.mark.parametrize("method", ["fast", "loop"])
def test_one_pixel_becomes_the_kernel_or_an_error(half: Half, method: str) -> None:
    """Slides 48-54: a 1x1 input and a 4x4 kernel; padding 1 leaves 2x2, padding 2 nothing."""
    X, K = np.array([[2.0]]), whole(1, 4, 4)
    for padding, padded in ((0, 7), (1, 5), (2, 3)):
        N = half.ops.transposed_input_padding(4, padding)
        assert padded == 1 + 2 * N  # slide 52's padded input
        if padding == 2:
            for size in (padded, 1):
                with pytest.raises(ValueError, match=r"; got "):
                    half.ops.corr2d(half.tensor(np.ones((size, size))), half.tensor(K))
            with pytest.raises(ValueError, match=r"at least one pixel .* got output size \(0, 0\)"):
                half.ops.trans_conv(half.tensor(X), half.tensor(K), padding=2, method=method)
            with pytest.raises(ValueError, match=r"at least one pixel"):
                half.ops.conv_transpose_output_size(1, 4, 1, 2)
            continue
        expected = 2 * K[padding : 4 - padding, padding : 4 - padding]
        found = half.ops.trans_conv(half.tensor(X), half.tensor(K), padding=padding, method=method)
        np.testing.assert_array_equal(half.numpy(found), expected)
        # the lecture's reading of it: pad the input with N zeros, sweep the kernel (turned by 180 degrees)
        swept = half.ops.corr2d(half.tensor(np.pad(X, N)), half.tensor(K[::-1, ::-1].copy()))
        np.testing.assert_array_equal(half.numpy(swept), expected)


def test_the_matrices_of_slides_31_to_44(half: Half) -> None:
    """Letters a, b, c, d as 2, 3, 5, 7, so that no sum can be mistaken for another."""
    ops, numpy, t = half.ops, half.numpy, half.tensor
    K, x = np.array([[2.0, 3], [5, 7]]), NINE
    a, b, c, d = K.ravel()
    out = [a + 2 * b + 4 * c + 5 * d, 2 * a + 3 * b + 5 * c + 6 * d]
    out += [4 * a + 5 * b + 7 * c + 8 * d, 5 * a + 6 * b + 8 * c + 9 * d]
    np.testing.assert_array_equal(numpy(ops.corr2d(t(x), t(K))).ravel(), out)  # slide 31
    # slide 32: the kernel as a vector, times a matrix of the input
    np.testing.assert_array_equal(K.ravel() @ [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]], out)
    C = numpy(ops.conv_matrix(t(K), 3))  # slide 33
    letters = [
        [a, b, 0, c, d, 0, 0, 0, 0],
        [0, a, b, 0, c, d, 0, 0, 0],
        [0, 0, 0, a, b, 0, c, d, 0],
        [0, 0, 0, 0, a, b, 0, c, d],
    ]
    np.testing.assert_array_equal(C, letters)
    np.testing.assert_array_equal(C @ x.ravel(), out)

    C = numpy(ops.conv_matrix(t(K), 4))  # slide 38, 9x16
    assert C.shape == (9, 16)
    shifts = np.diff([np.flatnonzero(row)[0] for row in C])
    np.testing.assert_array_equal(shifts, [1, 1, 2, 1, 1, 2, 1, 1])  # slide 39: one, and two at a row's end
    zeroed = ops.strided_matrix_zeroed_rows(t(K), 4, stride=2)  # slides 40-41
    rows = numpy(zeroed)
    assert rows.shape == (9, 16)
    assert [number + 1 for number in range(9) if not rows[number].any()] == [2, 4, 5, 6, 8]
    np.testing.assert_array_equal(rows[0], [a, b, 0, 0, c, d] + 10 * [0])
    np.testing.assert_array_equal(rows[2], [0, 0, a, b, 0, 0, c, d] + 8 * [0])
    # The slide prints rows 7 and 9 with a in columns 8 and 10; output (2, 0) starts at input pixel (2, 0),
    # number 8 counted from 0, so that they belong one column further right, in 9 and 11.
    np.testing.assert_array_equal(rows[6], 8 * [0] + [a, b, 0, 0, c, d, 0, 0])
    np.testing.assert_array_equal(rows[8], 10 * [0] + [a, b, 0, 0, c, d])
    strided = numpy(ops.conv_matrix(t(K), 4, stride=2))
    np.testing.assert_array_equal(numpy(ops.drop_zeroed_rows(zeroed, 3)), strided)  # slide 42
    np.testing.assert_array_equal(
        (strided @ SIXTEEN.ravel()).reshape(2, 2), numpy(ops.corr2d(t(SIXTEEN), t(K), 2))
    )
    back = numpy(ops.conv_transpose_matrix(t(K), 4, stride=2)) @ np.array([1.0, 2, 3, 4])  # slides 42, 44
    np.testing.assert_array_equal(
        back.reshape(4, 4), numpy(ops.trans_conv(t(np.array([[1.0, 2], [3, 4]])), t(K), 2))
    )


def test_atrous_example_of_slides_11_to_13(half: Half) -> None:
    """The slides call it a correlation of a 16x16 input, and print 15x15 of it.

    Their results, 14x14 with 9 in columns 6 and 7 and 11x11 with 9 in columns 3 to 6, fit an input of 16 columns,
    eight of 4 and eight of 1, and a convolution, which turns the kernel: the correlation gives -9.
    """
    ops, numpy, t = half.ops, half.numpy, half.tensor
    X, K = np.repeat([[4.0] * 8 + [1.0] * 8], 16, axis=0), np.repeat([[-1.0, 0, 1]], 3, axis=0)
    turned = t(K[::-1, ::-1].copy())
    edge = np.zeros((14, 14))
    edge[:, 6:8] = 9
    np.testing.assert_array_equal(numpy(ops.corr2d(t(X), turned)), edge)
    np.testing.assert_array_equal(numpy(ops.corr2d(t(X), t(K))), -edge)
    # as printed, 15 columns with seven of 4, the edge would be in columns 5 and 6 of 13
    np.testing.assert_array_equal(numpy(ops.corr2d(t(X[1:, 1:]), turned)), edge[1:, 1:])

    printed = ops.dilate_kernel(t(K), 2, trailing=True)
    row, blank = [-1, 0, 0, 0, 1, 0], [0] * 6
    np.testing.assert_array_equal(numpy(printed), [row, blank, row, blank, row, blank])
    edge = np.zeros((11, 11))
    edge[:, 3:7] = 9
    np.testing.assert_array_equal(numpy(ops.corr2d(t(X), t(numpy(printed)[::-1, ::-1].copy()))), edge)
    # What dilation=2 means in the frameworks: the 5x5 kernel, a 12x12 output.
    edge = np.zeros((12, 12))
    edge[:, 4:8] = -9
    for found in (ops.corr2d(t(X), t(K), dilation=2), ops.corr2d(t(X), ops.dilate_kernel(t(K), 2))):
        np.testing.assert_array_equal(numpy(found), edge)
    np.testing.assert_array_equal(half.conv(X, K, (1, 1), (0, 0), (2, 2)), edge)


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "padding", "stride", "back"), [(10, 16, 5, 2, 3, 10), (3, 64, 4, 1, 2, 3)]
)
def test_round_trip_through_the_frameworks_layers(
    half: Half, channels: int, size: int, kernel: int, padding: int, stride: int, back: int
) -> None:
    """D2L: a convolution, then a transposed one with the same numbers, give the first shape back."""
    small = half.ops.conv_output_size(size, kernel, stride, padding)
    assert half.ops.conv_transpose_output_size(small, kernel, stride, padding) == size
    if half.name == "torch_impl":
        import torch

        down = torch.nn.Conv2d(channels, 20, kernel, stride, padding)
        up = torch.nn.ConvTranspose2d(20, back, kernel, stride, padding)
        middle = down(torch.zeros(1, channels, size, size))
        assert tuple(middle.shape) == (1, 20, small, small)
        assert tuple(up(middle).shape) == (1, back, size, size)
        return
    import keras

    model = keras.Sequential(
        [
            keras.layers.ZeroPadding2D(padding),
            keras.layers.Conv2D(20, kernel, stride),
            keras.layers.Conv2DTranspose(back, kernel, stride),
            keras.layers.Cropping2D(padding),
        ]
    )
    images = np.zeros((1, size, size, channels), "float32")
    assert model.layers[1](model.layers[0](images)).shape == (1, small, small, 20)
    assert model(images).shape == (1, size, size, back)


@pytest.mark.parametrize(("kernel", "stride", "printed"), [(2, 1, 3), (3, 1, 4), (3, 2, 5)])
def test_keras_examples(kernel: int, stride: int, printed: int) -> None:
    """The Keras notebook's examples: an input of (1, 2, 2, 2), three filters, padding "valid"."""
    needs("keras")
    import keras

    layer = keras.layers.Conv2DTranspose(filters=3, kernel_size=kernel, strides=stride, padding="valid")
    assert tuple(layer(np.ones((1, 2, 2, 2), "float32")).shape) == (1, printed, printed, 3)


def numbers(text: str, *shape: int) -> np.ndarray:
    return np.array(text.split(), dtype=np.float64).reshape(shape)


INPUT_58 = """
0.7298 -1.8453 -0.025 1.3694 2.657 0.9851 -0.2596 0.1183 -1.1428 0.0376 2.6963 1.2358 0.5428 0.5255 0.1922
-0.7722 1.6268 0.1723 -1.6115 -0.4794 -0.1434 -0.3173 0.9671 -0.9911 0.5436 0.0788 0.8629 -0.0195 0.991
-0.7777 0.314 0.2133
"""
OUTPUT_58 = """
-0.044152 0.12544 -0.12656 0.096014 -0.22811 -0.2785 0.074894 -0.21415 0.12354 0.04731 -0.16544 -0.13804
0.22369 -0.28944 -0.04789 0.069339 -0.25903 0.10554 0.36438 -0.37056 0.63544 -0.034491 -0.29977 0.16315
0.0044707 -0.28466 0.087493 0.1037 -0.45312 0.28402 -0.20143 0.065421 -0.0158 -0.12667 -0.070222 -0.0085209
-0.30752 -0.091773 0.13661 -0.10635 0.45713 -0.13314 0.5277 -0.11149 0.14509 0.11116 -0.08816 0.09404
0.19404 0.12867 0.27542 -0.2395 0.773 0.773 -0.00011877 0.1131 0.059378 -0.20451 -0.040972 -0.25601 0.02041
-0.06237 0.0077144 2.7385e-05 -0.13653 -0.013757 -0.13173 0.045617 -0.082951 -0.085837 0.062223 -0.1421
-0.043369 -0.13176 -0.0088378 -0.065154 0.020169 -0.079904 -0.0090935 -0.0043222 -0.15681 -0.063428 -0.19877
0.084883 -0.055194 0.01871 0.20991 -0.052714 0.087261 -0.0056352 0.30617 -0.18582 -0.1572 -0.10889 -0.38943
0.21707 0.11601 0.12883 0.11567 -0.049457 0.13517 -0.31476 0.14358 -0.16253 -0.22645 -0.11735 0.047839
0.032453 0.29721 0.14327 0.28931 0.089015 0.18221 -0.14263 -0.1514 0.13982 0.021605 0.2985 -0.20616
-0.098987 -0.06792 -0.24457 0.0046328 -0.47882 -0.039504 -0.049977 -0.062585 -0.12643 -0.082678 0.0086435
0.43937 0.0090001 0.56033 0.060396 0.098465 -0.029405 -0.040695 -0.13474 0.11429 0.33068 -0.093352 0.053747
-0.092056 -0.034831 0.19825 -0.10243 0.12991 0.1168 -0.033269 -0.05129 -0.064512 -0.064124 nan 0.19561
0.038178 -0.11138 -0.06762 0.041267 0.011471 -0.015264 0.044058 0.028338 -0.2494 0.28603 0.21782 -0.066619
0.057356 -0.049606 0.15497 0.16988 0.32393 0.092061 -0.090965 -0.16751 0.23311 0.14122 0.17886 0.30424
-0.048374 0.10782 0.4412 0.4705 0.54504 0.34156 0.3326 -0.077025 -0.12033 -0.17688 0.76152 0.39559 -0.21855
0.23644 -0.012267 0.025593 0.062246 0.12039 0.12731 0.11114 -0.14819 -0.236 -0.52384 -0.038295 -0.48354
0.55731 0.20285 0.048694 0.21953 0.070234 0.18975 0.06445 0.076979 0.35079 -0.27943 0.2254 -0.058386 0.95471
0.0033609 0.39622 0.19816 0.076436 -0.1413 0.00032905 -0.023993 -0.082371 -0.16212 0.10082 -0.033432 0.1621
0.067511 0.11597 0.045647 -0.018666 0.16465 0.074799 0.023834 0.17224 -0.0094561 -0.069326 -0.003425 0.11134
0.16478 0.18597 0.16523 0.12324 -0.067804 -0.41464 0.039657 -0.41462 0.32299 0.015135 -0.34607 -0.11564
-0.034457 -0.27444 -0.3681 -0.37973 -0.061502 0.025991 -0.070435 0.042427 -0.29984 0.054988 -0.42073 0.36144
-0.10331 0.2716 -0.12306 -0.78796 -0.43268 0.042614 -0.15327 0.14117 -0.50262 -0.017961 0.019241 0.30302
-0.27004 -0.031703 -0.10608 -0.45615 -0.25729 -0.036639 -0.26988 0.26512 -0.26255 -0.16591 -0.3519 -0.27374
-0.12856 -0.348 -0.049452 -0.16643 -0.08308 0.02684 -0.055462 -0.026119 -0.3155 0.17508 0.026454 -0.41953
-0.29197 -0.27528 0.36171 0.072971 -0.18341 -0.039313 -0.083295 -0.21962 -0.35403 -0.013091 -0.14763
-0.17753 -0.19705 -0.26927 -0.07897 -0.17471 -0.15918 -0.072195 -0.25484 -0.20372 -0.1625 -0.00068606
-0.074715 -0.22458
"""
INPUT_62 = """
0.5769 -0.1692 1.1887 -0.1575 -0.0455 0.6485 0.5239 0.218 1.9029 0.3904 0.0331 -1.0234 0.7335 1.1177 2.1494
-0.9088 -0.1434 -0.1947 1.4903 -0.7005 0.1806 1.3615 2.0372 0.643 1.6953 2.0655 0.2578 -0.565 0.9278 0.4826
-0.8298 1.2678
"""
OUTPUT_62 = """
0.14602 0.034987 -0.049057 -0.2143 -0.11586 0.13547 -0.085486 0.036219 -0.021292 0.096213 0.033451 0.38808
-0.47209 -0.012999 -0.039848 -0.1326 -0.051958 -0.0098983 0.011389 0.014386 -0.043486 0.11806 -0.057146
0.30747 -0.39247 0.086604 -0.37835 -0.12648 -0.19795 0.17612 0.031326 0.017133 -0.045113 0.063181 0.040513
0.37797 -0.41503 0.14547 -0.47569 -0.037961 0.051364 -0.11437 -0.093304 -0.073418 -0.17575 -0.14605 -0.40518
0.32027 0.15138 0.15954 0.14756 0.11634 0.13148 0.023051 0.25622 0.1057 0.15098 0.185 0.29589 0.30268
0.094988 0.17306 0.29879 0.13169 0.20943 0.19719 0.41675 0.20525 0.38726 0.15688 0.23013 0.28313 0.14138
0.013809 -0.14228 -0.28762 0.0070353 0.27535 0.52515 0.19836 0.33347 0.13785 0.20058 0.059918 -0.096119
-0.28195 -0.15659 -0.068087 -0.08431 -0.029354 0.42759 0.19229 0.17491 0.20401 -0.072777 0.23285 0.39534
0.10732 -0.09442 -0.039821 -0.040897 -0.036939 0.061995 0.21703 -0.1054 -0.0015969 0.25784 0.0019578 0.3727
0.38862 -0.20336 -0.085515 -0.0036023 0.051168 0.089228 0.31974 0.18428 0.35481 0.033411 -0.065154 0.42694
0.34081 0.026115 0.27636 -0.2552 0.12862 0.030369 0.42223 0.19858 0.34078 0.00019767 0.034468 -0.018808
0.26914 0.38698 0.16409 0.069061 -0.34899 0.31591 0.10464 0.027803 0.11538 -0.05913 -0.09069 -0.30726
0.029721 0.20266 0.031302 -0.017105 0.039255 0.0012681 0.26324 0.082351 -0.036774 0.1367 -0.13665 0.27974
0.15993 0.27132 0.16712 0.22299 0.092898 -0.0081275 0.25529 -0.083837 0.35914 0.10724 0.15666 0.32618
0.30762 0.25367 0.44363 -0.081398 0.36933 -0.095386 0.27898 -0.24 0.36618 0.15419 0.10282 0.070281 0.001696
0.14526 0.18005 -0.031231 0.069455 -0.014039 0.16355 0.12949 0.18852 0.064715 0.11374 0.17605 -0.10454
-0.48272 0.27392
"""
WEIGHT_48 = """
-0.0157 0.0468 -0.0534 -0.0347 -0.1689 -0.1171 -0.0729 0.0065 0.0699 0.1061 -0.1198 -0.077 0.0642 0.1468
-0.0364 0.1323 -0.0285 0.0187 0.1601 -0.164 -0.1113 -0.0448 -0.0699 0.1527 -0.1146 -0.0814 -0.1235 -0.1656
-0.1032 0.152 0.0789 0.0857 0.0093 -0.0906 0.0299 -0.1651 -0.1277 -0.0911 0.1115 0.1036 -0.0784 -0.0064
0.1131 0.1757 0.0702 0.0239 0.1185 -0.1041 0.0329 -0.1371 -0.1225 -0.0913 0.08 0.0711 -0.1047 0.0534 0.097
-0.0223 0.0067 0.041 0.1097 0.1697 -0.1362 -0.0648 0.0695 0.1465 0.1538 0.156 0.0352 -0.1537 0.0163 -0.1106
-0.1547 0.1571 0.1344 -0.1763 0.0331 -0.0298 -0.0291 -0.0809 0.068 -0.1047 0.0648 0.0894 0.1265 0.0661
-0.175 -0.1147 0.0883 0.037 -0.1379 -0.1018 0.1663 0.1191 -0.0771 -0.0445 -0.1684 -0.0032 -0.1331 -0.1364
-0.0097 0.0265 -0.0724 0.1049 -0.1076 0.1604 0.1211 -0.1491 -0.044 0.008 0.0258 0.0419 0.0694 0.0106 -0.0863
0.0836 -0.1696 -0.1048 -0.0443 -0.0861 -0.0619 -0.1448 -0.0376 0.0376 -0.1152 -0.0091 0.1265 -0.0182
"""
OUTPUT_48 = """
-0.2691 -0.2173 -0.497 -0.4176 -0.3 0.2013 -0.2167 0.2852 0.4334 -0.0908 -0.4369 0.1342 -0.0138 0.2935
-0.0079 0.4394 -0.1775 0.2879 0.0771 -0.3884 -0.5823 -0.3086 0.2653 0.4063 -0.4478 -0.2971 0.0715 -0.0391
-0.6342 -0.0956 0.3861 0.2224
"""
# the places in which the lecture's text differs from a run, as (input channel, output channel, row, column)
MISPRINTED_WEIGHTS = "0112 2020 3120 3121 3123"
MISPRINTED_OUTPUTS = "021 113"
# the places in each channel, as (row, column), whose printed number is misread or lost
MISPRINTED = {
    58: (
        "10 18 40 48 50 51 52 53 55 56 57 58 66 83",
        "14 22 24 42 53 56 58 71 72 73 74 75 76 77 78",
        "13 20 26 28 50 56 58 66",
        "05 20 22 24 27 34 35 43 54 56 65 68",
    ),
    62: ("00 30", "04 25", "14 44 54", "30 31 56"),
}


def test_channels_mix_as_slide_48_prints(half: Half) -> None:
    """A 4-channel pixel becomes a 2-channel 4x4 image by a (4, 2, 4, 4) weight; torch's seed 0 reproduces it."""
    needs("torch")
    import torch

    torch.manual_seed(0)
    x = torch.randn((1, 4)).view(-1, 4, 1, 1)
    layer = torch.nn.ConvTranspose2d(4, 2, 4, 1, 0)
    weight, bias = (p.detach().numpy().astype(np.float64) for p in (layer.weight, layer.bias))
    np.testing.assert_array_equal(
        np.round(x.numpy().ravel(), 4), np.float32([1.5410, -0.2934, -2.1788, 0.5684])
    )
    assert weight.shape == (4, 2, 4, 4)
    pixels = x.numpy().astype(np.float64)[0]  # (4, 1, 1)
    image = np.stack(
        [
            sum(
                half.numpy(half.ops.trans_conv(half.tensor(pixels[c]), half.tensor(weight[c, o])))
                for c in range(4)
            )
            + bias[o]
            for o in range(2)
        ]
    )
    for found, text, misprinted in (
        (weight, WEIGHT_48, MISPRINTED_WEIGHTS),
        (image, OUTPUT_48, MISPRINTED_OUTPUTS),
    ):
        wrong = np.abs(found - numbers(text, *found.shape)) > 0.5001e-4  # printed to four decimals
        assert {"".join(map(str, place)) for place in np.argwhere(wrong)} == set(misprinted.split())


@pytest.mark.parametrize("slide", [58, 62])
@pytest.mark.parametrize("channel", range(4))
def test_the_printed_9x9_and_7x7_are_transposed_convolutions(half: Half, slide: int, channel: int) -> None:
    """The weights are not printed, but 19 of them explain every number of a channel that is not misprinted.

    They are found by least squares. The input is printed to 5e-5 and a pixel sums eight products with weights
    of at most 1/6, which leaves 7e-5; a misprint moves a number by more than 1e-4.
    """
    text, printed, padding, size = (INPUT_58, OUTPUT_58, 0, 9) if slide == 58 else (INPUT_62, OUTPUT_62, 1, 7)
    assert half.ops.conv_transpose_output_size(4, 3, 2, padding) == size
    images = numbers(text, 2, 4, 4)
    columns = [
        half.numpy(half.ops.trans_conv(half.tensor(image), half.tensor(kernel), 2, padding)).ravel()
        for image in images
        for kernel in np.eye(9).reshape(9, 3, 3)
    ]
    A = np.stack(
        [*columns, np.ones(size * size)], axis=1
    )  # nine weights for each input channel, and the bias
    y = numbers(printed, 4, size, size)[channel].ravel()
    kept = np.ones(size * size, bool)
    kept[[int(place[0]) * size + int(place[1]) for place in MISPRINTED[slide][channel].split()]] = False
    weights = np.linalg.lstsq(A[kept], y[kept], rcond=None)[0]
    residual = np.abs(A @ weights - y)
    assert residual[kept].max() < 1e-4
    assert not (residual[~kept] < 1e-4).any()  # a lost number is nan
    assert np.abs(weights).max() <= 1 / np.sqrt(4 * 3 * 3)  # the bound of nn.ConvTranspose2d's first weights
