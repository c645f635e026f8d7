"""Which rows of manifests meet a certificate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uls_data.certificates.certificate import Certificate, read_certificate
from uls_data.certificates.gather import Gathered, Paths, find_masks, gather
from uls_data.certificates.judged import identity_of
from uls_data.certificates.learning import STRATUM
from uls_data.errors import SourceError
from uls_data.manifest.expected import EXPECTED, FROM_CERTIFICATE
from uls_data.manifest.parquet import iterate_rows, manifest_files, write_manifest
from uls_data.manifest.paths import with_moved_paths
from uls_data.manifest.row import Row
from uls_data.tables import Record


@dataclass(frozen=True)
class Marks:
    """What a certificate says about masks.

    Attributes
    ----------
    sha256 : str
        Of the certificate.
    threshold : float
        Expected Dice from which masks are kept.
    certified : dict of tuple to bool
        By source, case, lesion, sample and layer: whether the mask meets the rule.
    expected_dice : dict of tuple to float
        Likewise; masks that lack a measure of the score are not in it.
    coverage : list of dict
        `by`, `name`, `masks`, `kept`: of all, by lesion type and by size.
    warnings : list of str
        Why the promise may not hold of these masks.
    failed : list of dict
        Masks that cannot be read: `identity`, `voi_id`, `reason`, `detail`. They are not certified.
    """

    sha256: str
    threshold: float
    certified: dict[tuple[Any, ...], bool]
    expected_dice: dict[tuple[Any, ...], float]
    coverage: list[Record]
    warnings: list[str]
    failed: list[Record]

    @property
    def kept(self) -> int:
        """Masks that meet the rule."""
        return sum(self.certified.values())

    def why_not(self, row: Row) -> str:
        """Why a mask is not certified."""
        expected = self.expected_dice.get(identity_of(row))
        if expected is None:
            return "a measure that the score needs is not known"
        if expected < self.threshold:
            return f"expected Dice {expected:.3f}, kept from {self.threshold:.3f}"
        return "too few calibration patients of its lesion type or size"

    def row(self, row: Row) -> Row:
        """Row with `certified`, `certificate` and the Dice that the certificate expects.

        What an earlier certificate said about a mask is gone.
        """
        identity = identity_of(row)
        scores = [
            score for score in row["candidate_scores"] or () if score["candidate"] != EXPECTED
        ]
        if identity in self.expected_dice:
            value = self.expected_dice[identity]
            scores.append({"candidate": EXPECTED, "measure": FROM_CERTIFICATE, "value": value})
        certified = self.certified.get(identity)
        return {
            **row,
            "certified": certified,
            "certificate": None if certified is None else self.sha256,
            "candidate_scores": scores or None,
        }


def mark(
    manifests: Paths,
    certificate: str | Path,
    *,
    layer: str | None = None,
    beside: Sequence[str | Path] = (),
    filtered: bool = False,
    workers: int = 0,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Marks:
    """Judge the masks of manifests by a certificate.

    Parameters
    ----------
    certificate : path
        As `certify` wrote it.
    layer, beside, filtered
        See `uls_data.certificates.gather.find_masks`.

    Raises
    ------
    ManifestError
        No certificate, or no masks.
    """
    known = read_certificate(certificate)
    found = find_masks(manifests, layer, beside, filtered=filtered)
    if started is not None:
        started(len(found.examples))
    gathered = gather(found, known.members, workers=workers, progress=progress)
    return marks_of(known, gathered)


def marks_of(known: Certificate, gathered: Gathered) -> Marks:
    """Judge masks that are measured."""
    masks = gathered.masks
    kept = known.keeps(masks)
    expected = known.score.expected_dice(masks)
    certified = {row["identity"]: False for row in gathered.failed}
    certified |= {mask.identity: bool(k) for mask, k in zip(masks, kept, strict=True)}
    dice = {
        mask.identity: round(float(value), 6)
        for mask, value in zip(masks, expected, strict=True)
        if np.isfinite(value)
    }
    warnings = known.warnings(gathered)
    if len(dice) < len(masks):
        names = [term.measure for term in known.score.terms]
        missing = Counter(
            name for mask in masks for name in names if mask.measures.get(name) is None
        )
        what = ", ".join(f"{name} ({count})" for name, count in missing.most_common())
        lack = f"{len(masks) - len(dice)} masks lack what the score needs"
        warnings.append(f"{lack}, and are not certified: {what}")
    refused = [
        f"{name} ({count})"
        for by in STRATUM
        for name, count in sorted(Counter(STRATUM[by](mask) for mask in masks).items())
        if name not in known.accepted.get(by, {})
    ]
    if refused:
        warnings.append(
            "too few calibration patients for these masks, which are not certified: "
            + ", ".join(refused)
        )
    coverage: list[Record] = []
    for by, of in {"all": lambda _mask: "all", **STRATUM}.items():
        for name in sorted({of(mask) for mask in masks}):
            of_it = [certified[mask.identity] for mask in masks if of(mask) == name]
            coverage.append({"by": by, "name": name, "masks": len(of_it), "kept": sum(of_it)})
    return Marks(
        known.sha256, known.threshold, certified, dice, coverage, warnings, gathered.failed
    )


def write_marked(manifests: Paths, out: Path, marks: Marks) -> int:
    """Write the rows of manifests with what a certificate says; returns how many.

    Raises
    ------
    SourceError
        `out` cannot be written.
    """
    rows = [
        with_moved_paths(marks.row(row), file, out)
        for file in manifest_files(manifests)
        for row in iterate_rows(file)
    ]
    try:
        return write_manifest(rows, out)
    except OSError as error:
        raise SourceError(f"--manifest-out {out}: cannot be written: {error.strerror}") from error
