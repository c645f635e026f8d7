"""What a size is a size of: a lesion, an organ, a distance, a setting of the scanner."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from uls_data.mining.lexicon import Words, alternatives
from uls_data.mining.seats import Seat
from uls_data.mining.word_places import Page, Span
from uls_data.outcome import LesionType

_ADJECTIVES = 42
_OVER = re.compile(r"\b(?:over|van)\s{1,2}(?:\w{1,4}\.?\s)?$")
_ITEM = re.compile(r"\s{0,2}(?:nr\.?|no\.?|#)?\s{0,2}\d{1,2}\s?[:,;)=-]")
_OF = re.compile(r"\s+(?:of|van)\s+(?:[^\W\d]+\s+){0,2}")
_OTHERS = ("organ", "part", "distance", "technique", "device")


class Kind(StrEnum):
    """What was measured."""

    LESION = "lesion"
    ORGAN = "organ"
    PART = "part"
    DISTANCE = "distance"
    LIMIT = "limit"
    CHANGE = "change"
    TECHNIQUE = "technique"
    DEVICE = "device"
    GUIDELINE = "guideline"
    SUM = "sum"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Subject:
    """What a size is about.

    Attributes
    ----------
    kind : Kind
    noun : (int, int) or None
        The word that says so.
    node : bool
        It is a lymph node by name.
    after : bool
        The noun follows the size: "a 12 mm nodule".
    contested : bool
        Words of another kind are there too.
    """

    kind: Kind
    noun: Span | None = None
    node: bool = False
    after: bool = False
    contested: bool = False


class _Patterns:
    def __init__(self, words: Words) -> None:
        about = alternatives(words.phrases("about"))
        loosely = rf"[\s:=]{{0,3}}(?:(?:{about})[.\s]{{0,2}}){{0,2}}"
        loosely += r"(?:(?:is|was|of|van|bedraagt)\s{1,2})?$"
        self.distance_before = re.compile(alternatives(words.phrases("distance_before")) + loosely)
        self.contact = re.compile(alternatives(words.phrases("contact")))
        self.weak_before = re.compile(alternatives(words.phrases("distance_weak_before")) + loosely)
        self.change_before = re.compile(alternatives(words.phrases("change_before")) + loosely)
        self.distance_after = re.compile(
            rf"\s{{0,2}}(?:{alternatives(words.phrases('distance_after'))})(?!\s{{0,2}}\d)"
        )
        self.weak_after = re.compile(
            rf"\s{{0,2}}{alternatives(words.phrases('distance_weak_after'))}"
        )
        self.change_after = re.compile(rf"\s{{0,2}}{alternatives(words.phrases('change_after'))}")
        self.governed = re.compile(
            rf"{alternatives(words.phrases('preposition'))}\s+(?:[^\W\d]+[\s-]+){{0,3}}$"
        )
        size_word = alternatives(words.phrases("size_word"))
        self.size_of = re.compile(rf"{size_word}\s+(?:of|van|in)\s+(?:[^\W\d]+[\s-]+){{0,2}}$")
        self.no = re.compile(
            rf"{alternatives(words.phrases('negation'))}\s+(?:[^\W\d]+[\s-]+){{0,3}}$"
        )


@cache
def _patterns(words: Words) -> _Patterns:
    return _Patterns(words)


def subject_of(page: Page, seat: Seat) -> Subject | None:
    """Tell what a size is about, by its own words; None where they do not say."""
    patterns = _patterns(page.words)
    before = page.text[max(seat.pre[0], seat.size.start - 60) : seat.size.start]
    touching = page.text[max(seat.sentence.start, seat.size.start - 60) : seat.size.start]
    after = page.text[seat.size.end : min(seat.sentence.end, seat.size.end + 40)]
    named = seat.reference.span if seat.reference is not None else (0, 0)
    nouns_before, nouns_after = _nouns(page, seat.pre, named), _nouns(page, seat.post, named)
    if seat.sentence.section == "technique" and seat.reference is None:
        return Subject(Kind.TECHNIQUE)
    # "Sum = 6.2 cm = 62 mm" says one thing twice.
    told = max(seat.pre[0], seat.size.start - 50)
    told = seat.sentence.start if re.search(r"=\s?$", before) else told
    if page.has("not_lesion.sum", told, seat.size.start):
        return Subject(Kind.SUM)
    if seat.size.bound in ("above", "below") and seat.reference is None:
        advised = page.has("advice", seat.sentence.start, seat.sentence.end)
        if advised:
            return Subject(Kind.GUIDELINE)
    guided = any(page.has("not_lesion.guideline", *span) for span in (seat.pre, seat.post))
    if guided and seat.reference is None:
        return Subject(Kind.GUIDELINE)
    if kind := _beside(before, after, touching, patterns, seat):
        return Subject(kind)
    first = _first_after(page, seat, nouns_after)
    if first is not None:
        return first
    return _last_before(page, seat, nouns_before, patterns)


def _beside(before: str, after: str, touching: str, patterns: _Patterns, seat: Seat) -> Kind | None:
    """Distance or change, by the words that touch the size."""
    if len(seat.size.axes_mm) > 1:
        return None
    if patterns.change_before.search(before) or patterns.change_after.match(after):
        return Kind.CHANGE
    if _OVER.search(before) and patterns.contact.search(touching):
        return Kind.DISTANCE
    if patterns.distance_after.match(after) or patterns.distance_before.search(before):
        return Kind.DISTANCE
    if patterns.weak_before.search(before) and patterns.weak_after.match(after):
        return Kind.DISTANCE
    return None


def _nouns(page: Page, span: Span, but: Span) -> list[tuple[int, int, str]]:
    """Words in a span that can be what was measured, in order; of two on one place, the longer.

    Those of a reference ("slice 12") are none.
    """
    found = [(a, b, "lesion") for a, b in page.within("lesion", *span)]
    found += [(a, b, "node") for a, b in page.within("location.lymph_node", *span)]
    for key in _OTHERS:
        found += [(a, b, key) for a, b in page.within(f"not_lesion.{key}", *span)]
    found = [hit for hit in found if hit[1] <= but[0] or but[1] <= hit[0]]
    found.sort(key=lambda hit: (hit[0] - hit[1], hit[0], hit[2] != "lesion"))
    kept: list[tuple[int, int, str]] = []
    for start, end, key in found:
        if all(end <= a or b <= start for a, b, _ in kept):
            kept.append((start, end, key))
    return sorted(kept)


def _first_after(page: Page, seat: Seat, nouns: Sequence[tuple[int, int, str]]) -> Subject | None:
    """Subject of "12 mm spiculated nodule": the noun follows, with adjectives between at most."""
    words = page.words
    joining = alternatives((*words.phrases("preposition"), *words.phrases("and")))
    governed = re.compile(rf"[,;.()\[\]|]|{joining}|\bis\b|\bwas\b|\bare\b")
    for number, (start, end, key) in enumerate(nouns):
        between = page.text[seat.size.end : start]
        if len(between) > _ADJECTIVES or governed.search(between):
            return None
        following = nouns[number + 1] if number + 1 < len(nouns) else None
        if key in _OTHERS:
            # "12 mm liver lesion": the organ is where it lies.
            near = following and following[2] in ("lesion", "node") and following[0] - end < 24
            if near and following and not governed.search(page.text[end : following[0]]):
                continue
            if seat.size.start > seat.pre[0] and key == "organ" and _head(page, seat.pre):
                return None
            return Subject(Kind(key), (start, end), after=True)
        return Subject(Kind.LESION, (start, end), node=key == "node", after=True)
    return None


def _head(page: Page, span: Span) -> bool:
    return page.has("lesion", *span) or page.has("location.lymph_node", *span)


def _last_before(
    page: Page, seat: Seat, nouns: Sequence[tuple[int, int, str]], patterns: _Patterns
) -> Subject | None:
    """Subject of "the nodule in the liver measures 12 mm": the last noun that no other governs."""
    heads: list[tuple[int, int, str]] = []
    lesions: list[tuple[int, int, str]] = []
    for number, (start, end, key) in enumerate(nouns):
        lead = page.text[max(seat.pre[0], start - 40) : start]
        own = page.text[max(seat.pre[0], start - 40, nouns[number - 1][1] if number else 0) : start]
        if key in ("lesion", "node"):
            if patterns.no.search(lead) and len(nouns) > 1 and number < len(nouns) - 1:
                continue
            if heads and _OF.fullmatch(page.text, heads[-1][1], start):
                continue  # "the wall of the mass"
            lesions.append((start, end, key))
            continue
        following = nouns[number + 1] if number + 1 < len(nouns) else None
        modifies = following is not None and following[0] - end <= 2 and following[2] in (
            "lesion", "node",
        )  # fmt: skip
        ruler = patterns.governed.search(own)
        # What a lesion is told to be "with" may be what was measured: "with skin thickening of".
        governed = (
            ruler and ruler[0][:4] not in ("with", "met ") and not patterns.size_of.search(lead)
        )
        # "A lesion with a solid component measures": the verb is the lesion's.
        if key == "part" and ruler and _verb_apart(page, end, seat):
            continue
        if key == "part" and page.has("whole", end, seat.size.start):
            continue
        if not modifies and (not governed or key == "part"):
            heads.append((start, end, key))
    last = lesions[-1] if lesions else None
    if last is not None and _ITEM.match(page.text, last[1]):
        heads = [head for head in heads if head[2] != "organ"]  # "lesion 3: left adrenal"
    head = heads[-1] if heads else None
    if last is not None and head is not None and head[2] in ("part", "distance"):
        last = last if head[0] < last[0] else None
    if last is not None and (head is None or head[0] < last[0] or _subordinate(page, last, head)):
        alone = seat.reference is None and len(seat.size.axes_mm) == 1
        if alone and page.has("thickened", *last[:2]):
            return Subject(Kind.ORGAN, last[:2], contested=True)
        node = any(key == "node" for _, _, key in lesions[-2:])
        return Subject(Kind.LESION, last[:2], node=node, contested=head is not None)
    if head is not None:
        return Subject(Kind(head[2]), head[:2], contested=last is not None)
    return None


def goes_on_as_distance(page: Page, seat: Seat) -> bool:
    """Whether a size behind a distance is another: "3 cm from the carina and 4 mm of the aorta"."""
    patterns = _patterns(page.words)
    alone = not _nouns(page, seat.pre, (0, 0)) and len(seat.size.axes_mm) == 1
    return alone and patterns.weak_after.match(page.text, seat.size.end) is not None


def _verb_apart(page: Page, end: int, seat: Seat) -> bool:
    """Whether "measures" stands before a size, and not right behind the word that ends there."""
    verbs = page.within("measures", end, seat.size.start)
    return bool(verbs) and verbs[-1][0] - end > 2


def _subordinate(page: Page, lesion: tuple[int, int, str], head: tuple[int, int, str]) -> bool:
    """Whether an organ behind a lesion is only told along with it: no comma or verb parts them."""
    between = page.text[lesion[1] : head[0]]
    return re.search(r"[,;:.\n]", between) is None


def lesion_type_of(
    page: Page, spans: Sequence[Span], subject: Subject | None, *, anywhere: bool = False
) -> LesionType | None:
    """Type by the words of location in the first of the spans that has any.

    Parameters
    ----------
    page : Page
    spans : sequence of (int, int)
        The nearest first.
    subject : Subject or None
        A node by name is a node wherever it lies.
    anywhere : bool
        Take also the place that a lesion is said to be beside.
    """
    if subject is not None and subject.node:
        return LesionType.LYMPH_NODE
    level, beside = (
        re.compile(rf"{alternatives(page.words.phrases(name))}\s+(?:\w+\s+){{0,3}}$")
        for name in ("level_of", "beside")
    )
    weak: LesionType | None = None
    segment: LesionType | None = None
    for span in spans:
        places = page.places_within(*span)
        anchor = _anchor(page, span, subject)
        places.sort(key=lambda place: min(abs(place[0] - anchor), abs(place[1] - anchor)))
        for start, end, key in places:
            kind = LesionType.LYMPH_NODE if key == "node_place" else LesionType(key)
            lead = page.text[max(span[0], start - 40) : start]
            if not anywhere and (beside.search(lead) or page.has("texture", start, end)):
                continue
            if is_segment(page, start):
                segment = segment or kind
            elif (
                page.has("shared", start, end)
                or level.search(lead)
                or (key == "node_place" and _only_there(page, subject))
            ):
                weak = weak or kind
            else:
                return kind
    return weak or segment


def is_segment(page: Page, start: int) -> bool:
    """Whether a place is a segment by its number alone, of the liver unless a lung was named."""
    return page.text.startswith("seg", start)


def _anchor(page: Page, span: Span, subject: Subject | None) -> int:
    """Where to look for the nearest place: at the noun, else at the size's end of the span."""
    if subject is not None and subject.noun is not None:
        return subject.noun[0]
    return span[1]


def _only_there(page: Page, subject: Subject | None) -> bool:
    """Whether a place of nodes is only where something else lies, as "hilar mass"."""
    return subject is not None and subject.noun is not None and not subject.node
