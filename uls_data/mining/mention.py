"""One measurement of a report, and what makes it less sure."""

from __future__ import annotations

from dataclasses import dataclass, field

from uls_data.mining.kinds import Kind
from uls_data.mining.references import Reference
from uls_data.mining.seats import Seat
from uls_data.mining.sizes import Size
from uls_data.mining.word_places import Page, Span
from uls_data.outcome import LesionType

# A lobe, a station or a segment is not a length: "right upper lobe 5 mm" is a lesion there.
_NOT_MEASURED = (LesionType.LUNG, LesionType.LYMPH_NODE, LesionType.LIVER)


@dataclass
class Mention:
    """One measurement of a report.

    Attributes
    ----------
    size : Size or None
        None for a reference that stands alone.
    kind : Kind
    lesion_type : LesionType
    reference : Reference or None
    previous : Size or None
        Of an earlier examination.
    target : str
        `target`, `non_target` or `unknown`.
    negated, repeated, previous_only : bool
        Said not to be there; told before in the same report; no size of now.
    doubts : list of str
        What makes it less sure; see `confidence.py`.
    """

    size: Size | None
    kind: Kind
    lesion_type: LesionType
    reference: Reference | None = None
    previous: Size | None = None
    target: str = "unknown"
    negated: bool = False
    repeated: bool = False
    previous_only: bool = False
    section: str = ""
    doubts: list[str] = field(default_factory=list)

    @property
    def span(self) -> Span:
        """Characters of the report."""
        if self.size is not None:
            return self.size.span
        assert self.reference is not None
        return self.reference.span


def doubts_of(page: Page, seat: Seat) -> list[str]:
    """Doubts about a size and its reference; `confidence.py` weighs them."""
    doubts = []
    size, reference = seat.size, seat.reference
    if not size.has_unit:
        doubts.append("no_unit")
    if size.listed:
        doubts.append("listed")
    if size.bound in ("below", "above", "at_most"):
        doubts.append("bound")
    if max(size.axes_mm) > 200 or max(size.axes_mm) < 2:
        doubts.append("odd_size")
    if len(size.axes_mm) == 1:
        doubts.append("one_axis")
    if reference is None:
        doubts.append("no_reference")
    else:
        if not reference.named:
            doubts.append("bare_reference")
        if seat.far:
            doubts.append("far_reference")
        elif reference.start < size.start:
            doubts.append("reference_before")
        if reference.series is None:
            doubts.append("no_series")
        gap = page.text[min(size.end, reference.end) : max(size.start, reference.start)]
        if len(gap) > 30:
            doubts.append("distant_reference")
    if seat.sentence.section in ("history", "comparison"):
        doubts.append("told_as_history")
    return doubts


def mark_unclear(found: list[Mention]) -> None:
    """Mark single lengths that nothing says are a lesion's: "tracheal diameter 18 mm".

    Lists of words never name all that is measured. A second axis, an image, an earlier size or a
    place that nobody measures as such speaks for a lesion.
    """
    for mention in found:
        alone = {"no_noun", "no_reference", "one_axis"} <= set(mention.doubts)
        followed = mention.previous is not None or mention.target == "target"
        measured = mention.lesion_type not in _NOT_MEASURED
        if mention.kind == Kind.LESION and alone and measured and not followed:
            mention.kind = Kind.UNCLEAR


def mark_repeated(found: list[Mention]) -> None:
    """Mark what a conclusion says again."""
    told = [one for one in found if one.section != "impression" and _counts(one)]
    for mention in found:
        if mention.section != "impression" or not _counts(mention) or mention.size is None:
            continue
        for other in told:
            assert other.size is not None
            same_size = set(mention.size.axes_mm) <= set(other.size.axes_mm)
            kinds = {other.lesion_type, mention.lesion_type}
            if same_size and (len(kinds) == 1 or LesionType.UNKNOWN in kinds):
                mention.repeated = True


def _counts(mention: Mention) -> bool:
    return mention.kind == Kind.LESION and mention.size is not None and not mention.negated
