"""Sizes in their sentences: which words and which reference belong to each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from uls_data.mining.layout import Sentence
from uls_data.mining.lexicon import alternatives
from uls_data.mining.references import Reference
from uls_data.mining.sizes import Size
from uls_data.mining.word_places import Page, Span

_NEAR = 70
_PARTS = r"[;,|)]"


@dataclass
class Seat:
    """A size, and what stands round it.

    Attributes
    ----------
    size : Size
    sentence : Sentence
    number : int
        Of the size in its sentence, from 0.
    pre, post : (int, int)
        Words before and after that are this size's and no other's.
    reference : Reference or None
    far : bool
        The reference was found in another sentence, or put together of two.
    """

    size: Size
    sentence: Sentence
    number: int
    pre: Span
    post: Span
    reference: Reference | None = None
    far: bool = False


def seats(
    page: Page, sentences: Sequence[Sentence], sizes: Sequence[Size], refs: Sequence[Reference]
) -> tuple[list[Seat], list[tuple[Reference, Sentence]]]:
    """Sizes with their words and references; and the references that no size claims."""
    found: list[Seat] = []
    loose: list[tuple[Reference, Sentence]] = []
    at_size = at_ref = 0
    for sentence in sentences:
        mine, named = [], []
        while at_size < len(sizes) and sizes[at_size].start < sentence.end:
            mine.append(sizes[at_size])
            at_size += 1
        while at_ref < len(refs) and refs[at_ref].start < sentence.end:
            named.append(refs[at_ref])
            at_ref += 1
        claimed = _claims(page, sentence, mine, named)
        found += _seated(page, sentence, mine, claimed)
        taken = {reference.span for reference in claimed.values()}
        loose += [(one, sentence) for one in named if one.span not in taken]
    _across_sentences(page, found, loose)
    _only_series(found, refs)
    return found, loose


def _only_series(found: Sequence[Seat], refs: Sequence[Reference]) -> None:
    """Give images without a series the one series that a report names."""
    series = {one.series for one in refs if one.series is not None}
    if len(series) != 1:
        return
    for seat in found:
        if seat.reference is not None and seat.reference.series is None:
            seat.reference = replace(seat.reference, series=min(series))
            seat.far = True


def _claims(
    page: Page, sentence: Sentence, sizes: Sequence[Size], refs: Sequence[Reference]
) -> dict[int, Reference]:
    """Find each size's reference, by its number: mostly the one behind, else the one before."""
    claimed: dict[int, Reference] = {}
    whole = [one for one in refs if one.image is not None]
    claimed |= _in_turn(page, sizes, whole)
    for reference in whole:
        if reference in claimed.values():
            continue
        before = [n for n, size in enumerate(sizes) if size.end <= reference.start]
        after = [n for n, size in enumerate(sizes) if size.start >= reference.end]
        last = before[-1] if before else None
        following = after[0] if after else None
        if last is not None and last not in claimed:
            gap = page.text[sizes[last].end : reference.start]
            if following is not None and _belongs_to_next(page, sizes, last, following, reference):
                claimed[following] = reference
            elif len(gap) <= _NEAR or following is None:
                claimed[last] = reference
                # "5 and 7 mm (4:52)": no size of a list but the last has a reference.
            elif following is not None:
                claimed[following] = reference
        elif (
            following is not None
            and following not in claimed
            and sizes[following].start - reference.end <= 2 * _NEAR
        ):
            claimed[following] = reference
    series = {one.series for one in refs if one.series is not None}
    for number, reference in claimed.items():
        if reference.series is None and len(series) == 1:
            claimed[number] = replace(reference, series=min(series))
    return claimed


def _in_turn(page: Page, sizes: Sequence[Size], refs: Sequence[Reference]) -> dict[int, Reference]:
    """Pair as many sizes as references: "12 and 9 mm in segments 5 (2:47) and 6 (2:58)"."""
    joined = re.compile(rf"[\s,]*(?:{alternatives(page.words.phrases('and'))})?[\s,]*")
    claimed: dict[int, Reference] = {}
    first = 0
    for number in range(len(sizes)):
        following = sizes[number + 1].start if number + 1 < len(sizes) else None
        if following is not None and joined.fullmatch(page.text, sizes[number].end, following):
            continue
        behind = [
            one
            for one in refs
            if one.start >= sizes[number].end and (following is None or one.end <= following)
        ]
        if number > first and len(behind) == number - first + 1:
            claimed |= dict(zip(range(first, number + 1), behind, strict=True))
        first = number + 1
    return claimed


