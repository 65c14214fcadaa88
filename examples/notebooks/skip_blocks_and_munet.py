# %% [markdown]
# # SkipBlocks and mUnet on shapes
#
# The lecture's mUnet halves an image three times on its way down, by a pooling and by `SkipBlockDN`, and doubles it again
# on its way up, by `SkipBlockUP` and a transposed convolution. Each block adds its input to its output, and the way up
# sees what the way down kept. Here a small mUnet is trained on generated shapes for a few steps, in both frameworks, from
# the same weights and with the same batches. The loss curves agree step by step.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import parity
import tf_impl.blocks
import tf_impl.predict
import tf_impl.train
import torch_impl.blocks
import torch_impl.predict
import torch_impl.train
from datasets import purdue_shapes
from datasets.prediction.figure import save_figure, seven_rows
from datasets.training.recipe import Recipe

# %% [markdown]
# ## One block
#
# The same block in both halves, with weights copied by `parity.transfer`. Downsampling halves height and width.

# %%
torch_block = torch_impl.blocks.SkipBlockDN(8, 8, downsample=True).eval()
keras_block = tf_impl.blocks.SkipBlockDN(8, 8, downsample=True)
image = np.random.default_rng(0).standard_normal((2, 32, 48, 8)).astype("float32")
parity.transfer(torch_block, keras_block)
report = parity.compare(keras_block, torch_block, image)
print(report)
assert report

# %% [markdown]
# ## The data
#
# Images of one to five shapes, with one mask channel for each class. Every mask channel has its own value, so that the
# lecture's mean squared error tells the classes apart.

# %%
data = purdue_shapes.generate(count=48, seed=0)
print("images", data.images.shape, "masks", data.masks.shape, "classes", data.classes)
figure, axes = plt.subplots(1, 6, figsize=(12, 2.2), layout="constrained")
for each, picture in zip(axes, data.images, strict=False):
    each.imshow(picture)
    each.set_axis_off()
plt.show()

# %% [markdown]
# ## Training both from the same weights
#
# `make_model` draws the weights. The torch network's are copied into the Keras network, so that both start equal.

# %%
recipe = Recipe(epochs=2, batch_size=4, optimizer="adam", learning_rate=1e-3)
torch_net = torch_impl.train.make_model({"depth": 4})
keras_net = tf_impl.train.make_model({"depth": 4})
parity.transfer(torch_net, keras_net)
print(sum(weight.numel() for weight in torch_net.parameters()), "weights")

losses = {
    "PyTorch": torch_impl.train.train(torch_net, data.images, data.masks, recipe),
    "Keras": tf_impl.train.train(keras_net, data.images, data.masks, recipe),
}

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for (name, values), style in zip(losses.items(), ("-", "--"), strict=True):
    axes.plot(np.arange(1, len(values) + 1), values, style, label=name)
axes.set_xlabel("step")
axes.set_ylabel("mean squared error")
axes.legend()
plt.show()

relative = np.abs(np.array(losses["PyTorch"]) / np.array(losses["Keras"]) - 1)
print(f"greatest relative difference of the losses: {relative.max():.1e}")
assert relative.max() < 1e-2
assert losses["Keras"][-1] < losses["Keras"][0]

# %% [markdown]
# In float32 the two curves part slowly, because training enlarges rounding. In float64 they stay together:
# `parity check mUnet --train-steps 3` proves it step by step.
#
# ## Seven rows
#
# The lecture's picture of results: all classes with the boxes of the data, the input, and the five classes. After so
# few steps the network sees where something is, and not yet what. The run of six epochs is in docs/training.md.

# %%
unseen = purdue_shapes.generate(count=6, seed=1)
for name, half, network in (
    ("PyTorch", torch_impl.predict, torch_net),
    ("Keras", tf_impl.predict, keras_net),
):
    outputs = half.predict(network, unseen.images)
    with tempfile.TemporaryDirectory() as folder:
        save_figure(Path(folder) / "rows.png", seven_rows(unseen.images, outputs, unseen.boxes), name)
        picture = plt.imread(Path(folder) / "rows.png")
    figure, axes = plt.subplots(figsize=(6, 7), layout="constrained")
    axes.imshow(picture)
    axes.set_axis_off()
    plt.show()
