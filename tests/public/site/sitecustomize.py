"""Declares what torchvision's compiled part would, for the processes that a proof starts: see tests.public.one."""

import importlib.util
import sys

BACKEND = "parity.porting.elsewhere"
"""What the process of a further backend runs: others, as the one that reads a weight file first, need no torch."""

if any(BACKEND in argument for argument in sys.orig_argv) and importlib.util.find_spec("torch") is not None:
    import torch

    _LIBRARY = torch.library.Library("torchvision", "DEF")
    for _operator in ("nms", "qnms"):
        _LIBRARY.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
