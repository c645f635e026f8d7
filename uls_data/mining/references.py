"""References to a series and an image: "(IMA 8-34)", "(series 4, image 52)", "se 3/im 45"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from uls_data.mining.lexicon import Words, alternatives
from uls_data.mining.word_places import Page, Span

LARGEST_SERIES, LARGEST_IMAGE = 9999, 9999
# "images 45-47" are images, "IMA 8-34" is series 8: neighbours far into a series are a range.
_RANGE_FROM, _RANGE_LENGTH = 15, 20
# "on 4:57" is a time of day, "2, 5-8." are segments, "(4, 5)" two of a list.
_MINUTES, _DAYS, _FEW = 60, 31, 10


@dataclass(frozen=True)
class Reference:
    """A series and an image as a report names them.

    Attributes
    ----------
    span : (int, int)
        Characters of the report.
    series, image : int or None
        Numbers; the letter of "601b" is left out.
    named : bool
        A word says so; "(8-34)" alone is a guess.
    parts : tuple of (int, int)
        Where its numbers stand, if other words may stand between them.
    """

    span: Span
    series: int | None
    image: int | None
    named: bool = True
    parts: tuple[Span, ...] = ()

    @property
    def start(self) -> int:
        """First character."""
        return self.span[0]

    @property
    def end(self) -> int:
        """One past the last character."""
        return self.span[1]


class _Patterns:
    def __init__(self, words: Words) -> None:
        # A number may follow without a blank: "se3/im45".
        series = alternatives(words.phrases("series"), end=r"(?![a-z_])")
        image = alternatives(words.phrases("image"), end=r"(?![a-z_])")
        planes = alternatives(words.phrases("planes"))
        number = (
            r"\.?\s{0,2}(?:nr|no|number|nummer|numbers|#)?[.:#\s=-]{0,3}"
            r"(?<!\d)(?P<{0}>\d{{1,4}})(?![\d%]|[.,]\d)"
        )
        s = number.replace("{0}", "s").replace("{{", "{").replace("}}", "}") + "(?:[a-z](?!\\w))?"
        i = number.replace("{0}", "i").replace("{{", "{").replace("}}", "}")
        between = r"[\s,;:/()\[\]|&-]{0,4}(?:(?:and|en|on|at|op|in|of|from|van|uit|the|de)\s){0,2}"
        between += rf"(?:{planes}\s){{0,1}}"
        pair = (
            r"(?<!\d)(?P<s>\d{1,4})[a-z]?\s?(?P<by>[-/:])\s?(?P<i>\d{1,4})(?P<more>\s?-\s?\d{1,4})?"
            r"(?![\w%]|[.,]\d|\s?[/-]\s?\d|:\d)"
        )
        letter_s = "|".join(map(re.escape, words.phrases("series_letter"))) or "(?!)"
        letter_i = "|".join(map(re.escape, words.phrases("image_letter"))) or "(?!)"
        unit = rf"(?!\s?(?:{'|'.join(map(re.escape, words.unit_mm))}|hu|%)\b)"
        both = rf"(?:{series}\s?[/,&-]\s?{image}|{series}\s{image}|{series}\s?\(\s?{image}\s?\))"
        compiled = {
            "both": rf"{both}[\s:#.=]{{0,3}}\(?{pair}{unit}",
            "series_image": rf"{series}{s}{unit}{between}{image}{i}{unit}",
            "image_series": rf"{image}{i}{unit}{between}{series}{s}{unit}",
            "series_pair": rf"{series}[\s.:#]{{0,3}}{pair}{unit}",
            "image_pair": rf"(?P<word>{image})[\s.:#]{{0,3}}{pair}{unit}",
            "letters": (
                rf"(?<!\w)(?:{letter_s})\s?(?P<s>\d{{1,4}})[\s/,:;-]{{0,2}}"
                rf"(?:{letter_i})\s?(?P<i>\d{{1,4}})(?!\w)"
            ),
            "letter_pair": (
                rf"(?<=[(\[,;\s])(?:{letter_s})\s?(?P<s>\d{{1,4}})\s?:\s?(?P<i>\d{{1,4}})(?!\w)"
            ),
            "bare": (
                rf"(?<=[(\[,;])\s{{0,2}}(?:{planes}[\s.:]{{1,2}}){{0,2}}{pair}{unit}"
                r"(?=\s{0,2}(?:[)\],;]|and\b|en\b|&|\.?\s*$|\.\s))"
            ),
            "listed": (
                r"(?<=[(\[])\s?(?P<s>\d{1,4})\s?(?P<by>[;,])\s{0,2}(?P<i>\d{1,4})"
                r"(?=\s?(?:[)\],;]|and\b|en\b|&))(?!,\d)"
            ),
            "pointed": (
                rf"{planes}\s{{1,2}}(?P<s>\d{{1,4}})(?P<by>:)(?P<i>\d{{1,4}})"
                r"(?![\w%]|[.,]\d|\s?[/-]\s?\d|:\d)"
            ),
            "image": rf"{image}{i}{unit}(?!\s?[:/-]\s?\d)",
            "hash": r"(?<=\()\s?#\s?(?P<i>\d{1,4})(?=\s?\))",
            "series": rf"{series}{s}{unit}(?!\s?[:/-]\s?\d)",
        }
        self.all = {name: re.compile(pattern) for name, pattern in compiled.items()}


@cache
def _patterns(words: Words) -> _Patterns:
    return _Patterns(words)


def find_references(page: Page) -> list[Reference]:
    """All references of a report, in order; none overlaps another."""
    taken = bytearray(len(page.text))
    found = []
    for kind, pattern in _patterns(page.words).all.items():
        for match in pattern.finditer(page.text):
            reference = _reference(kind, match)
            if reference is None or any(taken[match.start() : match.end()]):
                continue
            taken[match.start() : match.end()] = b"\1" * (match.end() - match.start())
            found.append(reference)
    return sorted(found, key=lambda reference: reference.span)


def _reference(kind: str, match: re.Match[str]) -> Reference | None:
    groups: dict[str, str] = match.groupdict()
    series = int(groups["s"]) if groups.get("s") else None
    image = int(groups["i"]) if groups.get("i") else None
    start = match.start() + len(match[0]) - len(match[0].lstrip())
    span = (start, match.end())
    if series == 0 or image == 0 or (groups.get("more") and groups["by"] == "-"):
        return None
    if kind in ("bare", "listed", "pointed"):
        ends_there = re.match(r"\.?\s*$|\.\s", match.string[match.end() : match.end() + 8])
        if _no_pair(kind, groups, series or 0, image or 0, bool(ends_there)):
            return None
        return Reference((match.start("s"), match.end()), series, image, named=False)
    if kind == "image_pair" and series is not None and image is not None:
        one_of_many = (
            groups["by"] == "-" and _RANGE_FROM <= series < image <= series + _RANGE_LENGTH
        )
        if one_of_many and groups["word"] != "ima":
            return Reference(span, None, series)
        if groups["by"] == "/" and groups["word"] != "ima" and _of_all(series, image):
            return Reference(span, None, series)
    return Reference(span, series, image)


def _of_all(first: int, second: int) -> bool:
    """Whether "image 102/512" is the 102nd of 512, not series 102; 201 and 302 are series."""
    return _RANGE_FROM < first < second and not (first >= 200 and first % 100 < 10)


def _no_pair(kind: str, groups: dict[str, str], series: int, image: int, ends: bool) -> bool:
    """Whether a pair of numbers is a date, a time, a year or a range instead."""
    if groups["i"].startswith("0") or groups["s"].startswith("0"):
        return True
    if kind == "pointed":
        return image < _MINUTES
    if kind == "listed" and groups["by"] == ",":
        return image < _FEW
    if ends and image <= _DAYS:
        return True
    return groups["by"] != ":" and 1900 <= image <= 2100 and series <= 12
