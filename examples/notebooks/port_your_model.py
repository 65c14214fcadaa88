# %% [markdown]
# # Port your own model
#
# A team has a network in PyTorch and needs it in Keras. There are two ways: write the port by hand and let `parity`
# find what is wrong with it, or let `parity port` write it. Both end with a proof.

# %%
import torch  # isort: skip  (before Keras)
import sys
import tempfile
from pathlib import Path

import numpy as np

import parity

examples = next(
    folder / "examples" for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "examples").is_dir()
)
sys.path.insert(0, str(examples))
print((examples / "torch_net.py").read_text())

# %% [markdown]
# ## By hand
#
# This port has the two mistakes that nearly every port has.

# %%
print((examples / "keras_port.py").read_text())

# %% [markdown]
# Copy the weights and compare. Random statistics come first: after construction every BatchNorm is the identity, which
# would hide a wrong epsilon.

# %%
from keras_port import build
from torch_net import Net

torch_module, keras_model = Net().eval(), build()
with torch.no_grad():
    torch_module.norm.running_var.uniform_(0.01, 1.0)
parity.transfer(torch_module, keras_model)
image = np.random.default_rng(0).standard_normal((2, 64, 96, 3)).astype("float32")
report = parity.compare(keras_model, torch_module, image)
print(report)

# %% [markdown]
# Both mistakes are named with their layer, their lines and a fix that was tried. No later layer is blamed for them.

# %%
assert report.verdict == "DIVERGED"
causes = {finding.cause for finding in report.findings}
assert {"same-padding-asymmetry", "batchnorm-epsilon"} <= causes, causes

# %% [markdown]
# With both mended, the pair is EQUAL.

# %%
from keras_mended import build as build_mended

mended = build_mended()
parity.transfer(torch_module, mended)
report = parity.compare(mended, torch_module, image)
print(report)
assert report.verdict == "EQUAL"

# %% [markdown]
# ## Written for you
#
# `parity port` reads the source and a run of it, writes the same classes in the other framework, copies the weights,
# and proves the result: outputs, gradients, steps of Adam, a second size, and the file loaded again.

# %%
folder = Path(tempfile.mkdtemp())
made = parity.port(
    f"{examples / 'torch_net.py'}:Net",
    image,
    output=folder / "keras_net.py",
    weights=folder / "net.weights.h5",
)
print(made.verdict)
for proof in made.proofs:
    print(" ", proof)
assert made.verdict == "EQUAL"

# %% [markdown]
# The file stands alone: it imports Keras and nothing of this project.

# %%
print((folder / "keras_net.py").read_text())
