"""What several curators decided, for the person who adjudicates: where they differ, their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uls_data.errata import ErrataError
from uls_data.errata.edits import does_not_follow, patch_of
from uls_data.errata.kappa import conflict, disagreement, opinions_by_voi
from uls_data.errata.opinion import Opinion, Opinions, read_opinions
from uls_data.errors import UlsDataError
from uls_data.manifest.row import Row
from uls_data.outcome import Supervision
from uls_data.triage.edited import read_held
from uls_data.triage.listing import Entry
from uls_data.triage.verdicts import Subject
from uls_data.triage.voi_layers import Layer


@dataclass(frozen=True)
class Taken:
    """Mask of a curator that stands for the judged one.

    Attributes
    ----------
    overlay : Path
    patch : str
        Beside the overlay.
    words : str
        What the curator decided.
    full : bool
        The curator said that it is the whole lesion, see `Edit`.
    """

    overlay: Path
    patch: str
    words: str
    full: bool


class Curators:
    """The overlays of curators who looked at the same masks.

    Parameters
    ----------
    overlays : sequence of paths
        One for each curator, at least two; or none, where nobody adjudicates.

    Raises
    ------
    ErrataError
        One alone, not overlays, or two of one name.
    """

    def __init__(self, overlays: Sequence[str | Path] = ()) -> None:
        paths = [Path(path) for path in overlays]
        self._opinions: list[Opinions] = read_opinions(paths, least=2) if paths else []

    def __bool__(self) -> bool:
        return bool(self._opinions)

    @property
    def names(self) -> list[str]:
        """Names of their overlays."""
        return [one.overlay.name for one in self._opinions]

    def files(self) -> set[Path]:
        """Files of their overlays, resolved."""
        return {one.path.resolve() for one in self._opinions}

    def differing(self) -> list[Entry]:
        """VOIs on which they differ, and what each of them says.

        Raises
        ------
        ErrataError
            There is none.
        """
        found = []
        for opinions in opinions_by_voi(self._opinions).values():
            if conflict(opinions):
                one = disagreement(opinions)
                why = [f"{one.overlay}: {one.said()}" for one in opinions]
                found.append(Entry(one.voi_id, one.source, one.layer, why))
        if not found:
            names = ", ".join(self.names)
            raise ErrataError(f"{names} differ on no VOI: nothing to adjudicate")
        return found

    def layers(self, built: Subject, row: Row) -> list[Layer]:
        """Masks that curators made of a VOI.

        Parameters
        ----------
        built : Subject
            The manifest's mask.
        row : dict
            Of the VOI, with `affine` and voxel size.
        """
        found = []
        for one in self._opinions:
            opinion = one.by_voi.get(built.key)
            if opinion is not None and (patch := _edit_of(opinion, built)) is not None:
                found.append(_layer(one, opinion, patch, built, row))
        return found

    def mask(self, name: str, built: Subject) -> Taken:
        """Mask of a curator.

        Raises
        ------
        ErrataError
            There is none of that VOI, or it was made from another mask than the manifest's.
        """
        for one in self._opinions:
            opinion = one.by_voi.get(built.key)
            if one.overlay.name != name or opinion is None:
                continue
            if (patch := _edit_of(opinion, built)) is not None:
                if problem := does_not_follow(opinion.steps, built.layer, built.sha256):
                    raise ErrataError(f"{name}: {problem}")
                columns = [step.columns for step in opinion.steps if step.columns is not None]
                full = any(one.supervision == Supervision.FULL for one in columns)
                return Taken(one.path, patch, opinion.said(), full)
        raise ErrataError(f"{name} has no mask of {built.voi_id}")


def _edit_of(opinion: Opinion, built: Subject) -> str | None:
    """Patch of the mask that somebody wants instead of the manifest's."""
    return None if opinion.after in (None, built.sha256) else patch_of(opinion.steps)


def _layer(one: Opinions, opinion: Opinion, patch: str, built: Subject, row: Row) -> Layer:
    name = one.overlay.name
    if problem := does_not_follow(opinion.steps, built.layer, built.sha256):
        return Layer(name, row, problem=problem)
    try:
        mask, start, _ = read_held(one.path, patch, row)
    except UlsDataError as error:
        return Layer(name, row, problem=str(error))
    return Layer(name, row, mask, start, words=opinion.said(), offered=name)
