"""Sentences of a report, and what the headings above each one say about it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from uls_data.mining.lexicon import alternatives
from uls_data.mining.word_places import Page, Span

# A page with longer lines was not broken by hand; in another one, a line of most of its width
# continues in the next.
_LONGEST_LEAD, _LONGEST_ITEM = 80, 120
_WIDEST_PAGE, _NARROWEST_LINE, _WRAPPED_SHARE = 110, 36, 0.68
_BULLET = re.compile(
    r"[ \t]*(?:[-*•·–+o](?=\s)|>(?=\s[^\d\s])|[-•*](?=[^\W\d])|\(?\d{1,2}[.)](?=\s|[^\W\d])"
    r"|\d{1,2}:(?=\s)|[^\W\d]{3,12}\s#?\d{1,2}:(?=\s)|\d{1,2}\s{2,}(?=[^\W\d])|\(?[a-h][.)]\s|(?:n?tl|target)\s?\d{1,2}\b"
    r"|[tl]\s?\d{1,2}\s?[:)=]|#\s?\d)"
)
_DRESS = re.compile(r"[\s*#_=>-]*")
_END = re.compile(r"[.!?]+(?=[\"')\]]{0,2}(?:\s|$))|(?<=[a-z)])\.(?=[^\W\d_]{2})")


@dataclass(frozen=True)
class Sentence:
    """A sentence, an item of a list, or a line.

    Attributes
    ----------
    start, end : int
        Characters of the report.
    section : str
        `findings`, `technique`, ...: the last heading of its kind, or nothing.
    target : str
        `target` or `non_target` under such a heading.
    region : str
        Lesion type that an anatomical heading speaks for.
    paragraph : int
        Number of the paragraph; blank lines part them.
    item : bool
        It begins a line with a bullet or a number.
    """

    start: int
    end: int
    section: str = ""
    target: str = ""
    region: str = ""
    paragraph: int = 0
    item: bool = False


class _Headings:
    """Headings at the beginning of a sentence, or before a colon inside it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        words = page.words
        self.kinds = {
            f"{group}.{key}": re.compile(alternatives(words.phrases(f"{group}.{key}")))
            for group in ("headings", "regions")
            for key in words.keys(group)
        }
        inside = tuple(
            phrase
            for key in ("target", "non_target", "other")
            for phrase in words.phrases(f"headings.{key}")
        )
        self.inside = re.compile(rf"(?:{alternatives(inside)})\s?:")

    def at(self, start: int, end: int) -> tuple[str, int]:
        """Heading that a sentence begins with, and where it ends; ("", start) for none."""
        text = self.page.text
        dressed = _DRESS.match(text, start, end)
        begin = dressed.end() if dressed else start
        best = ("", begin)
        for name, pattern in self.kinds.items():
            match = pattern.match(text, begin, end)
            if match is not None and match.end() > best[1]:
                rest = text[match.end() : end]
                marked = re.match(r"[\s*_]{0,3}(?:\([^)\n]{0,30}\))?[\s*_]{0,3}(?::|-{2,}|=)", rest)
                alone = not rest.strip(" \t*_.:=#-")
                if marked or alone:
                    best = (name, match.end() + (marked.end() if marked else len(rest)))
        return best


def sentences(page: Page, whole: Sequence[Span], named: Sequence[Span] = ()) -> list[Sentence]:
    """Sentences of a report, in order, with what headings say.

    Parameters
    ----------
    page : Page
    whole : sequence of (int, int)
        Spans, in order, that no sentence may end in: sizes and references.
    named : sequence of (int, int)
        Of these, the references.
    """
    headings = _Headings(page)
    found: list[Sentence] = []
    state = Sentence(0, 0)
    items, item_indent, closed = 0, 0, False
    numbered = aside = False
    for start, end, paragraph, item in _split(page, whole, headings):
        heading, told = headings.at(start, end)
        group, _, key = heading.partition(".")
        fresh = "\n" in page.text[found[-1].end if found else 0 : start + 1] or not found
        parted = paragraph != state.paragraph
        ends = parted or (fresh and state.section == "comparison")
        if closed and ends and state.section in ("comparison", "technique"):
            # What was compared and how it was scanned is told in one paragraph.
            state = replace(state, section="findings")
        elif closed and state.section in ("comparison", "technique") and _finding(page, start, end):
            state = replace(state, section="findings")
        indent = _indent(page, start)
        if state.target and items and not group and fresh and indent < item_indent:
            state = replace(state, target="")
        ended = paragraph != state.paragraph and items > 0 and not group and not item
        if state.target and ended and not _like_an_item(start, end, named):
            # A list of lesions ends with its paragraph, unless the next one looks like more.
            state, items = replace(state, target=""), 0
        if group == "headings":
            target = key if key in ("target", "non_target") else ""
            section = "findings" if target else key
            region = state.region
            state, items = Sentence(0, 0, section, target), 0
            closed = bool(page.text[told:end].strip())
            if target and not fresh:
                state = replace(state, region=region)
        elif group == "regions":
            state = replace(state, region="" if key == "unknown" else key)
            if paragraph != state.paragraph and items:
                state = replace(state, target="")
        elif said := _list_of(page, start, end, whole):
            state, items = replace(state, target=said), 0
        else:
            closed = closed or fresh
        state = replace(state, paragraph=paragraph)
        if fresh:
            # Among numbered items, a line without a number that names something is none of them.
            aside = items > 0 and numbered and not item and indent <= item_indent
            aside = aside and _names(page, start, end) and not _like_an_item(start, end, named)
        if _inside(whole, start, end):
            if not items:
                item_indent, numbered = indent, item
            items += 1
        target = "" if aside else state.target
        found.append(replace(state, start=start, end=end, item=item, target=target))
    return found


