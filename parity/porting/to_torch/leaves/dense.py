"""Dense layers, embeddings, normalisations and dropouts."""

from __future__ import annotations

from typing import Any

from parity.porting.to_torch.axes import TorchAxes, images, plain
from parity.porting.to_torch.leaves.activations import applied
from parity.porting.to_torch.use import RefusedError, StepUse
from parity.porting.to_torch.values import kinds


def dense(use: StepUse) -> None:
    """Dense: over the last axis, whatever stands in front."""
    rank = len(use.x.shape)
    layer = use.layer
    before = use.axes(use.x)
    text = use.take(use.x) if before.flat else use.plainly(use.x)
    if layer.kernel is not None and getattr(layer, "lora_rank", None):
        raise RefusedError("a dense layer with LoRA")
    made = use.module(
        "nn.Linear", ("in_features", "out_features"), in_features=int(use.x.shape[-1]), out_features=int(layer.units),
        bias=bool(layer.use_bias), sources={"out_features": "units", "bias": "use_bias"},
    )  # fmt: skip
    axes = plain(rank)
    use.give(applied(use, f"{made}({text})", layer.activation, axes), axes)
    use.body.vectors.add(id(use.step.outputs))


def einsum_dense(use: StepUse) -> None:
    """EinsumDense: the kernel as Keras has it."""
    layer, rank = use.layer, len(use.step.outputs.shape)
    shape = tuple(int(n) for n in layer.kernel.shape)
    bias = None if layer.bias is None else tuple(int(n) for n in layer.bias.shape)
    made = use.module(
        "EinsumDense", ("equation", "shape"), equation=layer.equation, shape=shape, bias_shape=bias
    )
    axes = plain(rank)
    use.give(applied(use, f"{made}({use.plainly(use.x)})", layer.activation, axes), axes)


def embedding(use: StepUse) -> None:
    """Embedding."""
    layer = use.layer
    made = use.module(
        "nn.Embedding", ("num_embeddings", "embedding_dim"), num_embeddings=int(layer.input_dim),
        embedding_dim=int(layer.output_dim), sources={"num_embeddings": "input_dim", "embedding_dim": "output_dim"},
    )  # fmt: skip
    use.give(f"{made}({use.plainly(use.x)})", plain(len(use.x.shape) + 1))


def batch_norm(use: StepUse) -> None:
    """BatchNormalization along any one axis."""
    layer, rank = use.layer, len(use.x.shape)
    axis = layer.axis % rank
    if use.kwargs.get("mask") is not None:
        raise RefusedError("a BatchNormalization with a mask: its statistics leave masked steps out")
    if use.get("renorm"):
        raise RefusedError("a BatchNormalization with renorm=True")
    if rank == 2:
        axes = use.axes(use.x)
    else:
        axes = (
            images(rank)
            if axis == rank - 1
            else TorchAxes((0, axis, *(n for n in range(1, rank) if n != axis)))
        )
    dimensions = {2: 1, 3: 1, 4: 2, 5: 3}.get(rank)
    if dimensions is None:
        raise RefusedError(f"a BatchNormalization of rank {rank}")
    settings: dict[str, Any] = {"eps": float(layer.epsilon), "momentum": round(1 - float(layer.momentum), 12)}
    settings["affine"] = bool(layer.scale or layer.center)
    if layer.scale != layer.center:
        settings["frozen"] = "weight" if layer.center else "bias"
    made = use.module(
        f"nn.BatchNorm{dimensions}d", ("num_features",), num_features=int(use.x.shape[axis]), **settings
    )
    use.give(f"{made}({use.take(use.x, axes)})", axes)
    if id(use.x) in use.body.vectors:
        use.body.vectors.add(id(use.step.outputs))


def layer_norm(use: StepUse) -> None:
    """LayerNormalization over the last axes, and RMSNormalization."""
    layer, rank = use.layer, len(use.x.shape)
    along = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    along = sorted(axis % rank for axis in along)
    axes = TorchAxes((*(axis for axis in range(rank) if axis not in along), *along))
    sizes = tuple(int(use.x.shape[axis]) for axis in along)
    shape: Any = sizes[0] if len(sizes) == 1 else sizes
    if getattr(layer, "rms_scaling", False):
        raise RefusedError(
            "a LayerNormalization with rms_scaling=True: it divides by the standard deviation alone"
        )
    if "RMSNormalization" in kinds(layer):
        made = use.module(
            "nn.RMSNorm", ("normalized_shape",), normalized_shape=shape, eps=float(layer.epsilon)
        )
    else:
        settings: dict[str, Any] = {"eps": float(layer.epsilon)}
        if not layer.scale and not layer.center:
            settings["elementwise_affine"] = False
        elif not layer.scale:
            settings["frozen"] = "weight"
        elif not layer.center:
            settings["bias"] = False
        made = use.module("nn.LayerNorm", ("normalized_shape",), normalized_shape=shape, **settings)
    use.give(f"{made}({use.take(use.x, axes)})", axes)


