"""What parity costs, as ratios measured side by side in one run.

python benchmarks/speed.py [--repeat 5] [--only compare|transfer]

- compare (forward only, models equal) against one bare forward pass of each side, in float64, which is what
  compare computes, and in the models' own float32; goal: at most 3 times, model building apart.
- transfer of a pair with 100 million parameters against memcpy of as many bytes; goal: at least a third of
  its speed. Its peak extra memory against the largest tensor; goal: at most twice.

Everything runs in this process; what is compared takes turns, and the medians of the ratios are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Keras' own test configuration imports torch before TensorFlow, citing a segmentation fault.
import torch  # isort: skip
import keras
import numpy as np
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import parity
from benchmarks.turns import ratios, side_by_side
from parity import catalog
from parity.adapters import adapt
from parity.adapters.spec import load_model

L = keras.layers
BLOCKS = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """ResNet's 1x1, 3x3, 1x1 block, with the stride on the 3x3. (N, C, H, W) -> (N, 4 * width, H', W')"""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        sizes = ((channels, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1))
        for i, (before, after, kernel, step) in enumerate(sizes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(after))
        self.short = stride > 1 or channels != 4 * width
        if self.short:
            self.conv0 = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.bn0 = nn.BatchNorm2d(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(y)))))
        return torch.relu(y + (self.bn0(self.conv0(x)) if self.short else x))


