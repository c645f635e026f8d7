"""VOIs of a folder that nobody has built, cut into a cache so that they can be looked at."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from uls_data._version import __version__
from uls_data.errors import SourceError
from uls_data.factory.build_report import BuildReport
from uls_data.factory.options import STEP_VERSION
from uls_data.factory.run import Progress, build
from uls_data.ids import hash_of
from uls_data.io import remove_folder, write_bytes
from uls_data.io.lock import LOCK, locked
from uls_data.recipe import load_recipe, recipe_names
from uls_data.recipe.model import Components, Recipe, Values
from uls_data.sources.proposal import Proposal
from uls_data.sources.proposing import propose_recipe
from uls_data.volumes.raw_root import RawRoot

CACHE_VARIABLE = "ULS_DATA_CACHE"
# What another version made is made again.
_MADE_BY = f"uls-data {__version__}, step {STEP_VERSION}"
_INSTANCES = re.compile(r"(?m)^instances: .*$")
_MINIMUM = re.compile(r"(?m)^minimum_size: .*$")
_LONGEST_NAME = 40


@dataclass
class FolderView:
    """What a folder was taken for, and where its VOIs are.

    Attributes
    ----------
    folder : Path
        That was read; nothing in it is written.
    source : str
        What its rows are called, after the folder's name.
    recipe, out : Path
        In the cache: the recipe that was proposed, and OUT folder of its build.
    seen : list of str
        What is there.
    assumed : list of str
        What the folder does not say, and what was taken for it.
    built : BuildReport
    size_bytes : int
        Of the files below `out`.
    """

    folder: Path
    source: str
    recipe: Path
    out: Path
    seen: list[str]
    assumed: list[str]
    built: BuildReport
    size_bytes: int

    def outside(self, path: Path) -> Path:
        """Return a path that may be written.

        Raises
        ------
        SourceError
            It lies in the folder, in which nothing is written.
        """
        if path.resolve().is_relative_to(self.folder.resolve()):
            raise SourceError(
                f"{path} lies in the folder that is looked at, and nothing is written there: name "
                "a file outside of it"
            )
        return path


def view_folder(
    path: str | Path,
    *,
    values: Sequence[int] = (),
    limit: int | None = None,
    cache: str | Path | None = None,
    workers: int = 0,
    started: Callable[[int, int], None] | None = None,
    progress: Progress | None = None,
) -> FolderView:
    """Cut the VOIs of a folder of images and masks into a cache, to look at or report on.

    An nnU-Net raw folder, pairs of volumes, DICOM with masks, or a JSON list of images and labels
    (MONAI, Decathlon), recognised as by `recipe new --raw`. Every lesion counts, however small. A
    second call does only what changed. The folder itself is only read.

    Parameters
    ----------
    path : path
        Folder, or a JSON file that lists files of its own folder.
    values : sequence of int
        Mask values that are lesions; default: those whose names in dataset.json say so, else all.
    limit : int, optional
        Only the first cases.
    cache : path, optional
        Folder of such views; default: `ULS_DATA_CACHE`, else `uls-data` in the user's cache.
    workers, started, progress
        As `build` takes them.

    Raises
    ------
    SourceError
        Nothing there goes with a mask, or the cache cannot be written or lies in the folder.
    """
    path = Path(path)
    folder, datalist = (path, None) if path.is_dir() else (path.parent, Path(path.name))
    values = sorted({*values})
    if any(value < 1 for value in values):
        raise SourceError(f"--values {min(values)}: expected values of masks, from 1")
    source = _source(folder)
    identity = [str(folder.resolve()), str(datalist), *map(str, values)]
    home = _home(cache) / f"{source}-{hash_of(identity)[:12]}"
    if home.resolve().is_relative_to(folder.resolve()):
        raise SourceError(
            f"{home} lies in {folder}, and nothing is written there: name another cache (--cache, "
            f"or {CACHE_VARIABLE})"
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)  # also one that was there: it fails where that is somebody else's
        with locked(home / LOCK, f"the view of {folder}"):
            proposal = _proposal(source, folder, datalist, home / "look.json")
            text = f"# {_MADE_BY}\n{_chosen(proposal.text, values)}"
            recipe, out = home / "recipe.yaml", home / source
            if not recipe.is_file() or recipe.read_text(encoding="utf-8") != text:
                remove_folder(out)  # of another recipe
                write_bytes(recipe, text.encode())
            load_recipe.cache_clear()
            built = build(
                *(recipe, folder, out),
                workers=workers,
                limit=limit,
                prune=True,  # what the folder no longer holds is not shown
                started=started,
                progress=progress,
            )
            size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    except OSError as error:
        where = error.filename or home
        raise SourceError(f"the view of {folder}: {where}: {error.strerror or error}") from error
    return FolderView(
        folder,
        source,
        recipe,
        out,
        proposal.seen,
        [*_assumed(load_recipe(str(recipe)).recipe), *proposal.unsure],
        built,
        size,
    )


def _home(cache: str | Path | None) -> Path:
    """Return the folder of all views."""
    if cache is not None:
        return Path(cache)
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "uls-data"


def _source(folder: Path) -> str:
    """Name of a source after a folder's."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_")[:_LONGEST_NAME]
    if not name or not name[0].isalpha() or name in recipe_names():
        name = f"folder_{name}".rstrip("_")
    return name


