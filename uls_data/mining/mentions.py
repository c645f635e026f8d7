"""Lesions of a report: sizes that belong together, with what the report says about them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from uls_data.errors import CaseError
from uls_data.mining.earlier import is_negated, previous_ones
from uls_data.mining.joined_sizes import axes_together
from uls_data.mining.kinds import (
    Kind,
    Subject,
    goes_on_as_distance,
    is_segment,
    lesion_type_of,
    subject_of,
)
from uls_data.mining.layout import Sentence, sentences
from uls_data.mining.mention import Mention, doubts_of, mark_repeated, mark_unclear
from uls_data.mining.references import Reference, find_references
from uls_data.mining.seats import Seat, seats
from uls_data.mining.sizes import find_sizes
from uls_data.mining.tables_in_text import Cell, find_tables
from uls_data.mining.word_places import Page
from uls_data.outcome import LesionType, Reason

_ORGAN_AT_LEAST_MM = 30.0
MAXIMUM_MENTIONS = 2_000
_SHORT = 30
# "T1: liver", "NTL 2)": a label of a report that speaks of targets.
_LABEL = re.compile(r"[\s*(-]*(?P<non>n)?tl?\s?\d{1,2}\s?[:).=-]")


@dataclass
class _Before:
    """What was read last: a size without a noun of its own is about it."""

    subject: Subject | None = None
    lesion_type: LesionType | None = None
    place: LesionType | None = None
    sentence: Sentence | None = None
    lead: Sentence | None = None


def read_mentions(page: Page) -> list[Mention]:
    """All measurements of a report, in order.

    Raises
    ------
    CaseError
        `too_large`: more of them than a report has.
    """
    cells, rows = find_tables(page)
    covered = bytearray(len(page.text))
    for start, end in rows:
        covered[start:end] = b"\1" * (end - start)
    sizes = [size for size in find_sizes(page) if not any(covered[size.start : size.end])]
    for size in sizes:
        covered[size.start : size.end] = b"\1" * (size.end - size.start)
    refs = [one for one in find_references(page) if not any(covered[one.start : one.end])]
    if len(sizes) + len(refs) + len(cells) > MAXIMUM_MENTIONS:
        raise CaseError(
            Reason.TOO_LARGE,
            f"expected a report with at most {MAXIMUM_MENTIONS:,} sizes and references; "
            "give each report a file of its own",
        )
    page.hidden = [one.span for one in refs]
    told = [cell.size.span for cell in cells if cell.size is not None]
    whole = sorted([size.span for size in sizes] + [one.span for one in refs] + told)
    parts = sentences(page, whole, [one.span for one in refs])
    placed, loose = seats(page, parts, sizes, refs)
    placed = axes_together(page, placed)
    found: list[Mention] = []
    before = _Before()
    by_sentence = {
        start: list(some) for start, some in groupby(placed, key=lambda seat: seat.sentence.start)
    }
    for sentence in parts:
        if before.lead is not None and before.lead.paragraph != sentence.paragraph:
            before.lead = None
        together = by_sentence.get(sentence.start, [])
        found += _read(page, sentence, together, before, found)
        if page.text[sentence.start : sentence.end].rstrip().endswith(":"):
            before.lead = sentence
    found += [_lonely(page, one, sentence) for one, sentence in loose if one.image is not None]
    found += [_from_cell(page, cell, parts) for cell in cells]
    found.sort(key=lambda mention: mention.span)
    mark_unclear(found)
    mark_repeated(found)
    return found


def _read(
    page: Page, sentence: Sentence, together: list[Seat], before: _Before, found: list[Mention]
) -> list[Mention]:
    """Measurements of one sentence."""
    was = previous_ones(page, together)
    made: list[Mention] = []
    pending: Seat | None = None
    for seat, previous in zip(together, was, strict=True):
        near = before.sentence is not None and before.sentence.paragraph == sentence.paragraph
        mention = _mention(page, seat, before)
        if previous:
            home = made[-1] if made else None
            if home is None and near and found and _goes_back(found[-1], seat, mention):
                home = found[-1]
            if home is not None and home.previous is None and home.size is not None:
                home.previous = seat.size
                if seat.reference is not None and home.reference is None:
                    # Reports point to the images of now.
                    home.reference = seat.reference
                    home.doubts.append("distant_reference")
                continue
            if home is not None and home.reference is None:
                home.reference, mention.reference = mention.reference, None
            if len(together) > 1 and not all(was):
                pending = seat
                continue
        if previous:
            mention.previous_only = True
            mention.previous = mention.size
        elif pending is not None:
            mention.previous = pending.size
            if mention.reference is None:
                mention.reference = pending.reference
            pending = None
        elif not made and found and near and _now_of(page, found[-1], seat, mention):
            mention.previous = found.pop().previous
        if mention.kind == Kind.PART and made and made[-1].reference is None:
            made[-1].reference, mention.reference = mention.reference, None
        if made and made[-1].kind == Kind.DISTANCE and goes_on_as_distance(page, seat):
            mention.kind = Kind.DISTANCE
        if made and "borrowed_noun" in mention.doubts:
            _take_label(made[-1], mention)
        made.append(mention)
    if not together:
        _note(page, sentence, before)
    return made


def _goes_back(last: Mention, seat: Seat, mention: Mention) -> bool:
    """Whether a sentence that only says what was is about the last measurement."""
    own = mention.kind != Kind.LESION or not {"no_noun", "borrowed_noun"} & set(mention.doubts)
    return last.kind == Kind.LESION and not last.previous_only and seat.number == 0 and not own


def _now_of(page: Page, last: Mention, seat: Seat, mention: Mention) -> bool:
    """Whether "Now 15 mm" follows "Previously 12 mm"."""
    borrowed = {"no_noun", "borrowed_noun"} & set(mention.doubts)
    return bool(borrowed) and last.previous_only and page.has("now", *seat.pre)


def _take_label(last: Mention, mention: Mention) -> None:
    """Let "short axis of 35 mm on the right and 37 mm on the left" tell both axes."""
    sizes = last.size, mention.size
    if sizes[0] is None or sizes[1] is None or mention.kind != last.kind:
        return
    if sizes[0].labels == ("short",) and sizes[1].labels == ("",):
        mention.size = replace(sizes[1], labels=("short",))


def _note(page: Page, sentence: Sentence, before: _Before) -> None:
    """Remember the lesion that a sentence without sizes names."""
    span = (sentence.start, sentence.end)
    nodes = page.within("location.lymph_node", *span)
    nouns = sorted(page.within("lesion", *span) + nodes)
    kind = lesion_type_of(page, [span], None)
    if nouns:
        noun = nouns[0]
        subject = Subject(Kind.LESION, None, node=noun in nodes)
        before.subject = subject
        before.lesion_type = LesionType.LYMPH_NODE if subject.node else kind
        before.place = kind if kind != LesionType.LYMPH_NODE else before.place
        before.sentence = sentence
    elif kind is not None and sentence.end - sentence.start < _SHORT:
        # "Liver." stands above what follows; a sentence about a rib does not.
        before.subject, before.lesion_type, before.sentence = None, kind, sentence


def _mention(page: Page, seat: Seat, before: _Before) -> Mention:
    """One measurement, its kind, type and doubts."""
    doubts: list[str] = []
    sentence, size = seat.sentence, seat.size
    subject = subject_of(page, seat)
    own_type = _own_type(page, seat, subject)
    in_list = before.sentence is sentence
    if own_type == LesionType.LIVER and _in_lung(page, seat, before):
        own_type = LesionType.LUNG
    inherited = False
    small = seat.reference is not None and max(size.axes_mm) < _ORGAN_AT_LEAST_MM
    listed = sentence.target == "target" and (seat.number == 0 or seat.reference is not None)
    segment = seat.reference is not None and any(
        is_segment(page, start) for start, _, _ in page.places_within(*seat.pre)
    )
    if subject is not None and subject.kind == Kind.ORGAN and (small or listed or segment):
        # Nobody gives the image of a normal organ: "liver hilum: 11 mm (3-86)".
        subject = None
        doubts.append("organ_with_reference")
    if subject is None:
        back = _borrowed(page, seat, before, own_type, in_list)
        if back is not None:
            subject, inherited = back, True
    lesion_type = own_type
    if lesion_type is None or (
        inherited
        and subject is not None
        and subject.node
        and not sentence.target
        and _node_fits(lesion_type)
    ):
        near = before.sentence is not None and (
            in_list or before.sentence.paragraph == sentence.paragraph
        )
        if subject is not None and subject.node:
            lesion_type = LesionType.LYMPH_NODE
        elif in_list and before.lesion_type is not None:
            lesion_type = _as_named(subject, before)
        elif (other := _elsewhere(page, seat, subject)) is not None:
            lesion_type = other
        elif subject is None or subject.noun is None or not sentence.region:
            lesion_type = _as_named(subject, before) if near else None
            doubts += ["borrowed_place"] if lesion_type is not None and subject is not None else []
        if lesion_type is None and before.lead is not None:
            lesion_type = lesion_type_of(page, [(before.lead.start, before.lead.end)], subject)
        if lesion_type is None and sentence.region:
            lesion_type = LesionType(sentence.region)
        if lesion_type is None:
            spans = [seat.pre, seat.post, (size.end, sentence.end)]
            lesion_type = lesion_type_of(page, spans, subject, anywhere=True)
    kind = subject.kind if subject is not None else Kind.LESION
    if subject is None:
        doubts.append("no_noun")
    elif inherited:
        doubts.append("borrowed_noun")
    elif subject.contested:
        doubts.append("contested_noun")
    if lesion_type is None:
        doubts.append("no_place")
    target = sentence.target or _said_target(page, sentence)
    negated = kind == Kind.LESION and is_negated(page, seat, subject)
    doubts += doubts_of(page, seat)
    if kind == Kind.LESION and _only_a_limit(page, seat, subject):
        kind = Kind.LIMIT
    if subject is None or subject.kind in (Kind.LESION, Kind.ORGAN):
        before.subject = replace(subject, noun=None) if subject is not None else None
        if kind == Kind.LESION or lesion_type is not None:
            before.lesion_type = lesion_type
        if lesion_type != LesionType.LYMPH_NODE:
            before.place = lesion_type
        before.sentence = sentence
    return Mention(
        size,
        kind,
        lesion_type or LesionType.UNKNOWN,
        seat.reference,
        None,
        target or "unknown",
        negated,
        section=sentence.section,
        doubts=doubts,
    )


def _in_lung(page: Page, seat: Seat, before: _Before) -> bool:
    """Whether "segment 6" is one of the lung that was named before."""
    places = [*page.places_within(*seat.pre), *page.places_within(*seat.post)]
    if not all(is_segment(page, start) for start, _, key in places if key == "liver"):
        return False
    near = before.sentence is not None and before.sentence.paragraph == seat.sentence.paragraph
    return seat.sentence.region == "lung" or (near and before.lesion_type == LesionType.LUNG)


def _only_a_limit(page: Page, seat: Seat, subject: Subject | None) -> bool:
    """Whether many are said to be below a size, and none was measured: "nodules, all < 1 cm"."""
    if seat.size.bound != "below" or seat.reference is not None:
        return False
    lead = page.text[max(seat.pre[0], seat.size.start - 24) : seat.size.start]
    if page.words.all.search(lead):
        return True
    if subject is None or subject.noun is None:
        return True
    noun = page.text[slice(*subject.noun)]
    return noun.endswith(("s", "i", "en", "ae")) and not noun.endswith(("sis", "us"))


def _as_named(subject: Subject | None, before: _Before) -> LesionType | None:
    """Type of what was read last, if a lesion that is called otherwise can be of it."""
    own = subject is not None and subject.noun is not None and not subject.node
    if own and before.lesion_type == LesionType.LYMPH_NODE:
        return before.place or before.lesion_type
    return before.lesion_type


def _node_fits(lesion_type: LesionType) -> bool:
    """Whether words of a place may only say where a node lies."""
    return lesion_type != LesionType.LUNG and lesion_type != LesionType.BONE


def _own_type(page: Page, seat: Seat, subject: Subject | None) -> LesionType | None:
    """Type by the words of a size; by those before a colon, "LIVER, GALLBLADDER:", only then."""
    start, end = seat.pre
    colon = page.text.find(":", start, min(start + _SHORT, end))
    headed = colon > start == seat.sentence.start and not page.has("lesion", start, colon)
    told = colon if headed else start
    spans = [(told, end), seat.post]
    if subject is not None and subject.after:
        spans = [(seat.size.end, seat.post[1]), (told, end)]
    own = lesion_type_of(page, spans, subject)
    return own or (lesion_type_of(page, [(start, told)], subject) if headed else None)


def _elsewhere(page: Page, seat: Seat, subject: Subject | None) -> LesionType | None:
    """Type by any words of the sentence before the size."""
    return lesion_type_of(page, [(seat.sentence.start, seat.size.start)], subject)


def _borrowed(
    page: Page, seat: Seat, before: _Before, own_type: LesionType | None, in_list: bool
) -> Subject | None:
    """Subject that stands in an earlier part of the sentence, in a lead, or in the one before."""
    sentence = seat.sentence
    if in_list and before.subject is not None:
        return before.subject
    if before.lead is not None and before.lead is not sentence:
        span = (before.lead.start, before.lead.end)
        nodes = page.has("location.lymph_node", *span)
        if nodes or page.has("lesion", *span):
            return Subject(Kind.LESION, None, node=nodes)
    close = before.sentence is not None and before.sentence.paragraph == sentence.paragraph
    if own_type is None and close:
        return before.subject
    return None


def _said_target(page: Page, sentence: Sentence) -> str:
    span = (sentence.start, sentence.end)
    if (label := _LABEL.match(page.text, *span)) and page.hits("target"):
        return "non_target" if label["non"] else "target"
    if page.has("non_target", *span):
        return "non_target"
    return "target" if page.has("target", *span) else ""


def _lonely(page: Page, reference: Reference, sentence: Sentence) -> Mention:
    """Mention of a reference without a size."""
    span = (sentence.start, sentence.end)
    subject = None
    if page.has("location.lymph_node", *span):
        subject = Subject(Kind.LESION, None, node=True)
    kind = lesion_type_of(page, [span], subject)
    if kind is None and sentence.region:
        kind = LesionType(sentence.region)
    target = sentence.target or _said_target(page, sentence) or "unknown"
    return Mention(
        None, Kind.LESION, kind or LesionType.UNKNOWN, reference, None, target,
        section=sentence.section, doubts=["no_size"],
    )  # fmt: skip


def _from_cell(page: Page, cell: Cell, parts: Sequence[Sentence]) -> Mention:
    """Mention of a row of a table."""
    start = cell.where[-1][0]
    place = max(bisect_right([part.start for part in parts], start + 1) - 1, 0)
    sentence = parts[place] if parts else Sentence(0, 0)
    kind = lesion_type_of(page, cell.where, None)
    nodes = any(page.has("location.lymph_node", *span) for span in cell.where)
    if kind is None and sentence.region:
        kind = LesionType(sentence.region)
    said = _said_target(page, Sentence(*cell.where[-1]))
    doubts = ["no_size"] if cell.size is None else [] if cell.size.has_unit else ["no_unit"]
    return Mention(
        cell.size,
        Kind.SUM if cell.is_sum else Kind.LESION,
        LesionType.LYMPH_NODE if nodes else kind or LesionType.UNKNOWN,
        cell.reference,
        cell.previous,
        cell.kind or said or sentence.target or "unknown",
        section=sentence.section,
        doubts=doubts,
    )
