"""Every known cause of a difference between a Keras model and its port to torch, or the other way round."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """One known cause.

    Attributes:
        name: the stable identifier that findings carry.
        mechanism: what was done.
        signature: what the difference looks like, which is what the evidence must show.
        fix: what mends it.
    """

    name: str
    mechanism: str
    signature: str
    fix: str


_ROWS = (
    # --- convolutions
    ("same-padding-asymmetry", "padding='same' with a stride pads more at the end in Keras; torch pads alike on both sides",
     "the windows start one pixel apart, where the padding is odd in total (even sizes for a kernel of 3)",
     "pad explicitly in front of an unpadded layer: F.pad(x, (0, 1, 0, 1)), or ZeroPadding2D in Keras"),
    ("padding-size", "the two sides pad by another number of rows or columns, or with other values",
     "the border differs, and the shape where the total differs", "give both layers the same padding"),
    ("stride-value", "another stride", "the shape, or every position but the first", "give both layers the same stride"),
    ("dilation-value", "another dilation", "every value; the layer agrees at the other side's dilation",
     "give both layers the same dilation"),
    ("stride-placement", "the stride of a bottleneck sits on its 1x1 convolution on one side and on its 3x3 on the other",
     "two neighbouring convolutions whose strides are exchanged", "move the stride to the other convolution"),
    ("transpose-crop-offset", "a transposed convolution's result is cropped at the other end",
     "the right shape, shifted by a pixel",
     "crop as the other side does: explicit padding and output_padding in place of 'same'"),
    ("output-padding", "output_padding lost or different", "the last rows or columns, or the shape",
     "set output_padding to the other side's"),
    ("transpose-padding-is-crop", "padding of a transposed convolution applied to its input; it crops its output",
     "border and shape", "crop the output by the padding"),
    ("dilation-stride-grid", "stride together with dilation in a transposed convolution, on another grid of zeros",
     "zeros on the wrong grid", "place the taps at stride * i + dilation * j"),
    ("kernel-flip", "a true convolution in place of a correlation, or a flip too many",
     "the layer agrees with the kernel turned by 180 degrees", "turn the kernel by 180 degrees in height and width"),
    ("kernel-hw-swap", "the kernel's height and width exchanged", "the layer agrees with the kernel transposed in space",
     "exchange the kernel's height and width"),
    ("kernel-io-swap", "the kernel's in and out channels exchanged, which square layers copy without an error",
     "the layer agrees with the channel axes exchanged", "exchange the kernel's in and out channel axes"),
    ("depthwise-multiplier-order", "channel and multiplier of a depthwise kernel in the other order",
     "a permutation of the output channels", "order the output channels as channel * multiplier + m"),
    ("group-layout", "the blocks of a grouped kernel in other places", "a permutation of blocks of output channels",
     "order the kernel's output channels group by group"),
    ("missing-bias", "the bias dropped or left at its initial zeros", "a constant for each channel", "copy the bias"),
    ("weight-not-copied", "a layer kept other weights", "that layer alone; with the other side's weights it agrees",
     "copy the weights (parity.transfer)"),
    # --- normalisation
    ("batchnorm-epsilon", "Keras' epsilon is 1e-3 by default, torch's eps 1e-5",
     "each channel scaled by sqrt((v + e1) / (v + e2))", "set epsilon / eps to the other side's"),
    ("batchnorm-momentum", "Keras' momentum is 1 - torch's momentum", "equal in inference until one training step",
     "momentum_keras = 1 - momentum_torch"),
    ("batchnorm-running-variance", "torch stores the unbiased variance of the batch, Keras the biased one",
     "the running variance's batch term times n / (n - 1) after a training step",
     "a layer with the other side's rule (tf_impl.layers.BatchNorm2d), or match_rules=True to judge the rest"),
    ("batchnorm-slots-swapped", "gamma, beta, mean and variance in one another's places",
     "an affine change of each channel; the layer agrees with the vectors exchanged", "copy each vector to its own slot"),
    ("batchnorm-frozen", "trainable=False means inference mode too, in Keras alone", "in training mode only",
     "put the torch layer into eval mode, or unfreeze the Keras layer"),
    ("train-mode-left-on", "dropout or normalisation in training mode where the other side infers",
     "not repeatable, or dependent on the rest of the batch", "module.eval(), or training=False"),
    ("layernorm-epsilon", "Keras' epsilon is 1e-3 by default, torch's eps 1e-5", "each token scaled by its own ratio",
     "set epsilon / eps to the other side's"),
    ("groupnorm-epsilon", "Keras' epsilon is 1e-3 by default, torch's eps 1e-5", "each group scaled by its own ratio",
     "set epsilon / eps to the other side's"),
    ("dropout-rate", "another dropout rate, or dropout on one side alone", "in training mode only",
     "give both layers the same rate"),
    ("dropout-kind", "single elements, whole channels or whole examples dropped, or noise of another kind",
     "in training mode only", "the same random layer on both sides: Dropout, SpatialDropout or AlphaDropout"),
    # --- activations
    ("activation-missing", "an activation left out, or one too many", "where the activation changes values, and there alone",
     "apply the activation"),
    ("activation-kind", "another activation function", "each side is its own function of the same input",
     "use the other side's activation"),
    ("leaky-relu-slope", "the slope is 0.3 (Keras layer), 0.2 (Keras op) or 0.01 (torch) by default",
     "negative values scaled by a constant", "give both the same slope"),
    ("shared-axes", "PReLU has a slope for each position and channel in Keras by default, for each channel in torch",
     "the slopes' tensors have other sizes", "shared_axes=[1, 2] in Keras, one for each axis of positions"),
    ("gelu-approximation", "GELU by tanh on one side and by erf on the other", "at most 4.7e-4, near |x| = 2.7",
     "approximate='tanh' in torch, or approximate=False in Keras"),
    ("hard-sigmoid-form", "0.2 x + 0.5 on one side, x / 6 + 0.5 on the other", "at most 8.3e-2, at |x| = 2.5",
     "use one form on both sides"),
    ("softmax-axis", "softmax over another axis", "sums along the class axis are not 1",
     "take the softmax over the class axis"),
    ("double-softmax", "a softmax applied to what already are probabilities (from_logits confusion)",
     "values near uniform, flat loss, small gradients", "apply the softmax once"),
    # --- attention
    ("attention-scale", "the scores of an attention are scaled otherwise: not at all, or by another size",
     "the scores are one multiple of the other side's", "scale by 1 / sqrt(head size) on both sides"),
    ("attention-mask", "another mask: turned round (True keeps in Keras and sdpa, masks in nn.MultiheadAttention), "
     "causal on one side alone, or padding left out", "the shares are zero at other places, and the same otherwise",
     "mask the same positions on both sides"),
    ("head-count", "the same queries, keys and values, split into another number of heads",
     "the attention agrees with the other side's number of heads", "the same number of heads"),
    ("key-dim", "Keras' key_dim is the size of one head, torch's embed_dim that of all heads together",
     "the projections are as many times too large as there are heads", "key_dim = embed_dim // num_heads"),
    ("rotary-convention", "features turned by their position in halves (i with i + d/2) or in pairs (2i with 2i + 1)",
     "query and key have the same norms, and each side turns its own pairs", "one convention on both sides"),
    ("rotary-base", "another base of the rotary frequencies", "the angles grow otherwise from feature to feature",
     "the same base"),
    ("position-offset", "positions counted from another number", "every position's angle or vector is another one's",
     "count positions from the same number"),
    ("softmax-precision", "the softmax computed in float32 within a side, and not on the other",
     "differences of 1e-8 in float64", "one dtype on both sides"),
    # --- pooling and resizing
    ("pool-count-include-pad", "the average taken over the padding too", "at the border, by the ratio k * k / valid",
     "count_include_pad=False in torch"),
    ("pool-ceil-mode", "the output's size rounded up on one side", "a last row or column more", "the same ceil_mode"),
    ("resize-align-corners", "corner pixels aligned on one side, half-pixel centres on the other",
     "a shift below a pixel that grows with the position", "align_corners=False"),
    ("resize-antialias", "antialiasing on one side", "in downsampling alone, at high frequencies", "the same antialias"),
    ("resize-mode", "another interpolation", "each side agrees with its own mode", "the same interpolation"),
    # --- steps without weights
    ("depth-to-space-order", "depth to space (pixel shuffle), or back, with channels, rows and columns counted otherwise",
     "torch's step agrees with its channels regrouped", "regroup the channels as the other side counts them"),
    ("axis-order", "axes in another order: permuted, or split and merged by a reshape without a permutation (heads, boxes)",
     "the same values at other places; with the axes moved torch's step agrees", "move the axes in front of the reshape"),
    ("axis-value", "a reduction, concatenation, reversal, roll or running sum along another axis",
     "torch's step agrees along the other axis", "the same axis (the channels stand at another place)"),
    ("normalised-axes", "mean and variance taken over other axes, or in other groups",
     "torch's step agrees with the statistics of the other axes", "normalise over the same axes"),
    ("variance-correction", "a variance or standard deviation divided by n - 1 on one side and by n on the other",
     "spreads differ by sqrt(n / (n - 1))", "correction=0 (unbiased=False) in torch, as Keras computes"),
    ("rmsnorm-epsilon", "another epsilon under the root mean square (torch's default is that of the dtype)",
     "each token scaled by its own ratio", "give both the same epsilon"),
    ("epsilon-value", "another epsilon in a step that is written out", "torch's step agrees with the other epsilon",
     "give both the same epsilon"),
    ("epsilon-place", "epsilon added to the variance on one side, to its root on the other, or taken as its least value",
     "torch's step agrees with epsilon at the other place", "add epsilon at the same place"),
    ("constant-value", "another factor, exponent or limit, or one that is missing",
     "torch's step agrees with the other number, solved from the results", "the same number"),
    ("operand-order", "a difference, quotient or power with its operands exchanged", "the step agrees the other way round",
     "exchange the operands"),
    ("padding-mode", "a border of other values: zeros, reflected, repeated, circular, or -inf in front of a maximum",
     "the border differs; torch's step agrees with the other mode", "the same padding mode"),
    ("pool-kind", "a maximum in place of an average, a sum in place of a mean, or the other way round",
     "torch's step agrees with the other kind", "the same pooling"),
    ("pool-bins", "windows of an adaptive pooling against windows of one size", "torch's step agrees with the other windows",
     "the same windows"),
    ("cubic-coefficient", "cubic interpolation with coefficient -0.5 (TensorFlow, antialias) or -0.75 (torch)",
     "torch's step agrees with the other coefficient", "resize with the other side's coefficient"),
    ("stft-window", "another window of a short-time Fourier transform: of another kind, or symmetric and not periodic",
     "torch's step agrees with the other window", "the same window (periodic=True)"),
    ("stft-frames", "frames of a short-time Fourier transform centred, padded or scaled otherwise",
     "torch's step agrees with the other setting", "the same center, pad_mode and normalized"),
    ("precision-cast", "a step computed in a smaller dtype within one side", "gone once the cast is left out",
     "one dtype on both sides"),
    ("slice-offset", "a slice or index that begins elsewhere", "torch's step agrees some places further",
     "the same slice"),
    ("step-missing", "a step without weights on one side alone", "torch's side agrees with the step, or without it",
     "take the step on both sides"),
    # --- wiring
    ("flatten-order", "flattened as C, H, W on one side and as H, W, C on the other, or made an image so",
     "values permuted, the histogram the same",
     "permute the dense kernel's rows (its columns, where an image is made), or transpose next to the reshape"),
    ("concat-order", "operands of a concatenation exchanged", "blocks of channels permuted",
     "concatenate in the other order"),
    ("skip-missing", "an addition of an earlier layer's output left out, or one too many",
     "the difference is that layer's output", "add it"),
    ("channel-order", "RGB against BGR, or mean and standard deviation in the other order", "channels 0 and 2 at the input",
     "use one channel order"),
    ("input-scaling", "0..255 against 0..1, or a Rescaling layer inside one model alone",
     "one factor and offset at the input",
     "scale the input once"),
    ("shared-layer-duplicated", "one layer used twice became two layers", "equal until trained, then apart",
     "use one layer twice"),
    # --- recurrence
    ("gate-order", "the gates of a recurrent cell copied in the other framework's order (z, r, h and r, z, n)",
     "that layer alone; its blocks exchanged it agrees", "exchange the gates' blocks (parity.transfer does)"),
    ("recurrent-bias", "torch's recurrent cells add two biases up where Keras' LSTM and SimpleRNN have one",
     "Keras' bias is one of the two", "copy the sum of both"),
    ("reset-after", "a GRU that resets its state in front of the product with the recurrent kernel, or behind it",
     "each side is its own formula of the same weights", "the same reset_after (torch has it True alone)"),
    ("initial-state", "a recurrent cell starts from zeros on one side, or gets its two states in the other order",
     "the states that arrive", "hand the same states to both"),
    ("sequence-mask", "one side runs over the padding at the end of the sequences, the other stops",
     "the steps that count agree", "mask_zero or Masking in Keras, packed sequences in torch"),
    ("sequence-direction", "a sequence turned round on one side alone, in front of a layer or behind it",
     "the same steps, the last one first", "turn it on both sides"),
    ("sequence-step", "another step of the sequence taken for the last one: a place in the padding, or the backward "
     "direction's at the end", "each side has its own step of the same sequence",
     "take the cell's last state"),
    # --- training
    ("loss-reduction", "sum against mean, or ignored pixels and class weights in the denominator",
     "loss and gradients scaled by one constant", "the same reduction"),
    ("loss-axes", "a loss that divides one sum by another (Dice, IoU) takes these over other axes: each example's or "
     "channel's own, or all together", "one loss is the mean of the other's of each example or channel alone",
     "sum over the same axes, then take the mean"),
    ("loss-broadcast", "outputs and targets of unlike shapes, (N, 1) and (N,), broadcast inside the loss",
     "the loss stays when the targets are exchanged among the examples", "give both one shape in front of the loss"),
    ("gradient-stopped", "detach, .data, no_grad or stop_gradient on one side alone",
     "equal outputs; no gradient, or a part of it, in front of that place", "stop the gradient on both sides, or on none"),
    ("sgd-learning-rate-in-buffer", "Keras' velocity holds the learning rate, torch's buffer does not",
     "equal until the learning rate changes", "tf_impl.optimizers.SGD, or rescale the velocity when the rate changes"),
    ("adam-epsilon", "epsilon added before or after the bias correction, or another epsilon",
     "updates of small gradients scaled", "tf_impl.optimizers.Adam, or eps_torch = eps_keras / sqrt(1 - beta2 ** t)"),
    ("weight-decay-coupling", "weight decay inside the gradient or apart from it, or l2's factor of 2",
     "a drift in proportion to the weights", "the same kind of weight decay"),
    ("gradient-clipping", "clipping of each variable against all of them, another bound, or torch's 1e-6 on the norm",
     "updates scaled by one factor where the bound is met", "global_clipnorm for clip_grad_norm_, and the same bound"),
    # --- numerics
    ("tf32", "multiplications with 10 bits of mantissa on a GPU", "about 1e-3 relative, gone on a CPU and in float64",
     "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False; in JAX "
     "jax_default_matmul_precision = 'highest'; in TensorFlow enable_tensor_float_32_execution(False)"),
)  # fmt: skip

CAUSES: dict[str, Cause] = {row[0]: Cause(*row) for row in _ROWS}
"""Known causes by identifier. A difference with none of them is still found and placed, without a name."""