def _proposal(source: str, folder: Path, datalist: Path | None, kept: Path) -> Proposal:
    """Look at a folder, or take what was seen before where no file has changed since."""
    key = _state(folder)
    try:
        before = json.loads(kept.read_text(encoding="utf-8"))
        if before["key"] == key:
            return Proposal(before["text"], before["seen"], before["unsure"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = propose_recipe(source, folder, datalist)
    content = {"key": key, "text": found.text, "seen": found.seen, "unsure": found.unsure}
    write_bytes(kept, json.dumps(content, indent=1).encode())
    return found


def _state(folder: Path) -> str:
    """Hash of name, size and time of every file below a folder, and of who looks at it."""
    raw = RawRoot(folder)
    lines = [_MADE_BY]
    for path in sorted(raw.walk()):
        try:
            status = (folder / path).stat()
            lines.append(f"{os.fsencode(path).hex()} {status.st_size} {status.st_mtime_ns}")
        except OSError as error:
            lines.append(f"{os.fsencode(path).hex()} {type(error).__name__}")
    return hash_of([*lines, *sorted(raw.unlisted)])


def _chosen(text: str, values: Sequence[int]) -> str:
    """Text of the recipe with every size of lesion, and the values that a user names."""
    text = _MINIMUM.sub("minimum_size: null", text, count=1)
    if not values:
        return text
    if "rule: given" in (_INSTANCES.search(text) or [""])[0]:
        raise SourceError(
            "--values is for masks that hold numbers; lesions here are structures with names"
        )
    rule = f"{{rule: components, values: {values}, others: null, connectivity: 6, keep: all}}"
    return _INSTANCES.sub(f"instances: {rule}", text, count=1)


def _assumed(recipe: Recipe) -> list[str]:
    """Say what a lesion is by a recipe."""
    rule = recipe.instances
    if isinstance(rule, Components):
        named = ", ".join(map(str, rule.values))
        one = f"value {named}" if len(rule.values) == 1 else f"any of the values {named}"
        others = f" (others, {', '.join(map(str, rule.others))}, are not)" if rule.others else ""
        lesion = f"voxels of {one} that touch by their faces are a lesion{others}"
    elif isinstance(rule, Values):
        lesion = "each value of a mask but 0 is a lesion, in one piece or several"
    else:
        lesion = "each structure or segment that the recipe names is a lesion"
    return [
        lesion,
        "every lesion counts, however small; its VOI lies around a voxel drawn in it, and shows "
        "no other lesion's mask",
    ]
