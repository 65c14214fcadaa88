# %% [markdown]
# # FCN on a folder in VOC's layout
#
# A fully convolutional network classifies every pixel: a ResNet-18 without its head, a 1 x 1 convolution to the
# classes, and one transposed convolution that enlarges 32 times, starting from bilinear weights.
#
# PASCAL VOC2012 is 2 GB, so this notebook writes a small folder in the same layout. With the real folder the lines are
# the same: `data = Path("VOCdevkit/VOC2012")`.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import parity
import tf_impl.fcn
import tf_impl.train
import torch_impl.fcn
import torch_impl.train
from datasets.purdue_shapes.generator import generate_seen
from datasets.voc import Voc, colour_map, labels_to_colours

# %% [markdown]
# ## The layout
#
# `JPEGImages` holds the pictures and `SegmentationClass` the masks, which are PNG files with VOC's colours.
# `ImageSets/Segmentation` lists which are for training and which for validation.

# %%
folder = Path(tempfile.mkdtemp())
data = folder / "VOC2012"
for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
    (data / part).mkdir(parents=True)
shapes, seen = generate_seen(count=20, seed=0, size=(96, 128))
for number, (pixels, labels) in enumerate(zip(shapes.images, seen, strict=True)):
    Image.fromarray(pixels).save(data / "JPEGImages" / f"{number:03}.jpg", quality=95)
    mask = Image.fromarray(labels.astype("uint8"), mode="P")
    mask.putpalette(colour_map().ravel().tolist())
    mask.save(data / "SegmentationClass" / f"{number:03}.png")
lists = {"train": range(16), "val": range(16, 20)}
for part, numbers in lists.items():
    names = "".join(f"{number:03}\n" for number in numbers)
    (data / "ImageSets/Segmentation" / f"{part}.txt").write_text(names)
(data / "class_names.txt").write_text("\n".join(("background", *shapes.classes)) + "\n")

train = Voc(data, "train", crop=(64, 96))
print(len(train.sizes), "pictures,", len(train.classes), "classes:", ", ".join(train.classes))

# %%
figure, axes = plt.subplots(2, 5, figsize=(12, 4), layout="constrained")
for (above, below), pixels, labels in zip(axes.T, shapes.images, seen, strict=False):
    above.imshow(pixels)
    below.imshow(labels_to_colours(labels))
    above.set_axis_off()
    below.set_axis_off()
plt.show()

# %% [markdown]
# ## The same network twice
#
# Weights are copied from PyTorch to Keras, and the outputs are compared in float64, element by element.

# %%
torch_net = torch_impl.fcn.FCN(num_classes=6, width=8).eval()
keras_net = tf_impl.fcn.FCN(num_classes=6, width=8)
picture = np.random.default_rng(0).standard_normal((1, 64, 96, 3)).astype("float32")
keras_net(picture)
parity.transfer(torch_net, keras_net)
report = parity.compare(keras_net, torch_net, picture)
print(report)
assert report

# %% [markdown]
# ## Training from the command line's own function
#
# Both scripts take the same flags. In a shell: `python -m torch_impl.train --model fcn --data ... --out ...`.

# %%
flags = ["--model", "fcn", "--data", str(data), "--loss", "cross-entropy", "--inputs", "imagenet"]
flags += [
    "--crop",
    "64",
    "96",
    "--steps",
    "8",
    "--batch-size",
    "4",
    "--optimizer",
    "sgd",
    "--learning-rate",
    "0.01",
]
flags += ["--augment", "none", "--quiet", "--no-tensorboard", "--log-every", "1"]
codes = {
    name: half.main([*flags, "--out", str(folder / name)])
    for name, half in (("torch", torch_impl.train), ("keras", tf_impl.train))
}
assert set(codes.values()) <= {0, None}, codes
sorted(path.name for path in (folder / "torch").iterdir())
