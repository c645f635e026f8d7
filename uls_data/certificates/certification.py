"""`certify`: state a risk of pseudo-masks, and mark the rows that meet it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from uls_data.certificates.certificate import Certificate, File, certificate_of
from uls_data.certificates.gather import Paths, find_masks, find_truth, gather
from uls_data.certificates.learning import NotLearned, Promise, learn
from uls_data.certificates.marking import Marks, marks_of, write_marked
from uls_data.ensemble.member import DEFAULT, NAMES
from uls_data.errors import ManifestError, SourceError
from uls_data.io import sha256_file, write_bytes
from uls_data.manifest.parquet import manifest_files
from uls_data.tables import Record

# Noise of lines that are drawn from full masks, as a share of the axis: about what readers have.
JITTER = 0.05


@dataclass(frozen=True)
class CertifyReport:
    """A certificate, and what it says about the masks that it was asked for.

    Attributes
    ----------
    certificate : Certificate
    marks : Marks
    failed : list of dict
        Masks that cannot be read, of the calibration and of those to certify.
    """

    certificate: Certificate
    marks: Marks
    failed: list[Record]


def certify(
    manifests: str | Path | Sequence[str | Path],
    calibration: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    risk: float = 0.1,
    dice: float = 0.7,
    confidence: float = 0.95,
    truth: str | Path | Sequence[str | Path] = (),
    layer: str | None = None,
    calibration_layer: str | None = None,
    members: Sequence[str] = DEFAULT,
    beside: Sequence[str | Path] = (),
    manifest_out: str | Path | None = None,
    least_patients: int | None = None,
    jitter: float = JITTER,
    seed: int = 0,
    workers: int = 0,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> CertifyReport:
    """Find a rule of which it holds: of the kept masks at most `risk` have a Dice under `dice`.

    Patients of the calibration are dealt into two parts. On one a score is fitted: the Dice to
    expect, monotone in the ensemble's disagreement, the network's own confidence, the agreement
    with the lines and the mask's shape. On the other, thresholds of the score are tested in a
    fixed order, one mask of each patient, until one does not pass; the last that passed is the
    rule. The probability that a rule is found whose risk is above `risk` is at most
    1 - `confidence`.

    Lesion types and sizes with too few calibration patients are refused: their masks are never
    kept. Masks that look unlike the calibration are warned of: of them nothing is promised.

    Parameters
    ----------
    manifests : path or sequence of paths
        Pseudo-masks in 3D to certify.
    calibration : path or sequence of paths
        Pseudo-masks, made in the same way, of lesions with full masks. Those by a teacher that was
        trained on the lesion are left out.
    out : path
        JSON to write.
    truth : path or sequence of paths
        Manifests with the full masks of the calibration's VOIs, where it does not hold them.
    layer, calibration_layer : str, optional
        Of the masks; needed where there are several layers in 3D.
    members : sequence of str
        Whose masks the disagreement is about, beside the mask itself: 2D methods, `ellipsoid`,
        or names of layers.
    beside : sequence of path
        Manifests with further layers of the VOIs, or with their images.
    manifest_out : path, optional
        Manifest to write: the rows of `manifests` with `certified` and `certificate`.
    least_patients : int, optional
        Calibration patients that a lesion type or size needs; default: as many as the promise
        needs if no mask fails (29 for 0.1 and 0.95).
    jitter : float
        Noise of lines drawn from the full masks of calibration lesions whose rows have none, as a
        share of the axis.
    seed : int
        Deals patients, and draws one mask of each.
    workers : int
        Local processes; 0 for this one.

    Raises
    ------
    ManifestError
        No masks, no truth, too few patients, or no rule that keeps the promise.
    """
    for name, value in (("risk", risk), ("dice", dice), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ManifestError(f"--{name} {value}: expected a share between 0 and 1")
    if not 0 <= jitter < 1:
        raise ManifestError(f"--jitter {jitter}: expected a share of the axis, 0 to 1")
    if least_patients is not None and least_patients < 2:
        raise ManifestError(f"--least-patients {least_patients}: expected 2 or more")
    new = find_masks(manifests, layer, beside)
    known = find_masks(calibration, calibration_layer, beside)
    # Without the layer itself, which never differs from its masks.
    layers = sorted({name for its in known.beside.values() for name in its} - {known.layer})
    for name in members:
        if name not in NAMES and name not in layers:
            raise ManifestError(
                f"--member {name}: expected {', '.join(NAMES)}, or a "
                "layer of the calibration's VOIs, whose manifests --beside may name: "
                f"{', '.join(layers) or 'there is none'}"
            )
    # A teacher is better at what it was trained on than at what it will be certified for.
    unseen = [one for one in known.examples if not one.row["teacher_saw_lesion"]]
    seen = len(known.examples) - len(unseen)
    known = replace(known, examples=unseen)
    truths = find_truth([*_several(calibration), *_several(truth)])
    if started is not None:
        started(len(new.examples) + len(known.examples))
    draw_lines = new.has_lines and not known.has_lines
    calibrated = gather(
        known,
        members,
        truths,
        draw_lines=draw_lines,
        jitter=jitter,
        seed=seed,
        workers=workers,
        progress=progress,
    )
    if not calibrated.masks:
        raise ManifestError(
            "no pseudo-mask of the calibration has a full mask of the same VOI beside it: "
            "--calibration must hold both, or --truth the full masks"
            + (f"; {seen} masks are by a teacher that was trained on the lesion" if seen else "")
        )
    promise = Promise(risk, dice, confidence)
    learned = learn(calibrated.masks, promise, seed=seed, least_patients=least_patients)
    if isinstance(learned, NotLearned):
        raise ManifestError(f"no certificate: {learned.why}")
    certificate = certificate_of(
        learned,
        promise,
        members,
        calibrated,
        [
            File(name=file.name, sha256=sha256_file(file))
            for file in manifest_files([*_several(calibration), *_several(truth)])
        ],
        lines_jitter=jitter if draw_lines else None,
        seen=seen,
        seed=seed,
    )
    gathered = gather(new, members, workers=workers, progress=progress)
    marks = marks_of(certificate, gathered)
    out = Path(out)
    try:
        write_bytes(out, certificate.to_bytes())
    except OSError as error:
        raise SourceError(f"--out {out}: cannot be written: {error.strerror}") from error
    if manifest_out is not None:
        write_marked(manifests, Path(manifest_out), marks)
    return CertifyReport(certificate, marks, [*calibrated.failed, *gathered.failed])


def _several(paths: Paths) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)
