"""Lay three ports next to their sources: python docs/side_by_side.py [--record [NAME ...]].

With --record the models are ported and proved again (some minutes each); docs/ported/NAME.py and
docs/records/side_by_side.json hold what came out. torchvision's ResNet needs torchvision. Without --record the page
docs/ported/index.html is made from these files and the notes docs/ported/NAME.md.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.metadata
import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from model_pages.side_by_side import Sample, side_by_side_page

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "ported"
RECORD = ROOT / "docs" / "records" / "side_by_side.json"
COMMAND = "python docs/side_by_side.py --record"
SAMPLES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "resnet18": ("ResNet-18 of torchvision, to Keras", "torchvision.models.resnet:resnet18(num_classes=10)",
                 "2x64x96x3", ("conv3x3", "conv1x1", "BasicBlock", "ResNet")),
    "vit": ("A vision transformer, to Keras", "tests.public.torch_models:ViT(size=(64, 96))", "2x64x96x3",
            ("Attention", "Block", "ViT")),
    "written_out": ("A Keras model with layers of its own, to PyTorch", "tests.public.keras_models:WrittenOut",
                    "2x33x49x3", ("ChannelGate", "Scale", "WrittenOut")),
}  # fmt: skip
"""By name: the title, the model as `parity port` takes it, the input in the Keras layout, and what is shown."""


def side(name: str) -> str:
    """The framework that a sample is written in."""
    return "keras" if "keras_models" in SAMPLES[name][1] else "torch"


def source_of(name: str) -> str:
    """The text of the classes and functions that are shown, as the source's file has them."""
    _, spec, _, shown = SAMPLES[name]
    module = spec.partition(":")[0]
    text = (
        inspect.getsource(importlib.import_module(module))
        if module.startswith("torchvision")
        else (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    )
    lines, found = text.splitlines(), []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in shown:
            first = min([node.lineno, *(part.lineno for part in node.decorator_list)])
            found.append("\n".join(lines[first - 1 : node.end_lineno]))
    return "\n\n\n".join(found) + "\n"


def record(names: Sequence[str]) -> None:
    """Port models, and keep the text and what was proved; each is written as soon as it is there."""
    import parity
    from parity.adapters.frameworks import import_frameworks
    from parity.cli.inputs import inputs_of

    import_frameworks()
    if any(SAMPLES[name][1].startswith("torchvision") for name in names):
        from tests.public.one import stub_torchvision

        stub_torchvision()  # its compiled part is not needed
    FOLDER.mkdir(exist_ok=True)
    known: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name in names:
        _, spec, size, _ = SAMPLES[name]
        made = parity.port(spec, inputs_of([size]), output=FOLDER / f"{name}.py", quick=True)
        row: dict[str, Any] = {
            "command": f'parity port --{side(name)} "{spec}" --input {size} -o {name}.py --quick',
            "to": made.side,
            "verdict": str(made.verdict),
            "proofs": {proof.name: [str(proof.verdict), proof.text] for proof in made.proofs},
            "versions": ", ".join(
                f"{key} {made.environment[key]}" for key in ("keras", "tensorflow", "torch")
            ),
        }
        if spec.startswith("torchvision"):
            package = importlib.metadata.distribution("torchvision")
            row["version"] = package.version
            row["source"] = source_of(name)
            row["licence"] = _licence(package)
            _put_licence(FOLDER / f"{name}.py", row["licence"])
        known[name] = row
        RECORD.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(name, made.verdict, *map(str, (*made.unwritten, *made.proofs)), sep="\n  ", flush=True)


def _licence(package: importlib.metadata.Distribution) -> str:
    """The licence that a package brings with it."""
    files = [
        file for file in package.files or () if file.name.startswith("LICENSE") and ".dist-info" in str(file)
    ]
    return files[0].read_text().strip()


def _put_licence(path: Path, licence: str) -> None:
    """Put the licence of the source above the port that is derived from it."""
    said = "\n".join(f"# {line}".rstrip() for line in licence.splitlines())
    path.write_text(f"{said}\n\n{path.read_text(encoding='utf-8')}", encoding="utf-8")


def _origin(name: str, row: dict[str, Any]) -> str:
    module, _, _ = SAMPLES[name][1].partition(":")
    if "source" in row:
        return (
            f"<code>torchvision/models/resnet.py</code> of torchvision {row['version']}, "
            '<a href="https://github.com/pytorch/vision">github.com/pytorch/vision</a>, BSD 3-Clause. The port is '
            "derived from it, and its file begins with that licence"
        )
    path = f"{module.replace('.', '/')}.py"
    return f'<a href="../../{path}"><code>{path}</code></a>'


def page() -> str:
    """docs/ported/index.html, as the files are now."""
    known = json.loads(RECORD.read_text(encoding="utf-8"))
    samples = [
        Sample(
            name,
            title,
            (FOLDER / f"{name}.md").read_text(encoding="utf-8"),
            known[name],
            known[name].get("source") or source_of(name),
            _origin(name, known[name]),
            known[name].get("licence", ""),
            (FOLDER / f"{name}.py").read_text(encoding="utf-8"),
        )
        for name, (title, *_) in SAMPLES.items()
        if name in known
    ]
    return side_by_side_page(samples, COMMAND)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record anew where that is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--record", nargs="*", metavar="NAME", help=f"port again: all, or some of {', '.join(SAMPLES)}"
    )
    options = parser.parse_args(arguments)
    if options.record is not None:
        record(options.record or list(SAMPLES))
    (FOLDER / "index.html").write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
