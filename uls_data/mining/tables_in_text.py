"""Tables of lesions in a report: columns separated by bars, tabs or blanks, under a header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from uls_data.mining.references import Reference
from uls_data.mining.sizes import LARGEST_MM, Size
from uls_data.mining.word_places import Page, Span

_NUMBER = r"\d{1,3}(?:[.,]\d{1,2})?"
_SIZE = re.compile(
    rf"\s*(?P<bound>[<>~])?\s*(?P<n1>{_NUMBER})(?:\s*[x*/]\s*(?P<n2>{_NUMBER}))?"
    rf"(?:\s*[x*/]\s*(?P<n3>{_NUMBER}))?\s*(?P<unit>mm|cm)?\s*(?:\(.*\))?\s*"
)
_PAIR = re.compile(r"\D*(?P<s>\d{1,4})[a-z]?\s*(?:[-/:,;]|\D{1,12})\s*(?P<i>\d{1,4})\D*")
_WHOLE = re.compile(r"\D{0,8}(\d{1,4})[a-z]?\D{0,3}")
_DATE = re.compile(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})")
_RULE = re.compile(r"[\s|:+=-]+")
_FEWEST_CELLS, _LONGEST_NAME = 3, 40


@dataclass(frozen=True)
class Cell:
    """A lesion's row in a table.

    Attributes
    ----------
    size : Size or None
    previous : Size or None
    reference : Reference or None
    where : tuple of (int, int)
        Spans to look for words of location in, the best first.
    kind : str
        `target`, `non_target` or nothing.
    is_sum : bool
        The row adds up those above it.
    """

    size: Size | None
    previous: Size | None
    reference: Reference | None
    where: tuple[Span, ...]
    kind: str
    is_sum: bool = False


@dataclass(frozen=True)
class _Line:
    span: Span
    cells: tuple[Span, ...]
    by: str


def find_tables(page: Page) -> tuple[list[Cell], list[Span]]:
    """Rows of all tables whose header is understood, and the spans of their lines."""
    found: list[Cell] = []
    spans: list[Span] = []
    header: dict[str, int] = {}
    units: dict[str, str] = {}
    width, by = 0, ""
    for line in _lines(page):
        if line is None:
            header = {}
            continue
        if header and line.by == by and 2 <= len(line.cells) <= width + 1:
            if _RULE.fullmatch(page.text, *line.span):
                continue
            cell = _row(page, line, header, units)
            if cell is not None:
                found.append(cell)
            spans.append(line.span)
            continue
        header, units = _header(page, line)
        width, by = len(line.cells), line.by
        if header:
            spans.append(line.span)
    return found, spans


def _lines(page: Page) -> Iterator[_Line | None]:
    """Lines with cells; None for those without."""
    at = 0
    for text in page.text.split("\n"):
        start, at = at, at + len(text) + 1
        if text.count("|") >= 2 or (text.count("|") == 1 and text.count(" | ") == 1):
            by, pattern = "|", r"\|"
        elif "\t" in text.strip():
            by, pattern = "tab", r"\t"
        elif len(re.findall(r"\S\s{2,}(?=\S)", text)) >= _FEWEST_CELLS - 1:
            by, pattern = "blank", r"\s{2,}"
        elif text.count(";") >= _FEWEST_CELLS - 1:
            by, pattern = ";", ";"
        else:
            yield None
            continue
        begin = start + len(text) - len(text.lstrip(" |")) if by != "tab" else start
        end = start + len(text.rstrip(" |")) if by != "tab" else start + len(text)
        cells, last = [], begin
        for match in re.finditer(pattern, page.text[begin:end]):
            cells.append((last, begin + match.start()))
            last = begin + match.end()
        cells.append((last, max(last, end)))
        yield _Line((start, start + len(text)), tuple(cells), by)


def _header(page: Page, line: _Line) -> tuple[dict[str, int], dict[str, str]]:
    """Column of each kind, and the unit that a column's name states."""
    columns: dict[str, int] = {}
    units: dict[str, str] = {}
    if len(line.cells) < 2 or any(end - start > _LONGEST_NAME for start, end in line.cells):
        return {}, {}
    dates: list[tuple[date, int]] = []
    for number, (start, end) in enumerate(line.cells):
        said = page.text[start:end].strip(" *_.:\t")
        unit = re.search(r"\b(mm|cm)\b", said)
        plain = re.sub(r"\(?\b(?:in )?(?:mm|cm)\b\)?", "", said).strip(" *_.:,") or said
        key = next((key for key in _keys(page, plain) if key not in columns), None)
        if key is None and (match := _DATE.search(plain)):
            if (day := _day(match)) is not None:
                dates.append((day, number))
            continue
        if key is not None:
            columns[key] = number
            if unit is not None:
                units[key] = unit[1]
            if key in ("lesion", "kind") and page.has("target", start, end):
                units["kind"] = "non_target" if page.has("non_target", start, end) else "target"
    dates.sort(reverse=True)
    for key, (_, number) in zip(("size", "previous"), dates, strict=False):
        columns.setdefault(key, number)
    enough = len(columns) >= 2 if line.by != "blank" else len(columns) >= _FEWEST_CELLS
    return (columns, units) if enough and columns.keys() & {"size", "long"} else ({}, {})


