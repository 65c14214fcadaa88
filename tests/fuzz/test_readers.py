"""A share of the fuzzing in every run of the tests: hypothesis mutates sound files; only named errors come out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import READERS, Reader, crash_of

EXAMPLES = 40
SLOW = {"HDF5 weights"}
"""Their frameworks take seconds to load; the recorded run has them."""
TOKENS = [
    b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"null", b"true", b"[]", b"{}", b'""', b"-1", b"1e999", b"NaN",
    b"9" * 30, b"[" * 50, b"\xed\xa0\x80", b"\n", b"..", b"/", "²".encode(),
]  # fmt: skip
OF_JSON = {"report", "mapping", "polygons", "config.json", "pipeline"}

edits = st.lists(
    st.one_of(
        st.tuples(st.just("token"), st.floats(0, 1), st.sampled_from(TOKENS)),
        st.tuples(st.just("byte"), st.floats(0, 1), st.binary(min_size=1, max_size=2)),
        st.tuples(st.just("drop"), st.floats(0, 1), st.integers(1, 40)),
        st.tuples(st.just("twice"), st.floats(0, 1), st.integers(1, 40)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.none()),
    ),
    max_size=4,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def edited(data: bytes, changes: list[tuple[str, float, Any]]) -> bytes:
    """The bytes with some changes at places between 0 and 1."""
    for kind, place, what in changes:
        at = int(place * len(data))
        if kind == "token":
            data = data[:at] + what + data[at + len(what) :]
        elif kind == "byte":
            data = data[:at] + what + data[at + 1 :]
        elif kind == "drop":
            data = data[:at] + data[at + what :]
        elif kind == "twice":
            data = data[: at + what] + data[at:]
        else:
            data = data[:at]
    return data


def replaced(value: Any, number: int, new: Any) -> Any:
    """A JSON value with another one in one of its places, counted in depth."""
    if number == 0 or not isinstance(value, dict | list) or not value:
        return new
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    key, inner = items[number % len(items)]
    made = replaced(inner, number // len(items), new)
    if isinstance(value, dict):
        return {**value, key: made}
    return [made if index == key else each for index, each in enumerate(value)]


@cache
def seeds_of(name: str) -> list[bytes]:
    return list(READERS[name].seeds())


@pytest.mark.parametrize("name", READERS)
def test_sound_files_are_read(name: str) -> None:
    if name in SLOW:
        pytest.skip("its framework takes seconds to load")
    for data in seeds_of(name):
        assert crash_of(READERS[name], data) is None


@pytest.mark.parametrize("name", [name for name in READERS if name not in SLOW])
def test_mutated_files_give_named_errors_alone(name: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds_of(name)), edits)
    def check(data: bytes, changes: list[tuple[str, float, Any]]) -> None:
        changed = edited(data, changes)
        assert crash_of(READERS[name], changed) is None, changed

    check()


@pytest.mark.parametrize("name", sorted(OF_JSON))
def test_values_in_the_wrong_places_give_named_errors_alone(name: str) -> None:
    @settings(
        max_examples=2 * EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds_of(name)), st.integers(0, 10**6), values)
    def check(data: bytes, number: int, new: Any) -> None:
        changed = json.dumps(replaced(json.loads(data), number, new)).encode()
        assert crash_of(READERS[name], changed) is None, changed

    check()


KINDS = (None, True, -1, 10**400, 0.5, "", "x", [], ["x"], [[]], {}, {"x": 1}, "\ud800", "\0", 2**63)


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Where each value in a JSON value is."""
    yield ()
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from ((key, *place) for place in places(inner))


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    made = value.copy()
    made[place[0]] = put(value[place[0]], place[1:], new)
    return made


@pytest.mark.parametrize("name", sorted(OF_JSON))
def test_each_value_of_each_kind_in_each_place(name: str) -> None:
    for data in seeds_of(name):
        value = json.loads(data)
        for place in places(value):
            for new in KINDS:
                changed = json.dumps(put(value, place, new)).encode()
                assert crash_of(READERS[name], changed) is None, changed


def test_an_error_that_no_docstring_names_is_seen() -> None:
    """The check of this file: a reader that lets another error through."""
    careless = Reader(lambda data: data.decode("ascii"), lambda: [b"a"], (KeyError,))
    assert crash_of(careless, b"a") is None
    crash = crash_of(careless, b"\xff")
    assert crash is not None
    assert crash.startswith("UnicodeDecodeError at ")
