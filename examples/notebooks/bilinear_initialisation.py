# %% [markdown]
# # Bilinear weights for a transposed convolution
#
# A transposed convolution can interpolate: with a triangle as its kernel, it enlarges an image as a bilinear resize
# does. FCN starts its upsampling layers there, so that the network begins with smooth masks and learns from them.

# %%
import torch  # isort: skip  (before Keras)
import keras
import matplotlib.pyplot as plt
import numpy as np

import tf_impl.initializers
import tf_impl.layers
import torch_impl.initializers
import torch_impl.layers

# %% [markdown]
# ## The kernel
#
# For a scale of 2: kernel 4, stride 2, padding 1. Each channel is enlarged into itself, and the weights towards the
# other channels are zero.

# %%
torch_impl.initializers.interpolation_arguments(2)

# %%
kernel = torch_impl.initializers.bilinear_kernel(1, 1, 4, dtype=torch.float64)[0, 0].numpy()
twin = keras.ops.convert_to_numpy(tf_impl.initializers.bilinear_kernel(1, 1, 4, dtype="float64"))
assert np.array_equal(kernel, twin.reshape(4, 4))
print(kernel)

# %% [markdown]
# ## On a photograph
#
# The transposed convolution and the framework's own resize, side by side. They agree everywhere but at the border:
# there the resize repeats the edge, and the convolution sees zeros.

# %%
photograph = torch_impl.initializers.photograph()[60:188, 140:300]
photograph.shape

# %%
scale = 4
shown = {}
for name, half in (("PyTorch", torch_impl.initializers), ("Keras", tf_impl.initializers)):
    convolved, resized, difference = half.compare(photograph, scale)
    print(f"{name}: greatest difference inside the border {difference:.1e} of 255")
    assert difference < 1e-10
    shown[name] = convolved
assert np.abs(shown["PyTorch"] - shown["Keras"]).max() < 1e-10

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
for each, (title, pixels) in zip(
    axes,
    {
        "input": photograph,
        f"transposed convolution, scale {scale}": convolved,
        f"resize, scale {scale}": resized,
    }.items(),
    strict=True,
):
    each.imshow(np.clip(pixels, 0, 255).astype("uint8"))
    each.set_title(f"{title}\n{pixels.shape[0]} x {pixels.shape[1]}", fontsize=10)
    each.set_axis_off()
plt.show()

# %% [markdown]
# ## As the first weights of a layer
#
# In PyTorch an initialiser fills a tensor; in Keras the layer's kernel is set when it is built.

# %%
arguments = torch_impl.initializers.interpolation_arguments(scale)
torch_layer = torch_impl.layers.ConvTranspose2d(3, 3, **arguments, bias=False)
torch_impl.initializers.BilinearKernel()(torch_layer.weight)

keras_layer = tf_impl.layers.ConvTranspose2d(3, 3, **arguments, bias=False)
keras_layer.kernel.assign(tf_impl.initializers.BilinearKernel()(keras_layer.kernel.shape))

pixels = photograph[None].astype("float32")
with torch.no_grad():
    in_torch = torch_layer(torch.tensor(pixels.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
in_keras = keras.ops.convert_to_numpy(keras_layer(pixels))
print("greatest difference of the layers:", np.abs(in_torch - in_keras).max(), "of 255")
assert np.abs(in_torch - in_keras).max() < 1e-3
