"""Weights of either framework, read into a network of one: each half hands in its own `load`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.errors import DataError, MissingExtra, RunError, SettingsError


@dataclass(frozen=True)
class Reader:
    """How one half reads weights: its own framework's by itself, the other framework's through parity.

    Attributes:
        half: the half's package.
        twin: the package with the same networks in the other framework; it is named here and never imported.
        suffixes: of its own framework's files.
        load: reads such a file into a network that it fits exactly.
        parity: returns `parity.weights.checkpoint`, which knows both frameworks; imported when this is called.
    """

    half: str
    twin: str
    suffixes: tuple[str, ...]
    load: Callable[[Any, Path], None]
    parity: Callable[[], Any]

    def read(self, model: Any, path: Path, network: Mapping[str, Any], dtype: str) -> None:
        """Read a checkpoint of either framework into a network.

        Args:
            model: the network, built.
            path: weights; the suffix says of which framework.
            network: "name" and "arguments", with which the twin is built.
            dtype: float32 or float64, the network's.
        Raises:
            DataError: no checkpoint, or one that does not fit.
            MissingExtra: the file is the other framework's, which is not installed.
        """
        own = path.name.endswith(self.suffixes)
        if not own:
            with self._asking():
                self.parity().side_of_file(path)  # refuses a suffix of neither framework
        if not path.is_file():
            raise DataError(f"a checkpoint must be a file; got {path}. Check the path.")
        if own:
            self.load(model, path)
        else:
            self.read_through(model, path, network, dtype, "load_weights")

    def read_through(
        self, model: Any, path: Path, network: Mapping[str, Any], dtype: str, read: str
    ) -> list[str]:
        """Read a file into the network's twin in the other half, and carry over what was read.

        Args:
            model, path, network, dtype: see `read`.
            read: the function of the twin's module `checkpoints` that reads the file.
        Returns: names of the network's parts that were read; none where the whole network was.
        Raises:
            DataError: the file does not fit.
            MissingExtra: the other framework is not installed.
        """
        with self._asking():
            parity = self.parity()
            twin = parity.Twin(
                make=f"{self.twin}.train:make_model",
                read=f"{self.twin}.checkpoints:{read}",
                arguments={"arguments": network["arguments"], "dtype": dtype, "name": network["name"]},
            )
            return list(parity.read_through(model, path, twin))

    def read_by_parity(self, model: Any, path: Path) -> None:
        """Read a file of the half's own framework in a format that parity alone reads.

        Raises:
            DataError: no such file, or one that does not fit.
        """
        with self._asking():
            self.parity().load_weights(model, path)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn the errors of parity into a run's."""
        try:
            yield
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"both frameworks must be installed to read a checkpoint of {self.twin} in {self.half}; got: {error}. "
                f"pip install 'segparity[tf,torch]', or use {self.twin}."
            ) from error
        except RunError:
            raise
        except ValueError as error:
            raise DataError(str(error)) from error


def check_backbone(model: Any) -> None:
    """Refuse published weights for a network that has no backbone.

    Raises:
        SettingsError: there is none.
    """
    if not hasattr(model, "backbone"):
        raise SettingsError(
            f"--backbone is for networks that have one; got model={type(model).__name__}. Leave it out."
        )
