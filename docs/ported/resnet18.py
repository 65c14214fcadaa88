# BSD 3-Clause License
#
# Copyright (c) Soumith Chintala 2016,
# All rights reserved.
#
# Redistribution and use in source and binary forms, with or without
# modification, are permitted provided that the following conditions are met:
#
# * Redistributions of source code must retain the above copyright notice, this
#   list of conditions and the following disclaimer.
#
# * Redistributions in binary form must reproduce the above copyright notice,
#   this list of conditions and the following disclaimer in the documentation
#   and/or other materials provided with the distribution.
#
# * Neither the name of the copyright holder nor the names of its
#   contributors may be used to endorse or promote products derived from
#   this software without specific prior written permission.
#
# THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
# AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
# IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
# DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
# FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
# DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
# SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
# CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
# OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
# OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.

"""ResNet, ported from PyTorch. Images are N, H, W, C.

Proved equal to torchvision.models.resnet:resnet18(num_classes=10) by parity (Keras 3.15.1, TensorFlow 2.21.0,
JAX 0.10.2, PyTorch 2.13.0+cpu):
- outputs: one probe, 41 layers, 20 elements, greatest difference 1.1e-14
- second size: 3x75x110x3
- reload: 102 tensors saved, loaded and the same
"""

import functools
import inspect
import math
import types

import keras
from keras import ops


# What Keras has no layer for, or computes otherwise.


def _unpacked(value):
    """The value that was packed."""
    if isinstance(value, dict) and "partial_of" in value:
        return functools.partial(_unpacked(value["partial_of"]), **_unpacked(value["named"]))
    if isinstance(value, dict) and "namespace" in value:
        return types.SimpleNamespace(**_unpacked(value["namespace"]))
    if isinstance(value, dict) and "registered" in value:
        return keras.saving.get_registered_object(value["registered"])
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _unpacked(item) for name, item in value.items()}
    return type(value)(map(_unpacked, value)) if isinstance(value, list | tuple) else value


def _packed(value):
    """A value in which classes and functions are their registered names."""
    if isinstance(value, functools.partial):
        return {"partial_of": _packed(value.func), "named": _packed(value.keywords)}
    if isinstance(value, types.SimpleNamespace):
        return {"namespace": _packed(vars(value))}
    if isinstance(value, type) or inspect.isfunction(value):
        return {"registered": keras.saving.get_registered_name(value)}
    if hasattr(value, "get_config"):  # a layer, or an object of plain values
        return keras.saving.serialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _packed(item) for name, item in value.items()}
    return type(value)(map(_packed, value)) if isinstance(value, list | tuple) else value


class Configurable:
    """Gives the constructor's arguments as the config; classes and functions go by their registered names."""

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(layer, *args, **kwargs)
        given = dict(list(bound.arguments.items())[1:])
        for name in [p.name for p in bound.signature.parameters.values() if p.kind is p.VAR_KEYWORD]:
            given.update(given.pop(name, {}))
        vars(layer)["_given"] = {
            name: value for name, value in given.items() if name not in ("name", "dtype", "trainable")
        }
        return layer

    def get_config(self):
        config = keras.layers.Layer.get_config(self)
        if isinstance(self, keras.Sequential):
            del config["dtype"]  # its constructor takes none
        return {**config, **{name: _packed(value) for name, value in self._given.items()}}

    @classmethod
    def from_config(cls, config):
        config = {name: _unpacked(value) for name, value in config.items()}
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        last = next((k for k, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), None)
        if last is None or parameters[last].name not in config:
            return cls(**config)
        spread = config.pop(parameters[last].name)
        return cls(*(config.pop(p.name) for p in parameters[:last]), *spread, **config)


def _extend(x, axis, before, after, mode):
    """Add `before` and `after` entries at the ends of one axis, made from the entries that it has."""

    def part(start, stop):
        return x[(*[slice(None)] * axis, slice(start, stop))]

    if mode == "reflect":
        first = ops.flip(part(1, before + 1), axis)
        last = ops.flip(part(-after - 1, -1), axis)
    elif mode == "replicate":
        first = ops.repeat(part(None, 1), before, axis)
        last = ops.repeat(part(-1, None), after, axis)
    else:
        first, last = part(-before, None), part(None, after)
    return ops.concatenate([first] * (before > 0) + [x] + [last] * (after > 0), axis)


def pad(x, widths, mode="constant", value=0.0):
    """Pad each axis of `x` by its (before, after) in `widths`; a negative width crops.

    `mode` is "constant", "reflect", "replicate" or "circular".
    """
    if any(width < 0 for pair in widths for width in pair):
        x = x[tuple(slice(max(-before, 0), min(after, 0) or None) for before, after in widths)]
        widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if not any(width for pair in widths for width in pair):
        return x
    if mode == "constant":
        return ops.pad(x, widths, constant_values=value)
    for axis, (before, after) in enumerate(widths):
        x = _extend(x, axis, before, after, mode)
    return x


