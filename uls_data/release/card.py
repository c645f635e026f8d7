"""What people read of a release: data card, change log of the data, citation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from uls_data.certificates import Certificate
from uls_data.errata import change_log
from uls_data.manifest.row import Column, Row
from uls_data.manifest.stats import stats
from uls_data.outcome import Status
from uls_data.release.content import Content, leaks
from uls_data.release.record import MARK, Record
from uls_data.release.terms import Terms

TITLE = "CT lesions as click-centred volumes of interest"
_LISTED_LEAKS = 200


def mark_text(terms: Mapping[str, Terms]) -> bytes:
    """Text of the file that keeps a local release where it was made."""
    closed = [name for name, its in sorted(terms.items()) if not its.redistributable]
    lines = [
        "LOCAL ONLY: DO NOT UPLOAD, SHARE OR PASS ON.",
        "",
        "This release was built with --local-only, for use at one place.",
        *(f"{name}: {terms[name].recipe.licence.name}" for name in closed),
    ]
    return ("\n".join(lines) + "\n").encode()


def citation_text(record: Record) -> bytes:
    """`CITATION.cff` of the release itself."""
    content = {
        "cff-version": "1.2.0",
        "type": "dataset",
        "title": TITLE,
        "version": record.version,
        "message": "Cite this release by its version and root, and every source in CITATION.bib.",
        "authors": [{"name": "Authors of the sources; see CITATION.bib and ATTRIBUTION.md"}],
        "identifiers": [
            {"type": "other", "value": record.payload_root, "description": "payload root (SHA-256)"}
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100).encode()


def changelog_text(version: str, contents: Sequence[Content]) -> bytes:
    """`CHANGELOG.md`: every correction that this release holds, with its reason."""
    lines = ["# Changes of the data", "", f"## {version}: corrections of what was built", ""]
    found = change_log((row for its in contents for row in its.rows), notes=True)
    lines += [f"- {line}" for line in found] or ["None."]
    lines += ["", "`uls-data release diff OLD NEW` lists what differs from another release."]
    return ("\n".join(lines) + "\n").encode()


def card_text(
    record: Record,
    contents: Sequence[Content],
    terms: Mapping[str, Terms],
    certificates: Sequence[Certificate],
    manifests: Sequence[Path],
) -> bytes:
    """`README.md` of a release: its numbers come from the manifests alone."""
    rows = [row for content in contents for row in content.rows]
    ok = [row for row in rows if row["status"] == Status.OK.value]
    sections = [
        [f"# {TITLE}: release {record.version}"],
        [f"**LOCAL ONLY: do not upload or pass on; see {MARK}.**"] if record.local_only else [],
        [
            f"{sum(its.lesions for its in record.sources.values())} lesions and "
            f"{len({row['image_path'] for row in ok})} volumes of interest of "
            f"{len(record.sources)} sources: 256 x 256 x 128 voxels, RAS, in HU, the click at "
            "index (128, 128, 64), spacing unchanged, with masks of that lesion only.",
        ],
        _roots(record),
        ["## Use", "", *_USE],
        ["## Numbers", "", "Axes in pixels, mean and standard deviation.", "", *_table1(manifests)],
        ["## Licences", "", *_licences(record, terms)],
        ["## How it was made", "", *_made(rows)],
        _promises(ok, certificates),
        ["## Rows without a VOI", "", *_counts(rows, ("source", "status", "reason"), bad=True)],
        ["## Things to know of VOIs", "", *_flags(ok)],
        ["## Leaks between training and held-out data", "", *_leaks(record, ok)],
        ["## Left out of the build", "", *_left_out(record)],
    ]
    return ("\n\n".join("\n".join(section) for section in sections if section) + "\n").encode()


_USE = (
    "```sh",
    "sha256sum -c SHA256SUMS            # or, naming members too: uls-data release verify .",
    "cat */LICENCE.md                   # terms differ from source to source",
    "for part in *-part-*.tar; do tar xf $part; done",
    "uls-data stats .",
    "```",
    "",
    "Each part holds whole VOIs (image and masks), and its source's manifest and licence.",
    "Unpacked, the folder is laid out as a build: `<source>/images`, `<source>/labels/<layer>`,",
    "`manifest/`.",
    "Lesions whose row says `split = heldout` must never train.",
)


def _roots(record: Record) -> list[str]:
    return [
        f"- payload root: `{record.payload_root}` (voxels, geometry, scientific columns)",
        f"- provenance root: `{record.provenance_root}` (every column of every row)",
        f"- written by uls-data {record.software_version}; `release.json` has roots by source",
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [list(header), ["---"] * len(header), *(map(_cell, row) for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.2f}"
    return "-" if value is None else " ".join(str(value).split()).replace("|", "\\|")


def _table1(manifests: Sequence[Path]) -> list[str]:
    frame = stats([*manifests])
    return _table([str(name) for name in frame.columns], frame.itertuples(index=False, name=None))


def _licences(record: Record, terms: Mapping[str, Terms]) -> list[str]:
    says = {True: "yes, on these terms", False: "**no**", None: "**not known**"}
    return _table(
        ("source", "licence", "terms", "may be passed on"),
        [
            (name, its.licence, terms[name].recipe.licence.url, says[its.redistributable])
            for name, its in record.sources.items()
        ],
    )


def _made(rows: Sequence[Row]) -> list[str]:
    names: tuple[Column, ...] = (
        *("source", "recipe_version", "recipe_sha256", "profile", "seed", "software_version"),
    )
    found = sorted({tuple(str(row[name]) for name in names) for row in rows})
    return _table(names, found)


def _counts(rows: Sequence[Row], names: Sequence[Column], *, bad: bool = False) -> list[str]:
    found = Counter(
        tuple(str(row[name]) for name in names)
        for row in rows
        if not bad or row["status"] != Status.OK.value
    )
    if not found:
        return ["None."]
    return _table((*names, "rows"), [(*key, count) for key, count in sorted(found.items())])


def _promises(ok: Sequence[Row], certificates: Sequence[Certificate]) -> list[str]:
    """Say what is promised of the pseudo-masks; nothing where no row names a certificate."""
    judged = Counter(row.get("certificate") for row in ok)
    kept = Counter(row.get("certificate") for row in ok if row.get("certified"))
    judged.pop(None, None)
    if not judged:
        return []
    known = {its.sha256: its.sentence for its in certificates}
    lines = ["## Risk of pseudo-masks", ""]
    for name, count in sorted(judged.items()):
        says = known.get(name or "", "The certificate is not part of this release.")
        lines.append(f"- {kept[name]} of {count} masks are certified by `{name}`: {says}")
    return lines


def _flags(ok: Sequence[Row]) -> list[str]:
    found = Counter((row["source"], flag) for row in ok for flag in row["qc_flags"] or ())
    if not found:
        return ["No flags."]
    return _table(("source", "flag", "rows"), [(*key, n) for key, n in sorted(found.items())])


def _leaks(record: Record, ok: Sequence[Row]) -> list[str]:
    found = [(row["source"], row["voi_id"], row["layer"], sorted(leaks(row))) for row in ok]
    found = [item for item in found if item[3]]
    if not found:
        return ["No row is flagged. Only `uls-data audit` sets these flags: was it run?"]
    lines = [
        f"{len(found)} rows show a scan or patient that is also held out. Their `split` is as it",
        "was; do not train on them.",
        "",
        *_table(
            ("source", "VOI", "layer", "flags"),
            [(*item[:3], ", ".join(item[3])) for item in found[:_LISTED_LEAKS]],
        ),
    ]
    if len(found) > _LISTED_LEAKS:
        lines += ["", f"... and {len(found) - _LISTED_LEAKS} more: ask `uls-data query`."]
    return lines


def _left_out(record: Record) -> list[str]:
    return [f"- {count} rows: {reason}" for reason, count in record.left_out.items()] or [
        "Nothing."
    ]
