"""`make bench-gpu`: network alone, `predict` from files to files, and nnU-Net's way, in one run.

    python -m benchmarks.gpu [--plan baseline] [--vois 48] [--device cuda] [--workers 8]

It trains the plan for a few steps on made-up VOIs first, so that masks are lesions and not noise;
that gives the training step too. nnU-Net's way is written out here: float16 autocast, one VOI after
the other, each loaded, normalised, predicted and saved before the next. Prints one table; every
figure comes from this run.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from scipy import ndimage

from uls_data import __version__, predict, train
from uls_data.io import sha256_voxels, write_bytes
from uls_data.manifest import write_manifest
from uls_data.manifest.example import Example
from uls_data.network.architecture import cost
from uls_data.network.checkpoint import load_model
from uls_data.network.examples import find_examples
from uls_data.network.inference import Predictor
from uls_data.network.learner import Learner
from uls_data.network.plan import Intensities, Plan, load_plan
from uls_data.network.sampling import Sampler
from uls_data.network.voxels import read_image
from uls_data.nifti_writer import nifti_gz

SHAPE = (256, 256, 128)


def made_vois(out: Path, count: int) -> None:
    """Write VOIs of CT-like noise with a bright lobulated lesion, and their manifest."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(partial(_made_voi, out), range(count)))
    write_manifest(rows, out / "manifest" / "made.parquet")


def _made_voi(out: Path, n: int) -> dict[str, Any]:
    grid = np.indices(SHAPE, dtype=np.float32) - np.array([128, 128, 64]).reshape(3, 1, 1, 1)
    random = np.random.default_rng(n)
    slow = ndimage.zoom(random.normal(0, 40, (16, 16, 8)), 16, order=1)
    image = 40 + slow + random.normal(0, 15, SHAPE)
    radius = random.uniform(8, 30) * (1 + 0.2 * np.cos(3 * np.arctan2(grid[1], grid[0])))
    label = grid[0] ** 2 + grid[1] ** 2 + (2 * grid[2]) ** 2 <= radius**2
    image[label] += 120
    voi = np.asfortranarray(image.round().astype(np.int16))
    name = f"made_{n:04d}_lesion_01_sample_0"
    mask = np.asfortranarray(label.astype(np.uint8))
    for kind, data in (("images", voi), ("labels/annotated", mask)):
        write_bytes(out / f"made/{kind}/{name}.nii.gz", nifti_gz(data, np.eye(4)))
    return {
        "source": "made", "case_id": f"{n:04d}", "patient_id": f"{n:04d}",
        "lesion_index": 1, "sample_index": 0, "voi_id": name, "layer": "annotated",
        "status": "ok", "image_path": f"made/images/{name}.nii.gz",
        "label_path": f"made/labels/annotated/{name}.nii.gz", "lesion_type": "various",
        "supervision": "full", "split": "train", "affine": np.eye(4).ravel().tolist(),
        "image_voxels_sha256": sha256_voxels(voi),
        **{f"pad_{side}_{axis}_vox": 0 for side in ("before", "after") for axis in "xyz"},
        **{f"spacing_{axis}_mm": 1.0 for axis in "xyz"},
        "long_axis_vox": 40.0, "long_axis_mm": 40.0,
    }  # fmt: skip


