"""Writes the port of a model, proves it, and says in the file what was proved."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from parity.adapters import adapt, side_of
from parity.adapters.inputs.orders import order_of
from parity.adapters.inputs.wanted import Wanted, arrays_of
from parity.adapters.probe import as_list, random_inputs
from parity.adapters.spec import load_model, maker
from parity.core.environment import environment
from parity.core.errors import UsageError, in_a_line
from parity.core.files.whole_file import whole_file
from parity.core.types import Array, Side
from parity.core.verdict import Verdict, verdict_of
from parity.porting.by_class import ClassProof, each_class
from parity.porting.docstring import with_proofs
from parity.porting.elsewhere import further_backends
from parity.porting.proof import SUFFIXES, PortCheck, built, carried, prove, state
from parity.porting.sizes import further_inputs
from parity.porting.written import Unwritten, WrittenPort
from parity.verdict.runs import progress
from parity.weights.checkpoint import save_weights, side_of_file


@dataclass
class Port:
    """A port that was written, and what is proved of it.

    Attributes:
        source: what was ported, as it was named.
        side: the framework of the port, "keras" or "torch".
        written: the text, the classes and what could not be written.
        proofs: one for each thing that was tried.
        modules: the modules of the source one by one, where the whole is not equal or not whole.
        environment: versions and settings that the proofs rest on.
        unsaved: why the weights that were asked for could not be written; empty where they were, or were not asked for.
    """

    source: str
    side: Side
    written: WrittenPort
    proofs: list[PortCheck] = field(default_factory=list)
    modules: list[ClassProof] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    unsaved: str = ""

    @property
    def unwritten(self) -> tuple[Unwritten, ...]:
        """What could not be written."""
        return self.written.unwritten

    @property
    def wrong(self) -> list[ClassProof]:
        """The innermost modules that the port computes otherwise."""
        return [one for one in self.modules if one.verdict is Verdict.DIVERGED]

    @property
    def verdict(self) -> Verdict:
        """EQUAL where the whole source was written and every proof holds."""
        parts = [proof.verdict for proof in self.proofs]
        return verdict_of((), evaluated=bool(parts) and not self.unwritten, parts=parts)

    @property
    def text(self) -> str:
        """The source text, with what was proved in its docstring."""
        return with_proofs(self.written.text, self.source, self.proofs, self.environment)

    @property
    def exit_code(self) -> int:
        """0 written and EQUAL; 1 written and not EQUAL, or without its weights; 2 not all of it could be written."""
        if self.unwritten:
            return Verdict.INCONCLUSIVE.exit_code
        whole = self.verdict is Verdict.EQUAL and not self.unsaved
        return Verdict.EQUAL.exit_code if whole else Verdict.DIVERGED.exit_code


def port(
    source: Any,
    inputs: Any = None,
    *,
    output: str | Path | None = None,
    weights: str | Path | None = None,
    to: Side | None = None,
    layout: str | None = None,
    library: bool = False,
    proved: bool = True,
    quick: bool = False,
    steps: int | None = None,
    seed: int = 0,
) -> Port:
    """Write a model in the other framework, and prove the result equal.

    Args:
        source: "module:attribute" or "file.py:attribute(arguments)" of the model; a function without arguments that
            builds it; or a Keras model. A torch module itself does not say how it was built.
        inputs: an input in the Keras layout (N, H, W, C), a list of them, or a dictionary by name; None draws what a
            Keras model declares.
        output: where the source text goes; None writes no file.
        weights: where the source's weights go, in the port's format: .weights.h5, .keras, .safetensors or .pt.
        to: "keras" or "torch", which the port is written in; None takes the one that the source is not in.
        layout: the order of axes in which torch takes the inputs, as for `compare`; None: images channels first.
        library: take layers from `tf_impl.layers` or `torch_impl.layers` where they compute what a helper in the file
            would; the port then needs this package.
        proved: prove the port; False writes it alone.
        quick: prove it on the one input, another size, and saved and loaded; no further probes, training or backends.
        steps: training steps that are compared; None means three.
        seed: of the random weights that the proof uses. The source gets its own weights back.

    Returns:
        The text and the proofs. `verdict` is EQUAL where everything was written and proved.

    Raises:
        UsageError: the source is no model, does not say what it takes, or does not run on the inputs.
    """
    build, name = _builder(source)
    if quick and steps is not None:
        raise UsageError(
            "a quick proof trains nothing; got a number of training steps. Leave one of them out."
        )
    progress.at("reading the source")
    model = build()
    side = side_of(model)
    if side is None:
        raise UsageError(f"{name} must give a Keras model or a torch module; got {type(model).__name__}.")
    if side == "keras" and side_of(source) is None:
        model = _noted(build, model)
    target: Side = "keras" if side == "torch" else "torch"
    if to not in (None, target):
        raise UsageError(
            f"a port is written in the framework that its source is not in; got {name}, a {side} model, to be written "
            f"in {to}. Name another model, or ask for {target}."
        )
    _writable(output, weights, target)
    values = _given(inputs, model if side == "keras" else None, seed)
    taken = _torch_layout(as_list(values), layout) if side == "torch" else as_list(values)
    written = _written(side, build, model, taken if side == "torch" else values, library)
    made = Port(name, target, written, environment=environment())
    own = state(model) if proved or weights else {}
    try:
        with _file(written.text) as file:
            if proved:
                spec = source if isinstance(source, str) and not quick else ""
                _prove(made, model, file, values, taken, steps or 3, seed, spec=spec, quick=quick)
                _place(made, file, str(output or "port.py"))
            if output is not None:
                _save(Path(output), made.text)
            if weights:
                made.unsaved = _carry(made, model, file, values, own, Path(weights))
    finally:
        for path, value in own.items():
            adapt(model).write(path, value)
    return made


def _place(made: Port, file: Path, name: str) -> None:
    """Let what was found name the port's own file, and its lines behind the docstring that says what was found."""
    at = re.compile(rf"{re.escape(str(file))}(?::(\d+))?")
    proofs, modules, shift = made.proofs, made.modules, 0
    for _ in range(4):  # the docstring may grow by the digits of the lines that it names

        def placed(text: str, shift: int = shift) -> str:
            return at.sub(lambda found: f"{name}:{int(found[1]) + shift}" if found[1] else name, text)

        made.proofs = [replace(one, text=placed(one.text)) for one in proofs]
        made.modules = [replace(one, text=placed(one.text)) for one in modules]
        grown = made.text.count("\n") - made.written.text.count("\n")
        if grown == shift:
            return
        shift = grown


