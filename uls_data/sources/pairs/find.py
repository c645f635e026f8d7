"""Find the cases of a source below its raw root: which image goes with which mask."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.outcome import Flag, Reason
from uls_data.recipe.model import Files
from uls_data.recipe.reader import Layout, VolumePairs
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.format import Search
from uls_data.sources.pairs.datalist import listed_pairs
from uls_data.sources.patterns import PACKED, Selected, matching
from uls_data.volumes.raw_root import check_inside


@dataclass
class _Found:
    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    instances: list[tuple[int | None, int, Path]] = field(default_factory=list)
    others: list[tuple[str, Path]] = field(default_factory=list)
    """Masks of another layout, where this one has none."""
    unread: list[Path] = field(default_factory=list)
    """Spare ones, which are there in the form that counts, too."""
    other_format: bool = False
    """Whether a file has another volume format than its pattern names."""

    def add(self, kind: str, it: Selected) -> None:
        """Take in a file as one of the `images`, `masks` or `instances`, or as a spare one."""
        if it.spare:
            self.unread.append(it.path)
            return
        self.other_format |= it.other_format
        if kind == "instances":
            number = it.match.groupdict().get("instance")
            instance = None if number is None else int(number)
            self.instances.append((instance, int(it.match["annotation"]), it.path))
        else:
            getattr(self, kind).append(it.path)

    def paths(self) -> list[Path]:
        """All files."""
        instances = [path for *_, path in self.instances]
        others = [path for _, path in self.others]
        return [*self.images, *self.masks, *instances, *others, *self.unread]


def find_pairs(search: Search, reader: VolumePairs) -> list[CaseFiles]:
    """Cases below a raw root, sorted by name; numbers inside names in order of value.

    The first layout of the recipe that finds anything is used for the whole root; a recipe with a
    datalist has the cases that it lists.

    Raises
    ------
    SourceError
        The root cannot be read, or no layout finds a case in it.
    """
    if reader.datalist is not None:
        return listed_pairs(search, reader.datalist)
    recipe, raw = search.recipe, search.raw
    by_files = isinstance(recipe.instances, Files)
    root = raw.path
    files = sorted(raw.walk())
    for layout in reader.layouts:
        found = _match(layout, reader.case, files, by_files)
        # Masks decide: a folder of other images is not yet this source.
        if any(case.masks or case.instances for case in found.values()):
            _add_masks_of_others(found, layout, reader, files, by_files)
            search.selected.update(path for case in found.values() for path in case.paths())
            cases = [
                _case(case_id, found[case_id], root, search.need_images, by_files)
                for case_id in sorted(found, key=natural_key)
            ]
            return _with_other_layouts(cases, reader, layout, files, by_files)
    tried = "\n".join(
        f"    {layout.name}: {layout.image}  with  {layout.masks}" for layout in reader.layouts
    )
    some = "\n".join(f"    {path}" for path in files[:5]) or "    (no files at all)"
    packed = [path.as_posix() for path in files if path.name.lower().endswith(PACKED)]
    if packed:
        some += f"\n  {len(packed)} of them are packed, such as {packed[0]}: unpack them first"
    raise SourceError(
        f"--raw {root}: no case of {recipe.source} found. Expected one of\n{tried}\n"
        f"  found {len(files)} files, such as\n{some}\n"
        f"  `uls-data recipe show {recipe.source}` tells how to get the data and where to put it."
    )


def _with_other_layouts(
    cases: list[CaseFiles],
    reader: VolumePairs,
    used: Layout,
    files: list[Path],
    by_files: bool,
) -> list[CaseFiles]:
    """Cases without a mask that have one by another layout say so: years are mixed."""
    missing = [it for it in cases if it.problem and it.problem[0] == Reason.MASK_MISSING]
    if not missing:
        return cases
    others = {
        layout.name: _match(layout, reader.case, files, by_files)
        for layout in reader.layouts
        if layout.name != used.name
    }
    packed = [path.as_posix() for path in files if path.name.lower().endswith(PACKED)]

    def told(case: CaseFiles) -> CaseFiles:
        if case not in missing:
            return case
        assert case.problem is not None
        for name, found in others.items():
            there = found.get(case.case_id)
            if there is not None and there.masks:
                detail = (
                    f"{case.problem[1]} by the layout {used.name!r}, which other cases have; "
                    f"{there.masks[0]} belongs to the layout {name!r}: give --raw one of the two"
                )
                return replace(case, problem=(Reason.MASK_MISSING, detail))
        if packed:
            detail = f"{case.problem[1]}; {packed[0]} is still packed: unpack it if it is in there"
            return replace(case, problem=(Reason.MASK_MISSING, detail))
        return case

    return [told(case) for case in cases]


def _match(layout: Layout, case: str, files: list[Path], by_files: bool) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    nameless: list[tuple[str, Selected]] = []
    patterns = {"images": layout.image, "masks": layout.mask, "instances": layout.instances}
    if not by_files:
        del patterns["instances"]
    selected: list[tuple[str, Selected]] = []
    for kind, pattern in patterns.items():
        beside = [other for name, other in patterns.items() if other and name != kind]
        if pattern:
            selected += [(kind, it) for it in matching(pattern, case, files, beside)]
    for kind, it in selected:
        if "case" in it.match.re.groupindex:
            found.setdefault(readable(it.match["case"]), _Found()).add(kind, it)
        else:
            nameless.append((kind, it))
    if nameless and len(found) > 1:
        raise SourceError(
            f"layout {layout.name!r}: a pattern without {{case}} found {nameless[0][1].path}, "
            f"which can belong to one case only, but {len(found)} were found; put {{case}} into "
            "both patterns"
        )
    for only in found.values():
        for kind, it in nameless:
            only.add(kind, it)
    return found


def _add_masks_of_others(
    found: dict[str, _Found],
    chosen: Layout,
    reader: VolumePairs,
    files: list[Path],
    by_files: bool,
) -> None:
    """Add what only another layout of the recipe finds, so that its cases are not lost."""
    for layout in reader.layouts:
        if layout is chosen:
            continue
        for case_id, other in _match(layout, reader.case, files, by_files).items():
            if not other.masks and not other.instances:
                continue
            own = found.setdefault(case_id, _Found(images=other.images))
            if not own.masks and not own.instances:
                paths = [*other.masks, *(path for *_, path in other.instances)]
                own.others += [(layout.name, path) for path in paths]


def _case(case_id: str, found: _Found, root: Path, need_images: bool, by_files: bool) -> CaseFiles:
    image = found.images[0] if found.images else None
    mask = found.masks[0] if found.masks else None
    instances = tuple(sorted(found.instances))
    numbers = [key[:2] for key in instances]
    flags = (Flag.OTHER_VOLUME_FORMAT,) if found.other_format else ()
    case = CaseFiles(case_id, image, mask, instances if by_files else (), flags=flags)
    held = set(case.files())
    case = replace(case, beside=tuple(path for path in found.paths() if path not in held))
    try:
        for kind, several in (("images", found.images), ("masks", found.masks)):
            if len(several) > 1 and (kind == "masks" or need_images):
                names = ", ".join(path.as_posix() for path in several[:3])
                raise CaseError(
                    Reason.AMBIGUOUS_FILES,
                    f"expected one file, found {len(several)} {kind}: {names}; "
                    "give --raw a folder that holds the source once",
                )
        if len(set(numbers)) != len(numbers):
            raise CaseError(Reason.AMBIGUOUS_FILES, "there are two files of one annotation")
        if image is None and mask is None and not instances and found.others:
            layout, other = found.others[0]
            raise CaseError(
                Reason.MASK_MISSING,
                f"there is no mask of the layout of the other cases, but {other} of "
                f"the layout {layout!r}; masks of several versions are not mixed: build them apart",
            )
        if need_images and image is None:
            raise CaseError(
                Reason.IMAGE_MISSING, f"there is a mask ({mask}) but no image for this case"
            )
        if by_files and not instances and mask is None:
            raise CaseError(Reason.MASK_MISSING, f"there is an image ({image}) but no mask for it")
        if not by_files and mask is None:
            raise CaseError(Reason.MASK_MISSING, f"there is an image ({image}) but no mask for it")
        for path in case.files():
            check_inside(path, root)
    except CaseError as error:
        return replace(case, problem=(error.reason, error.detail))
    return case
