"""How a verdict of triage is told in the evidence of a correction, and read from it again."""

from __future__ import annotations

import re

ACCEPTED, REJECTED, NOTED = "accepted", "rejected", "noted"
WORDS = (ACCEPTED, REJECTED, NOTED)
_EVIDENCE = re.compile(rf"seen in triage: ({'|'.join(WORDS)})(?: \((.+)\))?")


def evidence_of(word: str, reason: str = "") -> str:
    """Evidence of a verdict; `reason` is that of its key, such as `leak`."""
    return f"seen in triage: {word} ({reason})" if reason else f"seen in triage: {word}"


def verdict_of(evidence: str) -> tuple[str, str] | None:
    """Word and reason of a verdict; None where the evidence is not one of triage."""
    found = _EVIDENCE.fullmatch(evidence)
    return None if found is None else (found[1], found[2] or "")
