# %% [markdown]
# # Transposed convolution, step by step
#
# A convolution gathers: each output pixel is a weighted sum of the input pixels under the kernel. A transposed
# convolution scatters: each input pixel adds a weighted copy of the kernel to the output. Where copies overlap, they
# are added. That is all there is to it, and it is what makes images larger inside a network.
#
# Every step below is computed twice, once in PyTorch (`torch_impl`) and once in Keras (`tf_impl`).

# %%
import torch  # isort: skip  (before Keras)
import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation

import tf_impl.ops
import torch_impl.ops
from tf_impl.layers import ConvTranspose2d as KerasConvTranspose2d
from torch_impl.layers import ConvTranspose2d as TorchConvTranspose2d

plt.rcParams["animation.html"] = "jshtml"  # a player in the notebook

# %% [markdown]
# ## One pixel at a time
#
# A 2 x 3 image and a 2 x 2 kernel. The output has 2 + 2 - 1 rows and 3 + 2 - 1 columns.

# %%
image = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
kernel = np.array([[1.0, 2.0], [3.0, 4.0]])


def copies(image, kernel, stride=1):
    """What each input pixel adds to the output: (pixel, output so far), in the order of the pixels."""
    rows, columns = (
        (size - 1) * stride + extent for size, extent in zip(image.shape, kernel.shape, strict=True)
    )
    output = np.zeros((rows, columns))
    for row, column in np.ndindex(image.shape):
        top, left = row * stride, column * stride
        output[top : top + kernel.shape[0], left : left + kernel.shape[1]] += image[row, column] * kernel
        yield (row, column), output.copy()


by_hand = list(copies(image, kernel))[-1][1]
by_hand

# %% [markdown]
# Both halves have this loop as `trans_conv(..., method="loop")`, and a fast form that calls the framework.

# %%
for method in ("loop", "fast"):
    in_torch = torch_impl.ops.trans_conv(torch.tensor(image), torch.tensor(kernel), method=method)
    in_keras = tf_impl.ops.trans_conv(image, kernel, method=method)
    assert np.array_equal(in_torch.numpy(), by_hand)
    assert np.array_equal(keras.ops.convert_to_numpy(in_keras), by_hand)

# %% [markdown]
# ## Watched
#
# The left side shows the input pixel that speaks, the right side the output so far. The frame on the right is the
# place of the kernel.


# %%
def numbers(axes, values, limit):
    """Draw a matrix as squares with its numbers."""
    axes.clear()
    axes.imshow(values, cmap="Blues", vmin=0, vmax=limit)
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column,
            row,
            f"{value:g}",
            ha="center",
            va="center",
            color="white" if value > 0.6 * limit else "black",
        )
    axes.set_xticks([])
    axes.set_yticks([])


def animated(image, kernel, stride=1):
    """The transposed convolution as an animation, one input pixel a frame."""
    steps = list(copies(image, kernel, stride))
    limit = steps[-1][1].max()
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")

    def draw(number):
        (row, column), output = steps[number]
        numbers(left, image, image.max())
        left.set_title("input")
        left.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="crimson", lw=3))
        numbers(right, output, limit)
        right.set_title(f"output after {number + 1} of {len(steps)} pixels")
        corner = (column * stride - 0.5, row * stride - 0.5)
        right.add_patch(
            plt.Rectangle(corner, kernel.shape[1], kernel.shape[0], fill=False, edgecolor="crimson", lw=3)
        )

    movie = FuncAnimation(figure, draw, frames=len(steps), interval=900)
    plt.close(figure)
    return movie


animated(image, kernel)

# %% [markdown]
# With stride 2 the copies lie two pixels apart. A 2 x 2 kernel then leaves no overlap, and a 3 x 3 kernel overlaps in
# every other row and column. Those uneven overlaps are the checkerboards of the notebook on upsampling.

# %%
animated(image, np.ones((3, 3)), stride=2)

# %% [markdown]
# ## As a layer
#
# The layers take many channels. PyTorch keeps the kernel as (in, out, kH, kW) and the image as (N, C, H, W); Keras
# keeps them as (kH, kW, out, in) and (N, H, W, C). The numbers are the same, only their order differs.

# %%
rng = np.random.default_rng(0)
weight = rng.standard_normal((5, 2, 4, 3))  # (kH, kW, out, in) of a 5 x 2 kernel from 3 to 4 channels
picture = rng.standard_normal((2, 6, 7, 3))  # (N, H, W, C)

torch_layer = TorchConvTranspose2d(3, 4, (5, 2), stride=2, padding=1, output_padding=1, bias=False).double()
with torch.no_grad():
    torch_layer.weight.copy_(torch.tensor(weight.transpose(3, 2, 0, 1)))
    in_torch = torch_layer(torch.tensor(picture.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)

keras_layer = KerasConvTranspose2d(
    3, 4, (5, 2), stride=2, padding=1, output_padding=1, bias=False, dtype="float64"
)
keras_layer.set_weights([weight])
in_keras = keras.ops.convert_to_numpy(keras_layer(picture))

print("shape of the output:", in_keras.shape)
print("greatest difference:", np.abs(in_torch - in_keras).max())
assert np.abs(in_torch - in_keras).max() < 1e-13

# %% [markdown]
# `keras.layers.Conv2DTranspose` is another layer: its `padding="same"` cuts other rows than `padding=1` does, and its
# default initial values differ. The notebook on Conv2DTranspose and UpSampling2D says how they compare.
