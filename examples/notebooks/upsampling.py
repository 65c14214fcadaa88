# %% [markdown]
# # Conv2DTranspose against UpSampling2D
#
# There are two ways to make an image larger inside a network. A transposed convolution learns how. Upsampling repeats
# or interpolates, and a plain convolution behind it learns. They differ in cost, in what they can learn, and in the
# patterns that they draw before anything is learned.

# %%
import torch  # isort: skip  (before Keras)
import keras
import matplotlib.pyplot as plt
import numpy as np

import tf_impl.layers
import torch_impl.layers
from tf_impl.upsampling import compare_upsampling as compare_in_keras
from torch_impl.upsampling import compare_upsampling as compare_in_torch

# %% [markdown]
# ## The overlaps
#
# An image of ones, a kernel of ones, stride 2. Each output pixel counts the kernel copies that reach it. A kernel that
# is a multiple of the stride covers all pixels alike, apart from the border. Any other kernel draws a checkerboard.


# %%
def overlaps(kernel_size, stride=2, size=6):
    """How many kernel copies reach each output pixel, from both halves."""
    torch_layer = torch_impl.layers.ConvTranspose2d(1, 1, kernel_size, stride=stride, bias=False)
    keras_layer = tf_impl.layers.ConvTranspose2d(1, 1, kernel_size, stride=stride, bias=False)
    keras_layer.set_weights([np.ones((kernel_size, kernel_size, 1, 1))])
    with torch.no_grad():
        torch_layer.weight.fill_(1)
        counted = torch_layer(torch.ones(1, 1, size, size))[0, 0].numpy()
    twin = keras.ops.convert_to_numpy(keras_layer(np.ones((1, size, size, 1), "float32")))[0, ..., 0]
    assert np.array_equal(counted, twin)
    return counted


kernels = (2, 3, 4, 5)
figure, axes = plt.subplots(1, len(kernels), figsize=(10, 3), layout="constrained")
for each, size in zip(axes, kernels, strict=True):
    counted = overlaps(size)
    each.imshow(counted, cmap="magma", vmin=0)
    each.set_title(f"kernel {size}, stride 2: {counted.min():.0f} to {counted.max():.0f}", fontsize=10)
    each.set_axis_off()
plt.show()

# %% [markdown]
# ## Measured
#
# `compare_upsampling` measures six ways on one channel: parameters, how uneven equal weights come out, and how uneven
# random positive ones do. Both halves give the same numbers.

# %%
in_torch, in_keras = compare_in_torch(), compare_in_keras()
print(f"{'layer':40} {'parameters':>10} {'equal weights':>14} {'random weights':>15}")
for row, twin in zip(in_torch, in_keras, strict=True):
    print(f"{row.name:40} {row.parameters:10} {row.coverage_spread:14.0%} {row.seeded_spread:15.0%}")
    assert row.parameters == twin.parameters
    assert row.output_size == twin.output_size
    assert np.allclose(row.coverage, twin.coverage, rtol=0, atol=1e-12)
    assert np.allclose(row.seeded, twin.seeded, rtol=0, atol=1e-12)

# %% [markdown]
# The pictures: an input of ones with equal weights, the same with random weights, and a picture with random weights. An
# even grey is a pixel value of 1.

# %%
titles = ("ones, equal weights", "ones, random weights", "a picture, random weights")
figure, axes = plt.subplots(3, len(in_keras), figsize=(13, 6.5), layout="constrained")
for column, row in zip(axes.T, in_keras, strict=True):
    for each, pixels, white in zip(column, row.pictures, (2, 2, 1.2), strict=True):
        each.imshow(pixels, cmap="gray", vmin=0, vmax=white, interpolation="nearest")
        each.set_xticks([])
        each.set_yticks([])
    column[0].set_title(row.name.replace(" kernel", "\nkernel").replace(" and", "\nand"), fontsize=9)
for each, title in zip(axes[:, 0], titles, strict=True):
    each.set_ylabel(title, fontsize=9)
plt.show()

# %% [markdown]
# A kernel that is a multiple of the stride makes no checkerboard while its weights are equal, and may make one later.
# Upsampling with a convolution behind it cannot: its weights are the same at every pixel.
#
# ## Keras' own layer
#
# `keras.layers.Conv2DTranspose(padding="same")` gives n * s, and cuts max(k - s, 0) rows: fewer at the top. The
# PyTorch layer with the same meaning is `torch_impl.layers.Conv2DTranspose`.

# %%
rng = np.random.default_rng(0)
picture, weight = rng.standard_normal((1, 5, 6, 2)), rng.standard_normal((3, 3, 4, 2))
keras_layer = keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", use_bias=False, dtype="float64")
keras_layer.build(picture.shape)
keras_layer.set_weights([weight])
torch_layer = torch_impl.layers.Conv2DTranspose(2, 4, 3, stride=2, padding="same", bias=False).double()
with torch.no_grad():
    torch_layer.weight.copy_(torch.tensor(weight.transpose(3, 2, 0, 1)))
    in_torch = torch_layer(torch.tensor(picture.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
difference = np.abs(in_torch - keras.ops.convert_to_numpy(keras_layer(picture))).max()
print("greatest difference:", difference)
assert difference < 1e-13
