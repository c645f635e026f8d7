"""Open one case of any format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.ids import track_id
from uls_data.lesions.instances import Lesion
from uls_data.outcome import Reason
from uls_data.profile import PROFILES, Profile
from uls_data.recipe.model import Quirk, Recipe
from uls_data.sources import format_of
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.opening import Opened, Opening


def open_case(
    case: CaseFiles,
    recipe: Recipe,
    raw: Path,
    *,
    labels_only: bool,
    profile: Profile = PROFILES["paper"],
) -> Opened:
    """Read what one case consists of.

    Parameters
    ----------
    case : CaseFiles
        Without a problem.
    raw : Path
        Raw root.
    labels_only : bool
        Leave the image unread where the lesions can be told without it.
    profile : Profile
        For sources whose lesions are measurements.

    Raises
    ------
    CaseError
        With the reason.
    """
    opening = Opening(case, recipe, raw, labels_only, profile, set(case.flags))
    opened: Opened = format_of(recipe).opener()(opening, recipe.reader)
    if recipe.timeline.numbers:
        opened.lesions = _followed_by_number(opened.lesions, recipe, case.case_id)
    if Quirk.SLICES_ON_AXIS_0 in recipe.quirks and opened.reference.orientation.axes[2] != 0:
        codes = geometry.axis_codes(opened.reference.stored_affine)
        raise CaseError(
            Reason.UNEXPECTED_AXIS_ORDER,
            f"expected the stored axis 0 to run along the body, header says {codes}; "
            "this is an old download with a wrong header: get the current one",
        )
    return opened


def _followed_by_number(lesions: list[Lesion], recipe: Recipe, case_id: str) -> list[Lesion]:
    """Lesions of a patient that is known, each with the track of its number."""
    patient = recipe.patient_of(case_id)
    if patient is None:
        return lesions
    tracks = [track_id("number", recipe.source, patient, str(one.index)) for one in lesions]
    return [
        replace(one, columns=(*one.columns, ("lesion_track_id", track)))
        for one, track in zip(lesions, tracks, strict=True)
    ]
