"""Patterns with many stars neither hang nor select anything else than they did."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from uls_data.sources.patterns import pattern_regex


@given(st.text("ab*?.", max_size=8), st.text("ab.", max_size=8))
def test_stars_and_question_marks_are_those_of_a_shell(pattern: str, name: str) -> None:
    found = pattern_regex(pattern, "x").fullmatch(name)
    assert bool(found) == fnmatchcase(name, pattern)


def test_sixty_stars_end_at_once() -> None:
    begin = time.monotonic()
    for pattern in (
        "*" * 60 + "x",
        "*a" * 60 + "x",
        "?*" * 60 + "x",
        "b/" + "*a*b" * 30 + "{case}",
    ):
        assert pattern_regex(pattern, r"\d+").fullmatch("a" * 200) is None
        assert pattern_regex(pattern, r"\d+").fullmatch("b/" + "ab" * 100) is None
    assert time.monotonic() - begin < 1
