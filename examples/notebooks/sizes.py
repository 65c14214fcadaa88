# %% [markdown]
# # Sizes: stride, padding, output padding and dilation
#
# Most errors of shape come from two formulas. For one axis, with input size n, kernel k, stride s, padding p,
# dilation d and output padding o:
#
# - convolution: floor((n + 2p - d(k - 1) - 1) / s) + 1
# - transposed convolution: (n - 1)s - 2p + d(k - 1) + o + 1
#
# Both halves have them as `conv_output_size` and `conv_transpose_output_size`, and the layers agree with them.

# %%
import torch  # isort: skip  (before Keras)
import itertools

import keras
import numpy as np

import tf_impl.layers
import torch_impl.layers
from torch_impl.ops import conv_output_size, conv_transpose_output_size

# %%
print("n=64 k=3 s=1 p=1 ->", conv_output_size(64, 3, 1, 1))
print("n=64 k=3 s=2 p=1 ->", conv_output_size(64, 3, 2, 1))
print("n=65 k=3 s=2 p=1 ->", conv_output_size(65, 3, 2, 1))
print("n=32 k=3 s=2 p=1 ->", conv_transpose_output_size(32, 3, 2, 1))
print("n=32 k=3 s=2 p=1 o=1 ->", conv_transpose_output_size(32, 3, 2, 1, 1))

# %% [markdown]
# ## Why there is an output padding
#
# 64 and 65 both become a smaller image of the same size, because the formula rounds down. On the way back there are
# therefore several sizes to choose from, and the output padding chooses. It must be smaller than the stride or the
# dilation.

# %%
table = {}
for size in range(60, 68):
    small = conv_output_size(size, 3, 2, 1)
    table.setdefault(small, []).append(size)
for small, sizes in table.items():
    back = [conv_transpose_output_size(small, 3, 2, 1, extra) for extra in (0, 1)]
    print(f"{sizes} -> {small} -> {back}")
    assert set(sizes) <= set(back)

# %% [markdown]
# ## The layers agree with the formulas
#
# 81 settings for each of the two layers, in both frameworks, with a height and a width that differ.

# %%
height, width = 11, 14
image = np.random.default_rng(0).standard_normal((1, height, width, 1)).astype("float32")
in_torch = torch.tensor(image.transpose(0, 3, 1, 2))
checked = 0
for kernel, stride, padding, dilation in itertools.product((1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2, 3)):
    setting = {"stride": stride, "padding": padding, "dilation": dilation}
    for name, formula in (("Conv2d", conv_output_size), ("ConvTranspose2d", conv_transpose_output_size)):
        try:
            if name == "Conv2d":
                wanted = formula((height, width), kernel, stride, padding, dilation)
            else:
                wanted = formula((height, width), kernel, stride, padding, 0, dilation)
        except ValueError:
            continue
        torch_layer = getattr(torch_impl.layers, name)(1, 1, kernel, **setting)
        keras_layer = getattr(tf_impl.layers, name)(1, 1, kernel, **setting)
        assert tuple(torch_layer(in_torch).shape[2:]) == tuple(wanted)
        assert tuple(keras_layer.compute_output_shape(image.shape)[1:3]) == tuple(wanted)
        checked += 1
print(checked, "settings agree")

# %% [markdown]
# ## What Keras calls `same`
#
# Keras' own layers take no padding in pixels. `padding="same"` gives ceil(n / s), and puts what it needs more at the
# bottom and right than at the top and left. PyTorch's `padding=1` puts as much on either side. With stride 2 and an
# even size the two see different pixels, although their outputs have the same size.

# %%
ramp = np.arange(8.0).reshape(1, 1, 8, 1)
first = np.array([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)  # looks at the first pixel of each window
keras_same = keras.layers.Conv2D(1, (1, 3), strides=(1, 2), padding="same", use_bias=False, dtype="float64")
keras_same.build(ramp.shape)
keras_same.set_weights([first])
torch_one = torch.nn.Conv2d(1, 1, (1, 3), stride=(1, 2), padding=(0, 1), bias=False).double()
with torch.no_grad():
    torch_one.weight.copy_(torch.tensor(first.transpose(3, 2, 0, 1)))
    seen_torch = torch_one(torch.tensor(ramp.transpose(0, 3, 1, 2))).numpy().ravel()
seen_keras = keras.ops.convert_to_numpy(keras_same(ramp)).ravel()
print("first pixel of each window, Keras same:     ", seen_keras)
print("first pixel of each window, torch padding=1:", seen_torch)
assert list(seen_keras) == [0, 2, 4, 6]
assert list(seen_torch) == [0, 1, 3, 5]  # the first is the padding

# %% [markdown]
# `parity check` calls this cause `same-padding-asymmetry`. The layers of `tf_impl` and `torch_impl` take the padding
# in pixels on both sides, so it cannot happen there.