def _writable(output: str | Path | None, weights: str | Path | None, target: Side) -> None:
    """Refuse files that could not be written, before anything is computed for them."""
    if output is not None and Path(output).is_dir():
        raise UsageError(f"the port must go to a file; got the folder {output}. Name a file in it.")
    if weights is not None and side_of_file(Path(weights)) != target:
        raise UsageError(
            f"the weights of a {target} port end in {SUFFIXES[target]} or the like; got {weights}. Change the suffix."
        )


def _carry(made: Port, model: Any, file: Path, values: Any, own: dict[str, Array], weights: Path) -> str:
    """Write the source's own weights for the port; why not, where they cannot be."""
    if made.unwritten:
        return "the port has steps that are not written"
    try:
        last = built(file, values)
        carried(model, last, values, own, made.written.layouts or None)
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_weights(last, weights)
    except Exception as error:  # the port's own code raises what it likes
        return in_a_line(error)
    return ""


def _prove(
    made: Port,
    model: Any,
    file: Path,
    values: Any,
    taken: list[Array],
    steps: int,
    seed: int,
    *,
    spec: str,
    quick: bool,
) -> None:
    """Add the proofs; where the whole is not equal, or not whole, each class alone."""
    if not made.unwritten:
        layout = made.written.layouts or None
        made.proofs += prove(model, file, values, steps=steps, seed=seed, quick=quick, layout=layout)
        if made.verdict is Verdict.EQUAL and spec and made.side == "keras":
            progress.at("backends")
            made.proofs += further_backends(spec, file, values, seed)
    if made.unwritten or made.proofs[0].verdict is not Verdict.EQUAL:
        progress.at("classes one by one")
        copied = bool(made.proofs) and made.proofs[0].report is not None
        try:
            whole = load_model(f"{file}:build")
            if copied:
                carried(model, whole, values, state(model), made.written.layouts or None)
        except (
            Exception
        ) as error:  # a port that cannot even be made has no parts to try; the first proof says so
            if made.unwritten:
                made.proofs.append(
                    PortCheck("outputs", Verdict.INCONCLUSIVE, f"build() raised {in_a_line(error)}")
                )
            return
        made.modules += each_class(model, whole, taken, made.written.classes, copied=copied)


