# %% [markdown]
# # Convolution is a matrix, and transposed convolution is its transpose
#
# Write the image as one long vector. A convolution is then a product with a sparse matrix C: one row for each output
# pixel, which holds the kernel's numbers at the places of the input pixels that it sees. The transposed convolution
# with the same kernel is the product with the transpose of C. That is where its name comes from. It is not an inverse.

# %%
import torch  # isort: skip  (before Keras)
import keras
import matplotlib.pyplot as plt
import numpy as np

import tf_impl.ops
import torch_impl.ops

numpy = keras.ops.convert_to_numpy

# %% [markdown]
# ## The matrix of a 2 x 2 kernel on a 3 x 3 image
#
# Four output pixels, nine input pixels: 4 rows, 9 columns, four numbers in each row.

# %%
kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
C = torch_impl.ops.kernel2matrix(torch.tensor(kernel)).numpy()
assert np.array_equal(C, numpy(tf_impl.ops.kernel2matrix(kernel)))
print(C.astype(int))

# %% [markdown]
# The product with the matrix and the convolution agree to the last bit where the numbers are whole.

# %%
image = np.arange(9.0).reshape(3, 3)
product = (C @ image.ravel()).reshape(2, 2)
assert np.array_equal(product, torch_impl.ops.corr2d(torch.tensor(image), torch.tensor(kernel)).numpy())
assert np.array_equal(product, numpy(tf_impl.ops.corr2d(image, kernel)))
product

# %% [markdown]
# ## The transpose
#
# `C.T` has 9 rows and 4 columns. It takes four numbers and gives nine: a 2 x 2 image becomes a 3 x 3 one.

# %%
small = np.array([[0.0, 1.0], [2.0, 3.0]])
larger = (C.T @ small.ravel()).reshape(3, 3)
assert np.array_equal(
    larger, torch_impl.ops.trans_conv(torch.tensor(small), torch.tensor(kernel), method="loop").numpy()
)
assert np.array_equal(larger, numpy(tf_impl.ops.trans_conv(small, kernel, method="loop")))
larger

# %% [markdown]
# ## Stride, padding and dilation
#
# They change where the numbers stand, and nothing else. `conv_matrix` takes any of them, dense or sparse.

# %%
settings = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"dilation": 2},
    {"stride": 2, "padding": (1, 2)},
]
K = np.arange(1.0, 10.0).reshape(3, 3)
figure, axes = plt.subplots(len(settings), 1, figsize=(8, 9), layout="constrained")
for each, setting in zip(axes, settings, strict=True):
    matrix = torch_impl.ops.conv_matrix(torch.tensor(K), (6, 7), **setting).numpy()
    twin = numpy(tf_impl.ops.conv_matrix(K, (6, 7), **setting))
    assert np.array_equal(matrix, twin)
    each.imshow(matrix, cmap="viridis", aspect="auto", interpolation="nearest")
    named = ", ".join(f"{name} {value}" for name, value in setting.items()) or "plain"
    each.set_title(f"{named}: {matrix.shape[0]} x {matrix.shape[1]}", fontsize=10)
    each.set_xticks([])
    each.set_yticks([])
plt.show()

# %% [markdown]
# The lecture makes the matrix of a strided convolution from that of stride 1: it sets the rows that the stride skips
# to zero, and then drops them. Both ways give the same matrix.

# %%
zeroed = torch_impl.ops.strided_matrix_zeroed_rows(torch.tensor(K), (6, 7), stride=2)
kept = torch_impl.ops.drop_zeroed_rows(zeroed, (4, 5), stride=2).numpy()
assert np.array_equal(kept, torch_impl.ops.conv_matrix(torch.tensor(K), (6, 7), stride=2).numpy())
zeroed_keras = tf_impl.ops.strided_matrix_zeroed_rows(K, (6, 7), stride=2)
assert np.array_equal(kept, numpy(tf_impl.ops.drop_zeroed_rows(zeroed_keras, (4, 5), stride=2)))
print(f"{zeroed.shape[0]} rows, of which the stride keeps {kept.shape[0]}")

# %% [markdown]
# ## Why this is the backward pass
#
# The gradient of a convolution with respect to its image is the transposed convolution of the gradient that arrives.
# Automatic differentiation says the same.

# %%
x = torch.tensor(np.random.default_rng(0).standard_normal((6, 7)), requires_grad=True)
arriving = torch.tensor(np.random.default_rng(1).standard_normal((4, 5)))
torch_impl.ops.corr2d(x, torch.tensor(K)).backward(arriving)
transposed = torch_impl.ops.trans_conv(arriving, torch.tensor(K))
print("greatest difference:", (x.grad - transposed).abs().max().item())
assert torch.allclose(x.grad, transposed, rtol=0, atol=1e-12)
