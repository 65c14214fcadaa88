"""Triton and TensorFlow in one process: whatever is imported first, nothing ends the process.

Every program runs twice: with a stand-in for triton that aborts where the real one would, and with the real
one, from this environment (PyTorch's CUDA build brings it) or from build/triton (`make check` puts it there).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ROOT / "build" / "triton"

STAND_IN = {
    "__init__.py": "__version__ = '3.0.0'\nfrom triton._C import libtriton\n",
    "_C/__init__.py": "",
    "_C/libtriton.py": """
import os, sys
if "tensorflow" in sys.modules and not sys.getdlopenflags() & os.RTLD_DEEPBIND:
    os.abort()
os.environ["TRITON_SURVIVED"] = "1"
""",
}
NO_COMPILER = "raise ImportError('a stand-in compiles nothing')\n"  # torch then works without triton

OPTIMIZER = "torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)\n"
MODELS = """
def keras_model():
    return keras.Sequential([keras.Input((9, 12, 3)), keras.layers.Conv2D(4, 3)])
def torch_module():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
"""
COMPARE = f"""
{MODELS}
model, module = keras_model(), torch_module()
parity.transfer(model, module)
assert parity.compare(model, module, gradients=True, train_steps=1).verdict == "EQUAL"
"""
PROGRAMS = {
    "parity last": f"import keras, torch, parity\n{COMPARE}",
    "parity first, then an optimizer of the user's": f"import parity, keras, torch\n{OPTIMIZER}{COMPARE}",
    "torch first": f"import torch, keras, parity\n{COMPARE}",
    "both halves without parity": f"import tf_impl.layers, torch_impl.layers, torch\n{OPTIMIZER}",
}
WAS_LOADED = "\nimport os, sys\nassert 'triton' in sys.modules or 'TRITON_SURVIVED' in os.environ\n"

PLUGIN_TEST = f"""
import keras, torch
{OPTIMIZER}{MODELS}
def test_equal(assert_parity):
    import parity
    model, module = keras_model(), torch_module()
    parity.transfer(model, module)
    assert_parity(model, module, train_steps=1)
    {WAS_LOADED.replace(chr(10), "; ").strip("; ")}
"""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "RTLD_DEEPBIND"), reason="only the GNU loader mixes libraries up"
)


def stand_in(folder: Path, ending: str = "") -> str:
    """Write the stand-in to a folder; returns the folder."""
    for name, text in STAND_IN.items():
        path = folder / "triton" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + ending if name.endswith("libtriton.py") else text)
    return str(folder)


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.reference)])
def folder(request: pytest.FixtureRequest, tmp_path: Path, keras_torch: None) -> str:
    """The folder to put on Python's path, so that `import triton` finds a triton."""
    if request.param == "stand-in":
        return stand_in(tmp_path / "stand_in", NO_COMPILER)
    if importlib.util.find_spec("triton"):
        return ""
    if not BESIDE.is_dir():
        pytest.skip("needs triton; make check installs it")
    return str(BESIDE)


def run(folder: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (folder, str(ROOT))))
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": path, **variables}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_without_the_watch_the_process_ends(folder: str) -> None:
    """What the tests below are about; where it does not happen, they show nothing."""
    done = run(folder, "-c", f"import keras, torch\n{OPTIMIZER}")
    assert -done.returncode in {signal.SIGABRT, signal.SIGSEGV}, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("order", PROGRAMS)
def test_no_order_of_imports_ends_the_process(folder: str, order: str) -> None:
    done = run(folder, "-c", PROGRAMS[order] + WAS_LOADED)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_parity_check_trains(folder: str, tmp_path: Path) -> None:
    file = tmp_path / "models.py"
    file.write_text(f"import keras, torch\n{MODELS}")
    specs = ("--keras", f"{file}:keras_model", "--torch", f"{file}:torch_module")
    done = run(folder, "-m", "parity", "check", *specs, "--train-steps", "1")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "1 of 1 EQUAL" in done.stdout


@pytest.mark.slow
def test_the_pytest_plugin_comes_before_the_imports_of_tests(folder: str, tmp_path: Path) -> None:
    file = tmp_path / "test_port.py"
    file.write_text(PLUGIN_TEST)
    done = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(file))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "1 passed" in done.stdout


