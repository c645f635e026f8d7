"""Sizes in a report: one, two or three axes, ranges, lists that share a unit, bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from uls_data.mining.lexicon import Words, alternatives
from uls_data.mining.word_places import Page, Span

Bound = Literal["exact", "about", "at_most", "below", "above", "range"]
LARGEST_MM = 600.0
_NUMBER = r"(?:\d{1,3}(?:[.,]\d{1,2})?|[.,]\d{1,2})"
_BEGIN = r"(?:(?<![\w.,:/-])|(?<=[a-z][.,])|(?<=[^\d.,][:/-]))"
# After a number or a unit: no area, volume, speed, pressure, percentage, date, or longer number.
_NO_MORE = r"(?![²³^\d])"
_UNIT_END = r"(?![a-wyz0-9_²³^]|/\s?[a-z]|\s{0,2}(?:hg|h2o|water)\b|x(?!\s?\d))"
_NO_LENGTH = (
    r"(?!\d|[.,]\d|\s?(?:%|mg|ml|cc\b|gy|hu\b|kg|g\b|h\b|uur|hour|day|dag|daags|keer\b|times\b|dd\b"
    r"|week|wk|year|jaar|kv|ma\b|mci|mbq|/\d|:\d|°|x\d|pixels|matrix))"
)
_LOOK_BACK, _SENTENCE = 48, 160


@dataclass(frozen=True)
class Size:
    """One size as written.

    Attributes
    ----------
    span : (int, int)
        Characters of the report.
    axes_mm : tuple of float
        One to three, in the order written.
    labels : tuple of str
        Per axis: `long`, `short`, `craniocaudal`, `other` or nothing.
    low_mm : float or None
        Lower end of a range, whose upper end is in `axes_mm`.
    bound : str
        Whether a bound, not a size, was written.
    has_unit : bool
    listed : bool
        It shares its unit with others ("5, 7 and 9 mm").
    was : bool
        It is where a change began ("from 10 to 12 mm").
    parts : tuple of (int, int)
        Where its numbers stand, if other words may stand between them.
    """

    span: Span
    axes_mm: tuple[float, ...]
    labels: tuple[str, ...] = ("",)
    low_mm: float | None = None
    bound: Bound = "exact"
    has_unit: bool = True
    listed: bool = False
    was: bool = False
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
    """Patterns of sizes in one language."""

    def __init__(self, words: Words) -> None:
        unit = "|".join(sorted(map(re.escape, words.unit_mm), key=lambda u: (-len(u), u)))
        unit = rf"(?:{unit}){_UNIT_END}"
        by = "|".join(map(re.escape, words.phrases("by")))
        label = alternatives(words.phrases("axis."))
        times = rf"(?:\.?\s{{0,3}}(?:{by})(?![a-z])\s{{0,3}}|[ ]?\*[ ]?)"

        def axis(n: int) -> str:
            return (
                rf"(?:(?P<b{n}>{label})[\s:]{{0,2}})?(?P<n{n}>{_NUMBER})"
                rf"(?:[\s-]{{0,3}}(?P<u{n}>{unit}))?(?:\s{{0,2}}\(?\s?(?P<l{n}>{label})\)?)?"
            )

        self.product = re.compile(
            rf"{_BEGIN}{axis(1)}{times}{axis(2)}(?:{times}{axis(3)})?"
            rf"(?:[\s-]{{0,3}}(?P<u4>{unit}))?{_NO_MORE}(?![-/]\d)"
        )
        to = "|".join(map(re.escape, words.phrases("range")))
        between = alternatives(words.phrases("and"))
        dash = rf"\s{{0,3}}(?:-|(?:{to})(?![a-z]))\s{{0,3}}"
        self.range = re.compile(
            rf"{_BEGIN}(?P<n1>{_NUMBER})(?:\s?(?P<u1>{unit}))?{dash}"
            rf"(?P<n2>{_NUMBER})[\s-]{{0,3}}(?P<u2>{unit})"
        )
        self.change = re.compile(
            rf"{_BEGIN}(?P<n1>{_NUMBER})(?:\s?(?P<u1>{unit}))?\s{{0,3}}"
            rf"(?:-?>|{alternatives(words.phrases('change_to'))})\s{{0,3}}"
            rf"(?P<n2>{_NUMBER})[\s-]{{0,3}}(?P<u2>{unit})"
        )
        self.changed = re.compile(alternatives(words.phrases("changed")))
        self.change_from = re.compile(rf"{alternatives(words.phrases('change_from'))}\s{{0,3}}$")
        self.slash = re.compile(
            rf"{_BEGIN}(?P<n1>{_NUMBER})\s?/\s?(?P<n2>{_NUMBER})[\s-]{{0,3}}(?P<u2>{unit})"
        )
        self.list = re.compile(
            rf"{_BEGIN}(?P<numbers>{_NUMBER}(?:\s?,\s{{1,3}}{_NUMBER}){{0,9}},?\s{{1,3}}"
            rf"(?:{between}|&|/)\s{{1,3}}{_NUMBER})[\s-]{{0,3}}(?P<u1>{unit})"
        )
        self.commas = re.compile(
            rf"{_BEGIN}(?P<numbers>{_NUMBER}(?:\s?,\s{{1,3}}{_NUMBER}){{1,9}})[\s-]{{0,3}}"
            rf"(?P<u1>{unit})"
        )
        self.single = re.compile(rf"{_BEGIN}(?P<n1>{_NUMBER})[\s-]{{0,3}}(?P<u1>{unit})")
        most = alternatives(words.phrases("at_most"))
        self.bare = re.compile(rf"{most}\.?\s{{1,2}}(?P<n1>\d{{1,3}}(?:[.,]\d)?){_NO_LENGTH}")
        was = (*words.phrases("previous_before"), *words.phrases("previous_right_before"))
        self.prior = re.compile(
            rf"[(,;]\s?{alternatives(was)}[\s:=]{{1,3}}(?P<n1>{_NUMBER})(?=\s?(?:[),;]|\.(?:\s|$)))"
        )
        self.bounds = [
            (bound, re.compile(rf"{alternatives(words.phrases(bound))}[.\s=-]{{0,3}}$"))
            for bound in ("at_most", "below", "above", "about")
        ]
        self.bounds_after = [
            (bound, re.compile(rf"\s{{0,2}}{alternatives(words.phrases(f'{bound}_after'))}"))
            for bound in ("below", "above")
        ]
        self.numbered = re.compile(
            rf"{alternatives(words.phrases('numbered'))}[.\s:#]{{0,3}}"
            rf"(?:\d{{1,2}}[a-d]?\s?(?:,|/|&|{between})\s?){{0,4}}$"
        )
        self.label_before = re.compile(
            rf"(?P<label>{label})(?:[\s-]{{0,2}}(?:{alternatives(words.phrases('size_word'))}))?"
            r"[\s:=]{0,3}(?:\w{1,10}\s){0,3}$"
        )
        self.label_after = re.compile(
            rf"\s{{0,2}}(?:\(\s?)?(?:[a-z]{{2,3}}\s){{0,2}}(?P<label>{label})"
        )


@cache
def _patterns(words: Words) -> _Patterns:
    return _Patterns(words)


def find_sizes(page: Page) -> list[Size]:
    """All sizes of a report, in order; none overlaps another."""
    patterns = _patterns(page.words)
    taken = bytearray(len(page.text))
    found: list[Size] = []

    def take(sizes: list[Size]) -> None:
        if sizes and not any(taken[sizes[0].start : sizes[-1].end]):
            for size in sizes:
                if all(0 < axis <= LARGEST_MM for axis in size.axes_mm):
                    found.append(size)
            taken[sizes[0].start : sizes[-1].end] = b"\1" * (sizes[-1].end - sizes[0].start)

    for match in patterns.product.finditer(page.text):
        take(_product(match, page, patterns))
    for match in patterns.range.finditer(page.text):
        if not _numbered(match, page, patterns):  # "segment 3 - 10 mm"
            take(_range(match, page, patterns))
    for match in patterns.change.finditer(page.text):
        take(_change(match, page))
    for pattern in (patterns.list, patterns.commas):
        for match in pattern.finditer(page.text):
            if not _numbered(match, page, patterns):
                take(list(_listed(match, page)))
    for match in patterns.slash.finditer(page.text):
        axes = tuple(_mm(match[n], match["u2"], page.words) for n in ("n1", "n2"))
        if axes[0] >= axes[1] >= 3:
            take([Size(match.span(), axes, ("", ""))])
    for match in patterns.single.finditer(page.text):
        take([Size(match.span(), (_mm(match["n1"], match["u1"], page.words),))])
    for match in patterns.bare.finditer(page.text):
        value = _number(match["n1"])
        if 3 <= value <= 200 and "suv" not in page.text[max(0, match.start() - 5) : match.start()]:
            take([Size(match.span("n1"), (value,), has_unit=False)])
    for match in patterns.prior.finditer(page.text):
        take(_prior(match, page, found))
    found.sort(key=lambda size: size.span)
    return [_told(size, page, patterns) for size in found]


def _numbered(match: re.Match[str], page: Page, patterns: _Patterns) -> bool:
    """Whether the first number is one of a segment, level or series."""
    before = page.text[max(0, match.start() - 30) : match.start()]
    return patterns.numbered.search(before) is not None


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _mm(text: str, unit: str, words: Words) -> float:
    return round(_number(text) * words.unit_mm[unit], 3)


def _product(match: re.Match[str], page: Page, patterns: _Patterns) -> list[Size]:
    words = page.words
    values, units, labels = [], [], []
    for n in "123":
        if match[f"n{n}"] is not None:
            values.append(match[f"n{n}"])
            units.append(match[f"u{n}"])
            said = match[f"l{n}"] or match[f"b{n}"]
            labels.append(_label(said, words) if said else "")
    last = match["u4"] or next((unit for unit in reversed(units) if unit), None)
    if last is None:
        tail = page.text[match.end() : match.end() + 12]
        if re.match(_NO_LENGTH, tail) is None or any(axis in values for axis in ("512", "256")):
            return []
        numbers = [_number(value) for value in values]
        if len(values) == 2 and max(numbers) < 3 and not any("." in v or "," in v for v in values):
            return []  # "2 x 1"
        # American reports leave out cm more often than mm, and write a decimal then.
        decimal = all("." in value or "," in value for value in values) and max(numbers) < 20
        axes = tuple(round(number * (10 if decimal else 1), 3) for number in numbers)
        if min(axes) < 2:
            return []
        return [Size(match.span(), axes, tuple(labels), has_unit=False)]
    following, used = last, []
    for unit in reversed(units):
        following = unit or following
        used.append(following)
    used.reverse()
    axes = tuple(_mm(value, unit, words) for value, unit in zip(values, used, strict=True))
    return [Size(match.span(), axes, tuple(labels))]


def _label(said: str, words: Words) -> str:
    plain = re.sub(r"[\s-]+", " ", said)
    for key in ("long", "short", "craniocaudal"):
        if any(re.sub(r"[\s-]+", " ", one) == plain for one in words.phrases(f"axis.{key}")):
            return key
    return "other"


def _range(match: re.Match[str], page: Page, patterns: _Patterns) -> list[Size]:
    low = _mm(match["n1"], match["u1"] or match["u2"], page.words)
    high = _mm(match["n2"], match["u2"], page.words)
    before = page.text[max(0, match.start() - _SENTENCE) : match.start()]
    before = re.split(r"\.\s|\n\s*\n", before)[-1]
    changed = patterns.change_from.search(before) and patterns.changed.search(before)
    if low < high and not changed:
        return [Size(match.span(), (high,), low_mm=low, bound="range")]
    return _change(match, page)


def _change(match: re.Match[str], page: Page) -> list[Size]:
    """Two sizes of "from 10 to 8 mm", the first of which was."""
    first = _mm(match["n1"], match["u1"] or match["u2"], page.words)
    span = match.start("n1"), match.end("u1") if match["u1"] else match.end("n1")
    second = _mm(match["n2"], match["u2"], page.words)
    return [
        Size(span, (first,), listed=True, was=True),
        Size((match.start("n2"), match.end()), (second,), listed=True),
    ]


def _prior(match: re.Match[str], page: Page, found: list[Size]) -> list[Size]:
    """Size of "12 mm (prior 15)", in the unit of the one before it."""
    before = [size for size in found if 0 <= match.start() - size.end < _LOOK_BACK]
    if not before or not 0 < _number(match["n1"]) < LARGEST_MM:
        return []
    nearest = max(before, key=lambda size: size.end)
    written = page.text[slice(*nearest.span)]
    unit = max(page.words.unit_mm, key=lambda unit: (written.endswith(unit), len(unit)))
    length = page.words.unit_mm[unit] if written.endswith(unit) else 1.0
    return [Size(match.span("n1"), (round(_number(match["n1"]) * length, 3),), has_unit=False)]


def _listed(match: re.Match[str], page: Page) -> Iterator[Size]:
    at = match.start("numbers")
    numbers = list(re.finditer(_NUMBER, match["numbers"]))
    for number, found in enumerate(numbers, start=1):
        end = match.end() if number == len(numbers) else at + found.end()
        value = _mm(found[0], match["u1"], page.words)
        yield Size((at + found.start(), end), (value,), listed=True)


def _told(size: Size, page: Page, patterns: _Patterns) -> Size:
    """Size with the bound and the axis that the words beside it tell."""
    before = page.text[max(0, size.start - _LOOK_BACK) : size.start]
    bound: Bound = size.bound
    if bound == "exact":
        arrow = size.listed and before.rstrip().endswith(">")
        for name, pattern in patterns.bounds:
            if not arrow and pattern.search(before):
                bound = name  # type: ignore[assignment]
                break
    if bound in ("exact", "at_most"):
        for name, pattern in patterns.bounds_after:
            if pattern.match(page.text, size.end):
                bound = name  # type: ignore[assignment]
    labels = size.labels
    if len(size.axes_mm) == 1:
        after = page.text[size.end : size.end + _LOOK_BACK]
        said = patterns.label_after.match(after) or patterns.label_before.search(before)
        if said is not None:
            labels = (_label(said["label"], page.words),)
    return replace(size, bound=bound, labels=labels)
