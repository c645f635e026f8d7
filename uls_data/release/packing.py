"""Build a release: check everything, then write parts, manifests and texts."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from uls_data._version import __version__
from uls_data.certificates import Certificate, read_certificate
from uls_data.errors import SourceError, UlsDataError
from uls_data.ids import hash_of
from uls_data.io import TEMPORARY_PREFIX, remove_temporaries, sha256_bytes, write_bytes
from uls_data.io.lock import LOCK, locked
from uls_data.manifest.choice import lesion_of
from uls_data.manifest.parquet import write_manifest
from uls_data.outcome import Status
from uls_data.release.card import card_text, changelog_text, citation_text, mark_text
from uls_data.release.content import Content, gather, read_rows, sources_of
from uls_data.release.parts import Member, part_bytes, split, write_part
from uls_data.release.record import (
    LOCAL,
    MARK,
    RECORD,
    SUMS,
    FileRecord,
    PartRecord,
    Record,
    SourceRecord,
    read_record,
)
from uls_data.release.roots import PAYLOAD_COLUMNS, payload_root, provenance_root, root_of
from uls_data.release.terms import Terms, all_terms, check_terms, closed_sources
from uls_data.release.unfinished import PARTS, Unfinished

# GitHub takes files below 2 GiB; a part that fails to download costs that much again.
PART_BYTES = 2_000_000_000
_SHOWN = 100
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")


@dataclass(frozen=True)
class ReleaseReport:
    """What was written.

    Attributes
    ----------
    folder : Path
    record : Record
        Content of its `release.json`.
    """

    folder: Path
    record: Record

    @property
    def release_sha256(self) -> str:
        """The hash that names the release; publish it beside the files."""
        return self.record.own_sha256()


def release_build(
    out: str | Path,
    to: str | Path,
    version: str,
    *,
    sources: Sequence[str] = (),
    layers: Sequence[str] = (),
    recipes: Sequence[str | Path] = (),
    certificates: Sequence[str | Path] = (),
    part_size: int = PART_BYTES,
    local_only: bool = False,
    drop_leaks: bool = False,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReleaseReport:
    """Write a release of a build: the same build gives the same bytes, anywhere and at any time.

    Parameters
    ----------
    out : path
        OUT folder of builds; every manifest in its folder `manifest` counts.
    to : path
        Folder of the release; new, empty, or of the same release begun before.
    version : str
        Of the data.
    sources, layers : sequence of str
        Only these; default: all. A correction belongs to the layer that it corrects.
    recipes : sequence of paths
        Of sources that are not shipped: their licence terms are taken from there.
    certificates : sequence of paths
        Of `certify`, which rows name: they are part of the release, and the card quotes them.
    part_size : int
        Bytes that no part exceeds.
    local_only : bool
        Take in sources that may not be passed on, and mark every part with it.
    drop_leaks : bool
        Leave out rows that `audit` flagged as leaks.

    Raises
    ------
    UlsDataError
        Images and labels that do not pair, files that do not match their rows or have none,
        missing licence terms, sources that may not be passed on; nothing is written then. Or the
        folder holds something else, or cannot be written, or another process releases there.
    """
    if not _VERSION.fullmatch(version):
        raise UlsDataError(f"--version {version}: expected something like 2026.1")
    if Path(out).is_file():
        raise UlsDataError(f"{out}: a file; name the OUT folder of its build, and its --source")
    promises = [read_certificate(path) for path in certificates]
    # At once: the second of two processes need not check all VOIs to learn of the first.
    with locked(Path(to) / LOCK, f"--to {to}"):
        contents, terms = _checked(
            Path(out), sources, layers, recipes, local_only, drop_leaks, started, progress
        )
        try:
            return _write(
                contents, terms, promises, Path(to), version, part_size, local_only, progress
            )
        except OSError as error:
            raise SourceError(f"--to {to}: cannot be written: {error.strerror or error}") from error


def _checked(
    out: Path,
    sources: Sequence[str],
    layers: Sequence[str],
    recipes: Sequence[str | Path],
    local_only: bool,
    drop_leaks: bool,
    started: Callable[[int], None] | None,
    progress: Callable[[int], None] | None,
) -> tuple[list[Content], dict[str, Terms]]:
    """Return what is to be released, after all checks of it."""
    found = sources_of(out)
    chosen = _chosen(sources, found)
    known = all_terms([Path(path) for path in recipes])
    rows = {source: read_rows(source, found[source]) for source in chosen}
    problems = [
        problem
        for source in chosen
        for problem in check_terms(source, known.get(source), rows[source])
    ]
    terms = {source: known[source] for source in chosen if source in known}
    _refuse([*problems, *([] if local_only else closed_sources(terms))])
    if started is not None:
        # Each VOI is looked at twice: checked, and packed.
        started(
            2 * sum(len({row["image_path"] for row in some} - {None}) for some in rows.values())
        )
    contents = [
        gather(out, source, rows.pop(source), layers, drop_leaks, progress) for source in chosen
    ]
    _refuse([problem for content in contents for problem in content.problems])
    if not any(content.vois for content in contents):
        raise UlsDataError(f"{out}: no VOI is left to release")
    return contents, terms


def _chosen(wanted: Sequence[str], found: dict[str, list[Path]]) -> list[str]:
    unknown = sorted(set(wanted) - found.keys())
    if unknown:
        raise UlsDataError(f"--source {unknown[0]}: not in this build; it has {', '.join(found)}")
    return sorted(set(wanted)) or list(found)


def _refuse(problems: Sequence[str]) -> None:
    if not problems:
        return
    lines = list(problems[:_SHOWN])
    if len(problems) > _SHOWN:
        lines.append(f"... and {len(problems) - _SHOWN} more")
    raise UlsDataError("\n  ".join(["nothing is released:", *lines]))


@dataclass(frozen=True)
class _Part:
    """A part to be written; its record lacks the hash."""

    record: PartRecord
    members: list[Member]

    @property
    def key(self) -> str:
        return hash_of(f"{m.sha256} {m.size} {m.name}" for m in self.members)


def _write(
    contents: Sequence[Content],
    terms: dict[str, Terms],
    promises: Sequence[Certificate],
    to: Path,
    version: str,
    part_size: int,
    local_only: bool,
    progress: Callable[[int], None] | None,
) -> ReleaseReport:
    record = _record(contents, terms, version, part_size, local_only)
    mark = mark_text(terms) if local_only else None
    texts: dict[str, bytes] = {} if mark is None else {MARK: mark}
    parts: list[_Part] = []
    for content in contents:
        front = _front(content, terms[content.source], mark)
        texts |= {member.name: member.data for member in front}
        parts += _parts(content, front, part_size, f"-{LOCAL}" if local_only else "")
    texts |= {f"certificates/{its.sha256}.json": its.to_bytes() for its in promises}
    texts["CHANGELOG.md"] = changelog_text(version, contents)
    texts["CITATION.cff"] = citation_text(record)
    texts["CITATION.bib"] = _joined(terms)
    unfinished = Unfinished(to)
    names = {*texts, *(part.record.path for part in parts), "README.md", RECORD, SUMS}
    _clear(to, names, unfinished, record)
    written = []
    for part in parts:
        path = to / part.record.path
        sha256 = unfinished.sha256_of(path, part.key)
        if sha256 is None:
            sha256 = write_part(path, part.members)
            unfinished.add(path, part.key, sha256)
        written.append(part.record.model_copy(update={"sha256": sha256}))
        if progress is not None:
            progress(part.record.vois)
    for name, data in sorted(texts.items()):
        write_bytes(to / name, data)
    manifests = [to / "manifest" / f"{content.source}.parquet" for content in contents]
    texts["README.md"] = card_text(record, contents, terms, promises, manifests)
    write_bytes(to / "README.md", texts["README.md"])
    files = [
        FileRecord(path=name, bytes=len(data), sha256=sha256_bytes(data))
        for name, data in sorted(texts.items())
    ]
    record = record.model_copy(update={"files": files, "parts": written})
    write_bytes(to / RECORD, record.text())
    write_bytes(to / SUMS, record.sums_text())
    _open_to_all(to, [*names, *(its.path for its in files)])
    unfinished.remove()
    return ReleaseReport(to, record)


def _open_to_all(to: Path, names: Iterable[str]) -> None:
    """Give files and folders of a release the modes of a public one, whatever the umask."""
    for name in names:
        (to / name).chmod(0o644)
        for folder in (to / name).parents:
            folder.chmod(0o755)
            if folder == to:
                break


def _record(
    contents: Sequence[Content],
    terms: dict[str, Terms],
    version: str,
    part_size: int,
    local_only: bool,
) -> Record:
    """Return the record of a release without its files."""
    sources = {}
    for content in contents:
        ok = [row for row in content.rows if row["status"] == Status.OK.value]
        its = terms[content.source]
        sources[content.source] = SourceRecord(
            lesions=len({lesion_of(row) for row in ok}),
            vois=len(content.vois),
            rows=len(content.rows),
            licence=its.recipe.licence.name,
            redistributable=its.redistributable,
            payload_root=payload_root(content.rows),
            provenance_root=provenance_root(content.rows),
        )
    left_out: Counter[str] = Counter()
    for content in contents:
        left_out += content.left_out
    return Record(
        version=version,
        software_version=__version__,
        local_only=local_only,
        payload_root=root_of({name: its.payload_root for name, its in sources.items()}),
        payload_columns=list(PAYLOAD_COLUMNS),
        provenance_root=root_of({name: its.provenance_root for name, its in sources.items()}),
        part_bytes_at_most=part_size,
        left_out=dict(sorted(left_out.items())),
        sources=sources,
        files=[],
        parts=[],
    )


def _front(content: Content, terms: Terms, mark: bytes | None) -> list[Member]:
    """Return what every part of a source begins with, so that it is complete by itself."""
    source = content.source
    texts = {
        f"manifest/{source}.parquet": _manifest(content),
        f"{source}/ATTRIBUTION.md": terms.attribution_text(),
        f"{source}/LICENCE.md": terms.licence_text(),
    }
    if mark is not None:
        texts[f"{source}/{MARK}"] = mark
    return [
        Member(name, sha256_bytes(data), len(data), None, data)
        for name, data in sorted(texts.items())
    ]


def _manifest(content: Content) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_manifest(content.rows, path)
        return path.read_bytes()


def _parts(content: Content, front: list[Member], limit: int, mark: str) -> list[_Part]:
    parts = []
    for number, vois in enumerate(split(front, content.vois, limit), 1):
        members = [*front, *(member for voi in vois for member in voi)]
        record = PartRecord(
            path=f"{content.source}{mark}-part-{number:03}.tar",
            bytes=part_bytes(members),
            sha256="0" * 64,
            source=content.source,
            first_voi=_voi(vois[0]),
            last_voi=_voi(vois[-1]),
            vois=len(vois),
        )
        parts.append(_Part(record, members))
    return parts


def _voi(members: Sequence[Member]) -> str:
    return members[0].name.rpartition("/")[2].removesuffix(".nii.gz")


def _joined(terms: dict[str, Terms]) -> bytes:
    """All papers, each once: some sources share theirs."""
    entries: dict[str, None] = {}
    for its in terms.values():
        for entry in re.split(r"(?m)^(?=@)", its.bibtex):
            if entry.startswith("@"):
                entries[entry.strip()] = None
    return ("\n\n".join(entries) + "\n").encode()


def _clear(to: Path, names: set[str], unfinished: Unfinished, record: Record) -> None:
    """Make sure that a folder is free for a release, or holds what was begun of this one."""
    if (to / RECORD).exists():
        there = read_record(to / RECORD)
        if there.model_copy(update={"files": [], "parts": []}) != record.model_copy(
            update={"release_sha256": there.release_sha256}
        ):
            raise UlsDataError(
                f"--to {to}: holds release {there.version} of other data or options; a release "
                "never changes: name another folder"
            )
    stale = []
    for folder, _, files in os.walk(to):
        for name in files:
            path = (Path(folder) / name).relative_to(to).as_posix()
            if path in names or path in (PARTS, LOCK) or name.startswith(TEMPORARY_PREFIX):
                continue
            if path not in unfinished.known:
                raise UlsDataError(
                    f"--to {to}: holds {path}, which is not part of this release; "
                    "name a new or empty folder"
                )
            stale.append(to / path)
    for file in stale:  # parts of an earlier try, with other options
        file.unlink()
    for place in (to, to / "manifest", *(to / source for source in record.sources)):
        remove_temporaries(place)
