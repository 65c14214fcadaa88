"""Transposed convolutions with torch's padding, output padding, dilation and groups."""

import keras
from keras import ops


class _TransposedConv:
    """The gradient of a padded convolution: `padding` is cut off both ends, `output_padding` is added at the last."""

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding=0,
        output_padding=0,
        dilation_rate=1,
        groups=1,
        use_bias=True,
        **kwargs,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides,
            use_bias=use_bias,
            **{**kwargs, "data_format": "channels_last"},
        )

        def spread(number):
            return (number,) * self.rank if isinstance(number, int) else tuple(number)

        self.padding, self.output_padding = spread(padding), spread(output_padding)
        self.dilation_rate, self.groups = spread(dilation_rate), groups

    def build(self, input_shape):
        filters, self.filters = self.filters, self.filters // self.groups
        use_bias, self.use_bias = self.use_bias, False
        super().build(input_shape)  # kernel: (*kernel_size, filters / groups, channels)
        self.filters, self.use_bias = filters, use_bias
        if use_bias:
            self.bias = self.add_weight(name="bias", shape=(filters,), initializer=self.bias_initializer)

    def call(self, inputs):
        kernel = self._dilated(self.kernel)
        parts = zip(
            ops.split(inputs, self.groups, axis=-1), ops.split(kernel, self.groups, axis=-1), strict=True
        )
        outputs = [
            ops.conv_transpose(x, k, self.strides, padding="valid", data_format="channels_last")
            for x, k in parts
        ]
        outputs = self._cropped(outputs[0] if self.groups == 1 else ops.concatenate(outputs, axis=-1))
        return outputs + self.bias if self.use_bias else outputs

    def _dilated(self, kernel):
        """The kernel with dilation_rate - 1 zeros between its taps."""
        for axis, rate in enumerate(self.dilation_rate):
            if rate > 1:
                size = kernel.shape[axis]
                kernel = ops.expand_dims(kernel, axis + 1)
                kernel = ops.pad(
                    kernel, [(0, (rate - 1) * (i == axis + 1)) for i in range(len(kernel.shape))]
                )
                kernel = ops.reshape(kernel, (*kernel.shape[:axis], size * rate, *kernel.shape[axis + 2 :]))
                kernel = kernel[(*[slice(None)] * axis, slice(0, rate * (size - 1) + 1))]
        return kernel

    def _cropped(self, x):
        """The part of the full result that padding and output padding leave."""
        ends = []
        for k, s, p, more, d in zip(
            self.kernel_size, self.strides, self.padding, self.output_padding, self.dilation_rate, strict=True
        ):
            span = d * (k - 1) + 1
            ends.append(
                (p, p - more + max(span, s) - span)
            )  # the backends give at least `strides` pixels each
        x = x[(slice(None), *(slice(first, -last if last > 0 else None) for first, last in ends))]
        return ops.pad(x, [(0, 0), *((0, max(-last, 0)) for _, last in ends), (0, 0)])

    def compute_output_shape(self, input_shape):
        axes = zip(
            input_shape[1:-1],
            self.kernel_size,
            self.strides,
            self.padding,
            self.output_padding,
            self.dilation_rate,
            strict=True,
        )
        sizes = [
            n if n is None else (n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, more, d in axes
        ]
        return (input_shape[0], *sizes, self.filters)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="port")
class TransposedConv1D(_TransposedConv, keras.layers.Conv1DTranspose):
    """Conv1DTranspose that cuts `padding` off both ends and adds `output_padding` at the last."""


@keras.saving.register_keras_serializable(package="port")
class TransposedConv2D(_TransposedConv, keras.layers.Conv2DTranspose):
    """Conv2DTranspose that cuts `padding` off all sides and adds `output_padding` at the bottom and the right."""


@keras.saving.register_keras_serializable(package="port")
class TransposedConv3D(_TransposedConv, keras.layers.Conv3DTranspose):
    """Conv3DTranspose that cuts `padding` off all sides and adds `output_padding` at the last ones."""
