"""The packages that a bare machine lacks, as wheels in one folder, and their installation without a network.

python benchmarks/gpu/wheels.py fetch FOLDER            where there is a network
python benchmarks/gpu/wheels.py install FOLDER SITE     on the machine with the GPU: what it lacks goes to SITE

That machine has Python, pip, NumPy, PyTorch and JAX; what it has already is left as it is. Versions are those of
constraints.txt. Imports the standard library alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
PURE = (
    "keras",
    "absl-py",
    "namex",
    "rich",
    "markdown-it-py",
    "mdurl",
    "Pygments",
    "packaging",
    "typing_extensions",
)
COMPILED = ("h5py", "ml_dtypes", "optree")
LECTURE = "DLStudio==2.5.8"
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = tuple(
    f"manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "_2_24", "_2_17", "2014", "_2_12", "2010")
)


def normal(name: str) -> str:
    """A distribution's name in the one spelling that counts."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(names: Sequence[str], constraints: str) -> list[str]:
    """ "name==version" of each, as the constraints have it.

    Raises:
        ValueError: they have no version of one.
    """
    known = {normal(line.partition("==")[0]): line for line in constraints.split() if "==" in line}
    missing = [name for name in names if normal(name) not in known]
    if missing:
        raise ValueError(
            f"constraints.txt must pin every wheel; got none for {', '.join(missing)}. Add a line."
        )
    return [known[normal(name)] for name in names]


def pip(*arguments: str) -> None:
    """Run this Python's pip."""
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


def fetch(folder: Path) -> None:
    """Fill the folder for every supported Python on Linux x86-64."""
    constraints = CONSTRAINTS.read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    where = ("--no-deps", "-q", "-d", str(folder))
    pip("download", *where, "--only-binary=:all:", *pins(PURE, constraints))
    for version in PYTHONS:
        target = ["--python-version", version, "--implementation", "cp", "--only-binary=:all:"]
        target += [part for platform in PLATFORMS for part in ("--platform", platform)]
        pip("download", *where, *target, *pins(COMPILED, constraints))
    pip("wheel", "--no-deps", "-q", "-w", str(folder), LECTURE)
    size = sum(wheel.stat().st_size for wheel in folder.glob("*.whl"))
    print(f"{len(list(folder.glob('*.whl')))} wheels, {size / 1e6:.1f} MB, in {folder}")


def lacking(folder: Path) -> list[str]:
    """ "name==version" of the wheels in the folder whose distributions this Python does not have, in any version.

    Raises:
        FileNotFoundError: the folder holds no wheels.
    """
    there = {normal(found.metadata["Name"]) for found in distributions()}
    offered = dict(wheel.name.split("-")[:2] for wheel in sorted(folder.glob("*.whl")))
    if not offered:
        raise FileNotFoundError(
            f"{folder} must hold wheels; got none. Run `make gpu-wheels` where there is a network, and copy the folder."
        )
    return [f"{name}=={version}" for name, version in offered.items() if normal(name) not in there]


def install(folder: Path, site: Path) -> None:
    """Put what this Python lacks into the folder `site`, which goes on PYTHONPATH; nothing else is touched."""
    missing = lacking(folder)
    if missing:
        quiet = (
            "-q",
            "--no-index",
            "--no-deps",
            "--upgrade",
            "--find-links",
            str(folder),
            "--target",
            str(site),
        )
        pip("install", *quiet, *missing)
    print(f"installed in {site}: {', '.join(missing) or 'nothing, all is there'}")


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    match arguments:
        case ["fetch", folder]:
            fetch(Path(folder))
        case ["install", folder, site]:
            try:
                install(Path(folder), Path(site))
            except FileNotFoundError as error:
                print(f"wheels: {error}", file=sys.stderr)
                return 2
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
