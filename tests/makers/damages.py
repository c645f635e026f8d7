"""Seeded damages over a whole archive."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from makers.archives import PATIENTS, Kind, series_uid

_SUFFIXES = (".dcm", "", ".IMA", ".txt", ".nii", ".nii.gz", ".gz", ".mha", ".png", ".zip", ".csv")


@dataclass
class Damage:
    """What was done to an archive.

    Attributes
    ----------
    patients : set of int
        Whom it touched.
    modes : dict of Path to int
        What is to be hidden from the build, by the mode that it gets.
    done : list of str
        In words.
    """

    raw: Path
    kind: Kind
    patients: set[int] = field(default_factory=set)
    modes: dict[Path, int] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def touch(self, *paths: Path) -> None:
        """Take down whom files are of."""
        for path in paths:
            self.patients |= self.kind.patients(path.relative_to(self.raw))


def damage(raw: Path, kind: Kind, rng: random.Random) -> Damage:
    """Damage an archive in one to three ways."""
    done = Damage(raw, kind)
    acts = [rng.choice(_ACTS) for _ in range(rng.randint(1, 3))]
    # What is hidden stays where it is.
    for act in sorted(acts, key=lambda act: act in (_hide_file, _hide_folder)):
        files = sorted(path for path in raw.rglob("*") if path.is_file())
        if not files:
            break
        path = rng.choice(files)
        if rng.random() < 0.5:
            # Slices are many: what is drawn on them is to be hit as often.
            few = [one for one in files if len(list(one.parent.iterdir())) < 4] or files
            path = rng.choice(few)
        done.touch(path)
        done.done.append(f"{act.__name__} {path.relative_to(raw)}")
        act(done, path, rng)
    return done


def _cut(_: Damage, path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.choice([0, 100, 140, rng.randrange(path.stat().st_size + 1)]))


def _rename(_: Damage, path: Path, rng: random.Random) -> None:
    path.rename(_free(path.with_name(f"x{rng.randrange(1000)}{path.suffix}")))


def _suffix(_: Damage, path: Path, rng: random.Random) -> None:
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    target = path.with_name(f"{stem}{rng.choice(_SUFFIXES)}")
    if not target.exists():
        path.rename(target)


def _rename_folder(done: Damage, path: Path, rng: random.Random) -> None:
    folder = path.parent
    if folder != done.raw:
        done.touch(*(one for one in folder.rglob("*") if one.is_file()))
        folder.rename(folder.with_name(f"folder{rng.randrange(1000)}"))


def _copy(done: Damage, path: Path, rng: random.Random) -> None:
    """Copy a file beside itself, into another form of its name, or under its name elsewhere."""
    again = done.raw / f"again{rng.randrange(1000)}" / path.name
    target = rng.choice(
        [
            path.with_name(f"copy{rng.randrange(1000)}{path.suffix}"),
            path.with_name(path.name.removesuffix(".gz")),
            again,
        ]
    )
    if target != path:
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, _free(target))


def _copy_folder(done: Damage, path: Path, rng: random.Random) -> None:
    """Copy a folder under a name of its own, or as a further patient's."""
    folder = rng.choice([one for one in path.parents if done.raw in one.parents] or [done.raw])
    if folder != done.raw:
        done.touch(*(one for one in folder.rglob("*") if one.is_file()))
        name = rng.choice([f"again{rng.randrange(1000)}", f"patient_{rng.randrange(4, 10)}"])
        if not (target := done.raw / name).exists():
            shutil.copytree(folder, target)


def _another(done: Damage, path: Path, rng: random.Random) -> None:
    """Copy an object, so that one UID has two contents."""
    target = _free(path.with_name(f"other{rng.randrange(1000)}{path.suffix}"))
    shutil.copy(path, target)
    _edit([target], lambda ds: setattr(ds, "PatientComments", "x" * rng.choice([2, 4])))


def _move(done: Damage, path: Path, rng: random.Random) -> None:
    """Put a file into another patient's folder."""
    folders = sorted({one.parent for one in done.raw.rglob("*") if one.is_file()})
    target = _free(rng.choice(folders) / f"moved{rng.randrange(1000)}{path.suffix}")
    path.rename(target)
    done.touch(target)


def _swap(done: Damage, path: Path, rng: random.Random) -> None:
    """Exchange the contents of two files of one kind."""
    others = [one for one in done.raw.rglob(f"*{path.suffix}") if one.is_file()]
    other = rng.choice(sorted(others))
    done.touch(other)
    between = path.with_name(".between")
    path.rename(between)
    if other != path:
        other.rename(path)
    between.rename(other)


def _lose(_: Damage, path: Path, rng: random.Random) -> None:
    path.unlink()


def _hide_file(done: Damage, path: Path, rng: random.Random) -> None:
    done.modes[path] = 0


def _hide_folder(done: Damage, path: Path, rng: random.Random) -> None:
    """Let a folder be neither listed nor entered, only listed, or only entered."""
    above = [one for one in path.parents if done.raw in one.parents] or [path.parent]
    folder = rng.choice(above)
    done.touch(*(one for one in folder.rglob("*") if one.is_file()))
    if folder != done.raw:
        done.modes[folder] = rng.choice([0, 0o644, 0o311])


def _edit(paths: list[Path], change: Callable[[pydicom.Dataset], None]) -> None:
    for path in paths:
        try:
            ds = pydicom.dcmread(path)
            change(ds)
            ds.save_as(path)
        except Exception:
            continue  # no DICOM, or damaged already


def _one_sop_uid(_: Damage, path: Path, rng: random.Random) -> None:
    """Give all objects of a folder one SOP instance UID, as some de-identifiers do."""
    uid = rng.choice(["1.2.3", f"{series_uid(1)}.1.2"])
    _edit(sorted(path.parent.iterdir()), lambda ds: setattr(ds, "SOPInstanceUID", uid))


def _one_series_uid(done: Damage, path: Path, rng: random.Random) -> None:
    """Give all objects of a folder the series UID of a patient."""
    number = rng.choice(PATIENTS)
    uid = series_uid(number)
    done.patients.add(number)
    _edit(sorted(path.parent.iterdir()), lambda ds: setattr(ds, "SeriesInstanceUID", uid))


def _no_reference(_: Damage, path: Path, rng: random.Random) -> None:
    """Take from an object what it says about its series."""

    def change(ds: pydicom.Dataset) -> None:
        for keyword in ("ReferencedFrameOfReferenceSequence", "ReferencedSeriesSequence"):
            if keyword in ds:
                delattr(ds, keyword)

    _edit([path], change)


def _free(path: Path) -> Path:
    """Name that no file has yet."""
    while path.exists():
        path = path.with_name(f"y{path.name}")
    return path


_ACTS = (
    *(_cut, _cut, _rename, _suffix, _rename_folder, _copy, _copy, _move, _swap, _lose),
    *(
        _copy_folder,
        _another,
        _hide_file,
        _hide_folder,
        _one_sop_uid,
        _one_series_uid,
        _no_reference,
    ),
)
