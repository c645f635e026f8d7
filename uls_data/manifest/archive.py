"""Files of an existing archive of VOIs: which label belongs to which image, and their names."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from uls_data.errors import CaseError, SourceError
from uls_data.outcome import Reason
from uls_data.recipe import Recipe, load_recipe, recipe_names
from uls_data.volumes import Volume, read_volume
from uls_data.volumes.nifti import read_gzipped

_SUFFIX = re.compile(r"\.nii(\.gz)?(\.zip)?$")
_IMAGES = re.compile(r"images(Tr|Ts)?")
_LABELS = re.compile(r"labels(Tr|Ts)?(_(?P<layer>[a-z0-9-]+))?")
_GENERIC = re.compile(
    r"(?P<case>.+?)(?:_lesion_(?P<lesion>[0-9]+))?(?:_sample_(?P<sample>[0-9]+))?"
)
_MAXIMUM_MEMBER_BYTES = 1 << 28


@dataclass(frozen=True)
class Entry:
    """One VOI of an archive; paths are relative to its folder."""

    voi_id: str
    layer: str | None
    label: Path | None
    image: Path | None


@dataclass(frozen=True)
class Name:
    """What a VOI's name tells."""

    recipe: Recipe | None
    case_id: str
    lesion_index: int | None
    sample_index: int


def entries(folder: Path) -> list[Entry]:
    """All VOIs below a folder, sorted by name.

    Files in folders called `images...` are images, all others labels; below
    `labels/<layer>/` and in `labels_<layer>/` the layer is known.

    Raises
    ------
    SourceError
        The folder is missing or holds no NIfTI file.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; expected an archive of VOIs")
    labels: dict[tuple[str, str | None, Path], Path] = {}
    images: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = _SUFFIX.sub("", path.name)
        if name == path.name or path.name.startswith(".") or not path.is_file():
            continue
        relative = path.relative_to(folder)
        if any(_IMAGES.fullmatch(part) for part in relative.parts[:-1]):
            images.setdefault(name, relative)
        else:
            labels[name, _layer(relative), relative.parent] = relative
    if not labels and not images:
        raise SourceError(f"{folder}: holds no .nii, .nii.gz or .nii.gz.zip file")
    found = [
        Entry(name, layer, path, images.get(name)) for (name, layer, _), path in labels.items()
    ]
    labelled = {entry.voi_id for entry in found}
    found += [
        Entry(name, None, None, path) for name, path in images.items() if name not in labelled
    ]
    return sorted(found, key=lambda e: (e.voi_id, e.layer or "", str(e.label)))


def _layer(relative: Path) -> str | None:
    parts = relative.parts[:-1]
    for at, part in enumerate(parts):
        match = _LABELS.fullmatch(part)
        if match and match["layer"]:
            return match["layer"]
        if match and at + 1 < len(parts):
            return parts[at + 1]
    return None


class Names:
    """Read VOI names by the published patterns of recipes.

    Parameters
    ----------
    source : str
        A shipped recipe; `auto` to find the recipe of every name; anything else
        is taken as the name of a source of your own, whose names follow
        `<case>_lesion_NN_sample_K` or less of it.
    """

    def __init__(self, source: str) -> None:
        shipped: Sequence[str] = recipe_names()
        self.generic = source != "auto" and source not in shipped
        names = shipped if source == "auto" else [] if self.generic else [source]
        self._patterns = [
            (recipe, recipe.voi_regex()) for recipe in (load_recipe(n).recipe for n in names)
        ]

    def read(self, voi_id: str) -> Name:
        """Read one name.

        Raises
        ------
        CaseError
            `name_not_recognised`.
        """
        if self.generic:
            match = _GENERIC.fullmatch(voi_id)
            assert match is not None
            return Name(
                None, match["case"], _number(match, "lesion") or 1, _number(match, "sample") or 0
            )
        for recipe, pattern in self._patterns:
            match = pattern.fullmatch(voi_id)
            if match:
                lesion = _number(match, "lesion") if "lesion" in pattern.groupindex else None
                return Name(recipe, match["case"], lesion or 1, _number(match, "sample") or 0)
        known = ", ".join(recipe.voi_name for recipe, _ in self._patterns[:3])
        raise CaseError(
            Reason.NAME_NOT_RECOGNISED, f"{voi_id}: expected a name like {known}; check --source"
        )


def _number(match: re.Match[str], group: str) -> int | None:
    if group not in match.re.groupindex or match[group] is None:
        return None
    return int(match[group])


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a .nii.gz, or the one member of a .nii.gz.zip, with its size in bytes.

    Raises
    ------
    CaseError
        `unreadable`: not a zip archive of one NIfTI of sane size.
    """
    if path.suffix != ".zip":
        with path.open("rb") as file:
            yield file, path.stat().st_size
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len(members) != 1 or not members[0].filename.endswith((".nii.gz", ".nii")):
                raise CaseError(
                    Reason.UNREADABLE,
                    f"{path.name}: expected a zip of one NIfTI, found {len(members)}",
                )
            if members[0].file_size > _MAXIMUM_MEMBER_BYTES:
                raise CaseError(Reason.TOO_LARGE, f"{path.name}: its member is not a VOI by size")
            with archive.open(members[0]) as file:
                yield file, members[0].file_size  # type: ignore[misc]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise CaseError(Reason.UNREADABLE, f"{path.name}: damaged zip ({error})") from error


def read_voi(path: Path) -> Volume:
    """Read an image or a label of an archive, zipped or not.

    Raises
    ------
    CaseError, OSError
        As `read_volume` does, and `unreadable` for what is not a zip archive of one NIfTI.
    """
    if path.name.endswith((".gz", ".zip")):
        with opened(path) as (file, size):
            return read_gzipped(file, path.name, size)
    return read_volume(path, path.parent)
