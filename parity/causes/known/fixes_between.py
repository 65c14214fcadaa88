"""Fixes of steps, wiring, recurrence and training: what to change in Keras, and what to change in torch."""

from __future__ import annotations

BETWEEN: dict[str, tuple[str, str]] = {
    "depth-to-space-order": (
        "reshape to (h, w, c, r, r), then permute: nn.PixelShuffle counts the channels first",
        "reshape to (r, r, c, h, w), then permute: tf.nn.depth_to_space counts the channels last",
    ),
    "axis-order": ("ops.transpose in front of the reshape", "x.permute in front of the reshape"),
    "axis-value": ("axis= of the same meaning; channels are -1", "dim= of the same meaning; channels are 1"),
    "normalised-axes": ("mean and variance over torch's axes", "mean and variance over Keras' axes"),
    "variance-correction": ("ops.var(x) * n / (n - 1)", "x.var(dim, correction=0)"),
    "rmsnorm-epsilon": ("RMSNormalization(epsilon=torch's eps)", "RMSNorm(d, eps=1e-6)"),
    "epsilon-value": ("torch's epsilon", "Keras' epsilon"),
    "epsilon-place": ("add epsilon where torch adds it", "add epsilon where Keras adds it"),
    "constant-value": ("torch's number", "Keras' number"),
    "operand-order": ("exchange the operands", "exchange the operands"),
    "padding-mode": ("ops.pad(x, ..., mode= of torch's)", "F.pad(x, ..., mode= of Keras')"),
    "pool-kind": ("the pooling that torch has", "the pooling that Keras has"),
    "pool-bins": (
        "windows from floor(i * n / m) to ceil((i + 1) * n / m), as adaptive pooling has them",
        "AvgPool2d with Keras' pool_size, where the sizes divide",
    ),
    "cubic-coefficient": ("cubic weights with coefficient -0.75", "interpolate(..., antialias=True): -0.5"),
    "stft-window": ("the window that torch has (torch.hann_window is periodic)", "hann_window(n, periodic=True)"),
    "stft-frames": ("center= and padding as torch.stft has them", "stft(..., center=, pad_mode=, normalized=) as in Keras"),
    "slice-offset": ("begin where torch begins", "begin where Keras begins"),
    "step-missing": ("add the step that torch takes, or leave it out", "add the step that Keras takes, or leave it out"),
    "flatten-order": (
        "Permute((3, 1, 2)) in front of Flatten, or the kernel's rows permuted from C, H, W",
        "x.permute(0, 2, 3, 1).flatten(1), or the weight's columns permuted from H, W, C",
    ),
    "concat-order": ("Concatenate()([b, a])", "torch.cat([b, a], dim=1)"),
    "skip-missing": ("x = layers.add([x, shortcut])", "x = x + shortcut"),
    "channel-order": ("x[..., ::-1]", "x.flip(1)"),
    "input-scaling": ("Rescaling(1 / 255) once, or not at all", "x / 255 once, or not at all"),
    "shared-layer-duplicated": ("make one layer, and call it twice", "make one module, and call it twice"),
    "gate-order": (
        "order the gates i, f, c, o (LSTM) and z, r, h (GRU): parity.transfer does",
        "order the gates i, f, g, o (LSTM) and r, z, n (GRU): parity.transfer does",
    ),
    "recurrent-bias": ("bias = bias_ih + bias_hh", "bias_ih = Keras' bias, bias_hh = 0"),
    "reset-after": ("GRU(..., reset_after=True)", "a cell of its own: nn.GRU resets behind the product alone"),
    "initial-state": ("initial_state=[h, c] of torch's", "nn.LSTM(...)(x, (h, c)) of Keras'"),
    "sequence-mask": (
        "Masking or mask_zero=True; in a mean sum(x * mask) / sum(mask)",
        "pack_padded_sequence(x, lengths, batch_first=True); in a mean (x * mask).sum(1) / mask.sum(1)",
    ),
    "sequence-direction": ("go_backwards=True, or ops.flip(x, axis=1)", "x.flip(1) in front, and behind"),
    "sequence-step": ("return_sequences=False", "the last hidden state: output, (h, c) = lstm(x); h[-1]"),
    "loss-reduction": (
        "reduction='sum' or 'sum_over_batch_size', as torch reduces",
        "reduction='mean' or 'sum', as Keras reduces",
    ),
    "loss-axes": ("sum over torch's axes, then take the mean", "sum over Keras' axes, then take the mean"),
    "loss-broadcast": ("y[:, None], so that it has the outputs' shape", "y.unsqueeze(1), so that it has the outputs' shape"),
    "gradient-stopped": ("ops.stop_gradient where torch detaches, or nowhere", "x.detach() where Keras stops, or nowhere"),
    "sgd-learning-rate-in-buffer": (
        "tf_impl.optimizers.SGD",
        "multiply momentum_buffer by old / new rate when the rate changes",
    ),
    "adam-epsilon": (
        "tf_impl.optimizers.Adam, or epsilon = eps * sqrt(1 - beta2 ** t)",
        "eps = epsilon / sqrt(1 - beta2 ** t)",
    ),
    "weight-decay-coupling": (
        "kernel_regularizer=l2(wd / 2) for torch's coupled decay; weight_decay= for AdamW's",
        "AdamW(weight_decay=) for Keras' weight_decay; 2 * l2 for a kernel_regularizer",
    ),
    "gradient-clipping": ("global_clipnorm= for clip_grad_norm_", "clip_grad_norm_ of each parameter for clipnorm="),
}  # fmt: skip
"""(Keras, torch) by the cause's name."""
