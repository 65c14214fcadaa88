"""Declares what torchvision's compiled part would, for the processes that a proof starts: see tests.public.one."""

import importlib.util
import sys

if importlib.util.find_spec("torch") is not None and "-c" in sys.orig_argv:
    import torch

    _LIBRARY = torch.library.Library("torchvision", "DEF")
    for _operator in ("nms", "qnms"):
        _LIBRARY.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