def test_triton_goes_before_torch_where_parity_decides(tmp_path: Path, keras_torch: None) -> None:
    code = "import sys\nfrom parity.adapters.frameworks import import_torch\nimport_torch()\n"
    code += "print(*[name for name in sys.modules if name in ('triton', 'torch')])"
    done = run(stand_in(tmp_path), "-c", code)
    assert done.stdout.split() == ["triton", "torch"], done.stdout + done.stderr[-2000:]


TENSORFLOW = "import sys, types\nsys.modules['tensorflow'] = types.ModuleType('tensorflow')\n"
LATE = """
from parity.adapters import triton_import
triton_import._allocator_is_replaced = lambda: True
"""


def test_where_it_is_too_late_torch_does_without_triton_and_one_warning_says_so(tmp_path: Path) -> None:
    asked = "import torch.utils._triton as asked\nfor _ in range(2):\n    asked.has_triton_package.cache_clear()\n"
    asked += "    print(asked.has_triton_package())\n"
    done = run(stand_in(tmp_path), "-c", TENSORFLOW + LATE + asked)
    assert done.stdout.split() == ["False", "False"], done.stderr[-2000:]
    assert done.stderr.count("RuntimeWarning: triton must be imported before TensorFlow") == 1
    assert "import triton before keras to have it" in done.stderr


@pytest.mark.parametrize(
    ("before", "found", "advice"),
    [
        ("import sys\nsys.modules['triton'] = None\n", "True not installed", ""),
        ("import triton\n", "True 3.0.0, loaded without TensorFlow", ""),
        (f"import triton\n{TENSORFLOW}", "True 3.0.0, loaded before TensorFlow", "triton before keras"),
        (TENSORFLOW, "True 3.0.0, loaded after TensorFlow", "triton before keras"),
        (TENSORFLOW + LATE, "False installed but fails to import: triton must be", "import triton before keras;"),
    ],
    ids=["absent", "alone", "before", "after", "too late"],
)  # fmt: skip
def test_the_doctor_says_where_triton_is(before: str, found: str, advice: str, tmp_path: Path) -> None:
    code = "from parity.doctor import _triton\ncheck = _triton()\nprint(check.ok, check.found)\nprint(check.advice)"
    done = run(stand_in(tmp_path), "-c", before + code)
    said, advised = done.stdout.splitlines()
    assert said.startswith(found), done.stdout + done.stderr[-2000:]
    assert advice in advised
    assert bool(advice) == bool(advised)


@pytest.mark.parametrize("package", ["parity", "torch_impl", "parity.pytest_plugin"])
def test_the_watch_stands_once_and_loads_nothing(package: str, tmp_path: Path) -> None:
    code = f"""
import importlib, sys
for _ in range(2):
    importlib.reload(importlib.import_module({package!r}.partition(".")[0]))
    importlib.import_module({package!r})
print(sum(type(finder).__name__ == "TritonFinder" for finder in sys.meta_path), "triton" in sys.modules)
"""
    done = run(stand_in(tmp_path), "-c", code)
    assert done.stdout.split() == ["1", "False"], done.stdout + done.stderr


def test_both_packages_hold_the_same_text() -> None:
    copies = [ROOT / "parity/adapters/triton_import.py", ROOT / "torch_impl/_triton_import.py"]
    assert copies[0].read_text() == copies[1].read_text()


ALLOCATOR = """
#include <stddef.h>
extern void *__libc_malloc(size_t size);
void *malloc(size_t size) { return __libc_malloc(size); }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler to make an allocator")
def test_an_allocator_put_before_the_c_library_s_is_seen(tmp_path: Path) -> None:
    source, library = tmp_path / "allocator.c", tmp_path / "allocator.so"
    source.write_text(ALLOCATOR)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    code = "from parity.adapters.triton_import import _allocator_is_replaced as seen; print(seen())"
    assert run("", "-c", code).stdout.strip() == "False"
    assert run("", "-c", code, LD_PRELOAD=str(library)).stdout.strip() == "True"
