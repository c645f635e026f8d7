"""A raw root, the look through it, and what leads out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import DirEntry, scandir
from pathlib import Path

from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.io.links import real_path
from uls_data.outcome import Reason
from uls_data.volumes.volume import suffix_of

_OUTSIDE = "it is a link that leads out of the raw root; put the folder itself there"
_NOWHERE = "it is a link to nothing that is there; is a disk not mounted?"


@dataclass
class RawRoot:
    """A raw root, and the look through it that remembers what could not be seen.

    Attributes
    ----------
    path : Path
    leave_out : Path or None
        Folder that is not looked into (the output, where it lies below the root).
    unlisted : dict of str to str
        Folders that could not be listed and links that were not followed, relative to the root,
        and why; complete once a walk has ended.
    """

    path: Path
    leave_out: Path | None = None
    unlisted: dict[str, str] = field(default_factory=dict)

    def walk(self) -> Iterator[Path]:
        """Relative paths of all entries below the root that could be files.

        A folder named like a volume counts as one, and is reported when it is read.
        """
        for name, _ in self.entries(is_file=lambda entry: bool(suffix_of(Path(entry.path)))):
            yield Path(name)

    def entries(
        self, is_file: Callable[[DirEntry[str]], bool] = lambda _: False
    ) -> Iterator[tuple[str, DirEntry[str]]]:
        """Entries below the root that are not folders, with their relative paths.

        Names that start with `.` are passed over; links to folders are followed only while
        they stay inside the root (else they are `unlisted`), and last, so that none can stand in
        for the folder it names.

        Parameters
        ----------
        is_file : callable
            Whether a folder counts as a file.

        Raises
        ------
        SourceError
            The root itself cannot be read.
        """
        inside = self.path.resolve()
        seen = {inside} | ({self.leave_out.resolve()} if self.leave_out is not None else set())
        folders, links = [""], list[str]()
        while folders or links:
            prefix = folders.pop() if folders else links.pop()
            folder = self.path / prefix
            try:
                real = real_path(folder)
                if prefix and (real in seen or inside.is_relative_to(real)):
                    continue
                if not real.is_relative_to(inside):
                    self.unlisted[prefix.rstrip("/")] = _OUTSIDE
                    continue
                seen.add(real)
                entries = list(scandir(folder))
            except OSError as error:
                reason = error.strerror or type(error).__name__
                if not prefix:
                    raise SourceError(f"--raw {self.path}: cannot be read: {reason}") from error
                self.unlisted[prefix.rstrip("/")] = reason
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    is_folder = entry.is_dir()
                except OSError:  # a loop of links
                    is_folder = False
                if is_folder and not is_file(entry):
                    (links if entry.is_symlink() else folders).append(f"{prefix}{entry.name}/")
                elif _leads_nowhere(entry):
                    self.unlisted[f"{prefix}{entry.name}"] = _NOWHERE
                else:
                    yield f"{prefix}{entry.name}", entry


def _leads_nowhere(entry: DirEntry[str]) -> bool:
    """Whether an entry is a link to nothing, and by its name a folder's."""
    if not entry.is_symlink() or any(map(str.isalpha, Path(entry.name).suffix)):
        return False
    return not Path(entry.path).exists()


def check_inside(path: Path, root: Path) -> None:
    """Refuse a path that leads out of the raw root, by its name or by links.

    Raises
    ------
    CaseError
        `path_leaves_root`; `unreadable`: the link leads to itself.
    """
    name = readable(path.as_posix())
    try:
        inside = real_path(root / path).is_relative_to(root.resolve())
    except OSError as error:
        detail = f"{name} is a link that leads back to itself"
        raise CaseError(Reason.UNREADABLE, detail) from error
    if not inside:
        detail = f"{name} leads out of the raw root, by a link or by its name"
        raise CaseError(Reason.PATH_LEAVES_ROOT, detail)