def _finding(page: Page, start: int, end: int) -> bool:
    """Whether a sentence on the line of a heading tells of a lesion, not of how it was scanned."""
    return page.has("lesion", start, end) or page.has("location.lymph_node", start, end)


def _names(page: Page, start: int, end: int) -> bool:
    """Whether words name a lesion, a place, or what else is measured."""
    other = page.places_within(start, end) or page.has("not_lesion.", start, end)
    return _finding(page, start, end) or bool(other)


def _indent(page: Page, start: int) -> int:
    begin = page.text.rfind("\n", 0, start + 1) + 1
    line = page.text[begin : begin + 200]
    return len(line) - len(line.lstrip(" \t"))


def _list_of(page: Page, start: int, end: int, whole: Sequence[Span]) -> str:
    """Whether a line with a colon at its end, as "measurements (target):", begins a list."""
    text = page.text[start:end].rstrip()
    if not text.endswith(":") or len(text) > _LONGEST_LEAD or _inside(whole, start, end):
        return ""
    if page.has("non_target", start, end):
        return "non_target"
    return "target" if page.has("target", start, end) else ""


def _like_an_item(start: int, end: int, named: Sequence[Span]) -> bool:
    return bool(_inside(named, start, end)) and end - start < _LONGEST_ITEM


def _inside(whole: Sequence[Span], start: int, end: int) -> list[Span]:
    at = bisect_right(whole, (start, -1))
    found = []
    while at < len(whole) and whole[at][1] <= end:
        found.append(whole[at])
        at += 1
    return found


def _split(
    page: Page, whole: Sequence[Span], headings: _Headings
) -> Iterator[tuple[int, int, int, bool]]:
    """Start, end, paragraph and whether it is an item, of each sentence."""
    for start, end, paragraph, item in _blocks(page, whole, headings):
        at = start
        for cut in _cuts(page, start, end, whole, headings):
            if page.text[at:cut].strip():
                yield at, cut, paragraph, item and at == start
            at = cut
        if page.text[at:end].strip():
            yield at, end, paragraph, item and at == start


def _cuts(
    page: Page, start: int, end: int, whole: Sequence[Span], headings: _Headings
) -> list[int]:
    """Where sentences end inside a block, and where an inline heading begins."""
    short = set(page.words.phrases("abbreviations"))
    cuts = set()
    for match in _END.finditer(page.text, start, end):
        word = re.search(r"[\w./]*$", page.text[max(start, match.start() - 16) : match.start()])
        said = word[0].strip(".") if word else ""
        if match[0] == "." and (said in short or (len(said) == 1 and said.isalpha())):
            continue
        if match[0] == "." and said.isdigit() and len(said) < 3 and match.start() - start < 6:
            continue  # the number of an item
        if not _covered(whole, match.start()):
            cuts.add(match.end())
    for match in headings.inside.finditer(page.text, start, end):
        if not _covered(whole, match.start()):
            cuts.add(match.start())
    return sorted(cuts)


def _covered(whole: Sequence[Span], at: int) -> bool:
    before = bisect_right(whole, (at, len("x") << 40)) - 1
    return before >= 0 and whole[before][0] < at < whole[before][1]


def _blocks(
    page: Page, whole: Sequence[Span], headings: _Headings
) -> Iterator[tuple[int, int, int, bool]]:
    """Join lines that are one text: a wrapped paragraph, an item, a heading."""
    begin, last, paragraph, item = -1, -1, 0, False
    at = 0
    width = max(map(len, page.text.split("\n")))
    wrapped = max(_NARROWEST_LINE, width * _WRAPPED_SHARE) if width <= _WIDEST_PAGE else width + 1
    for line in page.text.split("\n"):
        start, end = at, at + len(line)
        at = end + 1
        if not line.strip(" \t-=_#*"):
            if begin >= 0:
                yield begin, last, paragraph, item
            begin = -1
            if not line.strip():
                paragraph += 1
            continue
        if begin >= 0 and not _goes_on(page, begin, last, start, end, wrapped, whole, headings):
            yield begin, last, paragraph, item
            begin = -1
        if begin < 0:
            begin, item = start, _BULLET.match(line) is not None
        last = end
    if begin >= 0:
        yield begin, last, paragraph, item


def _goes_on(
    page: Page,
    begin: int,
    last: int,
    start: int,
    end: int,
    wrapped: float,
    whole: Sequence[Span],
    headings: _Headings,
) -> bool:
    """Whether a line continues the text before it."""
    if _covered(whole, start):
        return True
    line = page.raw[start:end]
    before = page.raw[begin:last].rstrip()
    above = before[before.rfind("\n") + 1 :]
    if _BULLET.match(page.text, start, end) or not before:
        return False
    lower = line.lstrip()[:1].islower()
    capitals = any(map(str.isupper, page.raw[begin:last]))
    if headings.at(start, end)[0] and not (lower and capitals):
        return False
    if headings.at(begin, last)[0] and before.endswith(":"):
        return False
    word = re.search(r"[^\W\d]+(?=\.$)", before)
    if word is not None and word[0].lower() in page.words.phrases("abbreviations"):
        return True
    if before.endswith((":", ".", "!", "?", "|", "\t")):
        return False
    if before.endswith((",", "-", "/", "x", "(", "&", "<", ">")):
        return True
    if lower:
        # In a report without capitals every line may be a statement of its own.
        return len(above.rstrip()) >= wrapped or capitals
    tail = page.text[max(begin, last - 24) : last].rstrip()
    if any(
        tail.endswith(f" {word}")
        for name in ("preposition", "about", "size_word", "by", "and", "at_most")
        for word in page.words.phrases(name)
    ):
        return True
    return len(above.rstrip()) >= wrapped
