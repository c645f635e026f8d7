"""HL7 v2 result messages (ORU): the text of their observations, and nothing of their header."""

from __future__ import annotations

import re

from uls_data.errors import CaseError
from uls_data.outcome import Reason

MAXIMUM_MESSAGES = 10_000
_TEXT_TYPES = ("TX", "FT", "ST")
_START = re.compile(r"[\s\x0b]*(?:(?:FHS|BHS)[^A-Za-z0-9\s][^\r\n]*[\r\n\x1c\x0b]+)*MSH[^\w\s]")
_SEGMENT_END = re.compile(r"[\r\n\x1c\x0b]+")
_LINE = re.compile(r"\.(?:br|sp|in|ti|fi|nf|ce)[+-]?[0-9]{0,3}")
_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2}){1,8})")


def is_hl7(text: str) -> bool:
    """Whether a text begins as a message, or a batch of them, does."""
    return _START.match(text) is not None


def messages(text: str, name: str) -> list[str]:
    """Text of each message: the values of its OBX segments of type TX, FT or ST, a line each.

    Raises
    ------
    CaseError
        `unreadable`: no HL7; `too_large`: too many messages.
    """
    if not is_hl7(text):
        raise CaseError(Reason.UNREADABLE, f"{name}: expected an HL7 message, which begins MSH|")
    found: list[list[str]] = []
    marks = "|^~\\&"
    for segment in _SEGMENT_END.split(text):
        kind = segment[:3]
        if kind == "MSH":
            if len(found) == MAXIMUM_MESSAGES:
                raise CaseError(
                    Reason.TOO_LARGE, f"{name}: expected at most {MAXIMUM_MESSAGES:,} messages"
                )
            found.append([])
            marks = segment[3:8] if len(segment) >= 8 else "|^~\\&"
        elif kind == "OBX" and found:
            fields = segment.split(marks[0])
            if len(fields) > 5 and fields[2].strip() in _TEXT_TYPES:
                found[-1] += [_plain(one, marks) for one in fields[5].split(marks[2])]
    return ["\n".join(lines) for lines in found]


def _plain(value: str, marks: str) -> str:
    """Value without its escape sequences."""
    field, component, repetition, escape, subcomponent = (marks[at] for at in range(5))
    parts = value.split(escape)
    if len(parts) == 1:
        return value
    stands_for = {"F": field, "S": component, "R": repetition, "E": escape, "T": subcomponent}
    said = []
    for at, part in enumerate(parts):
        if at % 2 == 0:
            said.append(part)
        elif _LINE.fullmatch(part):
            said.append("\n")
        elif hexadecimal := _HEX.fullmatch(part):
            said.append(_letters(bytes.fromhex(hexadecimal[1])))
        else:
            said.append(stands_for.get(part, ""))
    return "".join(said)


def _letters(data: bytes) -> str:
    text = data.decode("utf-8", errors="ignore") or data.decode("latin-1")
    return "".join("\n" if letter in "\r\n" else letter for letter in text if letter != "\0")