def _belongs_to_next(
    page: Page, sizes: Sequence[Size], last: int, following: int, reference: Reference
) -> bool:
    """Whether a reference between two sizes begins the second: ", a nodule (4:60) of 9 mm"."""
    gap = page.text[sizes[last].end : reference.start]
    rest = page.text[reference.end : sizes[following].start]
    start, end = sizes[last].end, reference.start
    new_noun = page.has("lesion", start, end) or page.has("location.lymph_node", start, end)
    parted = re.search(rf"[,;.]|{alternatives(page.words.phrases('and'))}", gap)
    begins = parted is not None and new_noun
    return begins and len(rest) <= 24 and not re.search(r"[;.,]\s", rest.lstrip(" ),:;"))


def _seated(
    page: Page, sentence: Sentence, sizes: Sequence[Size], claimed: dict[int, Reference]
) -> list[Seat]:
    begins, ends = [sentence.start], []
    for number, (size, following) in enumerate(pairwise(sizes)):
        cut, kept = _parting(page, size, following, claimed.get(number))
        ends.append(kept)
        begins.append(cut)
    ends.append(sentence.end)
    return [
        Seat(
            size, sentence, number, (begins[number], size.start), (size.end, ends[number]),
            claimed.get(number),
        )
        for number, size in enumerate(sizes)
    ]  # fmt: skip


def _parting(page: Page, size: Size, following: Size, reference: Reference | None) -> Span:
    """Where the words of the second of two sizes begin, and where those of the first end."""
    start, end = size.end, following.start
    own = reference is not None and start <= reference.start and reference.end <= end
    if own and reference is not None:
        start = reference.end
        start += len(re.match(r"[\s)\]]*", page.text[start:end])[0])  # type: ignore[index]
    pattern = re.compile(rf"{_PARTS}|{alternatives((*page.words.phrases('and'), 'with', 'met'))}")
    parts = [match.span() for match in pattern.finditer(page.text, start, end)]
    if not parts:
        return (start, start) if own else (size.end, end)
    for part in reversed(parts):
        if _says_what(page, part[1], end):
            return part[1], part[0]
    return parts[-1][1], parts[-1][0]


def _says_what(page: Page, start: int, end: int) -> bool:
    return (
        page.has("lesion", start, end)
        or bool(page.places_within(start, end))
        or page.has("not_lesion.", start, end)
    )


def _across_sentences(
    page: Page, found: list[Seat], loose: list[tuple[Reference, Sentence]]
) -> None:
    """Give references that stand alone in a sentence to the size of the one before or after."""
    for entry in list(loose):
        reference, sentence = entry
        if reference.image is None:
            continue
        own = [seat for seat in found if seat.sentence is sentence]
        before = [seat for seat in found if seat.sentence.end <= sentence.start + 1]
        after = [seat for seat in found if seat.sentence.start >= sentence.end]
        if own:
            continue
        lead = page.text[sentence.start : reference.start].strip(" \n\t(-:*.")
        names = page.has("lesion", sentence.start, sentence.end)
        begins = page.words.pattern("refers_back").match(lead)
        alone = not names and len(lead) < (40 if begins else 12)
        if before and alone and before[-1].reference is None:
            same = [seat for seat in before if seat.sentence is before[-1].sentence]
            if len(same) == 1 and _next_to(page, before[-1].sentence, sentence):
                before[-1].reference, before[-1].far = reference, True
                loose.remove(entry)
                continue
        if after and after[0].reference is None and _next_to(page, sentence, after[0].sentence):
            said = after[0]
            new = page.has("lesion", *said.pre) or bool(page.places_within(*said.pre))
            new = new or page.has("lesion", said.size.end, min(said.post[1], said.size.end + 60))
            if not new:
                said.reference, said.far = reference, True
                loose.remove(entry)


def _next_to(page: Page, first: Sentence, second: Sentence) -> bool:
    between = page.text[first.end : second.start]
    return first.paragraph == second.paragraph and not between.strip(" \t\n)*-")
