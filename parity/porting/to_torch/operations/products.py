"""Sums, means and products along axes, softmax, attention and resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.porting.to_torch.axes import TorchAxes, images, plain
from parity.porting.to_torch.use import RefusedError, StepUse, flat, literal


def reduced(function: str, **more: Any) -> Callable[[StepUse], None]:
    """A reduction along axes."""

    def rule(use: StepUse) -> None:
        axes, axis, rank = use.axes(use.x), use.get("axis"), len(use.x.shape)
        axes = plain(rank) if axes.flat else axes
        gone = list(range(rank)) if axis is None else [n % rank for n in flat([axis])]
        dims = tuple(sorted(axes.torch(n) for n in gone))
        keep = bool(use.get("keepdims"))
        text = use.take(use.x, axes, atom=True)
        kept = [n for n in axes.order if n not in gone]
        after = axes if keep else TorchAxes(tuple(sorted(kept).index(n) for n in kept))
        if len(dims) == rank and not keep:
            name = {"amax": "max", "amin": "min"}.get(function, function)
            return use.give(f"{text}.{name}({_more(more)})", plain(0))
        dim = literal(dims[0] if len(dims) == 1 else dims)
        if function in ("argmax", "argmin", "prod", "all", "any") and len(dims) > 1:
            raise RefusedError(f"{function} over several axes")
        parts = [dim, *(["keepdim=True"] if keep else []), *([_more(more)] if more else [])]
        return use.give(f"{text}.{function}({', '.join(parts)})", after)

    return rule


def _more(more: dict[str, Any]) -> str:
    return ", ".join(f"{name}={literal(value)}" for name, value in more.items())


def softmax(name: str) -> Callable[[StepUse], None]:
    """softmax and log_softmax."""

    def rule(use: StepUse) -> None:
        axes, axis = use.axes(use.x), use.get("axis", -1)
        axes = plain(axes.rank) if axes.flat else axes
        if not isinstance(axis, int):
            raise RefusedError("a softmax over several axes")
        text = use.take(use.x, axes, atom=True)
        use.give(f"{text}.{name}(dim={axes.torch(axis)})", axes)

    return rule


def matmul(use: StepUse) -> None:
    """matmul, with the axes as Keras has them."""
    first, second = [*use.args, *use.kwargs.values()][:2]
    texts = [use.plainly(value, atom=True) for value in (first, second)]
    use.give(f"{texts[0]} @ {texts[1]}", plain(len(use.step.outputs.shape)), atom=False)


def einsum(use: StepUse) -> None:
    """einsum."""
    texts = ", ".join(use.plainly(tensor) for tensor in use.tensors)
    equation = str(use.get("subscripts")).replace(" ", "")
    use.give(f'torch.einsum("{equation}", {texts})', plain(len(use.step.outputs.shape)))


def cumulated(use: StepUse) -> None:
    """cumsum."""
    axes = use.axes(use.x)
    if use.get("axis") is None:
        raise RefusedError("a cumsum without an axis")
    use.give(f"{use.take(use.x, atom=True)}.cumsum({axes.torch(use.get('axis'))})", axes)


def triangle(name: str) -> Callable[[StepUse], None]:
    """tril and triu."""

    def rule(use: StepUse) -> None:
        k = use.get("k", 0)
        text = use.plainly(use.x, atom=True)
        use.give(f"{text}.{name}({k or ''})", plain(len(use.x.shape)))

    return rule


def normalized(use: StepUse) -> None:
    """normalize: to length one."""
    axes = use.axes(use.x)
    order, epsilon = use.get("order", 2), float(use.get("epsilon") or 1e-12)
    if order != 2:
        raise RefusedError("normalize with another order than 2")
    dim = axes.torch(int(use.get("axis", -1)))
    use.give(f"F.normalize({use.take(use.x)}, dim={dim}, eps={literal(epsilon**0.5)})", axes)


def one_hot(use: StepUse) -> None:
    """one_hot."""
    if use.get("axis", -1) != -1:
        raise RefusedError("a one_hot along another axis than the last one")
    text = f"F.one_hot({use.plainly(use.x)}.long(), {use.get('num_classes')}).to(torch.get_default_dtype())"
    use.give(text, plain(len(use.step.outputs.shape)))


def resize(use: StepUse) -> None:
    """image.resize."""
    mode = {"nearest": "nearest-exact", "bilinear": "bilinear"}.get(use.get("interpolation"))
    if mode is None or use.get("crop_to_aspect_ratio") or use.get("pad_to_aspect_ratio"):
        raise RefusedError(
            f"image.resize with {use.get('interpolation')} interpolation or a kept aspect ratio"
        )
    height, width = use.sizes(use.step.outputs)[1:3]
    size = f"({use.size(height)}, {use.size(width)})"
    more = ", antialias=True" if use.get("antialias") else ""
    use.give(f'F.interpolate({use.as_images(use.x)}, size={size}, mode="{mode}"{more})', images(4))


def attended(use: StepUse) -> None:
    """dot_product_attention over (N, T, heads, features)."""
    query, key, value = (
        use.args[:3] if len(use.args) >= 3 else [use.kwargs[n] for n in ("query", "key", "value")]
    )
    names = ("bias", "mask")
    given = dict(zip(names, use.args[3:], strict=False)) | {k: v for k, v in use.kwargs.items() if k in names}
    if given.get("bias") is not None:
        raise RefusedError("dot_product_attention with a bias")
    texts = [f"{use.plainly(tensor, atom=True)}.transpose(1, 2)" for tensor in (query, key, value)]
    if given.get("mask") is not None:
        texts.append(f"attn_mask={use.plainly(given['mask'])}")
    if use.get("is_causal") or use.kwargs.get("is_causal"):
        texts.append("is_causal=True")
    if use.get("scale") is not None:
        texts.append(f"scale={literal(use.get('scale'))}")
    use.give(f"F.scaled_dot_product_attention({', '.join(texts)}).transpose(1, 2)", plain(4))


def made(use: StepUse) -> None:
    """arange, ones, zeros, full and eye: tensors of numbers alone."""
    name = use.layer.name
    numbers = [value for value in use.args if isinstance(value, int | float)] or list(flat(use.args))
    if name == "arange":
        ends = {**dict(zip(("start", "stop", "step"), numbers, strict=False)), **use.kwargs}
        stop, step = ends.get("stop"), ends.get("step") or 1
        numbers = (
            [ends["start"]]
            if stop is None
            else [ends.get("start") or 0, stop, *([step] if step != 1 else [])]
        )
        numbers = numbers[1:] if len(numbers) == 2 and numbers[0] == 0 else numbers
    dtype = str(use.step.outputs.dtype)
    where = ", device=" + use.body.device(use)
    if name == "arange":
        text = f"torch.arange({', '.join(use.size(n) if isinstance(n, int) else literal(n) for n in numbers)}{where})"
        if dtype.startswith("float") and all(isinstance(n, int) for n in numbers):
            text += ".to(torch.get_default_dtype())"
        return use.give(text, plain(1))
    sizes = ", ".join(map(use.size, use.sizes(use.step.outputs)))
    rank = len(use.step.outputs.shape)
    if name in ("ones", "zeros"):
        kind = "" if dtype.startswith("float") else f", dtype=torch.{dtype}"
        return use.give(
            f"torch.{name}({sizes}{kind}{where})" if rank else f"torch.{name}(()){where}", plain(rank)
        )
    if name == "full":
        value = use.args[1] if len(use.args) > 1 else use.kwargs["fill_value"]
        if not isinstance(value, int | float):
            raise RefusedError("keras.ops.full of a tensor")
        kind = "" if dtype.startswith("float") else f", dtype=torch.{dtype}"
        return use.give(f"torch.full(({sizes},), {literal(value)}{kind}{where})", plain(rank))
    if name == "eye":
        return use.give(f"torch.eye({sizes}{where})", plain(rank))
    raise RefusedError(f"a tensor made by keras.ops.{name}")


RULES = {
    "Mean": reduced("mean"), "Sum": reduced("sum"), "Max": reduced("amax"), "Min": reduced("amin"),
    "Amax": reduced("amax"), "Amin": reduced("amin"), "Prod": reduced("prod"), "Any": reduced("any"),
    "All": reduced("all"), "Argmax": reduced("argmax"), "Argmin": reduced("argmin"),
    "Var": reduced("var", correction=0), "Std": reduced("std", correction=0), "Logsumexp": reduced("logsumexp"),
    "Softmax": softmax("softmax"), "LogSoftmax": softmax("log_softmax"), "Matmul": matmul, "Einsum": einsum,
    "Cumsum": cumulated, "Tril": triangle("tril"), "Triu": triangle("triu"), "Normalize": normalized,
    "OneHot": one_hot, "Resize": resize, "NeighbourSums": resize, "DotProductAttention": attended, "MadeTensor": made,
}  # fmt: skip