def group_norm(use: StepUse) -> None:
    """GroupNormalization of channels."""
    layer, rank = use.layer, len(use.x.shape)
    axis = layer.axis % rank
    axes = TorchAxes((0, axis, *(n for n in range(1, rank) if n != axis)))
    channels = int(use.x.shape[axis])
    groups = channels if layer.groups == -1 else int(layer.groups)
    settings: dict[str, Any] = {"eps": float(layer.epsilon), "affine": bool(layer.scale or layer.center)}
    if layer.scale != layer.center:
        settings["frozen"] = "weight" if layer.center else "bias"
    made = use.module(
        "nn.GroupNorm", ("num_groups", "num_channels"), num_groups=groups, num_channels=channels, **settings,
        sources={"num_groups": "groups"},
    )  # fmt: skip
    use.give(f"{made}({use.take(use.x, axes)})", axes)


def unit_norm(use: StepUse) -> None:
    """UnitNormalization."""
    axes = use.axes(use.x)
    along = use.layer.axis if isinstance(use.layer.axis, list | tuple) else [use.layer.axis]
    dims = tuple(sorted(axes.torch(axis) for axis in along))
    use.give(f"F.normalize({use.take(use.x)}, dim={dims[0] if len(dims) == 1 else dims}, eps=1e-6)", axes)


def dropout(use: StepUse) -> None:
    """Dropout; with a noise shape, one number decides for several places."""
    rate, axes = float(use.layer.rate), use.axes(use.x)
    shape = use.get("noise_shape")
    if rate == 0 and not use.body.tells_rates:
        return use.give(use.take(use.x), axes, alias=True)
    if shape is None or all(n is None for n in shape):
        made = use.module("nn.Dropout", ("p",), p=rate, sources={"p": "rate"})
    elif shape[0] in (None, "batch") and all(n == 1 for n in shape[1:]):
        made = use.module("DropPath", ("p",), p=rate, sources={"p": "rate"})
    elif 2 < len(shape) < 6 and all(n == 1 for n in shape[1:-1]) and shape[-1] in (None, use.x.shape[-1]):
        return spatial_dropout(use)
    else:
        raise RefusedError(f"a Dropout with the noise shape {shape}")
    use.give(f"{made}({use.take(use.x)})", axes)
    if id(use.x) in use.body.vectors:
        use.body.vectors.add(id(use.step.outputs))
    return None


def own_dropout(use: StepUse) -> None:
    """A layer of the user's that drops elements or whole examples."""
    found, axes = vars(use.layer)["_parity_drops"], use.axes(use.x)
    kind = "DropPath" if found.examples else "nn.Dropout"
    sources = {"p": next((k for k, v in vars(use.layer).items() if v == found.rate), "rate")}
    use.give(f"{use.module(kind, ('p',), p=found.rate, sources=sources)}({use.take(use.x)})", axes)


def spatial_dropout(use: StepUse) -> None:
    """SpatialDropout: whole channels."""
    rank = len(use.x.shape)
    made = use.module(f"nn.Dropout{rank - 2}d", ("p",), p=float(use.layer.rate), sources={"p": "rate"})
    use.give(f"{made}({use.as_images(use.x)})", images(rank))


def noise(use: StepUse) -> None:
    """GaussianNoise, GaussianDropout, AlphaDropout."""
    name, axes = use.piece.kind, use.axes(use.x)
    if name == "AlphaDropout":
        made = use.module("nn.AlphaDropout", ("p",), p=float(use.layer.rate), sources={"p": "rate"})
    elif name == "GaussianNoise":
        made = use.module(
            "GaussianNoise", ("stddev",), stddev=float(use.layer.stddev), sources={"stddev": "stddev"}
        )
    else:
        made = use.module("GaussianDropout", ("rate",), rate=float(use.layer.rate), sources={"rate": "rate"})
    use.give(f"{made}({use.take(use.x)})", axes)


def unchanged(use: StepUse) -> None:
    """Layers that give what they get."""
    use.give(use.take(use.x), use.axes(use.x), alias=True)


RULES = {
    "Dense": dense, "EinsumDense": einsum_dense, "Embedding": embedding, "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm, "RMSNormalization": layer_norm, "GroupNormalization": group_norm,
    "UnitNormalization": unit_norm, "Dropout": dropout, "GaussianNoise": noise, "GaussianDropout": noise,
    "ReversibleEmbedding": embedding,
    "AlphaDropout": noise, "Identity": unchanged, "ActivityRegularization": unchanged,
    **{f"SpatialDropout{n}D": spatial_dropout for n in (1, 2, 3)},
}  # fmt: skip
