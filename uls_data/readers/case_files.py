"""What a case consists of on disk, and the look through a raw root that finds it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import DirEntry, scandir
from pathlib import Path

from uls_data.errors import SourceError
from uls_data.outcome import Reason
from uls_data.readers.measurement import Measurement, StackSpec
from uls_data.readers.volume import suffix_of


@dataclass(frozen=True)
class CaseFiles:
    """Files of one case, relative to the raw root.

    Attributes
    ----------
    case_id : str
    image, mask : Path or None
        Volumes; None where the layout has no such file for this case. For a DICOM
        series `image` is the folder that holds its slices.
    instances : tuple of (instance, annotation, Path)
        Per-lesion masks, where the recipe takes lesions from files: by number and annotator.
    slices : tuple of Path
        Files of a series of slices.
    stack : StackSpec or None
        Which numbered slices make the scan, where they are named by number. `image` is then
        their folder, or the archive that they are read from without unpacking it.
    annotations : tuple of Path
        Files that say where lesions are without being volumes: XML, RTSTRUCT, SEG, tables.
    measurements : tuple of Measurement
        What those tables say of this case.
    series_instance_uid, study_instance_uid : str or None
    problem : (Reason, str) or None
        Why the case cannot be read, known without opening a volume.
    """

    case_id: str
    image: Path | None = None
    mask: Path | None = None
    instances: tuple[tuple[int, int, Path], ...] = ()
    slices: tuple[Path, ...] = ()
    stack: StackSpec | None = None
    annotations: tuple[Path, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    series_instance_uid: str | None = None
    study_instance_uid: str | None = None
    problem: tuple[Reason, str] | None = None

    def files(self) -> list[Path]:
        """All files of the case, sorted."""
        image = self.slices or ((self.image,) if self.image is not None else ())
        if self.stack is not None and self.image is not None and not self.stack.folder:
            image = tuple(self.image / name for name in self.stack.names)
        mask = (self.mask,) if self.mask is not None else ()
        return sorted([*image, *mask, *self.annotations, *(path for *_, path in self.instances)])


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which `case_9` comes before `case_10`."""
    return [
        (0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]+)", name)
        if part
    ]


@dataclass
class RawRoot:
    """A raw root, and the look through it that remembers what could not be seen.

    Attributes
    ----------
    path : Path
    leave_out : Path or None
        Folder that is not looked into (the output, where it lies below the root).
    unlisted : dict of str to str
        Folders that could not be listed, relative to the root, and why; complete once a
        walk has ended.
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
        """Entries below the root that are no folders, with their relative paths.

        Names that start with `.` are passed over; links to folders are followed only while
        they stay inside the root, and last, so that none can stand in for the folder it names.

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
                real = folder.resolve()
                if prefix and (real in seen or not real.is_relative_to(inside)):
                    continue
                seen.add(real)
                entries = list(scandir(folder))
            except (OSError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or "a link that leads round in a circle"
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
                else:
                    yield f"{prefix}{entry.name}", entry