class _ExplicitPadding:
    """A convolution with `padding` in pixels: one number, one for each axis, or (before, after) for each axis."""

    def __init__(self, *args, strides=1, padding=0, dilation_rate=1, padding_mode="constant", **kwargs):
        super().__init__(*args, **{**kwargs, "data_format": "channels_last"})
        self.strides = (strides,) * self.rank if isinstance(strides, int) else tuple(strides)
        widths = (padding,) * self.rank if isinstance(padding, int) else padding
        self.padding = tuple((width, width) if isinstance(width, int) else tuple(width) for width in widths)
        self.dilation_rate = (
            (dilation_rate,) * self.rank if isinstance(dilation_rate, int) else tuple(dilation_rate)
        )
        self.padding_mode = padding_mode

    def convolve(self, convolution, inputs, kernel):
        """Pad and convolve; the backends know either strides or dilation."""
        inputs = pad(inputs, ((0, 0), *self.padding, (0, 0)), self.padding_mode)
        later = max(self.strides) > 1 and (max(self.dilation_rate) > 1 or len(set(self.strides)) > 1)
        outputs = convolution(
            inputs,
            kernel,
            strides=(1,) * self.rank if later else self.strides,
            padding="valid",
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )
        return (
            outputs[(slice(None), *(slice(None, None, step) for step in self.strides))] if later else outputs
        )

    def compute_output_shape(self, input_shape):
        axes = zip(
            input_shape[1:-1], self.kernel_size, self.strides, self.padding, self.dilation_rate, strict=True
        )
        sizes = [n if n is None else (n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
        channels = getattr(self, "filters", None) or input_shape[-1] * self.depth_multiplier
        return (input_shape[0], *sizes, channels)

    def get_config(self):
        return {**super().get_config(), "padding": self.padding, "padding_mode": self.padding_mode}


class _PaddedConv(_ExplicitPadding):
    """A padded convolution whose groups may be single channels."""

    def call(self, inputs):
        outputs = self.convolution_op(inputs, self.kernel)
        return outputs + self.bias if self.use_bias else outputs

    def convolution_op(self, inputs, kernel):
        channels = inputs.shape[-1]
        if self.groups == 1 or self.groups != channels or self.rank == 3:
            return self.convolve(ops.conv, inputs, kernel)
        kernel = ops.reshape(kernel, (*self.kernel_size, channels, self.filters // channels))
        return self.convolve(ops.depthwise_conv, inputs, kernel)


@keras.saving.register_keras_serializable(package="port")
class PaddedConv2D(_PaddedConv, keras.layers.Conv2D):
    """Conv2D that pads both sides alike by `padding` pixels."""


class _PaddedPooling(keras.layers.Layer):
    """Windows over the axes between batch and channels; `padding` is added at both ends."""

    def __init__(self, pool_size, strides=None, padding=0, dilation=1, ceil_mode=False, **kwargs):
        super().__init__(**kwargs)
        self.pool_size, self.strides = pool_size, pool_size if strides is None else strides
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def windows(self, rank):
        """(span in pixels, stride, width added before, width added after) of each axis."""

        def spread(number):
            return (number,) * rank if isinstance(number, int) else tuple(number)

        axes = zip(*map(spread, (self.pool_size, self.strides, self.padding, self.dilation)), strict=True)
        found = []
        for size, step, width, rate in axes:
            span = rate * (size - 1) + 1
            # Rounding up is padding of up to a stride more, as long as each window starts in what is given.
            after = min(width + step - 1, span - 1) if self.ceil_mode else width
            found.append((span, step, width, after))
        return found

    def padded(self, x, value):
        """`x` with its rims."""
        widths = [(before, after) for _, _, before, after in self.windows(len(x.shape) - 2)]
        return pad(x, ((0, 0), *widths, (0, 0)), value=value)

    def compute_output_shape(self, input_shape):
        axes = zip(input_shape[1:-1], self.windows(len(input_shape) - 2), strict=True)
        sizes = [
            n if n is None else (n + before + after - span) // step + 1
            for n, (span, step, before, after) in axes
        ]
        return (input_shape[0], *sizes, input_shape[-1])

    def get_config(self):
        names = ("pool_size", "strides", "padding", "dilation", "ceil_mode")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="port")
class PaddedMaxPooling(_PaddedPooling):
    """The greatest value of each window; what is added at the ends never wins."""

    def call(self, x):
        x, windows = self.padded(x, -math.inf), self.windows(len(x.shape) - 2)
        spans, steps = tuple(window[0] for window in windows), tuple(window[1] for window in windows)
        if self.dilation in (1, (1,) * len(spans)):
            return ops.max_pool(x, spans, steps, padding="valid", data_format="channels_last")
        for axis, (span, step) in enumerate(zip(spans, steps, strict=True), start=1):
            rate = self.dilation if isinstance(self.dilation, int) else self.dilation[axis - 1]
            ahead = [slice(None)] * axis
            taps = [
                x[(*ahead, slice(start, start + 1 - span or None, step))] for start in range(0, span, rate)
            ]
            x = ops.max(ops.stack(taps), axis=0)
        return x


# The network.


@keras.saving.register_keras_serializable(package="port")
def BatchNorm2d(num_features):
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)


def conv3x3(in_planes, out_planes, stride=1, groups=1, dilation=1):
    return PaddedConv2D(
        out_planes, 3, strides=stride, padding=dilation, dilation_rate=dilation, groups=groups, use_bias=False
    )


def conv1x1(in_planes, out_planes, stride=1):
    return keras.layers.Conv2D(out_planes, 1, strides=stride, use_bias=False)


@keras.saving.register_keras_serializable(package="port")
class BasicBlock(Configurable, keras.layers.Layer):
    """BasicBlock of torchvision.models.resnet."""

    expansion = 1

    def __init__(
        self,
        inplanes,
        planes,
        stride=1,
        downsample=None,
        groups=1,
        base_width=64,
        dilation=1,
        norm_layer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if norm_layer is None:
            norm_layer = BatchNorm2d
        if groups != 1 or base_width != 64:
            raise ValueError("BasicBlock only supports groups=1 and base_width=64")
        if dilation > 1:
            raise NotImplementedError("Dilation > 1 not supported in BasicBlock")
        # Both self.conv1 and self.downsample layers downsample the input when stride != 1
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = keras.layers.ReLU()
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample

    def call(self, x):
        identity = x

        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)

        out = self.conv2(out)
        out = self.bn2(out)

        if self.downsample is not None:
            identity = self.downsample(x)

        out += identity
        out = self.relu(out)

        return out


@keras.saving.register_keras_serializable(package="port")
class ResNet(Configurable, keras.Model):
    """ResNet of torchvision.models.resnet."""

    def __init__(
        self,
        block,
        layers,
        num_classes=1000,
        zero_init_residual=False,
        groups=1,
        width_per_group=64,
        replace_stride_with_dilation=None,
        norm_layer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if norm_layer is None:
            norm_layer = BatchNorm2d
        self._norm_layer = norm_layer
        self.inplanes = 64
        self.dilation = 1
        if replace_stride_with_dilation is None:
            # each element in the tuple indicates if we should replace
            # the 2x2 stride with a dilated convolution instead
            replace_stride_with_dilation = [False, False, False]
        if len(replace_stride_with_dilation) != 3:
            raise ValueError(
                "replace_stride_with_dilation should be None "
                f"or a 3-element tuple, got {replace_stride_with_dilation}"
            )
        self.groups = groups
        self.base_width = width_per_group
        self.conv1 = PaddedConv2D(self.inplanes, 7, strides=2, padding=3, use_bias=False)
        self.bn1 = norm_layer(self.inplanes)
        self.relu = keras.layers.ReLU()
        self.maxpool = PaddedMaxPooling(3, strides=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(
            block, 128, layers[1], stride=2, dilate=replace_stride_with_dilation[0]
        )
        self.layer3 = self._make_layer(
            block, 256, layers[2], stride=2, dilate=replace_stride_with_dilation[1]
        )
        self.layer4 = self._make_layer(
            block, 512, layers[3], stride=2, dilate=replace_stride_with_dilation[2]
        )
        self.avgpool = keras.layers.GlobalAveragePooling2D(keepdims=True)
        self.fc = keras.layers.Dense(num_classes)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        norm_layer = self._norm_layer
        downsample = None
        previous_dilation = self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = keras.Sequential(
                [
                    conv1x1(self.inplanes, planes * block.expansion, stride),
                    norm_layer(planes * block.expansion),
                ]
            )
        layers = []
        layers.append(
            block(
                self.inplanes,
                planes,
                stride,
                downsample,
                self.groups,
                self.base_width,
                previous_dilation,
                norm_layer,
            )
        )
        self.inplanes = planes * block.expansion
        for _ in range(1, blocks):
            layers.append(
                block(
                    self.inplanes,
                    planes,
                    groups=self.groups,
                    base_width=self.base_width,
                    dilation=self.dilation,
                    norm_layer=norm_layer,
                )
            )
        return keras.Sequential(layers)

    def call(self, x):
        return self._forward_impl(x)

    def _forward_impl(self, x):
        x = self.conv1(x)
        x = self.bn1(x)
        x = self.relu(x)
        x = self.maxpool(x)

        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)

        x = self.avgpool(x)
        x = ops.squeeze(x, (1, 2))
        x = self.fc(x)

        return x


def build():
    """Make the model, and its weights by a first call; their values are to be loaded."""
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10)
    model(ops.zeros((1, 64, 96, 3)))
    return model
