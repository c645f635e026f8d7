"""Build one source: plan, run, collect, write the manifest."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from uls_data.engine import run_tasks
from uls_data.errors import SourceError
from uls_data.factory.case import build_case, lost_case
from uls_data.factory.options import Options, Row, Task
from uls_data.factory.replay import positions_of
from uls_data.factory.state import Finished, State
from uls_data.io import remove_temporaries
from uls_data.manifest.table import row_key, write_manifest
from uls_data.outcome import Reason
from uls_data.profile import PROFILES
from uls_data.readers.pairs import CaseFiles, find_cases
from uls_data.recipe import load_recipe

Progress = Callable[[str, list[Row]], None]


@dataclass
class BuildReport:
    """What a build did.

    Attributes
    ----------
    source : str
    manifest : Path
        Not written by a dry run.
    rows : list of dict
        All rows of the manifest, by key.
    cases, done_before : int
        Cases of this call, and how many of them were finished already.
    complete : bool
        Whether the call covered every case of the raw root.
    notes : list of str
        Lines for the user.
    """

    source: str
    manifest: Path
    rows: list[Row] = field(default_factory=list)
    cases: int = 0
    done_before: int = 0
    complete: bool = True
    notes: list[str] = field(default_factory=list)

    def count(self, status: str) -> int:
        """Rows with a status."""
        return sum(row["status"] == status for row in self.rows)

    @property
    def ok(self) -> int:
        """VOIs of this manifest."""
        return self.count("ok")

    @property
    def skipped(self) -> int:
        """Rows that were skipped by a decision."""
        return self.count("skipped")

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return self.count("failed")


def build(
    recipe: str | Path,
    raw: str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    profile: str = "paper",
    seed: int = 0,
    clicks: int = 1,
    limit: int | None = None,
    only: Sequence[str] = (),
    labels_only: bool = False,
    replay: str | Path | None = None,
    dry_run: bool = False,
    started: Callable[[int, int], None] | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Turn the raw data of one source into VOIs and a manifest (contract, section 3).

    The same call again continues where an interrupted one stopped. The output
    does not depend on `workers`, `scheduler`, or the order of cases.

    Parameters
    ----------
    recipe : str or Path
        Name of a shipped recipe, or file of your own.
    raw, out : path
        Folder of the raw data (only read), and folder to write.
    workers : int
        Local processes. Scripts that ask for more than one need the usual
        `if __name__ == "__main__":` guard.
    scheduler : str, optional
        Address of a dask scheduler, instead of local processes.
    profile : str
        `paper`, or `published` to reproduce what the published archive did.
    seed : int
        Of the clicks.
    clicks : int
        VOIs a lesion, each around a click of its own.
    limit : int, optional
        Only the first cases.
    only : sequence of str
        Only these cases.
    labels_only : bool
        Masks alone, without images.
    replay : path, optional
        Manifest to take the positions from, instead of drawing clicks.
    dry_run : bool
        Touch nothing; the report's rows then say what would be read.
    started : callable, optional
        Called once with (cases, cases done before).
    progress : callable, optional
        Called after each case with its name and rows.

    Raises
    ------
    RecipeError, SourceError, ManifestError
        Before any work; SourceError also when the output cannot be written.
    """
    loaded = load_recipe(str(recipe))
    if profile not in PROFILES:
        raise SourceError(f"--profile {profile}: expected one of {', '.join(PROFILES)}")
    for name, value in (
        ("workers", workers),
        ("clicks", clicks),
        ("limit", 1 if limit is None else limit),
    ):
        if value < 1:
            raise SourceError(f"--{name} {value}: expected at least 1")
    raw, out = Path(raw), Path(out)
    options = Options(
        recipe=loaded.recipe,
        recipe_sha256=loaded.sha256,
        raw=raw.absolute(),
        out=out.absolute(),
        profile=PROFILES[profile],
        seed=seed,
        clicks=clicks,
        labels_only=labels_only,
        replayed=replay is not None,
    )
    source = loaded.recipe.source
    if out.resolve() == raw.resolve():
        raise SourceError(f"--out {out} is the raw folder itself; name another folder")
    cases = find_cases(loaded.recipe, raw, need_images=not labels_only, leave_out=out)
    tasks = _tasks(cases, source, Path(replay) if replay is not None else None)
    chosen = _choose(tasks, only, limit)
    report = BuildReport(
        source,
        out / "manifest" / f"{source}.parquet",
        cases=len(chosen),
        complete=len(chosen) == len(tasks),
    )
    if dry_run:
        report.rows = [_planned(task) for task in chosen]
        return report
    return _run(options, tasks, chosen, report, workers, scheduler, started, progress)


