"""Lines, points and outlines of presentation states: each graphic is a statement of its own.

The grey window of a state is not used: a lesion's mask depends on its image and lines, not on
the kind of file that tells them.
"""

from __future__ import annotations

from pathlib import Path

from uls_data.dicom.presentation import Graphic, read_state
from uls_data.ids import readable, track_id
from uls_data.io import sha256_bytes
from uls_data.outcome import Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements.groups import CORNER_VOX, drawn_of
from uls_data.sources.measurements.statement import Place, Shape, Statement


def read_graphics(path: Path, root: Path, reader: Measurements) -> list[Statement]:
    """Statements of a state's graphics; what is not a line, point or outline says so.

    Raises
    ------
    CaseError
        As `read_state`.
    """
    state = read_state(root / path)
    return [
        _statement(graphic, f"graphic-{number}", path, state.creator)
        for number, graphic in enumerate(state.graphics, start=1)
    ]


def _statement(graphic: Graphic, name: str, path: Path, creator: str) -> Statement:
    slice_name = graphic.images[0] if len(graphic.images) == 1 else ""
    series = graphic.series[0] if not slice_name and len(graphic.series) == 1 else ""
    skipped = None
    shapes = tuple(
        Shape(kind, points) for kind, points in drawn_of(graphic.kind, graphic.points - CORNER_VOX)
    )
    if graphic.problem is not None:
        skipped = graphic.problem.reason, graphic.problem.detail
    elif not shapes:
        kind = readable(graphic.kind) or "a graphic without a type"
        detail = f"{kind} of {len(graphic.points)} points: no line, point or outline"
        skipped = Reason.NOT_MEASURED, detail
    elif not slice_name and graphic.images:
        detail = (
            f"drawn on {len(graphic.images)} images at once: which it was measured on is not said"
        )
        skipped = Reason.AMBIGUOUS_FILES, detail
    return Statement(
        source_lesion_id=name,
        source=path,
        place=Place(slice_name=slice_name, series=series),
        shapes=shapes,
        drawn_by=creator,
        track=sha256_bytes(graphic.track.encode()) if "." in graphic.track else "",
        follows=track_id("uid", graphic.track) if "." in graphic.track else "",
        skipped=skipped,
    )
