"""The interactive page of convolution arithmetic: its numbers and its code are those of both halves, in real browsers."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.browsers import BROWSERS, in_browser
from tests.conftest import needs

pytestmark = pytest.mark.browser
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "arithmetic"
Setting = dict[str, Any]

# What a reader sees of each setting: the texts and labels in the page, nothing of the script's own variables.
READ = """
const settings = SETTINGS, all = (name) => [...document.querySelectorAll(`#${name} [data-row]`)];
const value = (cell) => Number(cell.getAttribute("aria-label").split(" ").pop());
const text = (name) => document.getElementById(name).textContent;
document.querySelector("details").open = true;
await new Promise((ready) => setTimeout(ready, 50));
return settings.map((setting) => {
  write(setting);
  show();
  if (!document.getElementById("refused").hidden) return {refused: text("refused").replace("Refused. ", "")};
  return {y: all("output").map(value), count: all("count").map(value), input: all("input").map(value),
    kernel: all("kernel").map(value), size: document.querySelector("figure:has(#output) .size").textContent,
    formula: [...document.querySelectorAll("#formula dd:not(.sign)")].map((line) => line.textContent),
    torch: text("torch"), keras: text("keras"), kerasRefused: document.getElementById("keras").dataset.refused === "true",
    entries: text("entries"), stored: text("matrix-word").match(/(\\d+) of/)[1]};
});
"""


def settings() -> list[Setting]:
    """Every refusal and every branch of the calls: the page's own examples, corners, and a seeded sample."""
    drawn = random.Random(0)
    kept: list[Setting] = [
        {
            "op": "transposed",
            "by": "torch",
            "k": 3,
            "s": 2,
            "p": 2,
            "o": 1,
            "d": 2,
            "h": 4,
            "w": 5,
        },  # mUnet's head
        {"op": "transposed", "by": "torch", "k": 1, "s": 3, "p": 0, "o": 2, "d": 1, "h": 3, "w": 4},
        {
            "op": "transposed",
            "by": "torch",
            "k": 1,
            "s": 1,
            "p": 2,
            "o": 0,
            "d": 1,
            "h": 3,
            "w": 4,
        },  # nothing left
        {"op": "transposed", "by": "torch", "k": 3, "s": 2, "p": 0, "o": 2, "d": 1, "h": 3, "w": 4},
        {"op": "conv", "by": "torch", "k": 5, "s": 1, "p": 0, "o": 0, "d": 2, "h": 6, "w": 9},  # does not fit
        {"op": "conv", "by": "keras", "same": "same", "k": 3, "s": 2, "o": None, "d": 2, "h": 6, "w": 9},
        {"op": "transposed", "by": "keras", "same": "same", "k": 3, "s": 2, "o": 2, "d": 1, "h": 4, "w": 5},
        {"op": "transposed", "by": "keras", "same": "same", "k": 4, "s": 2, "o": 0, "d": 1, "h": 4, "w": 5},
        {"op": "up", "by": "torch", "mode": "bilinear", "k": 3, "s": 3, "p": 1, "d": 1, "h": 3, "w": 4},
    ]
    for op in ("conv", "transposed", "up"):
        for by in ("torch", "keras"):
            for _ in range(16):
                s = drawn.choice((1, 2, 2, 3, 4))
                kept.append({
                    "op": op, "by": by, "k": drawn.randint(1, 5), "s": s, "d": drawn.choice((1, 1, 1, 2, 3)),
                    "p": drawn.randint(0, 3), "same": drawn.choice(("valid", "same")),
                    "o": drawn.choice((None, 0, 1, 2)) if by == "keras" else drawn.randint(0, max(s - 1, 1)),
                    "mode": drawn.choice(("nearest", "bilinear")), "h": drawn.randint(1, 6), "w": drawn.randint(2, 7),
                })  # fmt: skip
    return [{"p": 0, "same": "valid", "mode": "nearest", "o": 0, **setting} for setting in kept]


def shown(browser: str, wanted: list[Setting], tmp_path: Path) -> list[dict[str, Any]]:
    script = READ.replace("SETTINGS", json.dumps(wanted))
    found: list[dict[str, Any]] = in_browser(browser, FOLDER, "index.html", script, tmp_path / "profile")
    return found


def kernel_of(setting: Setting) -> Any:
    return np.arange(1.0, setting["k"] ** 2 + 1).reshape(setting["k"], setting["k"])


def run_torch(code: str, images: Any, kernel: Any) -> Any:
    """What the page's PyTorch lines give for images (N, H, W)."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    import torch_impl.layers

    names: dict[str, Any] = {"nn": nn, "F": F, "torch_impl": torch_impl}
    make, run = code.splitlines()
    exec(make, names)
    layer = names["layer"].double()
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(kernel)[None, None])
        layer.bias.fill_(0)
        names["x"] = torch.as_tensor(images)[:, None]
        exec(run, names)
    return names["y"][:, 0].numpy()


def run_keras(code: str, images: Any, kernel: Any) -> Any:
    """What the page's Keras lines give for images (N, H, W)."""
    import keras

    import tf_impl.layers

    names: dict[str, Any] = {"keras": keras, "tf_impl": tf_impl, "x": images[..., None]}
    make, run = code.splitlines()
    exec(make, names)
    layer = names["layer"]
    if not layer.built:
        layer.build((None, None, None, 1))
    layer.kernel.assign(kernel[..., None, None])
    layer.bias.assign(np.zeros(1))
    exec(run, names)
    return keras.ops.convert_to_numpy(names["y"])[..., 0]


