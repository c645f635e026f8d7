"""Build one source: plan, run, collect, write the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from uls_data.engine import Pool, run_tasks
from uls_data.engine.patience import Patience
from uls_data.errors import SourceError
from uls_data.factory.build_report import BuildReport
from uls_data.factory.footprint import memory_need, most_seconds
from uls_data.factory.options import Built, Options, Task
from uls_data.factory.planning import calibration_text, chosen_of, masks_of, planned_row, tasks_of
from uls_data.factory.state import Finished, State, files_of
from uls_data.factory.worker import build_case, lost_case
from uls_data.io import remove_folder, remove_temporaries, remove_temporaries_of
from uls_data.io.lock import LOCK, locked
from uls_data.manifest.row import Row
from uls_data.outcome import Reason
from uls_data.profile import PROFILES
from uls_data.recipe import load_recipe
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.find import find_cases

# Failures that the machine may have caused: the same command tries such cases again.
_NOT_ITS_OWN = frozenset(
    {
        Reason.WORKER_LOST,
        Reason.TIMED_OUT,
        Reason.OUT_OF_MEMORY,
        Reason.INTERNAL_ERROR,
        Reason.CHANGED_WHILE_READ,
        Reason.IO_ERROR,
        Reason.FOLDER_UNREADABLE,
    }
)
Progress = Callable[[str, list[Row]], None]


def build(
    recipe: str | Path,
    raw: str | Path,
    out: str | Path,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    profile: str = "paper",
    seed: int = 0,
    clicks: int = 1,
    limit: int | None = None,
    only: Sequence[str] = (),
    labels_only: bool = False,
    replay: str | Path | None = None,
    masks: Sequence[str] = (),
    calibration: str | Path | None = None,
    case_timeout: float | None = None,
    prune: bool = False,
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
        Local processes; 0 builds in this one, where a case for which memory does not
        suffice ends the call. Scripts that ask for some need the usual
        `if __name__ == "__main__":` guard.
    scheduler : str, optional
        Address of a dask scheduler, instead of local processes.
    profile : str
        `paper`, or `published` to reproduce what the published archive did.
    seed : int
        Random seed for the clicks.
    clicks : int
        VOIs per lesion, each around a click of its own.
    limit : int, optional
        Only the first cases.
    only : sequence of str
        Only these cases.
    labels_only : bool
        Masks alone, without images.
    replay : path, optional
        Manifest to take the positions from, instead of drawing clicks.
    masks : sequence of str
        2D methods for a source whose lesions are measurements (`uls_data.pseudomask.methods`),
        and in 3D `jury_3d`, and `ellipsoid`, which their lines alone give; a layer each. `jury`
        unless said otherwise, `grabcut` under the profile `published`.
    calibration : path, optional
        What `calibrate` wrote, instead of what comes with the package.
    case_timeout : float, optional
        Seconds that a worker may take over a case; longer ones are named, then stopped
        (`timed_out`), and tried again by the same call. Default: an hour, and longer the larger the
        case. Without workers nothing is stopped.
    prune : bool
        Remove the VOIs of cases that are no longer in the raw data.
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
    for name, value, least in (
        ("workers", workers, 0),
        ("clicks", clicks, 1),
        ("limit", 1 if limit is None else limit, 1),
        ("case-timeout", 1 if case_timeout is None else case_timeout, 1),
    ):
        if value < least:
            raise SourceError(f"--{name} {value}: expected at least {least}")
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
        masks=masks_of(masks, loaded.recipe, profile),
        calibration=calibration_text(calibration),
    )
    source = loaded.recipe.source
    if out.resolve() == raw.resolve():
        raise SourceError(f"--out {out} is the raw folder itself; name another folder")
    state = State(options.out, source)
    cases = find_cases(
        loaded.recipe,
        raw,
        need_images=options.needs_scan,
        leave_out=out,
        cache=None if dry_run else state.headers,
    )
    tasks = tasks_of(cases, source, Path(replay) if replay is not None else None)
    chosen = chosen_of(tasks, only, limit)
    report = BuildReport(
        source,
        out / "manifest" / f"{source}.parquet",
        cases=len(chosen),
        complete=len(chosen) == len(tasks),
    )
    if dry_run:
        report.planned = [planned_row(task) for task in chosen]
        return report
    pool = Pool(workers, scheduler)
    patience = Patience[Task, Built](
        seconds=partial(most_seconds, options=options, chosen_s=case_timeout),
        name=lambda task: task.case.case_id,
        overdue=partial(lost_case, options=options, reason=Reason.TIMED_OUT),
    )
    try:
        with locked(state.folder / LOCK, f"--out {out} ({source})"):
            _run(options, tasks, chosen, report, state, pool, patience, prune, started, progress)
    except OSError as error:
        raise SourceError(
            f"--out {out}: cannot be written: {error.strerror or error}. "
            "Fix this and run the same command again; finished cases are kept."
        ) from error
    return report


def _run(
    options: Options,
    tasks: list[Task],
    chosen: list[Task],
    report: BuildReport,
    state: State,
    pool: Pool,
    patience: Patience[Task, Built],
    prune: bool,
    started: Callable[[int, int], None] | None,
    progress: Progress | None,
) -> None:
    remove_temporaries(options.out / options.recipe.source)
    remove_temporaries(state.folder)
    remove_temporaries_of(state.manifest)
    finished = state.load()
    gone = finished.keys() - {task.case.case_id for task in tasks}
    with_files = {case_id for case_id, files in state.files_by_case(gone).items() if files}
    if any(_is_unlisted(task.case) for task in tasks):
        # Whether they are gone or lie in that folder cannot be known: nothing is removed.
        chosen += [_hidden(case_id) for case_id in sorted(gone)] if report.complete else []
        gone = set()
    elif with_files and (unread := _unread(tasks)):
        report.notes.append(
            f"{len(with_files)} finished cases, such as {min(with_files)}, were not found, while "
            f"files cannot be read, such as those of {unread[0]}: nothing is removed"
        )
        gone -= with_files
    elif with_files and not prune:
        report.notes.append(
            f"{len(with_files)} finished cases, such as {min(with_files)}, are no longer in the "
            "raw data: their VOIs and rows are kept; --prune removes them"
        )
        gone -= with_files
    chosen = [task.planned(options.raw) for task in chosen]
    options_key = options.key()
    keys = {task.case.case_id: task.key(options_key) for task in chosen}
    _refuse_mixture({name: finished[name] for name in finished.keys() - gone}, keys, options)
    waiting = [task for task in chosen if not _is_done(finished, task, keys)]
    stale = state.files_by_case({task.case.case_id for task in waiting} | gone)
    report.done_before = len(chosen) - len(waiting)
    if started is not None:
        started(len(chosen), report.done_before)
    try:
        if waiting:
            state.staging.mkdir(parents=True)
        results = run_tasks(
            partial(build_case, options=options, staging=state.staging),
            waiting,
            pool,
            need_bytes=partial(memory_need, options=options),
            lost=partial(lost_case, options=options, reason=Reason.WORKER_LOST),
            patience=patience,
        )
        with closing(results):
            for task, built in results:
                case_id, rows = task.case.case_id, built.rows
                # No key fits a failure that may not be the case's own: it is tried again.
                key = "" if _worth_another_try(rows) else keys[case_id]
                before = finished.pop(case_id, None)
                kept: list[Row] = []
                if before is not None and built.files:
                    state.forget(before)
                elif before is not None and not key and before.options_key == options_key:
                    kept = _outliving(state.rows_of(before))
                state.publish(case_id, built, stale[case_id])
                finished[case_id] = state.save(case_id, options_key, key, [*kept, *rows])
                state.remove(stale[case_id] - set(built.files) - files_of(kept))
                if progress is not None:
                    progress(case_id, rows)
    finally:
        state.close()
        remove_folder(state.staging)
    for case_id in sorted(gone):
        what = "its VOIs were removed" if case_id in with_files else "its row was removed"
        report.notes.append(f"{case_id} is no longer in the raw data: {what}")
        state.remove(stale[case_id])
        del finished[case_id]
    if waiting or gone or state.journal.is_file() or not state.stored.is_file():
        state.finish(finished)
    elif not state.manifest.is_file():
        state.restore_manifest()
    lost = {task.case.case_id for task in chosen} - state.case_ids()
    if lost:
        raise SourceError(
            f"--out {options.out}: {len(lost)} cases ended without a row, such as {min(lost)}: a "
            "fault of this program, please report it"
        )


def _is_unlisted(case: CaseFiles) -> bool:
    return case.problem is not None and case.problem[0] == Reason.FOLDER_UNREADABLE


def _unread(tasks: list[Task]) -> list[str]:
    """Cases with files that may be of any case, for they could not be read when it was planned."""
    problems = {task.case.case_id: task.case.problem for task in tasks}
    return sorted(name for name, why in problems.items() if why and why[0] == Reason.IO_ERROR)


def _hidden(case_id: str) -> Task:
    """Task of a finished case that was not found, while folders could not be listed."""
    detail = "not found, while folders of the raw data cannot be listed; its VOIs are kept"
    return Task(CaseFiles(case_id, problem=(Reason.FOLDER_UNREADABLE, detail)))


def _is_done(finished: dict[str, Finished], task: Task, keys: dict[str, str]) -> bool:
    record = finished.get(task.case.case_id)
    return record is not None and record.key == keys[task.case.case_id]


def _worth_another_try(rows: list[Row]) -> bool:
    """Whether the same command should try a case again: its failure may not be its own."""
    return any(row.get("reason") in _NOT_ITS_OWN for row in rows)


def _outliving(rows: list[Row]) -> list[Row]:
    """Rows of an earlier run beside which a failure is kept, which may not be the case's own."""
    rows = [row for row in rows if row["reason"] not in _NOT_ITS_OWN]
    return rows if files_of(rows) else []


def _refuse_mixture(finished: dict[str, Finished], keys: dict[str, str], options: Options) -> None:
    """Refuse to leave cases of other parameters beside those of this call."""
    foreign = [
        record.case_id
        for record in finished.values()
        if record.options_key != options.key() and record.case_id not in keys
    ]
    if foreign:
        raise SourceError(
            f"--out {options.out} holds {len(foreign)} cases of {options.recipe.source}, such as "
            f"{foreign[0]}, that were built with another recipe or other parameters. "
            "Build all cases (without --only or --limit; with --prune if some are no longer in the "
            "raw data), or name another --out."
        )
