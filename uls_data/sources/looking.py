"""A first look at a folder of raw data: which volumes pair, what masks hold, what DICOM is there.

It reads names, a few volumes and the heads of DICOM files, and decides nothing: what it finds is
the material of a proposal (`proposing`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from uls_data.dicom.inventory import SeriesFiles, find_series
from uls_data.errors import CaseError, SourceError
from uls_data.sources.case_files import natural_key
from uls_data.sources.patterns import PACKED, split_suffix
from uls_data.volumes import Volume, read_segments, read_volume
from uls_data.volumes.raw_root import RawRoot
from uls_data.volumes.volume import suffix_of

# Of lesions, in names of structures, segments, labels and files.
LESION_WORDS = re.compile(
    r"(?i)tumou?r|lesion|cancer|carcinom|metast|nodul|(?<![a-z])(gtv|mass|mets?|nodes?|ln)(?![a-z])"
)
# Of masks that several readers agreed on.
_AGREED = re.compile(r"(?i)(?<![a-z])(maj|majority|consensus|staple)(?![a-z])")
_SEGMENTS = ".seg.nrrd"
_HEAD, _TAIL = re.compile(r"[^-_.]*[-_.]"), re.compile(r"[-_.][^-_.]*$")
_SPECIAL = re.compile(r"[*?{}\[\]]")
_MOST_TEMPLATES, _PEEKED, _MASKS, _OBJECTS = 60, 2, 20, 200
_MOST_VALUES, _SHOWN_NAMES = 256, 30
_ANY_NAME, _NO_NAME = re.compile(r"[ -~]*"), re.compile(r"(?!)")


@dataclass(frozen=True)
class Template:
    """A pattern of a recipe, and the files that it names.

    Attributes
    ----------
    pattern : str
        With `{case}` and `{ext}`.
    files : dict of str to Path
        By case.
    clashes : int
        Further files, which it gives the case of another one.
    """

    pattern: str
    files: dict[str, Path]
    clashes: int = 0

    @cached_property
    def paths(self) -> frozenset[Path]:
        """All files."""
        return frozenset(self.files.values())


@dataclass(frozen=True)
class Pairs:
    """Images and masks of the same cases.

    Attributes
    ----------
    image : Template
    mask : Template
    others : tuple of Template
        Further masks of those cases, which are left out.
    """

    image: Template
    mask: Template
    others: tuple[Template, ...]


@dataclass
class Values:
    """What masks hold.

    Attributes
    ----------
    looked, of : int
        Masks that were read, and that there are.
    masks, voxels : Counter of int
        By value but 0: in how many masks it is, and in how many voxels of them.
    segments : Counter of str
        Names of segments (.seg.nrrd), in how many masks each is.
    numbered : bool
        Whether values look like numbers of lesions: 1 to n, another n in other masks.
    unread : list of str
        Why others could not be read.
    """

    looked: int = 0
    of: int = 0
    masks: Counter[int] = field(default_factory=Counter)
    voxels: Counter[int] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    numbered: bool = False
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Objects:
    """Structure sets or segmentations, and the names in them.

    Attributes
    ----------
    kind : str
        `rtstruct` or `seg`.
    count, looked : int
        Objects that there are, and that were read.
    names : Counter of str
        In how many objects a structure of that name is.
    hidden : int
        Names that are not plain text, and are not shown.
    unread : list of str
        Why others could not be read.
    """

    kind: str
    count: int
    looked: int
    names: Counter[str]
    hidden: int
    unread: list[str]


@dataclass
class Look:
    """What lies below a folder.

    Attributes
    ----------
    root : Path
    volumes, packed, other : list of Path
        Relative to the root: volumes; archives, which are not looked into; all else.
    unlisted : dict of str to str
        Folders that cannot be listed, and why.
    """

    root: Path
    volumes: list[Path]
    packed: list[Path]
    other: list[Path]
    unlisted: dict[str, str]
    _kinds: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def at(cls, root: Path) -> Look:
        """Walk through a folder.

        Raises
        ------
        SourceError
            It cannot be read, or holds no file.
        """
        if not root.is_dir():
            raise SourceError(f"--raw {root}: no such folder; it must hold your raw data")
        raw = RawRoot(root)
        found = cls(root, [], [], [], raw.unlisted)
        for path in raw.walk():
            name = path.name.lower()
            kind = found.volumes if suffix_of(path) else found.other
            (found.packed if name.endswith(PACKED) else kind).append(path)
        found.volumes.sort(key=lambda path: natural_key(path.as_posix()))
        if not (found.volumes or found.packed or found.other):
            raise SourceError(f"--raw {root}: holds no file")
        return found

    @cached_property
    def series(self) -> list[SeriesFiles]:
        """DICOM series."""
        return find_series(RawRoot(self.root), cache=None, patient_pattern=None)

    @cached_property
    def ct(self) -> list[SeriesFiles]:
        """CT series."""
        return [one for one in self.series if one.modality == "CT"]

    @cached_property
    def templates(self) -> list[Template]:
        """Patterns that name most volumes, those of most cases first."""
        found: dict[str, dict[str, Path]] = {}
        clashes = Counter[str]()
        for path in self.volumes:
            for pattern, case in _readings(path):
                held = found.setdefault(pattern, {}).setdefault(case, path)
                clashes[pattern] += held != path
        least = 2 if len(self.volumes) > 4 else 1
        templates = [Template(*it, clashes[it[0]]) for it in found.items() if len(it[1]) >= least]
        return sorted(templates, key=lambda it: (-len(it.files), it.pattern))[:_MOST_TEMPLATES]

    def pairs(self) -> Pairs | None:
        """Images and masks of the most cases, as their voxels tell; None where none pair."""
        found = []
        for one in self.templates:
            for mask in self.templates:
                common = one.files.keys() & mask.files.keys()
                if any(one.files[it] != mask.files[it] for it in common):
                    found.append((_rank(one, mask, common), one, mask))
        found.sort(key=lambda it: it[0])
        best: tuple[int, Template, Template] | None = None
        others: list[Template] = []
        for _, image, mask in found:
            common = image.files.keys() & mask.files.keys()
            if best is not None:
                same = image is best[1] and len(common) * 2 > best[0]
                taken = best[2].paths.union(*(it.paths for it in others))
                new = not taken & {mask.files[case] for case in common}
                if same and new and self.kind_of(mask, common) == "mask":
                    others.append(mask)
            elif self.kind_of(image, common) == "image" and self.kind_of(mask, common) == "mask":
                best = len(common), image, mask
        return None if best is None else Pairs(best[1], best[2], tuple(others))

    def masks(self) -> list[Template]:
        """Templates of masks."""
        return [it for it in self.templates if self.kind_of(it, it.files.keys()) == "mask"]

    def kind_of(self, template: Template, cases: Collection[str]) -> str:
        """`mask`, `image` or `unread`, by the voxels of a few."""
        chosen = sorted(cases, key=natural_key)[:_PEEKED]
        kinds = {self._kind(template.files[case]) for case in chosen} - {"unread"}
        return kinds.pop() if len(kinds) == 1 else "unread"

    def _kind(self, path: Path) -> str:
        if path not in self._kinds:
            self._kinds[path] = self._look_into(path)
        return self._kinds[path]

    def _look_into(self, path: Path) -> str:
        if path.name.lower().endswith(_SEGMENTS):
            return "mask"
        try:
            counted = _counted(read_volume(self.root / path, self.root))
        except CaseError:
            return "unread"
        return "image" if counted is None else "mask"

    def values(self, template: Template) -> Values:
        """Count what the masks of a template hold; of many, of some that are spread over all."""
        files = [template.files[case] for case in sorted(template.files, key=natural_key)]
        step = max(1, len(files) // _MASKS)
        found = Values(of=len(files))
        highest = Counter[int]()
        for path in files[::step][:_MASKS]:
            try:
                if path.name.lower().endswith(_SEGMENTS):
                    named = read_segments(self.root / path, self.root).segments
                    found.segments.update({it.name for it in named if _ANY_NAME.fullmatch(it.name)})
                    found.looked += 1
                    continue
                counted = _counted(read_volume(self.root / path, self.root))
            except CaseError as error:
                found.unread.append(error.detail)
                continue
            found.looked += 1
            counted = {value: n for value, n in (counted or {}).items() if value}
            found.masks.update(counted.keys())
            found.voxels.update(counted)
            if counted and set(counted) == set(range(1, len(counted) + 1)):
                highest[len(counted)] += 1
        found.numbered = len(highest) > 2 and sum(highest.values()) == found.looked
        return found

    def objects(self, kind: str) -> Objects | None:
        """Structure sets (`rtstruct`) or segmentations (`seg`); None where there are none."""
        from uls_data.dicom.rtstruct import read_rtstruct
        from uls_data.dicom.seg import read_seg

        modality = {"rtstruct": "RTSTRUCT", "seg": "SEG"}[kind]
        paths = [p for one in self.series if one.modality == modality for p in one.files]
        found = Objects(kind, len(paths), len(paths[:_OBJECTS]), Counter(), 0, [])
        hidden = 0
        for path in paths[:_OBJECTS]:
            try:
                whole = self.root / path
                texts = (
                    [roi.name for roi in read_rtstruct(whole, _NO_NAME).rois]
                    if kind == "rtstruct"
                    else [one.label for one in read_seg(whole).segments]
                )
            except CaseError as error:
                found.unread.append(error.detail)
                continue
            names = [text.matching(_ANY_NAME) for text in texts]
            hidden += sum(not name for name in names)
            found.names.update({name for name in names if name})
        return replace(found, hidden=hidden) if paths else None


def _readings(path: Path) -> Iterator[tuple[str, str]]:
    """Patterns that a volume's path may be of, and the case that each takes from it."""
    stem = split_suffix(path.name.lower())[0]
    stem = path.name[: len(stem)]
    folders = path.parts[:-1]
    if _SPECIAL.search(path.as_posix()) or not path.as_posix().isprintable():
        return
    inside = f"**/{folders[-1]}/" if folders else ""
    yield f"{inside}{{case}}{{ext}}", stem
    head, tail = _HEAD.match(stem), _TAIL.search(stem)
    for before, after in ((head[0] if head else "", ""), ("", tail[0] if tail else "")):
        case = stem[len(before) : len(stem) - len(after)]
        if (before or after) and case:
            for where in {inside, "**/"}:
                yield f"{where}{before}{{case}}{after}{{ext}}", case
    if folders:
        yield f"**/{{case}}/{stem}{{ext}}", folders[-1]
    if len(folders) > 1:
        yield f"**/{{case}}/{folders[-1]}/{stem}{{ext}}", folders[-2]