def _keys(page: Page, said: str) -> list[str]:
    """Kinds of column that a name can mean, the surest first."""
    words = page.words
    plain = re.sub(r"\s+", " ", re.sub(r"\(.*?\)", "", said)).strip() or said
    exact = [key for key in words.keys("columns") if said in words.phrases(f"columns.{key}")]
    same = [key for key in words.keys("columns") if plain in words.phrases(f"columns.{key}")]
    begins = [
        key
        for key in words.keys("columns")
        for phrase in words.phrases(f"columns.{key}")
        if plain.startswith(f"{phrase} ") or plain.endswith(f" {phrase}")
    ]
    return [*exact, *same, *begins]


def _day(match: re.Match[str]) -> date | None:
    first, month, last = (int(part) for part in match.groups())
    year, day = (first, last) if first > 31 else (last, first)
    try:
        return date(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return None


def _row(page: Page, line: _Line, header: dict[str, int], units: dict[str, str]) -> Cell | None:
    spans = {key: line.cells[at] for key, at in header.items() if at < len(line.cells)}
    size = _size(page, spans.get("size"), units.get("size"))
    if size is None:
        size = _axes(page, spans, units)
    previous = _size(page, spans.get("previous"), units.get("previous") or units.get("size"))
    reference = _reference(page, spans)
    if size is None and reference is None:
        return None
    where = [spans[key] for key in ("location", "lesion") if key in spans]
    kind = ""
    if "kind" in spans:
        said = page.text[slice(*spans["kind"])].strip()
        if said.startswith("n") or page.has("non_target", *spans["kind"]):
            kind = "non_target"
        elif said.startswith("t"):
            kind = "target"
        elif said.isdigit():
            kind = units.get("kind", "")
    elif "lesion" in spans:
        said = page.text[slice(*spans["lesion"])].strip(" *")
        if match := re.fullmatch(r"(n?)tl?\s?\d{1,2}", said):
            kind = "non_target" if match[1] else "target"
        elif said.isdigit():
            kind = units.get("kind", "")
    first = next((span for span in line.cells if page.text[slice(*span)].strip()), line.span)
    is_sum = page.has("not_lesion.sum", *first)
    return Cell(size, previous, reference, (*where, line.span), kind, is_sum)


def _size(page: Page, span: Span | None, unit: str | None) -> Size | None:
    if span is None or (match := _SIZE.fullmatch(page.text, *span)) is None:
        return None
    values = [match[n] for n in ("n1", "n2", "n3") if match[n]]
    said = match["unit"] or unit
    # American reports leave out cm more often than mm, and write a decimal then.
    scale = 10.0 if (said or ("cm" if "." in "".join(values) else "mm")) == "cm" else 1.0
    axes = tuple(round(float(value.replace(",", ".")) * scale, 3) for value in values)
    if not all(0 < axis <= LARGEST_MM for axis in axes):
        return None
    ends = max(match.end(n) for n in ("n1", "n2", "n3", "unit") if match[n])
    return Size(
        (match.start("n1"), ends),
        axes,
        ("",) * len(axes),
        bound={"<": "below", ">": "above", "~": "about"}.get(match["bound"] or "", "exact"),  # type: ignore[arg-type]
        has_unit=said is not None,
    )


def _axes(page: Page, spans: dict[str, Span], units: dict[str, str]) -> Size | None:
    """Size of two columns, a long and a short axis."""
    found = [
        (key, size)
        for key in ("long", "short")
        if (size := _size(page, spans.get(key), units.get(key))) is not None
    ]
    if not found or any(len(size.axes_mm) > 1 for _, size in found):
        return found[0][1] if found else None
    starts, ends = zip(*(size.span for _, size in found), strict=True)
    return Size(
        (min(starts), max(ends)),
        tuple(size.axes_mm[0] for _, size in found),
        tuple(key for key, _ in found),
        has_unit=all(size.has_unit for _, size in found),
        parts=tuple(size.span for _, size in found),
    )


def _reference(page: Page, spans: dict[str, Span]) -> Reference | None:
    for key in ("reference", "image", "series"):
        if key in spans and (match := _PAIR.fullmatch(page.text, *spans[key])):
            span = match.start("s"), match.end("i")
            return Reference(span, int(match["s"]), int(match["i"]))
    numbers = {
        key: _WHOLE.fullmatch(page.text, *spans[key]) for key in ("series", "image") if key in spans
    }
    series, image = numbers.get("series"), numbers.get("image")
    if image is None:
        return None
    parts = sorted([image.span(1), *([series.span(1)] if series else [])])
    span = parts[0][0], parts[-1][1]
    return Reference(span, int(series[1]) if series else None, int(image[1]), parts=tuple(parts))
