"""Normalisations, dense layers and embeddings."""

from __future__ import annotations

from parity.porting.to_keras.leaves.setting import Argument, Leaf, NoCounterpartError, Settings, wrapped


def dense(settings: Settings) -> Leaf:
    """nn.Linear."""
    arguments = [settings["out_features"].text, *settings.optional("bias", "use_bias", True)]
    return Leaf("keras.layers.Dense", tuple(arguments), takes="last")


def bilinear(settings: Settings) -> Leaf:
    """nn.Bilinear."""
    arguments = [settings["out_features"].text, *settings.optional("bias", "use_bias", True)]
    return Leaf("Bilinear", tuple(arguments), frozenset({"Bilinear"}), "last")


def embedding(settings: Settings) -> Leaf:
    """nn.Embedding."""
    settings.refuse("max_norm", None)
    settings.refuse("scale_grad_by_freq", False)
    arguments = [settings["num_embeddings"].text, settings["embedding_dim"].text]
    padding = settings["padding_idx"]
    if padding.always(None) or padding.fixed(None):
        return Leaf("keras.layers.Embedding", tuple(arguments), takes="torch", gives="torch")
    arguments.append(f"padding_idx={padding.text}")
    return Leaf("PaddedEmbedding", tuple(arguments), frozenset({"PaddedEmbedding"}), "torch", "torch")


def _affine(scale: Argument, center: Argument) -> list[str]:
    """Keras' two arguments for a learned scale and centre, where not both are always there."""
    found = [] if center.fixed(True) else [f"center={center.text}"]
    return found + ([] if scale.fixed(True) else [f"scale={scale.text}"])


def batch_norm(settings: Settings) -> Leaf:
    """nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d and nn.SyncBatchNorm."""
    affine = _affine(settings["affine"], settings["affine"])
    tracked = settings["track_running_stats"]
    if tracked.always(False) or tracked.fixed(False):
        arguments = [f"epsilon={settings['eps'].text}", *affine]
        return Leaf(
            "BatchStatistics", tuple(arguments), frozenset({"BatchStatistics"}), "channels", "channels"
        )
    settings.refuse("track_running_stats", True)
    if settings["momentum"].always(None):
        raise NoCounterpartError(
            "torch.nn.BatchNorm with momentum=None takes the mean of all batches, which Keras does not"
        )
    arguments = [f"momentum={complement(settings['momentum'])}", f"epsilon={settings['eps'].text}", *affine]
    return Leaf("keras.layers.BatchNormalization", tuple(arguments), takes="channels", gives="channels")


def complement(momentum: Argument) -> str:
    """Keras' momentum is the weight of the old value, torch's that of the new one."""
    if momentum.literal and momentum.text != "None":
        return repr(round(1 - float(momentum.text), 12))
    return f"1 - {wrapped(momentum.text)}"


def instance_norm(settings: Settings) -> Leaf:
    """nn.InstanceNorm1d, nn.InstanceNorm2d and nn.InstanceNorm3d."""
    settings.refuse("track_running_stats", False)
    affine = _affine(settings["affine"], settings["affine"])
    arguments = ["groups=-1", f"epsilon={settings['eps'].text}", *affine]
    return Leaf("keras.layers.GroupNormalization", tuple(arguments), takes="channels", gives="channels")


def group_norm(settings: Settings) -> Leaf:
    """nn.GroupNorm."""
    affine = _affine(settings["affine"], settings["affine"])
    arguments = [settings["num_groups"].text, f"epsilon={settings['eps'].text}", *affine]
    return Leaf("keras.layers.GroupNormalization", tuple(arguments), takes="channels", gives="channels")


def layer_norm(settings: Settings) -> Leaf:
    """nn.LayerNorm."""
    arguments = [f"epsilon={settings['eps'].text}"]
    sizes = {
        len(value) if isinstance(value, tuple | list) else 1 for value in settings["normalized_shape"].values
    }
    if len(sizes) > 1:
        raise NoCounterpartError(
            "torch.nn.LayerNorm normalises over another number of axes in other instances"
        )
    count = sizes.pop() if sizes else 1
    if count > 1:
        arguments.insert(0, f"axis={list(range(-count, 0))}")
    scale, center = settings["elementwise_affine"], settings["bias"]
    if scale.always(False) or scale.fixed(False):
        center = scale
    arguments += _affine(scale, center)
    return Leaf("keras.layers.LayerNormalization", tuple(arguments), takes="last" if count == 1 else "torch")


def rms_norm(settings: Settings) -> Leaf:
    """nn.RMSNorm."""
    shape, epsilon = settings["normalized_shape"], settings["eps"]
    if any(isinstance(value, tuple | list) and len(value) > 1 for value in shape.values):
        raise NoCounterpartError(
            "torch.nn.RMSNorm normalises over several axes, which Keras has no layer for"
        )
    scale, affine = settings["elementwise_affine"], []
    if not (scale.always(True) or scale.fixed(True)):
        affine = [f"scale={scale.text}"]
    if affine or not epsilon.values or None in epsilon.values:
        arguments = (*settings.optional("eps", "epsilon", None), *affine)
        return Leaf("RootMeanSquare", arguments, frozenset({"RootMeanSquare"}), "last")
    return Leaf("keras.layers.RMSNormalization", (f"epsilon={epsilon.text}",), takes="last")


def local_response_norm(settings: Settings) -> Leaf:
    """nn.LocalResponseNorm."""
    names = ("size", "alpha", "beta", "k")
    arguments = [settings["size"].text]
    for name, default in zip(names[1:], (1e-4, 0.75, 1.0), strict=True):
        arguments += settings.optional(name, name, default)
    name = "LocalResponseNormalization"
    return Leaf(name, tuple(arguments), frozenset({name}), "channels", "channels")
