"""Letters that tell a page what was decided on each VOI."""

from __future__ import annotations

from uls_data.errata.evidence import ACCEPTED, NOTED, REJECTED
from uls_data.triage.verdicts import Subject, Verdict

STATES = {ACCEPTED: "a", REJECTED: "r", NOTED: "n"}
# A reason that keeps the mask is a verdict, a note alone is none.
UNDECIDED, STALE, KEPT = ".", "s", "f"
JUDGED = "arf"
# As the page names them.
_WORDS = {letter: word for word, letter in STATES.items()} | {
    KEPT: NOTED,
    STALE: "judged on another mask",
}


def letter_of(verdict: Verdict | None, subject: Subject) -> str:
    """Letter of a verdict on the mask that is shown."""
    if verdict is None:
        return UNDECIDED
    if verdict.subject != subject:
        return STALE
    return KEPT if verdict.word == NOTED and verdict.reason else STATES[verdict.word]


def meets(show: str, letter: str, reason: str | None) -> bool:
    """Whether a VOI has the state that a view shows, as the page names it."""
    if show.startswith("reason:"):
        return reason == show.removeprefix("reason:")
    return show == "all" or (letter not in JUDGED if show == "open" else show == _WORDS.get(letter))
