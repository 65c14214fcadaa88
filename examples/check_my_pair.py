"""Copy the weights of a torch module into its Keras port, and see whether the two are the same."""

from torch_net import Net  # isort: skip  (torch before Keras, see docs/parity.md)
from keras_port import build

import parity

torch_module, keras_model = Net(), build()
parity.transfer(torch_module, keras_model)  # either direction; every tensor, or an error that lists the rest
report = parity.compare(keras_model, torch_module)  # random H != W input, float64, element by element
print(report)
assert not report, "the port has two mistakes; build from keras_mended has none"
