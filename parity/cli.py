"""The command line: parity check | repro | convert | models | causes | doctor.

Exit codes: 0 equal or done; 1 diverged; 2 usage error, or a comparison that could not be made.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.adapters.frameworks import import_frameworks
from parity.core.errors import UsageError
from parity.core.verdict import Verdict, verdict_of

if TYPE_CHECKING:
    from parity.report.result import Result

EQUAL, FAILED = Verdict.EQUAL.exit_code, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    options = _parser().parse_args(arguments)
    try:
        if options.frameworks:
            import_frameworks()
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EQUAL
    except (UsageError, OSError) as error:
        print(f"parity: {error}", file=sys.stderr)
    except Exception as error:  # a model's own code raises what it likes: its traceback says where
        if type(error).__name__ != "DatasetError":
            traceback.print_exc()
        print(f"parity: could not go on; got {type(error).__name__}: {error}", file=sys.stderr)
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parity", description="Are a Keras model and a torch module the same?"
    )
    parser.set_defaults(frameworks=True)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser(
        "check", help="copy weights, evaluate both sides, compare", description=_check.__doc__
    )
    check.add_argument(
        "names", nargs="*", metavar="NAME", help="pairs of the catalogue (parity models lists them)"
    )
    check.add_argument(
        "--all", action="store_true", help="every pair of the catalogue, the largest with fewer channels"
    )
    check.add_argument(
        "--keras", metavar="M:A", help="Keras model: module:attribute, file.py:attribute, ...:Name(depth=8)"
    )
    check.add_argument("--torch", metavar="M:A", help="torch module, named likewise")
    check.add_argument(
        "--input", metavar="NxHxWxC", action="append", help="shape of a random input, in the Keras layout"
    )
    check.add_argument(
        "--data", type=Path, metavar="PATH", help="data-set file or folder for the shapes images"
    )
    check.add_argument(
        "--mapping", type=Path, metavar="F", help="JSON file {Keras path: torch path} for names that differ"
    )
    check.add_argument(
        "--dtype", choices=("float64", "float32", "float16", "bfloat16"), help="default: float64 and float32"
    )
    check.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    check.add_argument("--gradients", action="store_true", help="compare gradients too")
    check.add_argument("--train-steps", type=int, default=0, metavar="N", help="compare N training steps too")
    check.add_argument(
        "--optimizer", metavar="NAME", help="sgd, sgd-nesterov, adam, adamw or rmsprop; default: sgd"
    )
    check.add_argument(
        "--lr", type=float, metavar="X", help="its learning rate; default: one that fits the loss"
    )
    check.add_argument(
        "--match-rules",
        action="store_true",
        help="judge training with one rule where the frameworks' own rules differ, and note these",
    )
    check.add_argument("--transfer", choices=("both", "torch-to-keras", "keras-to-torch", "none"), default="both",
                       help="which way to copy random weights first; none compares the weights as they are")  # fmt: skip
    check.add_argument(
        "--json",
        type=Path,
        metavar="F",
        help="write the results as JSON, and the tensors of the findings beside it",
    )
    check.add_argument("--html", type=Path, metavar="F", help="write the results as one HTML page")
    check.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="pairs checked at a time; default: %(default)s"
    )
    check.add_argument("--seed", type=int, default=0, metavar="N", help="of random weights and inputs")
    check.set_defaults(run=_check)

    repro = commands.add_parser(
        "repro", help="write a script that shows one finding", description=_repro.__doc__
    )
    repro.add_argument("report", type=Path, metavar="REPORT.json", help="what check --json or to_json wrote")
    repro.add_argument("--finding", type=int, required=True, metavar="K", help="its number, counted from 1")
    repro.add_argument("--pair", metavar="NAME", help="of which pair, where the report holds several")
    repro.add_argument("-o", "--output", type=Path, required=True, metavar="F.py", help="the script to write")
    repro.set_defaults(run=_repro, frameworks=False)

    models = commands.add_parser("models", help="list the catalogue", description=_models.__doc__)
    models.add_argument("--json", type=Path, metavar="F", help="write the list as JSON")
    models.set_defaults(run=_models)

    causes = commands.add_parser("causes", help="list the known causes", description=_causes.__doc__)
    causes.add_argument("--json", type=Path, metavar="F", help="write the list as JSON")
    causes.set_defaults(run=_causes, frameworks=False)

    doctor = commands.add_parser("doctor", help="look at the environment", description=_doctor.__doc__)
    doctor.set_defaults(run=_doctor)

    convert = commands.add_parser("convert", help="carry a weight file over", description=_convert.__doc__)
    convert.add_argument("source", type=Path, metavar="SRC", help=".pt .pth .safetensors .weights.h5 .keras")
    convert.add_argument(
        "destination", type=Path, metavar="DST", help="likewise; the suffix decides the format"
    )
    convert.add_argument(
        "--model", metavar="NAME", help="pair of the catalogue, for example mUnet or 'mUnet(depth=8)'"
    )
    convert.add_argument("--keras", metavar="M:A", help="Keras model: module:attribute")
    convert.add_argument("--torch", metavar="M:A", help="torch module: module:attribute")
    convert.add_argument("--mapping", type=Path, metavar="F", help="JSON file {Keras path: torch path}")
    convert.set_defaults(run=_convert)
    return parser


def _check(options: argparse.Namespace) -> int:
    """Copy weights both ways, evaluate both sides on the same pictures, and compare element by element."""
    from parity.report import files, text

    pairs = _pairs(options)
    width = max(len(text.short(pair["name"])) for pair in pairs)
    results = []
    print(text.header(width))
    for result in _results(pairs, options):
        _progress("")
        print(text.row(result, width), flush=True)
        for line in text.listed(result.findings):
            print(line)
        results.append(result)
    if options.json:
        files.write_json(options.json, results)
    if options.html:
        files.write_html(options.html, results)
    verdicts = [result.verdict for result in results]
    for name in (result.name for result in results if text.short(result.name) != result.name):
        print(f"{text.short(name)} is {name}")
    print(f"{verdicts.count(Verdict.EQUAL)} of {len(verdicts)} EQUAL")
    return verdict_of((), evaluated=bool(results), parts=verdicts).exit_code


def _results(pairs: list[dict[str, Any]], options: argparse.Namespace) -> Iterator[Result]:
    """What checking each pair found, in their order; with --jobs several at a time, each in a process of its own."""
    from parity.check import BOTH

    mapping = _mapping(options.mapping)
    settings: dict[str, Any] = {
        "directions": BOTH if options.transfer == "both" else (options.transfer,),
        "dtype": options.dtype,
        "device": options.device,
        "seed": options.seed,
        **_training(options),
    }
    tasks = [{**settings, **pair, "mapping": mapping or pair["mapping"]} for pair in pairs]
    jobs = min(options.jobs, len(tasks))
    if jobs < 2:
        for number, task in enumerate(tasks, 1):
            _progress(f"[{number}/{len(tasks)}] {task['name']} ...")
            yield _checked(task)
        return
    threads = max((os.cpu_count() or 1) // jobs, 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_few_threads, initargs=(threads,)) as pool:
        for number, future in enumerate([pool.submit(_checked, task) for task in tasks], 1):
            _progress(f"[{number}/{len(tasks)}] {tasks[number - 1]['name']} ...")
            yield future.result()


def _few_threads(threads: int) -> None:
    """Leave the other processes their cores: more threads would only wait for one another."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TF_NUM_INTRAOP_THREADS": str(threads)}


