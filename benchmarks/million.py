"""Commands on a manifest of a million rows: seconds and peak memory, each in processes of its own.

    python -m benchmarks.million [--rows 1000000] [--only COMMAND]... [--folder DIR]

The manifest is made up by column, the same one every time: a source with human masks, and one of
measured lesions with two layers; nine rows of ten are ok, the others skipped or failed. Only the
first VOI has files. Memory is that of a command and its children together, looked at every 50 ms.
For `triage` the clock stops when the address is printed, when the page and what it asks for first
(session, VOI and slice) are served, and when a verdict is written.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from uls_data.io import sha256_bytes, sha256_voxels, write_bytes
from uls_data.manifest.schema import arrow_schema
from uls_data.nifti_writer import nifti_gz
from uls_data.voi import VOI_SHAPE

ROWS_A_GROUP = 1 << 13
LESIONS_A_CASE = 10
COMMANDS = {
    "query --csv": ["query", "OUT", "--csv"],
    "query EXPRESSION --csv": ["query", "OUT", 'long_axis_mm > 30 and split == "train"', "--csv"],
    "stats": ["stats", "OUT"],
    "report": ["report", "OUT"],
    "triage": ["triage", "OUT", "--json"],
}
TYPES = ("bone", "kidney", "liver", "lung", "lymph_node", "pancreas")
SUPERVISION = ("weak_2d", "pseudo_3d")  # of the layers, in turn
PEOPLE = {"patient_sex": ("F", "M"), "manufacturer": ("GE MEDICAL SYSTEMS", "SIEMENS", "Philips")}
BYTES_OF_A_HASH = 32
EVERY_S = 0.05


def hashes(rng: np.random.Generator, count: int) -> pa.Array:
    """So many different SHA-256, in hex."""
    text = rng.bytes(BYTES_OF_A_HASH * count).hex().encode()
    offsets = np.arange(count + 1, dtype=np.int32) * (2 * BYTES_OF_A_HASH)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def batches(rows: int) -> Iterator[pa.Table]:
    """Rows of a manifest in the order of their keys: the first half human masks."""
    human = rows // 2
    for weak, count in ((False, human), (True, rows - human)):
        for start in range(0, count, ROWS_A_GROUP):
            yield batch(np.arange(start, min(start + ROWS_A_GROUP, count)), weak)


def batch(numbers: np.ndarray[Any, Any], weak: bool) -> pa.Table:
    """One row group: of measured lesions each VOI has two rows, one a layer."""
    rng = np.random.default_rng([int(numbers[0]), weak])
    n = len(numbers)
    vois = numbers // 2 if weak else numbers
    source = "measured" if weak else "human"
    cases, lesions = vois // LESIONS_A_CASE, vois % LESIONS_A_CASE + 1
    case_ids = [f"case_{case:07d}" for case in cases.tolist()]
    pairs = list(zip(case_ids, lesions.tolist(), strict=True))
    voi_ids = [f"{case}_lesion_{lesion:02d}_sample_0" for case, lesion in pairs]
    layers = np.where(numbers % 2 == 0, "jury", "pseudo3d-r1") if weak else ["annotated"] * n
    fate = np.where(numbers % 20 == 7, "skipped", np.where(numbers % 20 == 11, "failed", "ok"))
    ok = fate == "ok"
    long = 4 + rng.lognormal(2.5, 0.6, n)
    short = long * rng.uniform(0.5, 1, n)
    spacing = np.choose(cases % 3, (0.7, 0.8, 0.9))

    def where_ok(values: Any) -> pa.Array:
        return pa.array(values, mask=~ok)

    def one(values: tuple[str, ...]) -> pa.Array:
        return pa.array(np.array(values)[cases % len(values)])

    columns: dict[str, Any] = {
        "source": [source] * n,
        "case_id": case_ids,
        "patient_id": [f"patient_{case // 2:07d}" for case in cases.tolist()],
        "lesion_index": lesions,
        "sample_index": np.zeros(n, np.int64),
        "voi_id": voi_ids,
        "layer": layers,
        "source_lesion_id": [f"component-{lesion}" for _, lesion in pairs],
        "study_instance_uid": [f"2.25.{10**30 + case}" for case in cases.tolist()],
        "series_instance_uid": [f"2.25.{10**31 + case}" for case in cases.tolist()],
        "status": fate,
        "reason": pa.array(np.where(fate == "failed", "unreadable", "not_measured"), mask=ok),
        "detail": [
            None if good else f"{case}.nii.gz: expected 5 pixels at least, found {n % 5}"
            for n, (case, good) in enumerate(zip(case_ids, ok, strict=True))
        ],
        "image_path": [f"{source}/images/{name}.nii.gz" for name in voi_ids],
        "label_path": [
            f"{source}/labels/{layer}/{name}.nii.gz"
            for name, layer in zip(voi_ids, layers, strict=True)
        ],
        "image_source": [f"images/{case}.nii.gz" for case in case_ids],
        "label_source": [f"masks/{case}.nii.gz" for case in case_ids],
        "lesion_type": one(TYPES),
        "supervision": np.choose(numbers % 2, SUPERVISION) if weak else ["full"] * n,
        "split": np.where(cases % 10 == 0, "heldout", "train"),
        "licence": ["CC-BY-4.0"] * n,
        "redistributable": [True] * n,
        "profile": ["paper"] * n,
        "software_version": ["0.0.0"] * n,
        "recipe_version": np.ones(n, np.int64),
        "recipe_sha256": ["0" * 2 * BYTES_OF_A_HASH] * n,
        "seed": np.zeros(n, np.int64),
        "affine": where_ok([[0.8, 0, 0, -150, 0, 0.8, 0, 20, 0, 0, 2.5, 99, 0, 0, 0, 1.0]] * n),
        "spacing_x_mm": spacing,
        "spacing_y_mm": spacing,
        "spacing_z_mm": np.choose(cases % 4, (1.0, 1.25, 2.5, 5.0)),
        "pad_value_hu": np.full(n, -1025),
        "hu_min": np.full(n, -1024),
        "hu_max": rng.integers(1000, 3000, n),
        "mask_voxels": where_ok(np.maximum(long * short**2, 5).astype(int)),
        "volume_mm3": where_ok(long * short**2 * spacing**2),
        "long_axis_vox": where_ok(long),
        "short_axis_vox": where_ok(short),
        "long_axis_mm": where_ok(long * spacing),
        "short_axis_mm": where_ok(short * spacing),
        "long_axis_points_vox": where_ok(rng.uniform(100, 156, (n, 4)).tolist()),
        "short_axis_points_vox": where_ok(rng.uniform(100, 156, (n, 4)).tolist()),
        "long_axis_slice_voi": where_ok(np.full(n, 64)),
        "fraction_outside_voi": where_ok(np.zeros(n)),
        "patient_age_years": 20.0 + cases % 70,
        "study_year": 2000 + cases % 25,
        "qc_flags": [["cut_by_voi", "at_scan_edge"][: n % 3] for n in numbers.tolist()],
        **{name: one(values) for name, values in PEOPLE.items()},
    }
    for name in ("click", "voi_origin", "pad_before", "pad_after"):
        for axis in "xyz":
            columns[f"{name}_{axis}_vox"] = where_ok(rng.integers(0, 500, n))
    for name in ("image", "label", "image_voxels", "label_voxels"):
        columns[f"{name}_sha256"] = hashes(rng, n)
    for name in ("image_source", "label_source"):
        columns[f"{name}_sha256"] = [sha256_bytes(text.encode()) for text in columns[name]]
    if weak:
        lines = {"recist_long_vox": long + rng.normal(0, 2, n), "recist_short_vox": short}
        columns |= {name: np.maximum(values, 1) for name, values in lines.items()}
        columns |= {
            "recist_points_vox": rng.uniform(100, 156, (n, 8)).tolist(),
            "key_slice_voi": np.full(n, 64),
            "key_slice_long_error_vox": where_ok(rng.normal(0, 2, n)),
            "key_slice_short_error_vox": where_ok(rng.normal(0, 2, n)),
            "predicted_dice": where_ok(rng.beta(8, 2, n)),
            "uncertainty": where_ok(rng.beta(2, 8, n)),
            "candidate_scores": [
                [
                    {"candidate": name, "measure": "dice_to_fused", "value": float(value)}
                    for name, value in zip(("ellipse", "grabcut", "otsu"), values, strict=True)
                ]
                for values in rng.uniform(0.5, 1, (n, 3))
            ],
        }
    arrays = []
    for field in arrow_schema():
        values = columns.get(field.name, [None] * n)
        array = values if isinstance(values, pa.Array) else pa.array(values)
        arrays.append(array.cast(field.type))
    return pa.table(arrays, schema=arrow_schema())


def make_manifest(out: Path, rows: int) -> Path:
    """OUT with a manifest of so many rows, and the files of its first VOI."""
    path = out / "manifest" / "million.parquet"
    path.parent.mkdir(parents=True)
    image = np.full(VOI_SHAPE, -1024, np.int16)
    mask = np.zeros(VOI_SHAPE, np.uint8)
    mask[120:137, 120:137, 60:69] = 1
    image[64:192, 64:192] = 40
    with pq.ParquetWriter(path, arrow_schema(), compression="zstd") as writer:
        for number, table in enumerate(batches(rows)):
            if number == 0:
                first = table.slice(0, 1).to_pylist()[0]
                first["label_voxels_sha256"] = sha256_voxels(mask)
                for name, voxels in (("image_path", image), ("label_path", mask)):
                    write_bytes(out / first[name], nifti_gz(voxels, np.eye(4)))
                table = pa.concat_tables(
                    [pa.Table.from_pylist([first], schema=table.schema), table.slice(1)]
                ).combine_chunks()
            writer.write_table(table)
    return path


class Watched:
    """A command that runs: CPU seconds, and the most memory, of it and its children together."""

    def __init__(self, words: list[str], to: Any) -> None:
        self.start = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uls_data", *words],
            stdout=to,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.peak_mib = self.cpu_s = 0.0
        self._thread = Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        tree = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            try:
                found = [tree, *tree.children(recursive=True)]
                used = sum(process.memory_info().rss for process in found) / (1 << 20)
                self.peak_mib = max(self.peak_mib, used)
                self.cpu_s = sum(sum(process.cpu_times()[:2]) for process in found)
            except psutil.NoSuchProcess:
                pass
            time.sleep(EVERY_S)

    def seconds(self) -> float:
        """Seconds since it started."""
        return time.perf_counter() - self.start

    def wait(self) -> int:
        """Exit code, once it has ended."""
        code = self.process.wait()
        self._thread.join()
        return code


def browse(watched: Watched) -> dict[str, float]:
    """Do what a browser does first, and judge one VOI; seconds since the command's start."""
    assert watched.process.stdout is not None
    address = json.loads(watched.process.stdout.readline())["address"]
    marks = {"address": watched.seconds()}
    base = address.split("?")[0]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(path: str, body: dict[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            base + path, data, {"Content-Type": "application/json"} if data else {}
        )
        content: bytes = opener.open(request).read()
        return content

    opener.open(address).read()
    for asset in ("triage.css", "triage.js"):
        get(asset)
    session = json.loads(get("api/session"))
    voi = json.loads(get("api/vois/0"))
    assert voi["has_image"] and voi["judgeable"], voi["problems"]
    get(f"voxels/{session['run']}/0/2/64")
    marks["first page"] = watched.seconds()
    get("api/verdicts", {"numbers": [0], "word": "accepted"})
    marks["verdict"] = watched.seconds() - marks["first page"]
    start = watched.seconds()
    get("api/found?sort=long_axis_mm&descending=1")
    marks["order"] = watched.seconds() - start
    watched.process.terminate()
    return marks


def line(name: str, seconds: float, watched: Watched, told: str) -> None:
    """Print what a command took."""
    numbers = f"{seconds:7.1f}{watched.cpu_s:7.1f}{watched.peak_mib:7.0f}"
    print(f"{name:24}{numbers}  {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", action="append", choices=COMMANDS)
    parser.add_argument("--folder", type=Path, help="kept, and taken as it is if it is there")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    try:
        out = folder / "out"
        start = time.perf_counter()
        path = out / "manifest" / "million.parquet"
        if not path.exists():
            make_manifest(out, given.rows)
        rows = pq.read_metadata(path).num_rows
        size = path.stat().st_size / (1 << 20)
        print(f"a manifest of {rows:,} rows, {size:.0f} MiB: {time.perf_counter() - start:.0f} s")
        print(f"{'':24}{'s':>7}{'CPU s':>7}{'MiB':>7}")
        for name in given.only or COMMANDS:
            words = [str(out) if word == "OUT" else word for word in COMMANDS[name]]
            said = folder / "stdout"
            if name == "triage":
                watched = Watched(words, subprocess.PIPE)
                marks = browse(watched)
                watched.wait()
                told = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in marks.items())
                line(name, marks["first page"], watched, told)
                continue
            with said.open("w") as file:
                watched = Watched(words, file)
                code = watched.wait()
            seconds = watched.seconds()
            written = said.stat().st_size / (1 << 20)
            line(name, seconds, watched, f"{written:.1f} MiB on stdout, exit {code}")
    finally:
        if given.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