def _run(
    options: Options,
    tasks: list[Task],
    chosen: list[Task],
    report: BuildReport,
    workers: int,
    scheduler: str | None,
    started: Callable[[int, int], None] | None,
    progress: Progress | None,
) -> BuildReport:
    state = State(options.out, options.recipe.source)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        remove_temporaries(options.out)
    except OSError as error:
        raise SourceError(f"--out {options.out}: cannot be written: {error.strerror}") from error
    before = state.load()
    keys = {task.case.case_id: task.key(options) for task in chosen}
    _refuse_mixture(before, keys, options)
    waiting = [
        task
        for task in chosen
        if (record := before.get(task.case.case_id)) is None
        or record.key != keys[task.case.case_id]
        or not state.is_whole(record)
    ]
    report.done_before = len(chosen) - len(waiting)
    if started is not None:
        started(len(chosen), report.done_before)
    finished = dict(before)
    for task, rows in run_tasks(
        partial(build_case, options=options),
        waiting,
        workers=workers,
        scheduler=scheduler,
        lost=partial(lost_case, options=options),
    ):
        case_id = task.case.case_id
        record = Finished(case_id, options.key(), keys[case_id], rows)
        if not _worth_another_try(rows):
            state.save(record, before.get(case_id))
        finished[case_id] = record
        if progress is not None:
            progress(case_id, rows)
    known = {task.case.case_id for task in tasks}
    for case_id in sorted(finished.keys() - known):
        report.notes.append(f"{case_id} is no longer in the raw data: its VOIs were removed")
        state.drop(finished.pop(case_id))
    report.rows = sorted((row for record in finished.values() for row in record.rows), key=row_key)
    if waiting or not report.manifest.is_file() or len(finished) != len(before):
        write_manifest(report.rows, report.manifest)
    return report


def _worth_another_try(rows: list[Row]) -> bool:
    """Whether the same command should try a case again: its failure may not be its own."""
    return any(row.get("reason") in (Reason.WORKER_LOST, Reason.INTERNAL_ERROR) for row in rows)


def _refuse_mixture(before: dict[str, Finished], keys: dict[str, str], options: Options) -> None:
    """Refuse to leave cases of other parameters beside those of this call."""
    foreign = [
        record.case_id
        for record in before.values()
        if record.options_key != options.key() and record.case_id not in keys
    ]
    if foreign:
        raise SourceError(
            f"--out {options.out} holds {len(foreign)} cases of {options.recipe.source}, such as "
            f"{foreign[0]}, that were built with another recipe or other parameters. "
            "Build all cases (without --only or --limit), or name another --out."
        )


def _tasks(cases: list[CaseFiles], source: str, replay: Path | None) -> list[Task]:
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


def _choose(tasks: list[Task], only: Sequence[str], limit: int | None) -> list[Task]:
    chosen = tasks
    if only:
        names = [task.case.case_id for task in tasks]
        for wanted in only:
            if wanted not in names:
                near = difflib.get_close_matches(wanted, names, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"Cases are called like {names[0]}."
                raise SourceError(f"--only {wanted}: no such case below --raw. {hint}")
        chosen = [task for task in tasks if task.case.case_id in set(only)]
    return chosen[:limit]


def _planned(task: Task) -> Row:
    case = task.case
    return {
        "case_id": case.case_id,
        "image_source": case.image.as_posix() if case.image else None,
        "label_source": case.mask.as_posix() if case.mask else None,
        "status": "failed" if case.problem else "planned",
        "reason": case.problem[0].value if case.problem else None,
        "detail": case.problem[1] if case.problem else None,
    }


def reasons(report: BuildReport, status: str) -> list[tuple[str, int]]:
    """How often each reason ended rows of a status, most frequent first."""
    counts = Counter(row["reason"] for row in report.rows if row["status"] == status)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