def _checked(task: dict[str, Any]) -> Result:
    import_frameworks()
    from parity.check import check_pair

    return check_pair(task.pop("name"), task.pop("keras"), task.pop("torch"), task.pop("pictures"), **task)


def _pairs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What to check: names, keras and torch specs, and pictures, from the command line."""
    from parity import catalog, samples

    if bool(options.keras) != bool(options.torch):
        raise UsageError("--keras and --torch go together; got one of them. Name both models.")
    if options.keras:
        if options.names or options.all:
            raise UsageError(
                "--keras and --torch name one pair; got catalogue names too. Use one or the other."
            )
        return [{"name": f"{options.keras} ~ {options.torch}", "keras": options.keras, "torch": options.torch,
                 "pictures": {"random input": _random(options)}, "mapping": {}}]  # fmt: skip
    names = options.names
    if options.all:
        names = [entry.name + entry.quick for entry in catalog.entries().values()]
    chosen = [catalog.find(name) for name in names]
    if not chosen:
        raise UsageError(
            "check needs something to check; got no name. Give names, --all, or --keras and --torch."
        )
    pairs = []
    for entry in chosen:
        pictures: dict[str, Any] = {"random input": _random(options)}
        if not options.input:
            count, height, width, channels = entry.input
            size = (64, 64) if channels == 3 else (height, width)
            pictures = {"shapes": samples.shapes((count, *size, channels), options.data, options.seed)}
            photograph = samples.photograph(entry.input, options.seed)
            if photograph is not None:
                pictures["photograph"] = photograph
        pairs.append({"name": entry.name, "keras": entry.keras, "torch": entry.torch, "pictures": pictures,
                      "mapping": dict(entry.mapping)})  # fmt: skip
    return pairs


def _random(options: argparse.Namespace) -> Any:
    """Random input of the shapes asked for; None leaves it to the model's own specification."""
    import numpy as np

    rng = np.random.default_rng(options.seed)
    arrays = []
    for shape in options.input or ():
        try:
            sizes = [int(size) for size in shape.split("x")]
        except ValueError:
            sizes = []
        if not sizes or min(sizes) < 1:
            raise UsageError(f"--input must be sizes joined by x, as in 2x65x96x3; got {shape!r}.")
        arrays.append(rng.standard_normal(sizes).astype(np.float32))
    return (arrays if len(arrays) > 1 else arrays[0]) if arrays else None


