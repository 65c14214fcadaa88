"""The parts of an optimizer's rule: what two rules differ in, and a rule with some parts of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from parity.core.rules import Rule


@dataclass(frozen=True)
class Part:
    """One part of a rule.

    Attributes:
        cause: its cause, where a difference has a known name.
        name: what it is called.
        fields: the fields of the rule that it is made of.
        numbers: those that the user sets. Where they are the same, a difference is the frameworks' own; None where
            every difference is the user's.
    """

    cause: str | None
    name: str
    fields: tuple[str, ...]
    numbers: tuple[str, ...] | None = None


PARTS = (
    Part(None, "learning rate", ("rate",)),
    Part("sgd-learning-rate-in-buffer", "learning rate in the velocity", ("rate_in_velocity",), ()),
    Part(None, "momentum", ("momentum",)),
    Part(None, "dampening", ("dampening",)),
    Part(None, "nesterov", ("nesterov",)),
    Part(None, "beta_1", ("beta1",)),
    Part(None, "beta_2", ("beta2",)),
    Part(None, "rho", ("rho",)),
    Part(None, "centered", ("centered",)),
    Part(None, "amsgrad", ("amsgrad",)),
    Part("adam-epsilon", "epsilon", ("epsilon", "epsilon_at"), ("epsilon",)),
    Part("weight-decay-coupling", "weight decay", ("decay", "decoupled"), ("decay",)),
    Part("gradient-clipping", "clipping", ("clip", "limit", "guard", "tensor"), ("clip", "limit", "tensor")),
    Part(None, "gradient accumulation", ("accumulate",)),
    Part(None, "average of the weights (EMA)", ("average", "overwrite")),
    Part(None, "average after every batch", ("average_each",), ()),
    Part(None, "direction", ("maximize",)),
)

DEPENDS = {
    "learning rate in the velocity": "momentum",
    "dampening": "momentum",
    "nesterov": "momentum",
    "average after every batch": "average",
}
"""Parts that do nothing while a number of the rule is zero, on either side."""


def differing_parts(keras: Rule, torch: Rule) -> list[Part]:
    """Parts of two rules that are not the same, whether or not it has an effect."""
    found = []
    for part in PARTS:
        needed = DEPENDS.get(part.name)
        idle = needed is not None and not (getattr(keras, needed) and getattr(torch, needed))
        if not idle and any(getattr(keras, name) != getattr(torch, name) for name in part.fields):
            found.append(part)
    return found


def exchanged(keras: Rule, torch: Rule, parts: Sequence[Part]) -> Rule:
    """The Keras rule with these parts of torch's, and with those that do nothing without them."""
    names = [name for part in parts for name in part.fields]
    for part in PARTS:
        needed = DEPENDS.get(part.name)
        if needed in names and not (getattr(keras, needed) and getattr(torch, needed)):
            names += part.fields
    return replace(keras, **{name: getattr(torch, name) for name in names})


def is_framework_rule(part: Part, keras: Rule, torch: Rule) -> bool:
    """Whether the numbers given are the same on both sides, so that only the frameworks' rules differ."""
    if part.numbers is None:
        return False
    return all(getattr(keras, name) == getattr(torch, name) for name in part.numbers)


# --- in words -------------------------------------------------------------------------------------------

NAMES = {
    "rate": "learning_rate", "beta1": "beta_1", "beta2": "beta_2", "accumulate": "gradient_accumulation_steps",
    "average": "ema_momentum", "overwrite": "ema_overwrite_frequency",
}  # fmt: skip
"""What users call a field, where that is another name."""


def in_words(part: Part, keras: Rule, torch: Rule) -> tuple[str, str]:
    """What the two rules say of this part, and how they are made alike."""
    special = _TEXTS.get(part.name)
    if special is not None:
        return special(keras, torch)
    values = [
        f"{NAMES.get(name, name)}={_value(getattr(keras, name))} in Keras, {_value(getattr(torch, name))} in torch"
        for name in part.fields
        if getattr(keras, name) != getattr(torch, name)
    ]
    return f"{part.name}: {'; '.join(values)}", f"the same {part.name} on both sides"


def _value(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _rate_in_velocity(a: Rule, b: Rule) -> tuple[str, str]:
    text = (
        "Keras' velocity holds the learning rate (v = m*v - lr*g; w += v), torch's does not (v = m*v + g; w -= lr*v): "
        "the same while the learning rate stays, not in the step after it changed"
    )
    return text, (
        "scale the velocity by the ratio of the learning rates when it changes, or use an optimizer with one rule "
        "on both sides (tf_impl.optimizers)"
    )


def _epsilon(a: Rule, b: Rule) -> tuple[str, str]:
    where = {"corrected": "added to the bias-corrected root", "raw": "added to the root before the bias correction",
             "inside": "added under the root"}  # fmt: skip
    if a.algorithm == "rmsprop":
        where["corrected"] = "added to the root"
    text = f"epsilon={a.epsilon:g}, {where[a.epsilon_at]}, in Keras; {b.epsilon:g}, {where[b.epsilon_at]}, in torch"
    return (
        text,
        "an optimizer with one rule on both sides (tf_impl.optimizers); for Adam, torch eps = "
        "Keras epsilon / sqrt(1 - beta2**t)",
    )


def _decay(a: Rule, b: Rule) -> tuple[str, str]:
    how = {
        True: "decoupled (shrinks the weight by lr*decay*w)",
        False: "coupled (decay*w added to the gradient)",
    }
    text = (
        f"weight decay {a.decay:g}, {how[a.decoupled]}, in Keras; {b.decay:g}, {how[b.decoupled]}, in torch"
    )
    ratio = a.decay / b.decay if b.decay else 0.0
    if not a.decoupled and not b.decoupled and abs(ratio - 2.0) < 1e-6:
        return (
            f"{text}: the gradient of Keras' l2(c) is 2*c*w",
            "halve the factor of Keras' l2, or double torch's weight_decay",
        )
    return (
        text,
        "AdamW (decoupled) on both sides, or the decay added to the gradient on both (l2 with half the factor in Keras)",
    )


def _clipping(a: Rule, b: Rule) -> tuple[str, str]:
    def words(rule: Rule) -> str:
        if not rule.clip:
            return "no clipping"
        whole = f", by the norm of the whole tensor {rule.tensor}" if rule.tensor else ""
        return (
            f"{rule.clip} {rule.limit:g}"
            + (f", {rule.guard:g} added to the norm" if rule.guard else "")
            + whole
        )

    fix = (
        "clip alike: Keras' global_clipnorm is torch's clip_grad_norm_ except for 1e-6 on the norm; "
        "Keras' clipnorm is for each variable by itself"
    )
    return f"clipping: Keras: {words(a)}; torch: {words(b)}", fix


def _average(a: Rule, b: Rule) -> tuple[str, str]:
    def words(rule: Rule) -> str:
        if not rule.average:
            return "none"
        often = f", in place of the weights after every {rule.overwrite} updates" if rule.overwrite else ""
        return f"ema_momentum={rule.average:g}{often}"

    text = f"average of the weights (EMA): {words(a)} in Keras, {words(b)} in torch"
    return text, (
        "the same average on both sides: use_ema and ema_momentum in Keras, and {'ema_momentum': ...} with torch's "
        "optimizer (docs/parity.md)"
    )


_TEXTS: dict[str, Callable[[Rule, Rule], tuple[str, str]]] = {
    "learning rate in the velocity": _rate_in_velocity,
    "epsilon": _epsilon,
    "weight decay": _decay,
    "clipping": _clipping,
    "average of the weights (EMA)": _average,
}