def dense(setting: Setting, page: dict[str, Any]) -> Any:
    matrix = np.zeros((len(page["y"]), setting["h"] * setting["w"]))
    for line in filter(None, page["entries"].split("\n")):
        row, column, value = line.split(" ")
        assert matrix[int(row), int(column)] == 0, "one line an entry"
        matrix[int(row), int(column)] = float(value)
    return matrix


def check(setting: Setting, page: dict[str, Any]) -> None:
    """The pixels, the counts, the matrix, the size and both codes of one setting."""
    kernel, h, w = kernel_of(setting), setting["h"], setting["w"]
    image = np.arange(1.0, h * w + 1).reshape(h, w)
    assert page["input"] == list(range(1, h * w + 1))
    assert page["kernel"] == list(range(1, setting["k"] ** 2 + 1))
    impulses = np.concatenate([np.eye(h * w).reshape(-1, h, w), image[None]])
    height, width = map(int, page["size"].split(" × "))
    code = page["keras"]
    if page["kerasRefused"]:
        with pytest.raises(Exception, match=r"dilation|[Ii]nvalid|size|shape"):
            run_keras(code, impulses, kernel)
        code = re.sub(r"strides=", "stride=", code.replace("dilation_rate", "dilation"))
        code = code.replace("keras.layers.Conv2DTranspose(1", "tf_impl.layers.Conv2DTranspose(1, 1")
    runs = [(run_torch, page["torch"]), (run_keras, code)]
    matrix = dense(setting, page)
    for run, code in runs:
        found = run(code, impulses, kernel)
        assert found.shape[1:] == (height, width), code
        # TensorFlow's bilinear resize keeps its shares in float32, whatever the dtype of the images.
        close = 2.0**-20 if run is run_keras and setting["mode"] == "bilinear" else 1e-12
        tight = {"rtol": close, "atol": close, "err_msg": code}
        np.testing.assert_allclose(matrix, found[:-1].reshape(h * w, -1).T, **tight)
        # The page rounds a pixel to two decimals.
        np.testing.assert_allclose(page["y"], found[-1].reshape(-1), rtol=close, atol=0.00501, err_msg=code)
        ones = run(code, np.ones((1, h, w)), np.ones_like(kernel))
        np.testing.assert_allclose(page["count"], ones.reshape(-1), atol=0.00501, err_msg=code)
    assert (
        int(page["stored"]) == len(page["entries"].split("\n")) if page["entries"] else page["stored"] == "0"
    )
    sizes = [int(line.rpartition(" = ")[2]) for line in page["formula"] if " = " in line]
    assert sizes == ([height] if h == w else [height, width])
    for line in page["formula"]:
        if " = " in line:
            assert arithmetic(line.rpartition(" = ")[0]) == int(line.rpartition(" = ")[2]), line


def arithmetic(line: str) -> int:
    """The value of a formula as the page writes it, with its numbers put in."""
    text = line.replace("−", "-").replace("·", "*").replace("mod", "%")
    text = re.sub(r"⌊(.*?) / (\d+)⌋", r"((\1) // \2)", text)
    text = re.sub(r"⌈(\d+) / (\d+)⌉", r"(-(-\1 // \2))", text)
    return int(eval(text, {"max": max}))


def build(setting: Setting) -> None:
    """Make and run the setting with the project's own code, or with Keras itself where the meaning is Keras'."""
    import keras
    import torch

    from tf_impl import layers as ours
    from torch_impl import layers as theirs
    from torch_impl.ops import conv_output_size, conv_transpose_output_size

    k, s, p, o, d = (setting[name] for name in "kspod")
    size = (setting["h"], setting["w"])
    if setting["op"] == "transposed" and setting["by"] == "torch":
        conv_transpose_output_size(size, k, s, p, o, d)
    elif setting["op"] == "transposed":
        arguments = {"stride": s, "padding": setting["same"], "output_padding": o, "dilation": d}
        theirs.Conv2DTranspose(1, 1, k, **arguments)(torch.zeros(1, 1, *size))
        ours.Conv2DTranspose(1, 1, k, **arguments)(np.zeros((1, *size, 1)))
    elif setting["op"] == "conv" and setting["by"] == "keras":
        layer = keras.layers.Conv2D(1, k, strides=s, padding=setting["same"], dilation_rate=d)
        layer(np.zeros((1, *size, 1)))
    else:
        scale, stride = (s, 1) if setting["op"] == "up" else (1, s)
        pad = p if setting["by"] == "torch" else 0
        conv_output_size((size[0] * scale, size[1] * scale), k, stride, pad, d)


