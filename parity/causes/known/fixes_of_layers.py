"""Fixes of single layers: what to change in Keras, and what to change in torch."""

from __future__ import annotations

LAYERS: dict[str, tuple[str, str]] = {
    "same-padding-asymmetry": (
        "ZeroPadding2D(1), then Conv2D(..., padding='valid')",
        "F.pad(x, (0, 1, 0, 1)), then Conv2d(..., padding=0); for even sizes and a kernel of 3",
    ),
    "padding-size": (
        "ZeroPadding2D of torch's padding, then padding='valid'",
        "padding=n as Keras pads, or F.pad(x, (left, right, top, bottom)) where its sides differ",
    ),
    "stride-value": ("strides= of the torch layer's stride", "stride= of the Keras layer's strides"),
    "dilation-value": (
        "dilation_rate= of the torch layer's dilation",
        "dilation= of the Keras layer's dilation_rate",
    ),
    "stride-placement": (
        "strides=2 on the convolution that has it in torch, 1 on the other",
        "stride=2 on the convolution that has it in Keras, 1 on the other",
    ),
    "transpose-crop-offset": (
        "Conv2DTranspose(..., padding='valid'), then Cropping2D as torch's padding and output_padding say",
        "ConvTranspose2d(..., padding=0), then y[..., a:a + h, b:b + w], with a = (k - s) // 2 for 'same'",
    ),
    "output-padding": ("output_padding= of the torch layer", "output_padding= of the Keras layer"),
    "transpose-padding-is-crop": (
        "Cropping2D(p) behind Conv2DTranspose(..., padding='valid')",
        "ConvTranspose2d(..., padding=p): it crops the output by p",
    ),
    "dilation-stride-grid": (
        "place the taps at stride * i + dilation * j (tf_impl.layers.ConvTranspose2d does)",
        "ConvTranspose2d with Keras' stride and dilation",
    ),
    "kernel-flip": ("kernel[::-1, ::-1]", "weight.flip(-2, -1)"),
    "kernel-hw-swap": ("kernel.transpose(1, 0, 2, 3)", "weight.transpose(-2, -1)"),
    "kernel-io-swap": ("kernel.transpose(0, 1, 3, 2)", "weight.transpose(0, 1)"),
    "depthwise-multiplier-order": (
        "order the kernel's output channels as channel * multiplier + m",
        "weight.reshape(m, c, 1, h, w).transpose(0, 1), then reshape(c * m, 1, h, w)",
    ),
    "group-layout": (
        "order the last axis of the kernel group by group",
        "order the first axis of the weight group by group",
    ),
    "missing-bias": ("use_bias=True, and copy torch's bias", "bias=True, and copy Keras' bias"),
    "weight-not-copied": (
        "parity.transfer(torch_module, keras_model)",
        "parity.transfer(keras_model, torch_module)",
    ),
    "batchnorm-epsilon": ("BatchNormalization(epsilon=1e-5)", "BatchNorm2d(c, eps=1e-3)"),
    "batchnorm-momentum": (
        "BatchNormalization(momentum=0.9) for torch's 0.1",
        "BatchNorm2d(c, momentum=0.01) for Keras' 0.99",
    ),
    "batchnorm-running-variance": (
        "tf_impl.layers.BatchNorm2d, which stores the unbiased variance",
        "multiply the batch's term of running_var by (n - 1) / n, or match_rules=True to judge the rest",
    ),
    "batchnorm-slots-swapped": (
        "set_weights([gamma, beta, moving_mean, moving_variance])",
        "weight = gamma, bias = beta, running_mean = moving_mean, running_var = moving_variance",
    ),
    "batchnorm-frozen": ("layer.trainable = True", "layer.eval()"),
    "train-mode-left-on": ("model(x, training=False)", "module.eval()"),
    "layernorm-epsilon": ("LayerNormalization(epsilon=1e-5)", "LayerNorm(d, eps=1e-3)"),
    "groupnorm-epsilon": ("GroupNormalization(groups, epsilon=1e-5)", "GroupNorm(groups, c, eps=1e-3)"),
    "dropout-rate": ("Dropout(torch's p)", "Dropout(Keras' rate)"),
    "dropout-kind": (
        "SpatialDropout2D for nn.Dropout2d, Dropout for nn.Dropout, AlphaDropout for nn.AlphaDropout",
        "nn.Dropout2d for SpatialDropout2D, nn.Dropout for Dropout, nn.AlphaDropout for AlphaDropout",
    ),
    "activation-missing": (
        "add torch's activation behind the layer, or leave it out",
        "add Keras' activation behind the layer, or leave it out",
    ),
    "activation-kind": ("activation= of what torch computes", "the module or function of what Keras computes"),
    "leaky-relu-slope": ("LeakyReLU(negative_slope=0.01)", "LeakyReLU(0.3), or 0.2 for keras.ops.leaky_relu"),
    "shared-axes": (
        "PReLU(shared_axes=[1, 2])",
        "a parameter of shape (1, C, H, W) and torch.where(x > 0, x, slope * x)",
    ),
    "gelu-approximation": (
        "activations.gelu(x, approximate=False), or True where torch has 'tanh'",
        "GELU(approximate='tanh'), or 'none'",
    ),
    "softplus-threshold": (
        "ops.where(x > 20, x, ops.softplus(x))",
        "Softplus(threshold=40)",
    ),
    "hard-sigmoid-form": ("ops.relu6(x + 3) / 6", "torch.clamp(0.2 * x + 0.5, 0, 1)"),
    "softmax-axis": ("Softmax(axis=-1): the classes come last", "softmax(x, dim=1): the classes come second"),
    "double-softmax": (
        "from_logits=True with an output layer without softmax",
        "no softmax in front of CrossEntropyLoss",
    ),
    "attention-scale": (
        "query * head_size ** -0.5, once",
        "scaled_dot_product_attention(..., scale=head_size ** -0.5), once",
    ),
    "attention-mask": (
        "attention_mask: True keeps; use_causal_mask=True",
        "attn_mask: True keeps in sdpa and masks in nn.MultiheadAttention; is_causal=True",
    ),
    "head-count": ("MultiHeadAttention(num_heads=h, key_dim=d // h)", "MultiheadAttention(d, h)"),
    "key-dim": ("key_dim = embed_dim // num_heads", "embed_dim = key_dim * num_heads"),
    "rotary-convention": (
        "turn feature i with i + d / 2 where torch does, 2i with 2i + 1 else",
        "turn 2i with 2i + 1 where Keras does, i with i + d / 2 else",
    ),
    "rotary-base": ("torch's base, often 10000 or 500000", "Keras' base, often 10000 or 500000"),
    "position-offset": ("count positions from torch's first one", "count positions from Keras' first one"),
    "softmax-precision": (
        "ops.softmax in the dtype of the scores, or cast where torch does",
        "softmax(..., dtype=None), or dtype=torch.float32 where Keras casts",
    ),
    "float32-cast": ("cast where torch casts, or nowhere", "cast where Keras casts, or nowhere"),
    "pool-count-include-pad": (
        "ZeroPadding2D, then AveragePooling2D(padding='valid')",
        "AvgPool2d(..., count_include_pad=False)",
    ),
    "pool-ceil-mode": (
        "pad at the end, then padding='valid'",
        "ceil_mode=False, or True where Keras pads with 'same'",
    ),
    "resize-align-corners": (
        "a resize with corners aligned (tf_impl.resizing), where torch has align_corners=True",
        "interpolate(..., align_corners=False)",
    ),
    "resize-antialias": ("ops.image.resize(..., antialias=False)", "interpolate(..., antialias=True)"),
    "resize-mode": ("interpolation= of torch's mode", "mode= of Keras' interpolation"),
    "tf32": (
        "JAX: jax_default_matmul_precision='highest'; TensorFlow: enable_tensor_float_32_execution(False)",
        "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False",
    ),
}  # fmt: skip
"""(Keras, torch) by the cause's name."""
