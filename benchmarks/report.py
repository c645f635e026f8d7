"""What a report costs, against decoding its VOIs once.

    python -m benchmarks.report [--vois 1000] [--folder DIR]

Builds a few made-up VOIs of every volume source and links them under as many names as asked;
then, each in a process of its own: decode all images and labels once; the report with the
pictures that the build made; the report that has to draw them all. Then a build of a scan of 12
lesions with pictures and without, in turns: what pictures add to a build. Prints seconds, ratios,
peak memory and the size of the page.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.ours import RECIPE, RECIPE_FILE
from benchmarks.phantom import make_phantom
from demo.sources import make_archives
from uls_data import build, report
from uls_data.factory.writer import Writer
from uls_data.manifest.parquet import iterate_rows, write_manifest
from uls_data.pictures.thumbnail import thumbnail_path
from uls_data.volumes import read_volume

SOURCES = ("kits21", "lits", "mdsc_lung", "mdsc_pancreas", "nih_ln_abd", "radboudumc_bone")


def many(folder: Path, count: int) -> Path:
    """OUT with so many VOIs, of few different ones."""
    out = folder / "vois"
    few = folder / "few"
    for source, raw in make_archives(folder / "raw", only=SOURCES).items():
        build(source, raw, few)
    rows = [
        row
        for path in sorted((few / "manifest").glob("*.parquet"))
        for row in iterate_rows(path)
        if row["status"] == "ok"
    ]
    made = []
    for number in range(count):
        row = dict(rows[number % len(rows)])
        name = f"{row['voi_id']}_copy_{number}"
        for column, old in (("image_path", row["image_path"]), ("label_path", row["label_path"])):
            row[column] = old.replace(row["voi_id"], name)
            link(few / old, out / row[column])
        link(few / thumbnail_path(old), out / thumbnail_path(row["label_path"]))
        row.update(voi_id=name, case_id=f"{row['case_id']}_copy_{number}", source="many")
        made.append(row)
    write_manifest(made, out / "manifest" / "many.parquet")
    return out


def link(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    os.link(old, new)


def decode(out: Path) -> None:
    for row in iterate_rows(out / "manifest" / "many.parquet"):
        for column in ("image_path", "label_path"):
            read_volume(out / row[column], out).ras.max()


def with_pictures(out: Path) -> None:
    report(out, out.parent / "with.html")


def drawing_all(out: Path) -> None:
    for path in out.rglob("*.jpg"):
        path.unlink()
    report(out, out.parent / "drawn.html")


def building(out: Path) -> None:
    """Build the phantom's VOIs with their pictures."""
    to = Path(tempfile.mkdtemp(dir=out))
    build(out / RECIPE_FILE, out, to, workers=0)
    shutil.rmtree(to)


def without_pictures(out: Path) -> None:
    """Build them without."""
    Writer.put_picture = lambda *_: None  # type: ignore[method-assign]
    building(out)


def share_of_pictures(folder: Path, turns: int = 5) -> tuple[float, float]:
    """Share that pictures add to the CPU and to the clock of a build; medians of turns."""
    make_phantom(folder, lesions=12, seed=0)
    (folder / RECIPE_FILE).write_text(RECIPE, encoding="utf-8")
    rates = []
    for _ in range(turns):
        (clock, cpu, _), (bare_clock, bare_cpu, _) = (
            measured(work, folder) for work in (building, without_pictures)
        )
        rates.append((cpu / bare_cpu - 1, clock / bare_clock - 1))
    by_cpu, by_clock = zip(*rates, strict=True)
    return statistics.median(by_cpu), statistics.median(by_clock)


def _job(work: Any, out: Path, answers: Any) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    work(out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answers.put((time.perf_counter() - wall, time.process_time() - cpu, peak))


def measured(work: Any, out: Path) -> tuple[float, float, float]:
    """Seconds on the clock and of the CPU, and peak MiB, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_job, args=(work, out, answers))
    process.start()
    found: tuple[float, float, float] = answers.get()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vois", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        out = many(folder, arguments.vois)
        base = 0.0
        print(f"{'':28}{'clock s':>9}{'CPU s':>9}{'ratio':>8}{'MiB':>8}")
        for work in (decode, with_pictures, drawing_all):
            clock, cpu, peak = measured(work, out)
            base = base or cpu
            print(f"{work.__name__:28}{clock:9.1f}{cpu:9.1f}{cpu / base:8.2f}{peak:8.0f}")
        size = (folder / "with.html").stat().st_size / 1e6
        print(f"page of {arguments.vois} VOIs: {size:.1f} MB")
        cpu, clock = share_of_pictures(folder / "phantom")
        print(f"pictures add to a build: {cpu:.1%} of its CPU time, {clock:.1%} of its time")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
