"""Check overlays against manifests, and apply them as a layer of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uls_data import geometry
from uls_data.errata.chain import Chain, Refusal, Step, root_of
from uls_data.errata.change import LAYER, Change
from uls_data.errata.overlay import ErrataError, load_overlay
from uls_data.errors import SourceError
from uls_data.geometry import Triple
from uls_data.manifest.by_axis import origin_of
from uls_data.manifest.parquet import iterate_rows, manifest_files, read_table, write_manifest
from uls_data.manifest.row import Row
from uls_data.outcome import Status
from uls_data.voi import CENTRE

FILE = "errata.parquet"
# A VOI that is cut again is another sample of its lesion: its number says which one it follows.
_RECLICKED = 1000
_SHOWN = 10
_OUR_LABEL = re.compile(rf"[^/.][^/]*/labels/{LAYER}/[^/.][^/]*\.nii\.gz")
Paths = str | Path | Sequence[str | Path]
Rows = dict[str, tuple[Path, Row]]


@dataclass(frozen=True)
class CorrectionResult:
    """What becomes of one correction.

    Attributes
    ----------
    overlay, source, voi_id, kind : str
    number : int
        Of the correction in its overlay, from 1.
    outcome : str
        `fits`, `absent` (the manifests do not hold the VOI) or `refused`.
    detail : str
        Why it is refused, or the correction's own reason.
    """

    overlay: str
    number: int
    source: str
    voi_id: str
    kind: str
    outcome: str
    detail: str


@dataclass(frozen=True)
class ErrataReport:
    """What was applied.

    Attributes
    ----------
    manifest : Path
        Rows of layer `corrected`.
    rows : list of dict
    verdicts : list of CorrectionResult
        `fits` or `absent`, of every correction.
    replay : Path or None
        Manifest for `build --replay` with the VOIs to cut again.
    """

    manifest: Path
    rows: list[Row]
    verdicts: list[CorrectionResult]
    replay: Path | None = None


@dataclass(frozen=True)
class _Plan:
    verdicts: list[CorrectionResult]
    chains: list[tuple[Rows, list[Step]]]


def check_errata(
    overlays: Paths,
    manifest: Paths,
    *,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[CorrectionResult]:
    """Say of every correction whether it fits the data; nothing is written.

    Parameters
    ----------
    overlays : path or sequence of paths
        In the order in which they apply.
    manifest : path or sequence of paths
        Of builds or archives, with their labels beside them.

    Raises
    ------
    ErrataError, ManifestError
        Not overlays, two of one name, not manifests, or no correction of a VOI that they hold.
    """
    return _plan(overlays, manifest, started, progress, 1).verdicts


def apply_errata(
    overlays: Paths,
    manifest: Paths,
    *,
    out: str | Path | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ErrataReport:
    """Write the layer `corrected`: every VOI that a correction names, as it is after all of them.

    Labels go to `<source>/labels/corrected/`, rows to `manifest/errata.parquet`, measured again; a
    lesion that is dropped is a skipped row. What they correct stays as it is. Nothing is written
    unless every correction fits. The same call again gives the same bytes; a later call names the
    earlier overlays again, so that the corrections of a VOI form one chain.

    Parameters
    ----------
    overlays, manifest
        As for `check_errata`.
    out : path, optional
        OUT folder; default: that of the manifest.

    Raises
    ------
    ErrataError, ManifestError, SourceError
        As for `check_errata`; a correction that does not fit; corrections there that this call
        would undo; or the folder cannot be written.
    """
    files = manifest_files(manifest)
    roots = {root_of(file) for file in files}
    if out is None and len(roots) > 1:
        raise ErrataError("the manifests lie in several folders: say with --out where to write")
    out = Path(out) if out is not None else next(iter(roots))
    plan = _plan(overlays, manifest, started, progress, 2)
    _refuse([verdict for verdict in plan.verdicts if verdict.outcome == "refused"])
    before = _rows_there(out, plan)
    try:
        rows, again = [], []
        for found, steps in plan.chains:
            chain = Chain(found)
            refusal = chain.run(steps)
            if refusal is not None:  # the file changed since it was checked
                raise ErrataError(f"{refusal.step.correction.voi_id}: {refusal.why}")
            rows.append(chain.corrected(out))
            if chain.click is not None:
                again.append(_position(chain.row, chain.click))
            if progress is not None:
                progress(1)
        path = out / "manifest" / FILE
        write_manifest(rows, path)
        replay = out / "replay" / FILE
        if again:
            write_manifest(again, replay)
        elif replay.is_file():
            replay.unlink()
        kept = {row.get("label_path") for row in rows}
        for row in before:
            label = row["label_path"]
            if label not in kept and _OUR_LABEL.fullmatch(label or ""):
                (out / str(label)).unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(f"--out {out}: cannot be written: {error.strerror}") from error
    return ErrataReport(path, rows, plan.verdicts, replay if again else None)


def _plan(
    overlays: Paths,
    manifest: Paths,
    started: Callable[[int], None] | None,
    progress: Callable[[int], None] | None,
    passes: int,
) -> _Plan:
    steps = _steps([overlays] if isinstance(overlays, str | Path) else overlays)
    vois = _vois(manifest, {name for _, name in steps})
    if started is not None:
        started(passes * len(steps.keys() & vois.keys()))
    verdicts: list[tuple[Step, CorrectionResult]] = []
    chains = []
    for key in steps:
        if key not in vois:
            verdicts += [(s, _verdict(s, "absent", "no such VOI here")) for s in steps[key]]
            continue
        verdicts += _judged(steps[key], Chain(vois[key]).run(steps[key]))
        chains.append((vois[key], steps[key]))
        if progress is not None:
            progress(1)
    if not chains:
        raise ErrataError("the manifests hold none of the VOIs that the overlays name")
    verdicts.sort(key=lambda judged: judged[0].place)
    return _Plan([verdict for _, verdict in verdicts], chains)


def _steps(overlays: Sequence[str | Path]) -> dict[tuple[str, str], list[Step]]:
    """Corrections by VOI, in their order."""
    steps: dict[tuple[str, str], list[Step]] = {}
    names: dict[str, Path] = {}
    place = 0
    for path in map(Path, overlays):
        overlay = load_overlay(path)
        if overlay.name in names:
            raise ErrataError(f"{names[overlay.name]} and {path} are both called {overlay.name}")
        names[overlay.name] = path
        for number, correction in enumerate(overlay.corrections, 1):
            step = Step(path, overlay.name, number, place, correction)
            place += 1
            steps.setdefault((correction.source, correction.voi_id), []).append(step)
    if not steps:
        raise ErrataError("the overlays hold no correction")
    return steps


def _vois(manifest: Paths, names: set[str]) -> dict[tuple[str, str], Rows]:
    """Rows of the VOIs of these names, by source and name, then by layer."""
    vois: dict[tuple[str, str], Rows] = {}
    for file in manifest_files(manifest):
        found: list[Row] = read_table(file, None, [("voi_id", "in", sorted(names))]).to_pylist()
        for row in found:
            if row["layer"] == LAYER:
                continue
            rows = vois.setdefault((row["source"], str(row["voi_id"])), {})
            if row["layer"] in rows:
                first = rows[row["layer"]][0]
                raise ErrataError(f"{first} and {file} hold {row['voi_id']} of one layer; name one")
            rows[row["layer"]] = file, row
    return vois


def _judged(steps: list[Step], refusal: Refusal | None) -> list[tuple[Step, CorrectionResult]]:
    end = len(steps) if refusal is None else steps.index(refusal.step)
    found = [(step, _verdict(step, "fits", step.correction.reason)) for step in steps[:end]]
    for step in steps[end:]:
        why = "a correction before it is refused"
        if refusal is not None and step is refusal.step:
            why = refusal.why
        found.append((step, _verdict(step, "refused", why)))
    return found


def _verdict(step: Step, outcome: str, detail: str) -> CorrectionResult:
    c = step.correction
    return CorrectionResult(
        step.overlay, step.number, c.source, c.voi_id, c.kind.value, outcome, detail
    )


def _refuse(refused: list[CorrectionResult]) -> None:
    if not refused:
        return
    lines = [f"{v.overlay} {v.number}, {v.voi_id}: {v.kind}: {v.detail}" for v in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"... and {len(refused) - _SHOWN} more")
    raise ErrataError("\n  ".join([f"{len(refused)} corrections are refused:", *lines]))


def _rows_there(out: Path, plan: _Plan) -> list[Row]:
    """Rows that an earlier call wrote, all of which this one continues from."""
    path = out / "manifest" / FILE
    if not path.is_file():
        return []
    rows = list(iterate_rows(path))
    going_on = {
        (steps[0].correction.source, steps[0].correction.voi_id): [
            Change.of(step.correction, step.overlay).line() for step in steps
        ]
        for _, steps in plan.chains
    }
    for row in rows:
        lines = (row["detail"] or "").splitlines()
        if going_on.get((row["source"], str(row["voi_id"])), [])[: len(lines)] != lines:
            raise ErrataError(
                f"{path} holds corrections of {row['voi_id']} that this call does not begin with; "
                "name the earlier overlays first, or remove that file to start over"
            )
    return rows


def _position(row: Row, click: Triple) -> Row:
    """Row for `build --replay`: the VOI in which `click` of this one is the centre."""
    shift = tuple(at - centre for at, centre in zip(click, CENTRE, strict=True))
    sample = (row["sample_index"] or 0) + _RECLICKED
    name = re.sub(r"_sample_[0-9]+\Z", "", str(row["voi_id"]))
    affine = geometry.shifted(np.array(row["affine"], np.float64).reshape(4, 4), shift)
    x, y, z = (
        None if at is None else at + by for at, by in zip(origin_of(row), shift, strict=True)
    )
    return {
        "source": row["source"],
        "case_id": row["case_id"],
        "patient_id": row["patient_id"],
        "lesion_index": row["lesion_index"],
        "sample_index": sample,
        "voi_id": f"{name}_sample_{sample}",
        "layer": row["layer"],
        "status": Status.OK.value,
        "affine": affine.ravel().tolist(),
        "voi_origin_x_vox": x,
        "voi_origin_y_vox": y,
        "voi_origin_z_vox": z,
        "qc_flags": [],
    }
