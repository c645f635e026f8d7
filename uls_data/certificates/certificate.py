"""A certificate: a rule, what it promises, on what evidence; a file that others can check."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uls_data._version import __version__
from uls_data.certificates.bound import upper_bound
from uls_data.certificates.gather import Gathered
from uls_data.certificates.judged import Judged
from uls_data.certificates.learning import STRATUM, Learned, Promise, Strata, keeps
from uls_data.certificates.score import Score
from uls_data.certificates.shift import Difference, differences, reference
from uls_data.errors import ManifestError
from uls_data.io import sha256_bytes

_MAXIMUM_BYTES = 16 << 20
Share = Annotated[float, Field(gt=0, lt=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Part):
    """A manifest that was read."""

    name: str
    sha256: str


class Group(_Part):
    """Masks of one stratum of calibration lesions on which the rule was tested."""

    by: str
    """`all`, `lesion_type` or `size`."""
    name: str
    patients: Count
    masks: Count
    kept: Count
    failed: Count
    """Kept masks under the Dice."""
    risk_at_most: float
    """Upper bound, at the same confidence, on one kept mask of each patient; of this stratum alone,
    and not corrected for looking at several."""


class Evidence(_Part):
    """What the promise rests on."""

    layer: str
    manifests: tuple[File, ...]
    masks_sha256: str
    """Over the hashes of the masks' voxels."""
    truth_sha256: str
    models: tuple[str, ...]
    lines_jitter: float | None
    """Noise of lines that were drawn from the truth; null where rows held lines or none had."""
    left_out_seen: Count
    """Masks that were not taken, as their teacher was trained on the lesion."""
    patients: Count
    masks: Count
    fitted_patients: Count
    tested_patients: Count
    kept_patients: Count
    failures: Count
    """Of one kept mask of each of these patients."""
    p_value: float
    groups: tuple[Group, ...]


class Certificate(_Part):
    """See `uls-data certify`."""

    certificate_version: Literal[1] = 1
    sentence: str
    risk: Share
    dice: Share
    confidence: Share
    members: tuple[str, ...]
    score: Score
    threshold: Finite
    accepted: dict[str, dict[str, int]]
    """Lesion types and sizes that it speaks of, with their calibration patients."""
    refused: dict[str, dict[str, int]]
    evidence: Evidence
    values: dict[str, tuple[Finite, ...]]
    """Measures of one mask of each patient, sorted: to compare new lesions with."""
    types: dict[str, int]
    seed: int
    software: dict[str, str]

    def keeps(self, masks: Sequence[Judged]) -> NDArray[np.bool_]:
        """Whether each mask meets the rule."""
        return keeps(self.score, Strata(self.accepted, self.refused), self.threshold, masks)

    def differences(self, masks: Sequence[Judged]) -> list[Difference]:
        """How far lesions differ from those of the calibration."""
        return differences(self.values, self.types, masks, self.seed)

    def warnings(self, found: Gathered) -> list[str]:
        """Why the promise may not hold of these masks."""
        lines = [
            f"these lesions differ from the calibration, so the promise may not hold for them: "
            f"{one}"
            for one in self.differences(found.masks)
            if one.matters
        ]
        strange = set(found.models) - set(self.evidence.models)
        if strange:
            lines.append(
                f"models without a mask in the calibration ({len(strange)}): the promise "
                f"may not hold for them"
            )
        return lines

    def to_bytes(self) -> bytes:
        """JSON, the same bytes for the same certificate."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False)
        return (text + "\n").encode()

    @property
    def sha256(self) -> str:
        """SHA-256 of its JSON: what rows name it by."""
        return sha256_bytes(self.to_bytes())


def certificate_of(
    learned: Learned,
    promise: Promise,
    members: Sequence[str],
    gathered: Gathered,
    files: Sequence[File],
    *,
    lines_jitter: float | None,
    seen: int,
    seed: int,
) -> Certificate:
    """Write down what was learned."""
    strata, tested = learned.strata, learned.tested
    covered = [mask for mask in gathered.masks if strata.covers(mask)]
    values, types = reference(covered, seed)
    evidence = Evidence(
        layer=gathered.layer,
        manifests=tuple(files),
        masks_sha256=gathered.labels_sha256,
        truth_sha256=gathered.truth_sha256,
        models=tuple(gathered.models),
        lines_jitter=lines_jitter,
        left_out_seen=seen,
        patients=len({mask.patient for mask in gathered.masks}),
        masks=len(gathered.masks),
        fitted_patients=len({mask.patient for mask in learned.fit}),
        tested_patients=len({mask.patient for mask in learned.test}),
        kept_patients=tested.patients,
        failures=tested.failures,
        p_value=tested.p_value,
        groups=tuple(_groups(learned, promise)),
    )
    return Certificate(
        sentence=sentence(promise, evidence),
        risk=promise.risk,
        dice=promise.dice,
        confidence=promise.confidence,
        members=tuple(members),
        score=learned.score,
        threshold=tested.threshold,
        accepted=strata.accepted,
        refused=strata.refused,
        evidence=evidence,
        values={name: tuple(numbers) for name, numbers in values.items()},
        types=types,
        seed=seed,
        software={
            "uls-data": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    )


def sentence(promise: Promise, evidence: Evidence) -> str:
    """Say what is promised, and on what evidence."""
    return (
        f"Of the kept masks, one of each patient, at most {promise.risk:.4g} have a Dice under "
        f"{promise.dice:.4g}, with {promise.confidence:.4g} confidence: of "
        f"{evidence.tested_patients} calibration patients {evidence.kept_patients} have a kept "
        f"mask, and {evidence.failures} of these masks fail. It holds for lesions like those of "
        "the calibration."
    )


def _groups(learned: Learned, promise: Promise) -> list[Group]:
    kept = dict(zip(map(id, learned.test), learned.keeps(learned.test), strict=True))
    found = []
    for by, of in {"all": lambda _mask: "all", **STRATUM}.items():
        for name in sorted({of(mask) for mask in learned.test}):
            masks = [mask for mask in learned.test if of(mask) == name]
            stays = [mask for mask in masks if kept[id(mask)]]
            first: dict[str, Judged] = {}
            for mask in stays:  # in the order in which they were drawn
                first.setdefault(mask.patient, mask)
            fails = sum(_fails(mask, promise) for mask in first.values())
            found.append(
                Group(
                    by=by,
                    name=name,
                    patients=len({mask.patient for mask in masks}),
                    masks=len(masks),
                    kept=len(stays),
                    failed=sum(_fails(mask, promise) for mask in stays),
                    risk_at_most=upper_bound(fails, len(first), promise.confidence),
                )
            )
    return found


def _fails(mask: Judged, promise: Promise) -> bool:
    return mask.dice is None or mask.dice < promise.dice


def read_certificate(path: str | Path) -> Certificate:
    """Read a certificate.

    Raises
    ------
    ManifestError
        Not there, or none.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(_MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _MAXIMUM_BYTES:
        raise ManifestError(f"{path}: larger than a certificate can be")
    try:
        found = Certificate.model_validate_json(data)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ManifestError(f"{path}: not a certificate: {where}: {first['msg']}") from error
    if found.to_bytes() != data:
        raise ManifestError(f"{path}: changed after it was written; run `uls-data certify` again")
    return found
