"""Whether a report belongs to a first examination or to one that is compared with another."""

from __future__ import annotations

import re
from collections.abc import Sequence

from uls_data.mining.lexicon import alternatives
from uls_data.mining.mention import Mention
from uls_data.mining.word_places import Page

_NOTHING = r"\s{0,3}:\s{0,3}(?:none|no\b|geen|n/?a\b|not available|niet|-\s*$)"
_COMPARED = 30


def timepoint_of(page: Page, mentions: Sequence[Mention]) -> str:
    """Time point of a report: `baseline`, `follow_up` or `unknown`.

    Sizes of before are a follow-up's, whatever else is said. What is told in the clinical
    question counts as well: "evaluation after two cycles".
    """
    if any(mention.previous is not None or mention.previous_only for mention in mentions):
        return "follow_up"
    compared = alternatives(page.words.phrases("headings.comparison"))
    if re.search(compared + _NOTHING, page.text, re.MULTILINE):
        return "baseline"
    later = page.hits("follow_up")
    first = [
        hit
        for hit in page.hits("baseline")
        if not page.has("previous_before", max(0, hit[0] - _COMPARED), hit[0])
    ]
    if not first:
        return "follow_up" if later else "unknown"
    # "no comparison" is recognised by its last word as well.
    others = [hit for hit in later if not any(a <= hit[0] < b for a, b in first)]
    return "follow_up" if len(others) > 2 * len(first) else "baseline"
