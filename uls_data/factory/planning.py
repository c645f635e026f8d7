"""What a build will do, decided before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uls_data.errors import SourceError, did_you_mean
from uls_data.factory.options import Task
from uls_data.factory.replay import positions_of
from uls_data.manifest.row import Row
from uls_data.outcome import Reason
from uls_data.pseudomask.methods import METHODS, SOLID
from uls_data.recipe.model import Recipe
from uls_data.sources import format_of
from uls_data.sources.case_files import CaseFiles

_LONGEST_CALIBRATION = 1 << 20


def masks_of(masks: Sequence[str], recipe: Recipe, profile: str) -> tuple[str, ...]:
    """Methods of a build: none for a source that has masks."""
    known = [*(method for method in METHODS if method != "published"), *SOLID]
    # `published` is what a profile makes of grabcut.
    for method in masks:
        if method not in known:
            raise SourceError(f"--masks {method}: expected one of {', '.join(known)}")
    if not format_of(recipe).measured:
        if masks:
            raise SourceError(f"--masks {masks[0]}: {recipe.source} has masks of its own")
        return ()
    # Masks on one slice come first: the first method is that of every reader, and of the click.
    chosen = tuple(sorted(dict.fromkeys(masks), key=lambda method: method in SOLID))
    if profile == "published" and chosen and chosen[0] in SOLID:
        raise SourceError(
            f"--masks {chosen[0]}: --profile published draws the click from a mask on one slice; "
            "name a method that makes one, too"
        )
    return chosen or (("grabcut",) if profile == "published" else ("jury",))


def calibration_text(path: str | Path | None) -> str:
    """Text of a calibration that can be used; empty without one."""
    if path is None:
        return ""
    from uls_data.pseudomask.quality import Quality

    try:
        text = Path(path).read_bytes()[: _LONGEST_CALIBRATION + 1].decode()
        if len(text) > _LONGEST_CALIBRATION:
            raise ValueError("longer than any calibration")
        Quality.from_json(text)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"--calibration {path}: {error}; expected a file that `uls-data calibrate` wrote"
        ) from error
    return text


def tasks_of(cases: list[CaseFiles], source: str, replay: Path | None) -> list[Task]:
    """Cases as tasks, with the positions of a replayed manifest.

    A case of that manifest which the raw root lacks is a task that fails.
    """
    if replay is None:
        return [Task(case) for case in cases]
    positions = positions_of(replay, source)
    tasks = [Task(case, positions.pop(case.case_id, ())) for case in cases]
    for case_id, missing in sorted(positions.items()):
        names = ", ".join(position.voi_id for position in missing[:3])
        problem = (
            Reason.REPLAY_CASE_MISSING,
            f"the manifest names {len(missing)} VOIs of it ({names}), the raw root lacks it",
        )
        tasks.append(Task(CaseFiles(case_id, problem=problem), missing))
    return tasks


def chosen_of(tasks: list[Task], only: Sequence[str], limit: int | None) -> list[Task]:
    """Tasks that a call asks for.

    Raises
    ------
    SourceError
        `only` names a case that is not there; the message suggests the nearest.
    """
    chosen = tasks
    if only:
        names = [task.case.case_id for task in tasks]
        for wanted in only:
            if wanted not in names:
                hint = did_you_mean(wanted, names) or f" Cases are called like {names[0]}."
                raise SourceError(f"--only {wanted}: no such case below --raw.{hint}")
        chosen = [task for task in tasks if task.case.case_id in set(only)]
    return chosen[:limit]


def planned_row(task: Task) -> Row:
    """Row of a dry run."""
    case = task.case
    return {
        "case_id": case.case_id,
        "image_source": case.image.as_posix() if case.image else None,
        "label_source": case.mask.as_posix() if case.mask else None,
        "status": "failed" if case.problem else "planned",
        "reason": case.problem[0].value if case.problem else None,
        "detail": case.problem[1] if case.problem else None,
    }
