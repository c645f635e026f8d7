"""Find the cases of a source below its raw root: which image goes with which mask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import scandir
from pathlib import Path

from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.readers.volume import SUFFIXES, suffix_of
from uls_data.recipe.model import Files, Layout, Recipe, VolumePairs

_TOKEN = re.compile(r"\*\*/|\*|\?|\{case\}|\{ext\}|\{instance\}|\{annotation\}")


@dataclass(frozen=True)
class CaseFiles:
    """Files of one case, relative to the raw root.

    Attributes
    ----------
    case_id : str
    image, mask : Path or None
        None where the layout has no such file for this case.
    instances : tuple of (instance, annotation, Path)
        Per-lesion masks, where the recipe takes lesions from files.
    problem : (Reason, str) or None
        Why the case cannot be read, known from the names alone.
    """

    case_id: str
    image: Path | None = None
    mask: Path | None = None
    instances: tuple[tuple[int, int, Path], ...] = ()
    problem: tuple[Reason, str] | None = None

    def files(self) -> list[Path]:
        """All files of the case, sorted."""
        named = [path for path in (self.image, self.mask) if path is not None]
        return sorted([*named, *(path for *_, path in self.instances)])


@dataclass
class _Found:
    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    instances: list[tuple[int, int, Path]] = field(default_factory=list)


def find_cases(
    recipe: Recipe, root: Path, *, need_images: bool = True, leave_out: Path | None = None
) -> list[CaseFiles]:
    """Cases below a raw root, sorted by name; numbers inside names in order of value.

    The first layout of the recipe that finds anything is used for the whole root.
    Names that start with `.` (macOS droppings) are passed over, links are followed
    only while they stay inside the root. A folder to leave out (the output, where it
    lies below the root) is not looked into.

    Raises
    ------
    SourceError
        The root cannot be read, or no layout finds a case in it.
    """
    reader = recipe.reader
    if not isinstance(reader, VolumePairs):
        raise SourceError(
            f"{recipe.source}: this version cannot build it from raw data. {reader.why}"
        )
    if not root.is_dir():
        raise SourceError(
            f"--raw {root}: no such folder; it must hold the raw data of {recipe.source}"
        )
    by_files = isinstance(recipe.instances, Files)
    files = sorted(_walk(root, leave_out))
    for layout in reader.layouts:
        found = _match(layout, reader.case, files, by_files)
        # Masks decide: a folder of other images is not yet this source.
        if any(case.masks or case.instances for case in found.values()):
            return [
                _case(case_id, found[case_id], root, need_images, by_files)
                for case_id in sorted(found, key=natural_key)
            ]
    tried = "\n".join(
        f"    {layout.name}: {layout.image}  with  {layout.mask}" for layout in reader.layouts
    )
    some = "\n".join(f"    {path}" for path in files[:5]) or "    (no files at all)"
    raise SourceError(
        f"--raw {root}: no case of {recipe.source} found. Expected one of\n{tried}\n"
        f"  found {len(files)} files, such as\n{some}\n"
        f"  `uls-data recipe show {recipe.source}` tells how to get the data and where to put it."
    )


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which `case_9` comes before `case_10`."""
    return [
        (0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]+)", name)
        if part
    ]


def _walk(root: Path, leave_out: Path | None) -> Iterator[Path]:
    """Relative paths of all entries below the root that could be files."""
    inside = root.resolve()
    seen = {inside} | ({leave_out.resolve()} if leave_out is not None else set())
    # Links are looked into last, so that none can stand in for the folder it names.
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        real = folder.resolve()
        if folder != root and (real in seen or not real.is_relative_to(inside)):
            continue
        seen.add(real)
        try:
            entries = list(scandir(folder))
        except OSError as error:
            if folder == root:
                raise SourceError(f"--raw {root}: cannot be read: {error.strerror}") from error
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # a loop of links
                is_folder = False
            # A folder named like a volume counts as one, and is reported when read.
            if is_folder and not suffix_of(path):
                (links if entry.is_symlink() else folders).append(path)
            else:
                yield path.relative_to(root)


def _regex(pattern: str, case: str) -> re.Pattern[str]:
    parts: list[str] = []
    at, named = 0, False
    for token in _TOKEN.finditer(pattern):
        parts.append(re.escape(pattern[at : token.start()]))
        at = token.end()
        match token[0]:
            case "**/":
                parts.append("(?:[^/]+/)*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case "{ext}":
                parts.append("(?:" + "|".join(map(re.escape, SUFFIXES)) + ")")
            case "{case}":
                parts.append("(?P=case)" if named else f"(?P<case>{case})")
                named = True
            case field_name:
                parts.append(f"(?P<{field_name[1:-1]}>[0-9]{{1,6}})")
    parts.append(re.escape(pattern[at:]))
    return re.compile("".join(parts), re.DOTALL)


def _match(layout: Layout, case: str, files: list[Path], by_files: bool) -> dict[str, _Found]:
    image, mask = _regex(layout.image, case), _regex(layout.mask, case)
    instance = _regex(layout.instances, case) if by_files and layout.instances else None
    found: dict[str, _Found] = {}
    nameless: list[tuple[str, Path]] = []
    for path in files:
        text = path.as_posix()
        for kind, pattern in (("images", image), ("masks", mask)):
            if not (match := pattern.fullmatch(text)):
                continue
            if "case" in pattern.groupindex:
                getattr(found.setdefault(readable(match["case"]), _Found()), kind).append(path)
            else:
                nameless.append((kind, path))
        if instance and (match := instance.fullmatch(text)):
            key = int(match["instance"]), int(match["annotation"]), path
            found.setdefault(readable(match["case"]), _Found()).instances.append(key)
    if nameless and len(found) > 1:
        raise SourceError(
            f"layout {layout.name!r}: a pattern without {{case}} found {nameless[0][1]}, which can "
            f"belong to one case only, but {len(found)} were found; put {{case}} into both patterns"
        )
    for only in found.values():
        for kind, path in nameless:
            getattr(only, kind).append(path)
    return found


def _case(case_id: str, found: _Found, root: Path, need_images: bool, by_files: bool) -> CaseFiles:
    image = found.images[0] if found.images else None
    mask = found.masks[0] if found.masks else None
    instances = tuple(sorted(found.instances))
    numbers = [key[:2] for key in instances]
    case = CaseFiles(case_id, image, mask, instances if by_files else ())
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
            raise CaseError(Reason.AMBIGUOUS_FILES, "an instance has two files of one annotation")
        if need_images and image is None:
            raise CaseError(
                Reason.IMAGE_MISSING, f"there is a mask ({mask}) but no image for this case"
            )
        if by_files and not instances and mask is None:
            raise CaseError(Reason.MASK_MISSING, f"there is an image ({image}) but no mask for it")
        if not by_files and mask is None:
            raise CaseError(Reason.MASK_MISSING, f"there is an image ({image}) but no mask for it")
        for path in case.files():
            if not (root / path).resolve().is_relative_to(root.resolve()):
                raise CaseError(
                    Reason.PATH_LEAVES_ROOT, f"{path} is a link that leads out of the raw root"
                )
    except CaseError as error:
        return CaseFiles(case_id, image, mask, case.instances, (error.reason, error.detail))
    except (OSError, RuntimeError):
        detail = "a link of this case leads round in a circle"
        return CaseFiles(case_id, image, mask, case.instances, (Reason.UNREADABLE, detail))
    return case
