"""nnU-Net's preprocessed dataset: written by the export, and by nnU-Net from the raw one.

Run as `python -m benchmarks.nnunet [--scan IMAGE MASK] [--clicks 3] [--repeat 3] [--seed 0]`, with
nnU-Net installed (`pip install -e '.[nnunet,store]'`).

Both take the same VOIs and plans, and write in one process with one thread. nnU-Net's reader then
reads both in turn: whole VOIs, and random patches of 64 x 128 x 128. The scan is made up; `--scan`
takes a real one, whose mirror image is the second patient that folds need.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.ours import RECIPE, RECIPE_FILE
from benchmarks.store import size_of
from benchmarks.voi import call

PATCH = (64, 128, 128)


def cpu_of(function: Callable[[], Any]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def write_raw(raw: Path, scan: list[Path] | None, seed: int) -> None:
    """Two scans with their masks; the second is the first, mirrored."""
    import SimpleITK as sitk

    if scan is None:
        call("benchmarks.phantom", "--root", raw, "--lesions", "3", "--seed", str(seed))
        scan = [next((raw / kind).iterdir()) for kind in ("images", "masks")]
    for kind, path in zip(("images", "masks"), scan, strict=True):
        volume = sitk.ReadImage(str(path))
        (raw / kind).mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(volume, str(raw / kind / "a.nrrd"))
        voxels = sitk.GetImageFromArray(sitk.GetArrayFromImage(volume)[:, :, ::-1])
        voxels.CopyInformation(volume)
        sitk.WriteImage(voxels, str(raw / kind / "b.nrrd"))
        if path.is_relative_to(raw):
            path.unlink()
    (raw / RECIPE_FILE).write_text(RECIPE, encoding="utf-8")


def theirs(ours: Path, raw: Path, to: Path) -> list[Callable[[], None]]:
    """What nnU-Net does for each case, one function a case."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = json.loads((ours / "baseline.json").read_bytes())
    settings = plans["configurations"]["3d_fullres"]
    settings["spacing"] = plans["original_median_spacing_after_transp"]
    for kind in ("data", "seg"):
        settings[f"resampling_fn_{kind}"] = settings["resampling_fn_probabilities"]
        settings[f"resampling_fn_{kind}_kwargs"] = {"is_seg": kind == "seg", "order": 1}
    manager = PlansManager(plans)
    to.mkdir()

    def write(label: Path) -> None:
        name = label.name.removesuffix(".nii.gz")
        DefaultPreprocessor(verbose=False).run_case_save(
            str(to / name),
            [str(raw / "imagesTr" / f"{name}_0000.nii.gz")],
            str(label),
            manager,
            manager.get_configuration("3d_fullres"),
            str(ours / "dataset.json"),
        )

    return [lambda label=label: write(label) for label in sorted((raw / "labelsTr").iterdir())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, nargs=2, metavar=("IMAGE", "MASK"))
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    import numpy as np
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    from uls_data import build, export_nnunet

    with tempfile.TemporaryDirectory() as folder:
        archive, vois = Path(folder) / "archive", Path(folder) / "vois"
        write_raw(archive, options.scan, options.seed)
        build(archive / RECIPE_FILE, archive, vois, clicks=options.clicks)
        raw = export_nnunet(vois, Path(folder) / "raw", folds=2).path
        to = Path(folder) / "preprocessed"
        export = cpu_of(lambda: export_nnunet(vois, to, folds=2, preprocessed=True))
        ours = next(to.iterdir())
        folders = {"export": ours / "baseline_3d_fullres", "nnU-Net": Path(folder) / "theirs"}
        work = theirs(ours, raw, folders["nnU-Net"])
        spent = {"export": export, "nnU-Net": sum(map(cpu_of, work))}
        random = np.random.default_rng(options.seed)
        runs: dict[str, dict[str, list[float]]] = {name: {} for name in folders}
        for _ in range(options.repeat):
            corner = [int(random.integers(0, n)) for n in (65, 129, 129)]
            patch = tuple(slice(at, at + n) for at, n in zip(corner, PATCH, strict=True))
            for name, path in folders.items():
                reader = nnUNetDatasetBlosc2(str(path))
                for what, part in (("whole", (slice(None),) * 3), ("patch", patch)):

                    def read(reader: Any = reader, part: Any = part) -> None:
                        for case in reader.identifiers:
                            data, seg, _, _ = reader.load_case(case)
                            data[(slice(None), *part)], seg[(slice(None), *part)]

                    runs[name].setdefault(what, []).append(cpu_of(read) / len(work))
        print(f"\n{len(work)} VOIs, one thread, CPU per VOI; reading: median of {options.repeat}")
        print(f"{'':<10}{'write s':>9}{'MB':>7}{'read ms':>9}{'patch ms':>10}")
        for name, path in folders.items():
            whole, part = (1e3 * statistics.median(runs[name][w]) for w in ("whole", "patch"))
            size = size_of(path) / len(work) / 1e6
            print(
                f"{name:<10}{spent[name] / len(work):>9.2f}{size:>7.1f}{whole:>9.1f}{part:>10.1f}"
            )


if __name__ == "__main__":
    main()