def _training(options: argparse.Namespace) -> dict[str, Any]:
    """What `compare` is asked of training; nothing where it is not."""
    if not options.gradients and not options.train_steps:
        return {}
    recipe: dict[str, Any] = {"name": options.optimizer or "sgd"}
    if options.lr is not None:
        recipe["lr"] = options.lr
    return {"gradients": options.gradients, "train_steps": options.train_steps, "match_rules": options.match_rules,
            "optimizer": recipe}  # fmt: skip


def _mapping(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(f"--mapping must be a JSON file of one object; got {path}: {error}.") from error
    if not isinstance(mapping, dict):
        raise UsageError(
            f"--mapping must be a JSON object {{Keras path: torch path}}; got {type(mapping).__name__}."
        )
    return mapping


def _repro(options: argparse.Namespace) -> int:
    """Write a script, and its tensors, that builds a finding's two layers anew and shows the difference without parity."""
    from parity.report.repro.write import write

    tensors = write(options.report, options.finding, options.output, options.pair)
    print(f"{options.output} and {tensors}: run it with python {options.output}")
    return EQUAL


def _models(options: argparse.Namespace) -> int:
    """List every pair: generation, trainable parameters, and source."""
    from parity import catalog
    from parity.adapters.spec import load_model

    rows = []
    for entry in catalog.entries().values():
        module = load_model(entry.torch)
        count = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        rows.append({"name": entry.name, "generation": entry.generation, "source": entry.source, "parameters": count,
                     "keras": entry.keras, "torch": entry.torch})  # fmt: skip
    width = max(len(row["name"]) for row in rows)
    print(f"{'name':<{width}}  generation  {'parameters':>11}  source")
    for row in rows:
        print(f"{row['name']:<{width}}  {row['generation']:<10}  {row['parameters']:>11,}  {row['source']}")
    if options.json:
        _write(options.json, json.dumps(rows, indent=2) + "\n")
    return EQUAL


def _causes(options: argparse.Namespace) -> int:
    """List every known cause: its identifier, what was done, what the difference looks like, and what mends it."""
    from parity.causes import CAUSES
    from parity.report.text import paragraphs

    rows = [asdict(cause) for cause in CAUSES.values()]
    for row in rows:
        print(row["name"])
        for name in ("mechanism", "signature", "fix"):
            print(paragraphs(row[name], f"  {name + ':':<11}"))
    if options.json:
        _write(options.json, json.dumps(rows, indent=2) + "\n")
    return EQUAL


def _doctor(options: argparse.Namespace) -> int:
    """Say what is installed, how it is set, and which known trouble it invites."""
    from parity.doctor import examine

    facts, checks = examine()
    print("  ".join(f"{name} {value}" for name, value in facts.items()))
    for check in checks:
        advice = f" -> {check.advice}" if check.advice else ""
        print(f"{'ok  ' if check.ok else 'FAIL'}  {check.subject}: {check.found}{advice}")
    return EQUAL if all(check.ok for check in checks) else FAILED


def _convert(options: argparse.Namespace) -> int:
    """Read a weight file of one framework and write it for the other; nothing in the file is executed."""
    from parity import catalog
    from parity.weights import checkpoint

    mapping = _mapping(options.mapping)
    if options.model:
        entry = catalog.find(options.model)
        keras, torch, mapping = entry.keras, entry.torch, mapping or dict(entry.mapping)
    elif options.keras and options.torch:
        keras, torch = options.keras, options.torch
    else:
        raise UsageError("convert must know the model; got neither --model nor both of --keras and --torch.")
    count = checkpoint.convert(options.source, options.destination, keras, torch, mapping)
    print(f"{options.destination}: {count} tensors, read back bit for bit")
    return EQUAL


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _progress(line: str) -> None:
    """A line that the next one overwrites, where a person is watching."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
