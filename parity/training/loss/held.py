"""What the Keras loss holds in addition to the loss function, in fit(): and whether torch's loss holds the same."""

from __future__ import annotations

from parity.core.finding import Finding, Fix, Kind
from parity.training.bench import Bench

SAME = 1e-10
"""How far two losses of the same outputs may be from one another, relatively."""


def settle(bench: Bench) -> None:
    """Decide what the Keras loss holds: what its layers add in fit(), and the regularisers where torch's loss does.

    A loss that torch's side does not hold is a difference where both losses were given. Without a loss, torch's side
    had no place to state it, so that it is named as not compared.
    """
    trainer, result = bench.trainers.keras, bench.result
    if not bench.own_loss:
        for source, value in bench.extras:
            text = (
                f"not compared: fit() adds the {source} to the Keras loss (here {value:.6g}). Give "
                "loss=(Keras loss, torch loss), where torch's loss adds the same"
            )
            result.findings.append(Finding(None, None, Kind.NOT_COMPARED, None, text))
        return
    penalty = trainer.penalty()
    if not bench.extras and not penalty:
        return
    trainer.with_extras = True
    with bench.unchanged():
        passes = bench.evaluate(False, bench.targets(0))
    added, torch = sum(value for _, value in passes.keras.extras), passes.torch.loss
    plain = passes.keras.loss - added
    for extras, penalties in ((True, False), (True, True), (False, False), (False, True)):
        loss = plain + extras * added + penalties * penalty
        if abs(loss - torch) <= SAME * abs(torch):
            trainer.with_extras, trainer.with_penalties = extras, penalties
            break
    if not trainer.with_extras:
        sources = ", ".join(dict.fromkeys(source for source, _ in passes.keras.extras))
        text = (
            f"fit() adds the {sources} to the Keras loss (here {added:.6g}), and torch's loss has nothing like it: "
            f"without it both losses are {plain + trainer.with_penalties * penalty:.10g}"
        )
        fix = Fix("take it off the Keras layers", "add the same to torch's loss",
                  "add the same to torch's loss, or take it off the Keras layers")  # fmt: skip
        result.findings.append(Finding(None, None, Kind.TRAINING, None, text, fix, True))
