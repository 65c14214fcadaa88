"""Version, lists, explanations of causes, completion, and errors in one line: none of it needs a framework."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

import parity
from parity import catalog
from parity.causes import CAUSES
from parity.causes.known.fixes import fix_of
from parity.causes.known.fixes_between import BETWEEN
from parity.causes.known.fixes_of_layers import LAYERS
from parity.causes.known.pictures.drawing import drawing, picture_of
from parity.cli import main
from parity.cli.listing.completion import script
from parity.cli.parser import COMMANDS
from parity.cli.shown.errors import told

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert parity.__version__ == written
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"parity {written}\n"


STARTED = """
import sys, time
started = time.perf_counter()
from parity.cli import main
for arguments in (["models"], ["causes"], ["causes", "kernel-flip"], ["check"], ["completion", "bash"]):
    main(arguments)
took = time.perf_counter() - started
assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules), "a framework was imported"
print(took, file=sys.stderr)
"""


def test_lists_and_usage_errors_take_no_second() -> None:
    """All of them together: 0.6 s on a quiet machine. The bound is for a busy one."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(done.stderr.split()[-1]) < 5.0
    assert "check needs something to check" in done.stderr


def test_importing_parity_imports_no_numpy() -> None:
    code = "import sys, parity; assert not {'numpy', 'rich', 'parity.core.types'} & set(sys.modules) - before"
    code = f"import sys; before = set(sys.modules); {code}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_come_at_their_first_use() -> None:
    code = "import parity; assert set(parity.__all__) <= set(dir(parity)); [getattr(parity, n) for n in parity.__all__]; "
    code += "parity.causes.CAUSES; assert not hasattr(parity, 'nothing'); from parity import compare, catalog"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parameters_are_those_of_the_networks() -> None:
    """`parity models` reads them from a table; here every network of it is built, without memory for its weights."""
    torch = pytest.importorskip("torch", reason="needs torch")
    from parity.adapters.spec import load_model

    assert set(catalog.PARAMETERS) == {entry.name for entry in catalog.ENTRIES}
    with torch.device("meta"):
        for entry in catalog.ENTRIES:
            module = load_model(entry.torch)
            count = sum(one.numel() for one in module.parameters() if one.requires_grad)
            assert entry.parameters == count, entry.name
    assert catalog.find("mUnet(depth=4)").parameters is None


# --- causes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAUSES)
def test_every_cause_has_a_picture_that_shows_it(name: str) -> None:
    picture = picture_of(name)
    assert np.isfinite(picture.keras).all()
    assert np.isfinite(picture.torch).all()
    if picture.difference is not None:
        assert picture.difference.max() > 0
    lines = drawing(picture)
    assert len(lines) <= 13
    assert max(map(len, lines)) <= 76
    assert [len(line.split("  ")) for line in lines[:1]] != [1]
    assert all(ord(sign) < 128 for line in drawing(picture, plain=True) for sign in line)


def test_pictures_show_what_the_signature_says() -> None:
    """Some that say where the sides agree."""
    for name, equal in {
        "padding-mode": np.s_[1:-1, 1:-1],  # the border alone
        "channel-order": np.s_[1],  # the channel in the middle
        "sequence-mask": np.s_[:, :6],  # the steps that count
        "batchnorm-momentum": np.s_[:, 0],  # before the first step
        "sgd-learning-rate-in-buffer": np.s_[:, :5],  # until the rate changes
        "gradient-stopped": np.s_[3:],  # behind that place
        "activation-missing": picture_of("activation-missing").torch > 0,  # where it changes nothing
    }.items():
        difference = picture_of(name).difference
        assert difference is not None
        assert np.abs(difference[equal]).max() < 1e-12, name
        rest = difference.copy()
        rest[equal] = 0
        assert rest.max() > 0.01, name


def test_every_cause_has_a_fix_on_either_side() -> None:
    assert set(LAYERS) | set(BETWEEN) == set(CAUSES)
    assert not set(LAYERS) & set(BETWEEN)
    assert all(fix_of(name).keras and fix_of(name).torch for name in CAUSES)


def test_one_cause_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["causes", "kernel-flip"]) == 0
    out = capsys.readouterr().out
    for text in (CAUSES["kernel-flip"].mechanism, "difference", "in Keras:", "weight.flip(-2, -1)"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["causes", "kernel-flip", "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["fixes"]["torch"] == "weight.flip(-2, -1)"


def test_a_cause_that_is_not_known_has_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["causes", "kernl-flip"]) == 2
    assert "Nearest: kernel-flip" in capsys.readouterr().err


# --- completion ----------------------------------------------------------------------------------------

TRY = """
{script}
t() {{ COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=(); _parity; echo "${{COMPREPLY[@]}}"; }}
{calls}
"""


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("parity ch", "check"),
        ("parity check mUnet-d", "mUnet-depth8"),
        ("parity check --tra", "--transfer --train-steps"),
        ("parity check --transfer k", "keras-to-torch"),
        ("parity causes kernel-h", "kernel-hw-swap"),
        ("parity completion z", "zsh"),
        ("parity models --j", "--json"),
    ],
)
def test_bash_completes(typed: str, completed: str) -> None:
    code = TRY.format(script=script("bash"), calls=f"t {typed}")
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == completed.split()


def test_every_shell_knows_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert main(["completion", shell]) == 0
        out = capsys.readouterr().out
        assert all(re.search(rf"\b{name}\b", out) for name in COMMANDS)
        assert "sarif" in out
    assert "bashcompinit" in script("zsh")


# --- the shells themselves -----------------------------------------------------------------------------

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "parity() {{ echo \"GOT:$*:\"; }}; source {script}; PS1='> '"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -uD; parity() {{ print \"GOT:$*:\"; }}; . {script}"),
}  # fmt: skip


