// What a setting is in words: the size formula with its numbers, and the calls of both frameworks.
"use strict";

const Words = (() => {
  // [symbols, numbers, result] of one axis.
  function formula(setting, n) {
    const { op, by, k, s, p, same, o, d } = setting, { size } = Arithmetic.sizes(setting, n);
    const e = Arithmetic.extent(setting);
    if (op === "transposed") {
      if (by === "torch") return ["(n − 1)·s − 2·p + d·(k − 1) + o + 1",
        `(${n} − 1)·${s} − 2·${p} + ${d}·(${k} − 1) + ${o} + 1`, size];
      if (same === "valid") return o === null
        ? ["(n − 1)·s + max(d·(k − 1) + 1, s)", `(${n} − 1)·${s} + max(${d}·(${k} − 1) + 1, ${s})`, size]
        : ["(n − 1)·s + d·(k − 1) + 1 + o", `(${n} − 1)·${s} + ${d}·(${k} − 1) + 1 + ${o}`, size];
      return o === null ? ["n·s", `${n}·${s}`, size]
        : ["(n − 1)·s + (d·(k − 1) + 1) mod 2 + o", `(${n} − 1)·${s} + ${e} mod 2 + ${o}`, size];
    }
    if (op === "up") {
      if (by === "torch") return ["n·s + 2·p − d·(k − 1)", `${n}·${s} + 2·${p} − ${d}·(${k} − 1)`, size];
      return same === "same" ? ["n·s", `${n}·${s}`, size]
        : ["n·s − d·(k − 1)", `${n}·${s} − ${d}·(${k} − 1)`, size];
    }
    if (by === "torch") return ["⌊(n + 2·p − d·(k − 1) − 1) / s⌋ + 1",
      `⌊(${n} + 2·${p} − ${d}·(${k} − 1) − 1) / ${s}⌋ + 1`, size];
    return same === "same" ? ["⌈n / s⌉", `⌈${n} / ${s}⌉`, size]
      : ["⌊(n − d·(k − 1) − 1) / s⌋ + 1", `⌊(${n} − ${d}·(${k} − 1) − 1) / ${s}⌋ + 1`, size];
  }

  const pairs = (before, after) => `((${before[0]}, ${after[0]}), (${before[1]}, ${after[1]}))`;
  const more = (list) => list.filter(([, value, usual]) => value !== usual)
    .map(([name, value]) => `, ${name}=${value}`).join("");
  const ends = (found) => [[found.rows.before, found.columns.before], [found.rows.after, found.columns.after]];
  const alike = (before, after) => new Set([...before, ...after]).size === 1;

  const torchLayer = (kind, { k }, list) => `layer = nn.${kind}(1, 1, ${k}${more(list)})`;
  const kerasLayer = (kind, { k }, list) => `layer = keras.layers.${kind}(1, ${k}${more(list)})`;

  // F.pad takes the last axis first: left, right, top, bottom.
  const torchPad = (what, before, after) =>
    `F.pad(${what}, (${before[1]}, ${after[1]}, ${before[0]}, ${after[0]}))`;

  function torchConv(setting, found, input) {
    const { s, d, op } = setting, [before, after] = ends(found), stride = op === "up" ? 1 : s;
    const even = alike(before, after), pad = even ? before[0] : 0;
    const notes = even ? [] : ["The pads depend on the input's size. PyTorch's own padding puts the same on both sides."];
    return {
      layer: torchLayer("Conv2d", setting, [["stride", stride, 1], ["padding", pad, 0], ["dilation", d, 1]]),
      run: `y = layer(${even ? input : torchPad(input, before, after)})`, notes,
    };
  }

  function kerasConv(setting, found, input) {
    const { by, s, d, op, same } = setting, [before, after] = ends(found), stride = op === "up" ? 1 : s;
    if (stride > 1 && d > 1) return {
      layer: `layer = tf_impl.layers.Conv2d(1, 1, ${setting.k}, stride=${s}, padding=${setting.p}, dilation=${d})`,
      run: `y = layer(${input})`, notes: ["Keras' own Conv2D refuses a stride together with a dilation."],
    };
    const padding = by === "keras" ? same : "valid", pad = by === "torch" && Math.max(...before) > 0;
    return {
      layer: kerasLayer("Conv2D", setting, [["strides", stride, 1], ["padding", `"${padding}"`, '"valid"'],
        ["dilation_rate", d, 1]]),
      run: `y = layer(${pad ? `keras.layers.ZeroPadding2D(${before[0]})(${input})` : input})`,
      notes: pad && stride > 1 ? ['padding="same" would pad less in front: other pixels.'] : [],
    };
  }

  function torchTransposed(setting, found) {
    const { by, k, s, d, p, o, same } = setting;
    const layer = (padding, extra) => torchLayer("ConvTranspose2d", setting,
      [["stride", s, 1], ["padding", padding, 0], ["output_padding", extra, 0], ["dilation", d, 1]]);
    if (by === "torch") return { layer: layer(p, o), run: "y = layer(x)", notes: [] };
    const { before, after } = found.rows, extra = before - after; // the same on both axes
    if (extra >= 0 && extra < Math.max(s, d)) return { layer: layer(before, extra), run: "y = layer(x)", notes: [] };
    if (after < 0) return {
      layer: `layer = torch_impl.layers.Conv2DTranspose(1, 1, ${k}${more([["stride", s, 1],
        ["padding", `"${same}"`, '"valid"'], ["output_padding", o, null], ["dilation", d, 1]])})`,
      run: "y = layer(x)", notes: ["Rows are added behind, which hold the bias alone; no output_padding reaches that far."],
    };
    return { layer: layer(0, 0), run: `y = ${torchPad("layer(x)", [-before, -before], [-after, -after])}`,
      notes: ["A negative pad cuts: Keras cuts more behind than in front."] };
  }

  function kerasTransposed(setting, found) {
    const { by, k, s, d, p, o, same } = setting;
    if (by === "keras") {
      const even = same === "same" && Arithmetic.extent(setting) % 2 === 0 && o === 0 && s > 1;
      return {
        layer: kerasLayer("Conv2DTranspose", setting, [["strides", s, 1], ["padding", `"${same}"`, '"valid"'],
          ["output_padding", o, null], ["dilation_rate", d, 1]]),
        run: "y = layer(x)", refused: even || d > 1,
        notes: even || d > 1 ? [`TensorFlow ${d > 1 ? "on a CPU refuses the dilation in float64" : "refuses this one"}; ` +
          "tf_impl.layers.Conv2DTranspose, with stride and dilation for names, runs it."] : [],
      };
    }
    const behind = Math.max(Arithmetic.extent(setting), s) - Arithmetic.extent(setting) + p - o;
    if (d > 1 || behind < 0) return {
      layer: `layer = tf_impl.layers.ConvTranspose2d(1, 1, ${k}${more([["stride", s, 1], ["padding", p, 0],
        ["output_padding", o, 0], ["dilation", d, 1]])})`,
      run: "y = layer(x)",
      notes: [behind < 0 ? "The rows that are added behind hold the bias alone; Keras' own layer has no such rows."
        : s > 1 ? "Keras' own Conv2DTranspose refuses a stride together with a dilation."
          : "Keras' own Conv2DTranspose refuses a dilation in float64 on TensorFlow and a CPU."],
    };
    const crop = `keras.layers.Cropping2D(${pairs([p, p], [behind, behind])})`;
    return {
      layer: kerasLayer("Conv2DTranspose", setting, [["strides", s, 1], ["dilation_rate", d, 1]]),
      run: p || behind ? `y = ${crop}(layer(x))` : "y = layer(x)",
      notes: s > 1 && p ? ['padding="same" cuts at other places: the result would be shifted.'] : [],
    };
  }

  function calls(setting, found) {
    const { op, s, mode } = setting, more = s > 1 || mode === "bilinear";
    if (op === "transposed") return { torch: torchTransposed(setting, found), keras: kerasTransposed(setting, found) };
    if (op === "conv") return { torch: torchConv(setting, found, "x"), keras: kerasConv(setting, found, "x") };
    const torch = mode === "nearest" ? "F.interpolate(x, scale_factor=" + s + ")"
      : `F.interpolate(x, scale_factor=${s}, mode="bilinear", align_corners=False)`;
    const keras = `keras.layers.UpSampling2D(${s}, interpolation="${mode}")(x)`;
    return { torch: torchConv(setting, found, more ? torch : "x"), keras: kerasConv(setting, found, more ? keras : "x") };
  }

  return { formula, calls };
})();
