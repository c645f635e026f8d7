"""Sizes of before, told from those of now; lesions that are not there, told from those that are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from uls_data.mining.kinds import Subject
from uls_data.mining.lexicon import Words, alternatives
from uls_data.mining.seats import Seat
from uls_data.mining.word_places import Page

_CLOSE, _CROWDED = 34, 14


class _Patterns:
    def __init__(self, words: Words) -> None:
        loosely = (
            rf"[.\s:=(]{{0,3}}(?:(?:{alternatives(words.phrases('about'))})[.\s]{{0,2}}){{0,2}}$"
        )
        self.right_before = re.compile(
            alternatives(words.phrases("previous_right_before")) + loosely
        )
        self.changed_from = re.compile(
            alternatives(words.phrases("changed"))
            + rf"\s{{1,2}}{alternatives(words.phrases('change_from'))}{loosely}"
        )
        self.after = re.compile(rf"[\s(]{{0,2}}{alternatives(words.phrases('previous_after'))}")
        self.seen = re.compile(
            rf"[\s-]{{0,2}}(?:\w+\s)?{alternatives(words.phrases('previous_seen'))}"
        )
        day = r"(?:\d{1,2}[-/.]\d{1,2}(?:[-/.]\d{2,4})?|(?:19|20)\d\d)"
        month = rf"(?:\d{{1,2}}\s)?{alternatives(words.phrases('months'))}(?:\s\d{{2,4}})?"
        dated = rf"(?:(?:in|on|at|op|of|van|d\.?d\.?)\s{{1,2}})(?:{day}|{month})"
        self.date_before = re.compile(rf"{dated}[\s:,=(]{{1,3}}$")
        self.date_after = re.compile(rf"[\s(]{{0,2}}{dated}")
        self.terminal = re.compile(
            rf"[;:]|\((?!\s?(?:<|>|s\)))|{alternatives(words.phrases('negation_end'))}"
        )


@cache
def _patterns(words: Words) -> _Patterns:
    return _Patterns(words)


def previous_ones(page: Page, together: Sequence[Seat]) -> list[bool]:
    """For the sizes of one sentence, in order, whether each is one of an earlier examination."""
    found = [_is_previous(page, together, number) for number in range(len(together))]
    if len(together) > 1 and all(found):
        # Something is measured now: what stands farthest from a word of before.
        found[0] = together[0].size.was
    return found


def _is_previous(page: Page, together: Sequence[Seat], number: int) -> bool:
    seat = together[number]
    patterns = _patterns(page.words)
    if seat.size.was or patterns.changed_from.search(page.text, seat.pre[0], seat.size.start):
        return True
    if seat.sentence.section == "comparison":
        return True
    before, after = (
        page.text[seat.pre[0] : seat.size.start],
        page.text[seat.size.end : seat.post[1]],
    )
    if _told_after(page, together, number):
        return True
    start = seat.sentence.start
    if number:
        start = together[number - 1].size.end
        # "6 mm prior, 12 mm": the word is that size's.
        start = _told_after(page, together, number - 1) or start
        lead = page.text[start : seat.size.start]
        new_noun = page.has("lesion", *seat.pre) or page.has("location.lymph_node", *seat.pre)
        if patterns.right_before.search(before) and not new_noun:
            return True
        dated = patterns.date_before.search(before) or patterns.date_after.match(after)
        if dated and not new_noun and not page.has("now", *seat.pre):
            return True
        if re.fullmatch(r"\s?\(\s?", lead) and re.match(r"\s?\)", after):
            return seat.size.axes_mm != together[number - 1].size.axes_mm
    following = together[number + 1] if number + 1 < len(together) else None
    now_next = following is not None and page.has("now", seat.size.end, following.size.start)
    said_was = patterns.right_before.search(before) or re.match(r"\s{1,2}was\b", after)
    if not number and now_next and said_was:
        return True
    cues = [
        hit
        for hit in page.within("previous_before", start, seat.size.start)
        if patterns.seen.match(page.text, hit[1]) is None
    ]
    now = page.within("now", start, seat.size.start)
    if not cues or (now and now[-1][1] > cues[-1][1] - 1):
        return False
    between = page.text[cues[-1][1] : seat.size.start]
    if number:
        return ";" not in between and len(between) < 90 and not _new_lesion(page, cues[-1][1], seat)
    return now_next or (len(between) <= _CLOSE and "," not in between)


def _told_after(page: Page, together: Sequence[Seat], number: int) -> int | None:
    """Where the words end that make the size before them one of before: "6 mm previously"."""
    seat = together[number]
    match = _patterns(page.words).after.match(page.text, seat.size.end, seat.sentence.end)
    if match is None or number + 1 == len(together):
        return match and match.end()
    ends = re.match(r"\s?[),;.]", page.text[match.end() : match.end() + 2])
    crowded = together[number + 1].size.start - match.end() < _CROWDED
    return match.end() if ends or not crowded else None


def _new_lesion(page: Page, start: int, seat: Seat) -> bool:
    """Whether a cue is followed by a comma and then a lesion of its own: a new clause."""
    text = page.text[start : seat.size.start]
    comma = text.rfind(",")
    return comma >= 0 and page.has("lesion", start + comma, seat.size.start)


def _gone(page: Page, start: int, end: int) -> bool:
    """Whether words say that a lesion is no longer there, not that it nearly is."""
    left = page.within("not_gone", start, end)
    return any(all(b <= at or a > at for a, b in left) for at, _ in page.within("gone", start, end))


def is_negated(page: Page, seat: Seat, subject: Subject | None) -> bool:
    """Whether a report says that there is no lesion of this size, or that it is gone."""
    patterns = _patterns(page.words)
    if _gone(page, *seat.post) or _gone(page, *seat.pre):
        return True
    start = seat.pre[0]
    excused = page.within("not_negation", start, seat.sentence.end)
    limit = seat.size.bound in ("above", "below", "at_most")
    for cue in reversed(page.within("negation", start, seat.size.start)):
        if seat.size.bound != "above" and any(a <= cue[0] < b for a, b in excused):
            continue
        between = page.text[cue[1] : seat.size.start]
        if patterns.terminal.search(between) or len(between) > 160:
            continue
        has_noun = page.has("lesion", cue[1], seat.size.start) or page.has(
            "location.lymph_node", cue[1], seat.size.start
        )
        follows = subject is not None and subject.after
        if limit or follows or (has_noun and "," not in between):
            return True
    return False