def at_a_terminal(shell: str, typed: list[str], folder: Path) -> list[str]:
    """The arguments that `parity` gets from each line, with the tabulator behind it, in an interactive shell."""
    import pty

    started, prepare = SHELLS[shell]
    (folder / "script").write_text(script(shell))
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "HOME": str(folder), "HISTFILE": os.devnull, "LC_ALL": "C"}
    process = subprocess.Popen(
        started, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment, start_new_session=True
    )
    os.close(slave)

    def until(mark: str) -> str:
        seen = ""
        for _ in range(200):
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 4096).decode(errors="replace")
                if re.search(mark, seen):
                    return seen
        raise AssertionError(f"{shell} showed no {mark!r} in 20 seconds: {seen!r}")

    try:
        os.write(master, f"{prepare.format(script=folder / 'script')}; echo RE''ADY\n".encode())
        until(r"READY\r?\n")
        found = []
        for line in typed:
            os.write(master, f"{line}\t\n".encode())
            found.append(re.findall(r"GOT:([^$]*?) ?:\r?\n", until(r"GOT:[^$]*:\r?\n"))[-1])
        return found
    finally:
        process.kill()
        process.wait()
        os.close(master)


LINES = {
    "parity ch": "check",
    "parity check --transfer k": "check --transfer keras-to-torch",
    "parity check --transfer=k": "check --transfer=keras-to-torch",
    "parity causes kernel-h": "causes kernel-hw-swap",
    "parity check --keras uniq": "check --keras unique-file.py",
    "parity bisect --good v1": "bisect --good v1.2.3",
    "parity check --seed uniq": "check --seed uniq",
}
"""What is typed before the tabulator, and what comes of it: numbers are not completed."""


@pytest.fixture
def with_a_tag(tmp_path: Path) -> Path:
    """A folder with a file, and a repository with a tag."""
    (tmp_path / "unique-file.py").touch()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v1.2.3"]):
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@b", *words],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    return tmp_path


@pytest.mark.skipif(
    os.name == "nt" or shutil.which("git") is None, reason="needs a terminal of POSIX and git"
)
@pytest.mark.parametrize("shell", SHELLS)
def test_the_tabulator_completes_at_a_terminal(shell: str, with_a_tag: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert dict(zip(LINES, at_a_terminal(shell, list(LINES), with_a_tag), strict=True)) == LINES


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(with_a_tag: Path) -> None:
    (with_a_tag / "script").write_text(script("fish"))
    calls = "; ".join(
        f"complete -C '{line}'; echo ---" for line in [*LINES, "parity --ver", "parity check --tra"]
    )
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source script; {calls}"],
        cwd=with_a_tag, env={**os.environ, "HOME": str(with_a_tag)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = [
        [line.partition("\t")[0] for line in part.splitlines()] for part in done.stdout.split("---\n")[:-1]
    ]
    wanted = [[text.split()[-1]] for text in LINES.values()][:-1]
    assert found == [*wanted, [], ["--version"], ["--train-steps", "--transfer"]]
    assert all(len(line.partition("\t")[2]) <= 60 for line in done.stdout.splitlines())


# --- errors --------------------------------------------------------------------------------------------


def test_an_error_of_a_model_is_one_line_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("import json\n\ndef build():\n    return json.loads('{')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import net  # type: ignore[import-not-found]

    with pytest.raises(ValueError) as caught:
        net.build()
    said = told(caught.value)
    assert said.startswith("the models' own code must run; got JSONDecodeError: Expecting property name")
    assert "at net.py:4 (return json.loads('{'))" in said
    assert "\n" not in said


def test_tracebacks_are_shown_where_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keras_torch: None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef broken():\n    return nothing_known\nclass Net(nn.Module):\n"
        "    def __init__(self, size):\n        super().__init__()\n"
    )
    given = ["check", "--torch", "net.py:broken", "--keras", "net.py:broken"]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"parity: .*NameError: name 'nothing_known' is not defined at net\.py:3 .*\n", error)
    assert main([*given, "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert main(["check", "--torch", "net.py:Net", "--keras", "net.py:broken"]) == 2
    error = capsys.readouterr().err
    assert "missing 1 required positional argument: 'size'. Give them as literals, as in net.py:Net(" in error
    assert error.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    "code", ["weakref.ref(item, lambda _: signal.raise_signal(2))", "Interrupting.end(item)"]
)
def test_an_interruption_that_python_drops_comes_again(code: str) -> None:
    """In a callback of the garbage collector and in a destructor, as those of the import lock are."""
    program = (
        "import signal, time, weakref\nfrom parity.cli.signals import let_through\n"
        "class Interrupting:\n    ends = ()\n    def end(self):\n        self.ends = (signal.SIGINT,)\n"
        "    def __del__(self):\n        [signal.raise_signal(number) for number in self.ends]\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
        f"let_through()\nitem = Interrupting()\nheld = {code}\n"
        "try:\n    del item\n    for _ in range(1000):\n        time.sleep(0.01)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.3, 0.6])
def test_the_keyboard_ends_a_command_while_it_loads(after: float, tmp_path: Path) -> None:
    """From our first line on; what Python itself does before is its own."""
    code = (
        "import parity.cli, sys, os; os.write(1, b'.'); sys.argv[1:] = ['check', '--keras', 'a:b', '--torch', 'c:d'];"
        "sys.exit(parity.cli.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.read(1)
    time.sleep(0.02 + after)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert b"Traceback" not in error
    if b"must name a module" not in error:  # the command may have ended by itself
        assert process.returncode == 130
        assert error.decode().splitlines() == ["parity: interrupted"]
