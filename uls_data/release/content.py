"""Which rows and files of a build go into a release, and what forbids it."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from uls_data.errors import UlsDataError
from uls_data.ids import is_file_name
from uls_data.io import sha256_file
from uls_data.manifest.choice import Choice, layer_of
from uls_data.manifest.parquet import manifest_files, read_table, row_key
from uls_data.manifest.row import Row
from uls_data.outcome import LEAKS, Status
from uls_data.release.parts import Member
from uls_data.volumes.b2nd import SUFFIX

# Why rows of the build are not in the release.
LEFT_LEAK = "leak, left out by --drop-leaks"
OTHER_LAYER = "layer not chosen"
_Path = Literal["image_path", "label_path"]
_Hash = Literal["image_sha256", "label_sha256"]
_Voxels = Literal["image_voxels_sha256", "label_voxels_sha256"]
_FILES: tuple[tuple[_Path, _Hash, _Voxels], ...] = (
    ("image_path", "image_sha256", "image_voxels_sha256"),
    ("label_path", "label_sha256", "label_voxels_sha256"),
)
_LAYER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Content:
    """One source of a release.

    Attributes
    ----------
    source : str
    rows : list of dict
        Of its manifest, in the order of their keys. Rows that are not ok name no files.
    left_out : Counter of str
        Reasons why rows of the build are not among them.
    vois : list of (list of Member)
        Files of each VOI: image and masks, in the order of the names of the VOIs.
    problems : list of str
        What is wrong with the build; a release is refused while there are any.
    """

    source: str
    rows: list[Row]
    left_out: Counter[str]
    vois: list[list[Member]]
    problems: list[str]


def sources_of(out: Path) -> dict[str, list[Path]]:
    """Manifests that have rows of each source of a build, by source.

    Raises
    ------
    ManifestError
        No manifest.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    folder = out / "manifest"
    for path in manifest_files(folder if folder.is_dir() else out):
        for source in read_table(path, ["source"]).column("source").unique().to_pylist():
            found[source].append(path)
    return dict(sorted(found.items()))


def read_rows(source: str, manifests: Sequence[Path]) -> list[Row]:
    """All rows of a source, in the order of their keys.

    Raises
    ------
    ManifestError, UlsDataError
        Not a manifest, or two rows have one key.
    """
    rows: list[Row] = read_table(list(manifests), filters=[("source", "=", source)]).to_pylist()
    rows.sort(key=row_key)
    for one, other in pairwise(rows):
        if row_key(one) == row_key(other):
            names = ", ".join(path.name for path in manifests)
            raise UlsDataError(
                f"{source}: two rows of {names} have the key {row_key(one)}; "
                "one of these manifests does not belong to the release: move it elsewhere"
            )
    return rows


def leaks(row: Row) -> set[str]:
    """Return the flags that `audit` gave a row whose lesion or patient is also held out."""
    return {str(flag) for flag in row["qc_flags"] or () if flag in LEAKS}


def choose(
    rows: Sequence[Row], layers: Collection[str], drop_leaks: bool
) -> tuple[list[Row], Counter[str]]:
    """Rows of the release, and why the others are not.

    Masks count as everywhere (`uls_data.manifest.choice`); rows that say why there is none stay.
    """
    choice = Choice(rows)
    chosen: list[Row] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        ok = row["status"] == Status.OK.value
        why = choice.why_not(row) if ok else None
        if layers and row["layer"] is not None and layer_of(row) not in layers:
            left_out[OTHER_LAYER] += 1
        elif why is not None:
            left_out[why] += 1
        elif ok and drop_leaks and leaks(row):
            left_out[LEFT_LEAK] += 1
        else:
            chosen.append(row if ok else {**row, "image_path": None, "label_path": None})
    return chosen, left_out


def gather(
    out: Path,
    source: str,
    rows: Sequence[Row],
    layers: Collection[str] = (),
    drop_leaks: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Content:
    """Choose the rows of one source, and hash every file that they name.

    Parameters
    ----------
    rows : sequence of dict
        Of the build, as `read_rows` gives them.
    progress : callable, optional
        Called after each VOI.
    """
    chosen, left_out = choose(rows, layers, drop_leaks)
    problems = list(_strays(out, source, rows))
    files: dict[str, dict[str, str]] = defaultdict(dict)
    for row in chosen:
        if row["status"] != Status.OK.value:
            continue
        bad = _row_problem(row)
        if bad is not None:
            problems.append(f"{source}: {row['voi_id']} ({row['layer']}): {bad}")
            continue
        for path, sha256, _ in _FILES:
            # Such a row has its names and hashes: see `_row_problem`.
            name, found = str(row[path]), str(row[sha256])
            if files[str(row["voi_id"])].setdefault(name, found) != found:
                problems.append(f"{row[path]}: two rows give it two hashes")
    vois = []
    for _, named in sorted(files.items()):
        members = [_member(out, name, sha256) for name, sha256 in sorted(named.items())]
        problems += [member for member in members if isinstance(member, str)]
        vois.append([member for member in members if isinstance(member, Member)])
        if progress is not None:
            progress(1)
    return Content(source, chosen, left_out, vois, problems)


def _row_problem(row: Row) -> str | None:
    """Why an ok row cannot be released, its files apart."""
    voi_id, layer = row["voi_id"], row["layer"]
    if not is_file_name(voi_id):
        return "not a valid VOI name"
    if not layer or not _LAYER.fullmatch(layer):
        return "its layer has no name that a folder can have"
    expected: dict[_Path, str] = {
        "image_path": f"{row['source']}/images/{voi_id}.nii.gz",
        "label_path": f"{row['source']}/labels/{layer}/{voi_id}.nii.gz",
    }
    for path, sha256, voxels in _FILES:
        what = path.removesuffix("_path")
        if row[path] is None:
            return f"it has no {what}: images and labels are released in pairs"
        if str(row[path]).endswith(SUFFIX):
            return f"its {what} is in a store; release the build that it was exported from"
        if row[path] != expected[path]:
            return f"its {what} is {row[path]}; expected {expected[path]}"
        if row[sha256] is None or row[voxels] is None:
            return f"its row has no hash of the {what}"
    return None


def _member(out: Path, name: str, sha256: str) -> Member | str:
    path = out / name
    try:
        if not path.is_file():
            return f"{name}: a row names it, but there is no such file"
        found = sha256_file(path)
        if found != sha256:
            return f"{name}: its row says SHA-256 {sha256[:12]}..., found {found[:12]}..."
        return Member(name, sha256, path.stat().st_size, path)
    except OSError as error:
        return f"{name}: cannot be read: {error.strerror}"


def _strays(out: Path, source: str, rows: Sequence[Row]) -> Iterator[str]:
    """Images and labels of a source that no row names."""
    named = {row[path] for row in rows for path, _, _ in _FILES}
    found = (
        (Path(folder) / name).relative_to(out).as_posix()
        for kind in ("images", "labels")
        for folder, _, names in os.walk(out / source / kind)
        for name in names
    )
    for name in sorted(found):
        if name not in named:
            yield f"{name}: no row names this file; images and labels are released in pairs"
