"""What a report's JSON may put into a script: the frameworks' own layers, by name, and plain values.

A report may come from a stranger. Nothing of it becomes code: a name is one of these, and a value is a literal.
Layers that run a function of the file, read another file or hold further layers are left out.
"""

from __future__ import annotations

KERAS_BACKENDS = ("tensorflow", "jax", "torch", "numpy", "openvino")

_KERAS = """
Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average BatchNormalization
CenterCrop Concatenate Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten
GaussianDropout
GaussianNoise GroupNormalization GroupQueryAttention Identity LayerNormalization LeakyReLU Masking Maximum Minimum
MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization ReLU RepeatVector Rescaling Reshape
Resizing ReversibleEmbedding SeparableConv1D SeparableConv2D Softmax Subtract UnitNormalization
"""
_KERAS_BY_AXES = """
AdaptiveAveragePooling AdaptiveMaxPooling AveragePooling Conv ConvTranspose
GlobalAveragePooling GlobalMaxPooling MaxPooling SpatialDropout UpSampling ZeroPadding Cropping
"""


def _in_keras(stem: str, axes: int) -> str:
    """Conv and 2 as Conv2D; where Transpose ends the stem, the axes stand before it."""
    head, transpose, _ = stem.partition("Transpose")
    return f"{head}{axes}D{transpose}"


KERAS_LAYERS = frozenset(_KERAS.split()) | {
    _in_keras(stem, axes) for stem in _KERAS_BY_AXES.split() for axes in (1, 2, 3)
}

_TORCH = """
AlphaDropout Bilinear CELU ChannelShuffle CrossMapLRN2d Dropout ELU Embedding FeatureAlphaDropout Flatten Fold
GELU GLU GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh Identity LayerNorm LeakyReLU Linear
LocalResponseNorm LogSigmoid LogSoftmax Mish PReLU PixelShuffle PixelUnshuffle RMSNorm RReLU ReLU ReLU6 SELU
SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink Softsign Tanh Tanhshrink Threshold Unflatten Unfold
Upsample UpsamplingBilinear2d UpsamplingNearest2d
"""
_TORCH_BY_AXES = """
AdaptiveAvgPool AdaptiveMaxPool AvgPool BatchNorm CircularPad ConstantPad Conv ConvTranspose Dropout
InstanceNorm LPPool MaxPool ReflectionPad ReplicationPad ZeroPad
"""

TORCH_MODULES = frozenset(_TORCH.split()) | {
    f"{stem}{axes}d" for stem in _TORCH_BY_AXES.split() for axes in (1, 2, 3)
}