def torch_resnet50() -> nn.Module:
    """25,557,032 parameters, as ResNet50 has."""
    net, channels = nn.Sequential(), 64
    net.add_module("stem", nn.Conv2d(3, 64, 7, 2, 3, bias=False))
    net.add_module("norm", nn.BatchNorm2d(64))
    net.add_module("relu", nn.ReLU())
    net.add_module("pool", nn.MaxPool2d(3, 2, 1))
    for stage, count in enumerate(BLOCKS):
        for i in range(count):
            width = 64 * 2**stage
            net.add_module(f"stage{stage}_{i}", Bottleneck(channels, width, 2 if stage and not i else 1))
            channels = 4 * width
    net.add_module("mean", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    net.add_module("top", nn.Linear(channels, 1000))
    return net


def keras_resnet50() -> Any:
    """The same, as a functional model."""

    def unit(x: Any, filters: int, kernel: int, stride: int, name: str, i: int) -> Any:
        if kernel > 1:
            x = L.ZeroPadding2D(kernel // 2)(x)
        x = L.Conv2D(filters, kernel, stride, use_bias=False, name=f"{name}_conv{i}")(x)
        return L.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn{i}")(x)

    image = keras.Input((None, None, 3))
    x = L.Conv2D(64, 7, 2, use_bias=False, name="stem")(L.ZeroPadding2D(3)(image))
    x = L.ReLU()(L.BatchNormalization(epsilon=1e-5, momentum=0.9, name="norm")(x))
    x = L.MaxPooling2D(3, 2)(L.ZeroPadding2D(1)(x))  # after a ReLU, padding with zeros changes no maximum
    for stage, count in enumerate(BLOCKS):
        for i in range(count):
            name, width, stride = f"stage{stage}_{i}", 64 * 2**stage, 2 if stage and not i else 1
            y = L.ReLU()(unit(x, width, 1, 1, name, 1))
            y = unit(L.ReLU()(unit(y, width, 3, stride, name, 2)), 4 * width, 1, 1, name, 3)
            short = x if i else unit(x, 4 * width, 1, stride, name, 0)
            x = L.ReLU()(y + short)
    return keras.Model(image, L.Dense(1000, name="top")(L.GlobalAveragePooling2D()(x)))


def large_pair() -> tuple[Any, nn.Module]:
    """Nine convolutions of 9.4 and two dense layers of 8.4 million parameters."""
    sizes, width = 9, 1024
    names = [f"conv{i}" for i in range(sizes)]
    net = nn.Sequential()
    for name in names:
        net.add_module(name, nn.Conv2d(width, width, 3, padding=1))
    net.add_module("mean", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    net.add_module("up", nn.Linear(width, 8192))
    net.add_module("down", nn.Linear(8192, width))
    x = image = keras.Input((4, 6, width))
    for name in names:
        x = L.Conv2D(width, 3, padding="same", name=name)(x)
    x = L.Dense(8192, name="up")(L.GlobalAveragePooling2D(name="mean")(x))
    return keras.Model(image, L.Dense(width, name="down")(x)), net


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Collects how far memory rises above where it was, looked at every millisecond."""
    found, before, done = [0], resident(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            found[0] = max(found[0], resident() - before)
            done.wait(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def bare(model: Any, module: nn.Module, values: Any, dtype: str) -> float:
    """Time of one forward pass of each side, the second; setting the dtype does not count."""
    given = values.astype(dtype)
    theirs = torch.from_numpy(np.ascontiguousarray(np.moveaxis(given, -1, 1)))

    def both() -> None:
        np.asarray(model(given, training=False))
        with torch.no_grad():
            module(theirs)

    with ExitStack() as stack:
        for side in (model, module):
            stack.enter_context(adapt(side).precision(dtype))
        return side_by_side({"both": both}, 1)["both"][0]


def compare(name: str, model: Any, module: nn.Module, shape: tuple[int, ...], repeat: int) -> None:
    """Print compare's time over that of the bare passes."""
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    parity.transfer(module.eval(), model, inputs=values)
    verdicts = {parity.compare(model, module, values).verdict}
    times: dict[str, list[float]] = {"compare": [], "float64": [], "float32": []}
    for _ in range(repeat):
        start = time.perf_counter()
        verdicts.add(parity.compare(model, module, values).verdict)
        times["compare"].append(time.perf_counter() - start)
        for dtype in ("float64", "float32"):
            times[dtype].append(bare(model, module, values, dtype))
    middle = {key: statistics.median(value) for key, value in times.items()}
    share = ratios(times, "compare", "float64").median
    print(
        f"compare {name:10} {'x'.join(map(str, shape)):14} {middle['compare']:6.2f} s  "
        f"bare float64 {middle['float64']:6.2f} s  bare float32 {middle['float32']:6.2f} s  "
        f"ratio {share:5.2f} (goal 3: {'met' if share <= 3 else 'MISSED'}), "
        f"to float32 {ratios(times, 'compare', 'float32').median:5.2f}  {', '.join(verdicts)}",
        flush=True,
    )


def transfer(repeat: int) -> None:
    """Print transfer's speed over memcpy's, and its extra memory over the largest tensor, in both directions."""
    model, module = large_pair()
    tensors = [tensor.detach().numpy() for tensor in module.parameters()]
    size, largest = sum(value.nbytes for value in tensors), max(value.nbytes for value in tensors)
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    pairs = {"torch -> Keras": (module, model), "Keras -> torch": (model, module)}
    actions: dict[str, Callable[[], Any]] = {
        "memcpy": lambda: np.copyto(target, source),
        "copy": lambda: [value.copy() for value in tensors],
        **{name: partial(parity.transfer, *pair) for name, pair in pairs.items()},
    }
    times = side_by_side(actions, repeat)
    middle = {name: statistics.median(value) for name, value in times.items()}
    print(
        f"{size // 4:,} parameters, {size / 1e6:.0f} MB: memcpy {middle['memcpy']:.3f} s, "
        f"a plain copy into fresh memory {middle['copy']:.3f} s"
    )
    for name, pair in pairs.items():
        with peak_memory() as extra:
            parity.transfer(*pair)
        share, more = ratios(times, "memcpy", name).median, extra[0] / largest
        print(
            f"transfer {name} {middle[name]:6.3f} s  {share:5.2f} of memcpy's speed (goal 0.33: "
            f"{'met' if share >= 1 / 3 else 'MISSED'}), {ratios(times, 'copy', name).median:5.2f} of a plain copy's; "
            f"extra memory {extra[0] / 1e6:5.1f} MB, {more:4.2f} of the largest tensor "
            f"(goal 2: {'met' if more <= 2 else 'MISSED'})",
            flush=True,
        )


def main() -> None:
    """Print every ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", choices=("compare", "transfer"))
    options = parser.parse_args()
    if options.only != "transfer":
        entry = catalog.find("mUnet")
        compare("mUnet", load_model(entry.keras), load_model(entry.torch), entry.input, options.repeat)
        compare("ResNet50", keras_resnet50(), torch_resnet50(), (2, 97, 130, 3), options.repeat)
    if options.only != "compare":
        transfer(options.repeat)


if __name__ == "__main__":
    main()