@pytest.mark.parametrize("browser", BROWSERS)
def test_the_page_shows_the_numbers_of_both_halves(browser: str, tmp_path: Path) -> None:
    needs("torch")
    needs("keras")
    wanted = settings() if browser == "chromium" else settings()[::3]
    pages = shown(browser, wanted, tmp_path)
    import keras

    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # an earlier layer may have settled it
    refused = 0
    try:
        for setting, page in zip(wanted, pages, strict=True):
            if "refused" in page:
                refused += 1
                said = page["refused"].partition(";")[0]
                own = setting["op"] == "conv" and setting["by"] == "keras"  # Keras' own words there
                with pytest.raises(Exception, match="." if own else re.escape(said)):
                    build(setting)
            else:
                check(setting, page)
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(policy)
    assert len(wanted) // 20 <= refused <= len(wanted) // 2


def test_the_matrix_is_that_of_ops(tmp_path: Path) -> None:
    needs("torch")
    needs("keras")
    from tf_impl import ops as ours
    from torch_impl import ops as theirs

    wanted = [each for each in settings() if each["op"] != "up" and each["by"] == "torch"]
    for setting, page in zip(wanted, shown("chromium", wanted, tmp_path), strict=True):
        if "refused" in page:
            continue
        arguments = [setting[name] for name in "spd"]
        for half in (ours, theirs):
            if setting["op"] == "conv":
                found = half.conv_matrix(kernel_of(setting), (setting["h"], setting["w"]), *arguments)
                size = half.conv_output_size((setting["h"], setting["w"]), setting["k"], *arguments)
            else:
                big = half.conv_transpose_output_size(
                    (setting["h"], setting["w"]), setting["k"], *[setting[name] for name in "spod"]
                )
                if half.conv_output_size(big, setting["k"], *arguments) != (setting["h"], setting["w"]):
                    continue  # output_padding of a stride or more: no convolution has this transpose
                found, size = half.conv_transpose_matrix(kernel_of(setting), big, *arguments), big
            assert page["size"] == f"{size[0]} × {size[1]}"
            np.testing.assert_array_equal(np.asarray(found), dense(setting, page))


KEYS = """
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
document.querySelector('#output [tabindex="0"]').focus();
const seen = [];
for (const key of ["ArrowRight", "ArrowDown", "End", "Home", "ArrowUp", "ArrowUp"]) {
  press(key);
  const cell = document.activeElement;
  seen.push([cell.dataset.row, cell.dataset.column, document.getElementById("equation").textContent,
    [...document.querySelectorAll("#input .tap")].map((each) => `${each.dataset.row},${each.dataset.column}`).join(" ")]);
}
document.querySelector('#input [tabindex="0"]').focus();
seen.push(["", "", document.getElementById("equation").textContent,
  [...document.querySelectorAll("#output .tap")].map((each) => `${each.dataset.row},${each.dataset.column}`).join(" ")]);
const unnamed = [...document.querySelectorAll("input, select, button, [role=grid], [role=gridcell], canvas")]
  .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim() || each.closest("label")));
return {seen, stops: document.querySelectorAll('.grid [tabindex="0"]').length, unnamed: unnamed.length};
"""


@pytest.mark.parametrize("browser", BROWSERS)
def test_the_grids_are_walked_by_keyboard_and_everything_has_a_name(browser: str, tmp_path: Path) -> None:
    found = in_browser(browser, FOLDER, "index.html", KEYS, tmp_path / "profile")
    places = [(row, column) for row, column, *_ in found["seen"]]
    assert places[:6] == [("0", "1"), ("1", "1"), ("1", "8"), ("1", "0"), ("0", "0"), ("0", "0")]
    assert found["seen"][1][2] == (  # a 4 x 5 image, kernel 3, stride 2, padding 1
        "y[1, 1] = K[2, 2]·x[0, 0] + K[2, 0]·x[0, 1] + K[0, 2]·x[1, 0] + K[0, 0]·x[1, 1] = 48"
    )
    assert found["seen"][1][3] == "0,0 0,1 1,0 1,1"
    assert found["seen"][6][2] == (
        "x[0, 0] reaches y[0, 0] by K[1, 1], y[0, 1] by K[1, 2], y[1, 0] by K[2, 1], y[1, 1] by K[2, 2]"
    )
    assert found["seen"][6][3] == "0,0 0,1 1,0 1,1"
    assert found["stops"] == 3  # one stop a grid: input, output, counts
    assert found["unnamed"] == 0


FITS = """
const settings = SETTINGS;
return settings.map((setting) => {
  write(setting);
  show();
  const wide = [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > innerWidth + 1
    && !each.closest("pre, .skip"));
  return [document.documentElement.scrollWidth - innerWidth, wide.map((each) => each.id || each.className || each.tagName)];
});
"""


@pytest.mark.parametrize("width", [500, 1280])
def test_nothing_overflows(width: int, tmp_path: Path) -> None:
    script = FITS.replace("SETTINGS", json.dumps(settings()))
    for overflow, names in in_browser("chromium", FOLDER, "index.html", script, tmp_path / "p", width=width):
        assert overflow <= 0, names
        assert not names
