"""Lay the ports of torch_impl's networks beside their sources and tf_impl's twins: python docs/twin_ports.py [--record].

With --record every network is ported and proved again, on the one input, at a second size, and saved and loaded
(some minutes); docs/ports/NAME.py and docs/records/twin_ports.json hold what came out. Without it the pages
docs/ports/*.html are made from these files and the notes docs/ports/NAME.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from model_pages.ports import PortedNetwork, port_page, ports_page

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "ports"
RECORD = ROOT / "docs" / "records" / "twin_ports.json"
_IMAGE = (2, 33, 50, 3)
NETWORKS: dict[str, tuple[str, str, str, tuple[int, ...]]] = {
    "munet": ("mUnet", "munet.py", "mUnet(depth=4)", (2, 40, 56, 3)),
    "fcn": ("FCN on ResNet-18", "fcn.py", "FCN(width=8)", (2, 65, 98, 3)),
    "fcn_vgg": ("FCN-8s on VGG16", "fcn.py", "VGGFCN(stride=8, hidden=64, width=8)", (2, 19, 34, 3)),
    "unet": ("U-Net", "unet.py", "UNet(width=8)", (2, 188, 204, 1)),
    "deeplab_v2": ("DeepLab v2", "deeplab.py", "DeepLabV2(backbone='resnet18', width=8)", _IMAGE),
    "fcn_dilated": ("Dilated FCN", "deeplab.py", "DilatedFCN(backbone='resnet18', width=8)", _IMAGE),
    "deeplab_v3": ("DeepLab v3", "deeplab.py", "DeepLabV3(backbone='resnet18', channels=32, width=8)", (4, 33, 50, 3)),
    "deeplab_v3_plus": ("DeepLab v3+", "deeplab.py", "DeepLabV3Plus(backbone='resnet18', channels=32, width=8)",
                        (4, 33, 50, 3)),
    "buildingnet": ("BuildingNet", "buildingnet.py", "BuildingNet(width=16)", (4, 33, 50, 3)),
}  # fmt: skip
"""By name: the title, the file in both halves, the call, and the input in the Keras layout."""


def spec_of(name: str) -> str:
    """The network as `parity port --torch` takes it."""
    _, file, call, _ = NETWORKS[name]
    return f"torch_impl.{file.removesuffix('.py')}:{call}"


def record(names: Sequence[str]) -> None:
    """Port networks, and keep the text and what was proved; each is written as soon as it is there."""
    import numpy as np

    import parity
    from parity.adapters.spec import load_model
    from tests.public.measures import measured

    FOLDER.mkdir(exist_ok=True)
    known: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name in names:
        shape = NETWORKS[name][3]
        image = np.random.default_rng(0).normal(size=shape).astype("float32")
        made = parity.port(spec_of(name), image, output=FOLDER / f"{name}.py", quick=True)
        known[name] = {
            "spec": spec_of(name),
            "input": "x".join(map(str, shape)),
            "verdict": str(made.verdict),
            "proofs": {proof.name: [str(proof.verdict), proof.text] for proof in made.proofs},
            "measures": measured(made.written, load_model(spec_of(name))).to_dict(),
        }
        RECORD.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(name, made.verdict, *map(str, (*made.unwritten, *made.proofs)), sep="\n  ", flush=True)


def pages() -> dict[str, str]:
    """The pages in docs/ports by name, as the files are now."""
    known = json.loads(RECORD.read_text(encoding="utf-8"))
    networks = []
    for name, (title, file, _, _) in NETWORKS.items():
        if name in known:
            networks.append(
                PortedNetwork(
                    name,
                    title,
                    file,
                    known[name],
                    (FOLDER / f"{name}.py").read_text(encoding="utf-8"),
                    (FOLDER / f"{name}.md").read_text(encoding="utf-8"),
                    *((ROOT / half / file).read_text(encoding="utf-8") for half in ("torch_impl", "tf_impl")),
                )
            )
    return {"index.html": ports_page(networks), **{f"{one.name}.html": port_page(one) for one in networks}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Record anew where that is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--record", nargs="*", metavar="NAME", help=f"port again: all, or some of {', '.join(NETWORKS)}"
    )
    options = parser.parse_args(arguments)
    if options.record is not None:
        record(options.record or list(NETWORKS))
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
