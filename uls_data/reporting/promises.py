"""What certificates promise of masks, what was found on their calibration, and what they keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from uls_data.certificates.certificate import Certificate
from uls_data.manifest.row import Row
from uls_data.outcome import Status
from uls_data.pictures.plots import draw_risk
from uls_data.reporting.figure import Figure
from uls_data.tables import Record

_SHOWN = 12


@dataclass
class Promised:
    """A certificate that rows name, or that was given.

    Attributes
    ----------
    name : str
        First digits of its hash.
    sentence : str
        Its promise; empty where its file was not given.
    here : list of dict
        `lesion_type`, `masks`, `certified`, `coverage` of the rows that name it.
    groups : list of dict
        By stratum of its calibration: `by`, `name`, `masks`, `kept`, `coverage`, `failed`,
        `risk_found`, `risk_at_most`, `risk_promised`.
    """

    name: str
    sentence: str = ""
    here: list[Record] = field(default_factory=list)
    groups: list[Record] = field(default_factory=list)


def promises(rows: Iterable[Row], certificates: Sequence[Certificate]) -> list[Promised]:
    """Certificates of some rows, and of the files that are given."""
    masks: dict[str, Counter[str]] = {}
    kept: dict[str, Counter[str]] = {}
    for row in rows:
        sha256 = row["certificate"]
        # What a filter removed by the certificate was judged by it as well.
        if sha256 is not None and row["status"] in (Status.OK, Status.SKIPPED):
            kind = str(row["lesion_type"] or "unknown")
            masks.setdefault(sha256, Counter())[kind] += 1
            kept.setdefault(sha256, Counter())[kind] += bool(row["certified"])
    given = {one.sha256: one for one in certificates}
    found = []
    for sha256 in sorted({*masks, *given}):
        made = Promised(sha256[:_SHOWN])
        for kind, count in sorted(masks.get(sha256, Counter()).items()):
            made.here.append(_coverage({"lesion_type": kind}, count, kept[sha256][kind]))
        if len(made.here) > 1:
            total = {"lesion_type": "all"}
            made.here.append(_coverage(total, masks[sha256].total(), kept[sha256].total()))
        if (one := given.get(sha256)) is not None:
            made.sentence = one.sentence
            made.groups = [_group(one, at) for at in range(len(one.evidence.groups))]
        found.append(made)
    return found


def _coverage(about: Record, masks: int, kept: int) -> Record:
    return {**about, "masks": masks, "certified": kept, "coverage": kept / masks}


def _group(one: Certificate, at: int) -> Record:
    group = one.evidence.groups[at]
    return {
        "by": group.by,
        "name": group.name,
        "masks": group.masks,
        "kept": group.kept,
        "coverage": group.kept / group.masks if group.masks else None,
        "failed": group.failed,
        "risk_found": group.failed / group.kept if group.kept else None,
        "risk_at_most": group.risk_at_most,
        "risk_promised": one.risk,
    }


def risk_figures(found: Iterable[Promised]) -> list[Figure]:
    """Risk against coverage of each certificate whose file was given, by stratum."""
    made = []
    for one in found:
        known = [group for group in one.groups if group["kept"]]
        if not known:
            continue
        strata = [
            (it["name"], it["coverage"], it["risk_found"], it["risk_at_most"]) for it in known
        ]
        made.append(
            Figure(
                "promises",
                f"risk_coverage_{one.name}",
                "Risk against coverage",
                "Of each stratum of the calibration (all, lesion types, sizes): the share that "
                "the rule keeps, the share of kept masks that fails (point), and its bound (bar). "
                "The promise is on one kept mask of each patient.",
                draw_risk(strata, known[0]["risk_promised"], f"certificate {one.name}"),
                known,
            )
        )
    return made