def _rank(image: Template, mask: Template, common: set[str]) -> tuple[object, ...]:
    """Sort key of a pair: most cases, fewest files left over, names of cases that say most."""
    patterns = image.pattern, mask.pattern
    return (
        image.clashes + mask.clashes - len(common),
        len(image.files) + len(mask.files) - 2 * len(common),
        -sum(map(len, common)),
        mask.pattern.count("/"),
        LESION_WORDS.search(mask.pattern) is None,
        _AGREED.search(mask.pattern) is None,
        sum("**/{" in one for one in patterns),
        patterns,
    )


def _counted(volume: Volume) -> dict[int, int] | None:
    """Voxels by value, where these are those of a mask: few, whole and not below 0."""
    stored = volume.stored
    if stored.dtype == np.uint8 and (volume.slope, volume.intercept) == (1, 0):
        counts = np.bincount(stored.ravel("K"), minlength=1)
        values = np.flatnonzero(counts)
        return dict(zip(values.tolist(), counts[values].tolist(), strict=True))
    if not np.isfinite(stored[..., :: max(1, stored.shape[2] // 8)]).all():
        return None
    # A few slices tell a scan; only a mask is counted whole.
    part = np.unique(stored[..., :: max(1, stored.shape[2] // 8)])
    if len(part) > _MOST_VALUES:
        return None
    values, counts = np.unique(stored, return_counts=True)
    told = values * volume.slope + volume.intercept
    if len(values) > _MOST_VALUES or told.min() < 0 or (told != np.rint(told)).any():
        return None
    return dict(zip(told.astype(int).tolist(), counts.tolist(), strict=True))
