"""Hints in messages."""

from __future__ import annotations

from uls_data.errors import did_you_mean


def test_hints_name_what_is_near_and_take_no_minutes() -> None:
    assert did_you_mean("lidc_idr", ["lits", "lidc_idri"]) == " Did you mean lidc_idri?"
    assert did_you_mean("x", ["lits"]) == ""
    # Millions of VOIs are not looked through for a hint.
    assert did_you_mean("a0", (f"a{number}" for number in range(100_001))) == ""
