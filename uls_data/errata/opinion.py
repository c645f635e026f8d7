"""What one overlay says of each VOI, so that it can be compared with what another one says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from uls_data.errata.edits import steps_by_voi
from uls_data.errata.evidence import NOTED, REJECTED, verdict_of
from uls_data.errata.overlay import Correction, ErrataError, Kind, Overlay, load_overlay

EDITED, RELABELLED, RECLICKED = "edited", "relabelled", "reclicked"
Key = tuple[str, str]


@dataclass(frozen=True)
class Opinion:
    """The corrections of one VOI in one overlay.

    Attributes
    ----------
    overlay : str
        Its name.
    steps : tuple of Correction
        In their order, at least one.
    """

    overlay: str
    steps: tuple[Correction, ...]

    @property
    def before(self) -> str:
        """Hash of the mask that was seen."""
        return self.steps[0].before

    @property
    def after(self) -> str | None:
        """Hash of the mask that shall be; None where there shall be none."""
        return self.steps[-1].after

    @cached_property
    def decision(self) -> str | None:
        """Decision: `accepted`, `rejected`, `edited`, ...; None for notes that decide nothing.

        A note with the reason of a verdict key (`wrong type`) is the decision `noted`.
        """
        kinds = {step.kind for step in self.steps}
        if Kind.DROP in kinds:
            return REJECTED
        if Kind.RECLICK in kinds:
            return RECLICKED
        if self.after != self.before:
            return EDITED
        if any(step.columns is not None for step in self.steps):
            return RELABELLED
        said = [found for step in self.steps if (found := verdict_of(step.evidence)) is not None]
        words = [word for word, reason in said if word != NOTED or reason]
        return words[-1] if words else None

    @property
    def effect(self) -> tuple[object, ...]:
        """What the decision does to the VOI; equal for two that may both be applied as one."""
        if self.decision == REJECTED:
            return (REJECTED,)
        columns: dict[str, object] = {}
        for step in self.steps:
            if step.columns is not None:
                columns |= step.columns.model_dump(exclude_none=True)
        clicks = [step.click for step in self.steps if step.click is not None]
        return self.decision, self.after, tuple(sorted(columns.items())), *clicks

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Reasons of verdict keys, such as `leak`."""
        said = (verdict_of(step.evidence) for step in self.steps)
        return tuple(dict.fromkeys(found[1] for found in said if found is not None and found[1]))

    def follows(self, other: Opinion) -> bool:
        """Whether it continues from the mask that another one left."""
        return self.before == other.after != other.before

    def words(self) -> str:
        """Return the opinion in words, such as `reader-1: rejected (leak)`."""
        return f"{self.overlay}: {self.said()}"

    def said(self) -> str:
        """Return the decision and its reason in words, such as `rejected (leak)`."""
        what = self.decision or "no decision"
        # Who edits a mask and then accepts it says why with the edit.
        edits = [step for step in self.steps if step.kind is Kind.REPLACE]
        last = edits[-1] if edits and what == EDITED else self.steps[-1]
        why = ", ".join(self.reasons) or last.reason
        return what if why == what else f"{what} ({why})"


@dataclass(frozen=True)
class Opinions:
    """What one overlay says.

    Attributes
    ----------
    path : Path
    overlay : Overlay
    by_voi : dict of (source, voi_id) to Opinion
    """

    path: Path
    overlay: Overlay
    by_voi: dict[Key, Opinion]


def read_opinions(paths: list[Path], *, least: int = 1) -> list[Opinions]:
    """Read overlays.

    Raises
    ------
    ErrataError
        Too few, not overlays, or two of one name.
    """
    if len(paths) < least:
        raise ErrataError(f"expected at least {least} overlays, one for each curator")
    found: list[Opinions] = []
    for path in paths:
        overlay = load_overlay(path)
        for other in found:
            if other.overlay.name == overlay.name:
                raise ErrataError(
                    f"{other.path} and {path} are both called {overlay.name}: change the `name` "
                    "in one of them"
                )
        steps = steps_by_voi(overlay)
        by_voi = {key: Opinion(overlay.name, tuple(some)) for key, some in steps.items()}
        found.append(Opinions(path, overlay, by_voi))
    return found