def _noted(build: Callable[[], Any], model: Any) -> Any:
    """A Keras model made anew where its classes are the user's, so that their constructors' arguments are known."""
    from parity.adapters.keras.recording.made_with import has_own_classes, noted_arguments

    if not has_own_classes(model):
        return model
    with noted_arguments():
        return build()


def _builder(source: Any) -> tuple[Callable[[], Any], str]:
    """(a function that builds the model, its name)."""
    if isinstance(source, str):
        return maker(source), source
    if side_of(source) == "keras":
        return lambda: source, type(source).__name__
    if side_of(source) == "torch":
        raise UsageError(
            "a torch module must be named or given as a function, because its source is read while it is built; got "
            f"a {type(source).__name__}. Pass 'module:attribute(arguments)', or lambda: {type(source).__name__}(...)."
        )
    if callable(source):
        return source, getattr(source, "__qualname__", type(source).__name__)
    raise UsageError(f"a port needs a model; got {type(source).__name__}. Name it as 'module:attribute'.")


def _given(inputs: Any, keras_model: Any, seed: int) -> Any:
    """The inputs as arrays; what the command line wants is drawn, and what a Keras model declares where none are given."""
    if inputs is None:
        return _declared(keras_model, seed)
    wanted = isinstance(inputs, Sequence) and bool(inputs) and isinstance(inputs[0], Wanted)
    return arrays_of(inputs, keras_model, seed) if wanted else inputs


def _declared(model: Any, seed: int) -> list[Array]:
    """The first drawn inputs that a Keras model takes."""
    if model is None:
        raise UsageError(
            "what a torch module takes must be given; got no inputs. Pass inputs= in the Keras layout: an array "
            "(N, H, W, C), a list, or a dictionary by name."
        )
    adapter, said = adapt(model), ""
    for values in random_inputs(adapter, seed):
        try:
            adapter.forward(values)
        except Exception as error:  # the source's own code: these sizes are not for it
            said = said or in_a_line(error)
        else:
            return values
    raise UsageError(
        f"the source must run on what it declares; got {said}. Pass inputs= that it takes, or --input on the command line."
    )


def _torch_layout(values: list[Array], layout: str | None) -> list[Array]:
    """The inputs as torch takes them: images and volumes channels first, all others as they are."""
    found = []
    for value in values:
        order = order_of(layout or ("channels-first" if value.ndim > 3 else "same"), value.ndim)
        if order is None:
            raise UsageError(f"--layout must fit an input of shape {value.shape}; got {layout!r}.")
        found.append(np.ascontiguousarray(value.transpose(order)))
    return found


def _written(side: str, build: Callable[[], Any], model: Any, taken: Any, library: bool) -> WrittenPort:
    if side == "torch":
        from parity.porting.to_keras.write import write as to_keras

        adapter = adapt(model)
        more = further_inputs(adapter, taken)
        first, second = (None if values is None else adapter.tensors(values) for values in (taken, more))  # type: ignore[attr-defined]
        return to_keras(build, first, second_inputs=second, library=library)
    from parity.porting.to_torch.write import write as to_torch

    return to_torch(model, taken, library=library)


@contextmanager
def _file(text: str) -> Iterator[Path]:
    """The text as a file of its own."""
    with tempfile.TemporaryDirectory(prefix="parity-port-") as folder:
        file = Path(folder) / "port.py"
        file.write_text(text, encoding="utf-8")
        yield file


def _save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
