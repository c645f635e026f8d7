"""One report as the rules see it: text in one spelling, and where the words of each list stand."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property

from uls_data.mining.lexicon import Words, folded

Span = tuple[int, int]
_SPELT = str.maketrans(
    {
        **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f\u3000\u200b\v\f\x1c\x1d\x1e\x1f\x85", " "),
        **dict.fromkeys("×✕✖⨯∗⋅", "x"),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("‘’´`", "'"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("∼≈≃˜", "~"),
        **dict.fromkeys("→⟶➔⇒", ">"),
        **dict.fromkeys("，", ","),
        **dict.fromkeys("（", "("),
        **dict.fromkeys("）", ")"),
    }
)


class Page:
    """A report's text and the places of its words.

    Attributes
    ----------
    raw : str
        The text as read.
    text : str
        In lower case, without accents, with one kind of blank, dash, quote and times sign; as
        long as `raw`, so that an offset means the same in both.
    hidden : list of (int, int)
        Where no word is a place: "S2" of a reference is not a vertebra.
    """

    def __init__(self, raw: str, words: Words) -> None:
        self.raw = raw.translate(_SPELT)
        lowered = self.raw.lower()
        if len(lowered) != len(self.raw):
            lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in self.raw)
        self.text = folded(lowered)
        self.words = words
        self.hidden: list[Span] = []
        self._hits: dict[str, list[Span]] = {}

    def hits(self, name: str) -> list[Span]:
        """Places of a list's words, in order."""
        if name not in self._hits:
            self._hits[name] = [m.span() for m in self.words.pattern(name).finditer(self.text)]
        return self._hits[name]

    def within(self, name: str, start: int, end: int) -> list[Span]:
        """Places of a list's words inside a span."""
        hits = self.hits(name)
        at = bisect_left(hits, (start, start))
        found = []
        while at < len(hits) and hits[at][1] <= end:
            found.append(hits[at])
            at += 1
        return found

    def has(self, name: str, start: int, end: int) -> bool:
        """Whether a word of a list stands inside a span."""
        return bool(self.within(name, start, end))

    @cached_property
    def places(self) -> list[tuple[int, int, str]]:
        """Places of words of location, with the type that each speaks for; the longest win."""
        found = [
            (start, end, key)
            for key in self.words.keys("location")
            for start, end in self.hits(f"location.{key}")
        ]
        found.sort(key=lambda hit: (hit[0] - hit[1], hit[0], hit[2]))
        taken: list[tuple[int, int, str]] = []
        covered = bytearray(len(self.text))
        for start, end in self.hidden:
            covered[start:end] = b"\1" * (end - start)
        for start, end, key in found:
            if not any(covered[start:end]):
                covered[start:end] = b"\1" * (end - start)
                taken.append((start, end, key))
        return sorted(taken)

    def places_within(self, start: int, end: int) -> list[tuple[int, int, str]]:
        """Of `places`, those inside a span."""
        at = bisect_left(self.places, (start, start, ""))
        found = []
        while at < len(self.places) and self.places[at][1] <= end:
            found.append(self.places[at])
            at += 1
        return found


def language_of(raw: str, lexicons: Sequence[Words]) -> Words:
    """Lexicon of the language that a report is in: the one that knows more of its words."""

    def known(words: Words) -> int:
        page = Page(raw, words)
        special = sum(len(page.hits(f"location.{key}")) for key in words.keys("location"))
        return len(page.hits("common")) * 2 + len(page.hits("lesion")) + special

    return max(lexicons, key=known)


def squeezed(text: str) -> str:
    """Text with single blanks."""
    return re.sub(r"\s+", " ", text).strip()