class Clock:
    """Seconds of work on a device, and the most memory that it took."""

    def __init__(self, device: Any) -> None:
        self.device, self.on_gpu = device, device.type == "cuda"

    def wait(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def median(self, work: Callable[[], Any], repeat: int, warm: int = 2) -> float:
        """Median seconds of one call."""
        for _ in range(warm):
            work()
        seconds = []
        for _ in range(repeat):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def forget(self) -> None:
        """Count memory from here on."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()

    def memory(self) -> str:
        """Most memory since the last call, or since `forget`."""
        if not self.on_gpu:
            return "-"
        peak = torch.cuda.max_memory_allocated() / 2**30
        self.forget()
        return f"{peak:.1f} GiB"


def matrix_rate(clock: Clock, dtype: Any) -> float:
    """Measured rate of a large matrix product, in operations a second."""
    size = 8192 if clock.on_gpu else 1024
    a, b = (torch.randn(size, size, device=clock.device).to(dtype) for _ in range(2))
    return 2 * size**3 / clock.median(lambda: a @ b, 10)


def nnunets_way(vois: Path, model: Path, out: Path, device: Any, most: int = 24) -> float:
    """Seconds a VOI of load, normalise, predict in float16 autocast, save, one after the other."""
    loaded = load_model(model, str(device))
    numbers, crop = loaded.intensities, loaded.plan.crop
    corner = [(whole - size) // 2 for whole, size in zip(SHAPE[::-1], crop, strict=True)]
    box = tuple(slice(at, at + size) for at, size in zip(corner, crop, strict=True))
    out.mkdir(parents=True)
    torch.backends.cudnn.benchmark = True  # as it does
    images = sorted((vois / "made" / "images").iterdir())[:most]
    start = time.perf_counter()
    for path in images:
        voi = np.asarray(nibabel.load(path).dataobj, np.float32).T[box]
        image = (np.clip(voi, numbers.percentile_00_5, numbers.percentile_99_5)).astype(np.float32)
        image = (image - numbers.mean) / numbers.std
        tensor = torch.from_numpy(np.ascontiguousarray(image))[None, None].to(device)
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.float16, device.type == "cuda"),
        ):
            logits = loaded.logits(tensor)[0].float().cpu()
        mask = np.zeros(SHAPE[::-1], np.uint8)
        mask[box] = logits.argmax(0).numpy()
        nibabel.save(nibabel.Nifti1Image(mask.T, np.eye(4)), out / path.name)
    return (time.perf_counter() - start) / len(images)


def nnunets_network(clock: Clock, model: Path, example: Example) -> float:
    """Median seconds of one VOI in float16 autocast, as torch lays it out."""
    loaded = load_model(model, str(clock.device))
    image = torch.from_numpy(loaded.image(read_image(example, loaded.plan.crop)))[None]
    image = image.to(clock.device)
    with (
        torch.inference_mode(),
        torch.autocast(clock.device.type, torch.float16, clock.on_gpu),
    ):
        return clock.median(lambda: loaded.logits(image), 10)


def training_step(clock: Clock, plan: Plan, vois: Path) -> float:
    """Median seconds of a step at the plan's batch size."""
    examples = find_examples(vois).train
    sampler = Sampler(examples, plan, 0, "ignore")
    batch = [sampler.region(0, slot) for slot in range(plan.training.batch_size)]
    learner = Learner(plan, clock.device, 0, 100, plan.training.learning_rate)
    return clock.median(lambda: learner.learn(batch, 0), 5)


def run(arguments: argparse.Namespace, folder: Path) -> list[tuple[str, str]]:
    """Measure everything; rows of the table."""
    device = torch.device(arguments.device)
    clock = Clock(device)
    vois, model = folder / "vois", folder / "model"
    made_vois(vois, arguments.vois)
    plan = load_plan(arguments.plan)
    if not isinstance(plan.intensities, Intensities):
        numbers = {"mean": 160, "std": 45, "median": 160, "min": -100, "max": 400}
        limits = {"percentile_00_5": 0, "percentile_99_5": 300}
        plan = plan.model_copy(update={"intensities": Intensities(**numbers, **limits)})
    card = torch.cuda.get_device_name() if clock.on_gpu else platform.processor() or "CPU"
    rows = [("card", card), ("torch", torch.__version__), ("uls-data", __version__)]
    step = training_step(clock, plan, vois)
    rows.append((f"training step, batch {plan.training.batch_size}", f"{step:.3f} s"))
    rows.append(("  memory", clock.memory()))
    train(
        vois, model, plan=plan, device=device.type, steps=arguments.steps, workers=arguments.workers
    )

    dtype = torch.bfloat16 if clock.on_gpu else torch.float32
    rate = matrix_rate(clock, dtype)
    _, operations = cost(plan)
    first = find_examples(vois).train[0]
    for compiled in (False, True) if arguments.compile else (False,):
        loaded = load_model(model)
        predictor = Predictor(loaded, device, compiled=compiled)
        region = read_image(first, plan.crop)
        clock.forget()
        with torch.inference_mode():
            image = predictor._image(region)
            alone = clock.median(lambda i=image, p=predictor: p._margins[0](i), 10)
        name = "network alone" + (", compiled" if compiled else "")
        share = operations / alone / rate
        rows.append((f"{name}, {predictor.precision}", f"{1000 * alone:.1f} ms per VOI"))
        rows.append(("  memory", clock.memory()))
        rows.append((f"  share of {rate / 1e9:,.0f} Gflop/s measured", f"{share:.0%}"))
        del predictor, loaded, image

    turn = nnunets_way(vois, model, folder / "turn", device)
    rows.append(
        ("nnU-Net's network alone", f"{1000 * nnunets_network(clock, model, first):.1f} ms")
    )
    rows.append(("nnU-Net's way, files to files", f"{1 / turn:.2f} VOI/s"))
    for tta in (False, True) if arguments.tta else (False,):
        clock.forget()
        start = time.perf_counter()
        report = predict(
            vois, model, folder / f"ours-{tta}", device=device.type, tta=tta,
            batch_size=arguments.in_flight, workers=arguments.workers,
        )  # fmt: skip
        ours = (time.perf_counter() - start) / arguments.vois
        name = "predict, files to files" + (", 8 views" if tta else "")
        rows.append((name, f"{1 / ours:.2f} VOI/s ({report.counts['ok']} masks)"))
        rows.append(("  against nnU-Net's way", f"{turn / ours:.2f} times"))
        rows.append(("  memory", clock.memory()))
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cuda", "cpu"], default=default)
    parser.add_argument("--plan", default="baseline" if default == "cuda" else "small")
    parser.add_argument("--vois", type=int, default=256 if default == "cuda" else 8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=8 if default == "cuda" else 2)
    parser.add_argument("--in-flight", type=int, default=2)
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = run(arguments, Path(folder))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")


if __name__ == "__main__":
    main()
