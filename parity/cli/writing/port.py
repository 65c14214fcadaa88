"""parity port: the source of a model in the other framework, and the proof that it is equal."""

from __future__ import annotations

import argparse
import json

from rich.text import Text

from parity.adapters.frameworks import import_frameworks
from parity.adapters.spec import read_spec
from parity.cli.inputs import inputs_of
from parity.cli.terminal import COLOURS, Screen, waiting
from parity.core.errors import UsageError
from parity.core.files.whole_file import whole_file
from parity.core.verdict import Verdict
from parity.porting.port import Port, port
from parity.report.plain import plain

SHOWN = 12


def run(options: argparse.Namespace) -> int:
    """Write a model's source in the other framework, copy its weights, and prove the port equal."""
    spec = _spec(options)
    wanted = inputs_of(options.input) if options.input else None
    screen = Screen()
    with waiting(spec):
        import_frameworks()
        made = port(
            spec,
            wanted,
            output=None if options.dry_run else options.output,
            weights=None if options.dry_run else options.weights,
            to="keras" if options.torch else "torch",
            layout=options.layout,
            library=options.library,
            proved=not options.dry_run,
            quick=options.quick,
            steps=options.train_steps,
            seed=options.seed,
        )
    for line in _lines(made, options):
        screen.show(line)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(options.json) as partial:
            text = json.dumps(to_dict(made, options), indent=2, allow_nan=False)
            partial.write_text(text + "\n", encoding="utf-8")
    if options.dry_run:
        return Verdict.INCONCLUSIVE.exit_code if made.unwritten else Verdict.EQUAL.exit_code
    return made.exit_code


def _spec(options: argparse.Namespace) -> str:
    """The source as one text, once it is known to name something.

    Raises:
        UsageError: no source or two, a torch module without an input, arguments given twice, or no file to write to.
    """
    if bool(options.keras) == bool(options.torch):
        raise UsageError("port needs one source; got none or both. Give --torch M:A or --keras M:A.")
    if options.output is None and not options.dry_run:
        raise UsageError("port needs a file to write; got none. Give -o FILE.py, or --dry-run.")
    if options.torch and not options.input:
        raise UsageError(
            "port needs to know what a torch module takes; got no --input. Give one in the Keras layout: "
            "--input 1x224x224x3."
        )
    spec: str = options.torch or options.keras
    if options.args is not None:
        if "(" in spec:
            raise UsageError(f"arguments must be given once; got {spec!r} and --args. Leave one of them out.")
        spec = f"{spec}({options.args})"
    read_spec(spec)
    return spec


def _lines(made: Port, options: argparse.Namespace) -> list[Text]:
    """What became of it, for a terminal."""
    lines = []
    for proof in made.proofs:
        lines.append(_line(proof.verdict, f"{proof.name}: {proof.text}"))
    right = sum(one.verdict is Verdict.EQUAL for one in made.modules)
    if made.modules:
        lines.append(Text(f"{right} of {len(made.modules)} modules are equal alone"))
    lines += [_line(one.verdict, f"{one.name} at {one.path or 'the root'}: {one.text}") for one in made.wrong]
    if made.unwritten:
        some = "1 step has" if len(made.unwritten) == 1 else f"{len(made.unwritten)} steps have"
        lines.append(Text(f"{some} no counterpart:", "bold yellow"))
        lines += [Text(f"  {one}") for one in made.unwritten[:SHOWN]]
        if len(made.unwritten) > SHOWN:
            lines.append(Text(f"  and {len(made.unwritten) - SHOWN} more (--json holds all)"))
    lines += [Text(f"note: {note}") for note in made.written.notes]
    if options.dry_run:
        lines.append(Text("nothing was written (--dry-run)"))
    else:
        lines.append(Text.assemble(f"{options.output}: ", (str(made.verdict), COLOURS[made.verdict])))
        if options.weights:
            said = f"not written, because {made.unsaved}" if made.unsaved else "the weights of the source"
            lines.append(Text(f"{options.weights}: {said}", "bold yellow" if made.unsaved else ""))
    return lines


def _line(verdict: Verdict, text: str) -> Text:
    return Text.assemble((f"{verdict}  ", COLOURS[verdict]), text)


def to_dict(made: Port, options: argparse.Namespace) -> dict[str, object]:
    """The port as plain values."""
    return {
        "source": made.source,
        "port": None if options.dry_run else str(options.output),
        "weights": str(options.weights) if options.weights and not made.unsaved else None,
        "verdict": str(made.verdict),
        "classes": dict(made.written.classes),
        "proofs": [
            {
                "name": proof.name,
                "verdict": str(proof.verdict),
                "text": proof.text,
                "report": None if proof.report is None else plain(proof.report),
            }
            for proof in made.proofs
        ],
        "modules": [
            {"class": one.name, "path": one.path, "verdict": str(one.verdict), "text": one.text}
            for one in made.modules
        ],
        "unwritten": [
            {
                "operation": one.operation,
                "module": one.module,
                "file": one.file,
                "line": one.line,
                "reason": one.reason,
            }
            for one in made.unwritten
        ],
        "notes": list(made.written.notes),
        "environment": made.environment,
    }
