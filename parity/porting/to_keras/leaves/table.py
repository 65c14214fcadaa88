"""The table: each class of torch.nn that Keras can express, and the function that writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from parity.porting.to_keras.leaves import activations, convolutions, norms, pools, sequences, shapes
from parity.porting.to_keras.leaves.setting import Leaf, Settings

LeafRow = Callable[[Settings], Leaf]


def _several(stem: str, row: LeafRow) -> dict[str, LeafRow]:
    return {f"{stem}{rank}d": row for rank in (1, 2, 3)}


TABLE: dict[str, LeafRow] = {
    **_several("Conv", convolutions.convolution),
    **_several("ConvTranspose", convolutions.transposed),
    "Linear": norms.dense,
    "NonDynamicallyQuantizableLinear": norms.dense,
    "Bilinear": norms.bilinear,
    "Embedding": norms.embedding,
    **_several("BatchNorm", norms.batch_norm),
    "SyncBatchNorm": norms.batch_norm,
    **_several("InstanceNorm", norms.instance_norm),
    "GroupNorm": norms.group_norm,
    "LayerNorm": norms.layer_norm,
    "RMSNorm": norms.rms_norm,
    "LocalResponseNorm": norms.local_response_norm,
    **dict.fromkeys(activations.BY_NAME, activations.by_name),
    "ReLU": activations.relu,
    "ReLU6": activations.relu6,
    "Identity": activations.identity,
    "GELU": activations.gelu,
    "LeakyReLU": activations.leaky_relu,
    "ELU": activations.elu,
    "Hardtanh": activations.hardtanh,
    "Softplus": activations.softplus,
    "CELU": activations.celu,
    "Softshrink": activations.softshrink,
    "Hardshrink": activations.hardshrink,
    "Threshold": activations.threshold,
    "RReLU": activations.rrelu,
    "PReLU": activations.prelu,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Softmin", "GLU"), activations.along_axis),
    "Softmax2d": activations.softmax_of_channels,
    "Dropout": activations.dropout,
    "AlphaDropout": activations.dropout,
    **_several("Dropout", activations.spatial_dropout),
    **_several("MaxPool", pools.max_pool),
    **_several("AvgPool", pools.average_pool),
    **_several("LPPool", pools.power_pool),
    **_several("AdaptiveAvgPool", pools.adaptive_pool),
    **_several("AdaptiveMaxPool", pools.adaptive_pool),
    **{name: row for kind in shapes.PADS for name, row in _several(kind, shapes.padding).items()},
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), shapes.upsample),
    **dict.fromkeys(("PixelShuffle", "PixelUnshuffle", "ChannelShuffle"), shapes.pixel_shuffle),
    "Flatten": shapes.flatten,
    "Unflatten": shapes.unflatten,
    "Unfold": shapes.unfold,
    "Fold": shapes.fold,
    "CosineSimilarity": shapes.cosine_similarity,
    "PairwiseDistance": shapes.pairwise_distance,
    "MultiheadAttention": sequences.attention,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), sequences.recurrent),
    **dict.fromkeys(("LSTMCell", "GRUCell", "RNNCell"), sequences.cell),
    **dict.fromkeys(
        ("TransformerEncoderLayer", "TransformerDecoderLayer", "Transformer"), sequences.transformer_layer
    ),
    **dict.fromkeys(("TransformerEncoder", "TransformerDecoder"), sequences.transformer_stack),
}
CONTAINERS = frozenset({"Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})
"""Classes of torch.nn that hold modules, or are the base of the user's."""


def torch_class(cls: type) -> type | None:
    """The first class of torch.nn in the order of a class' bases: of the class itself, or of what it derives from."""
    return next((base for base in cls.__mro__ if base.__module__.startswith("torch.nn.modules")), None)


def leaf_class(cls: type) -> type | None:
    """The class of torch.nn that a class is, or whose forward it keeps; None where it computes something of its own.

    A class of torch.nn without a row is also given: it has no counterpart.
    """
    base: Any = torch_class(cls)
    if base is None or base.__name__ in CONTAINERS:
        return None
    same = cls is base or cls.forward is base.forward or cls in _SAME.get()  # type: ignore[attr-defined]
    return base if same else None


_SAME: ContextVar[frozenset[type]] = ContextVar("same", default=frozenset())


@contextmanager
def known_as_same(classes: frozenset[type]) -> Iterator[None]:
    """While this is open, these classes count as the layers of torch that they derive from."""
    token = _SAME.set(classes)
    try:
        yield
    finally:
        _SAME.reset(token)


def base_leaf(cls: type) -> type | None:
    """The class of torch.nn with a row that a class of the user derives from, whatever its forward."""
    base: Any = torch_class(cls)
    return base if base is not None and base.__name__ in TABLE else None
