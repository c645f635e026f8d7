"""Whether a build writes the same bytes on other processors, which qemu emulates.

Run as `python -m tools.processors [--models NAME ...] [--sources NAME ...] [--codecs]`. It makes
small archives, builds them here and on every emulated processor (`qemu-x86_64`, Debian's package
qemu-user), compares all files, and ends with exit code 1 where any differ. A build takes some ten
times as long under emulation. qemu has no AVX-512: that generation is this machine's, if it has it.
`--codecs` compares what the gzip encoders write, of which only libdeflate is used to write.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np

from benchmarks.ours import RECIPE, RECIPE_FILE
from benchmarks.phantom import make_phantom
from demo.sources import make_archives

EMULATOR = "qemu-x86_64"
# SSE4.2 alone, which NumPy needs; AVX; AVX2 and FMA of Intel and of AMD.
MODELS = ("Westmere", "SandyBridge", "Haswell", "EPYC-Rome")
PHANTOM, SLANTED = "phantom", "slanted"
# Masks of volumes; of DICOM series and contours; made of lines.
SOURCES = (PHANTOM, SLANTED, "kits21", "lidc_idri", "deeplesion")
ROOT = Path(__file__).resolve().parents[1]
# Without SSE4.2, so without NumPy: only the encoders run there.
OLD_MODEL = "Opteron_G2"
CODECS = """\
import hashlib, sys
import deflate
from isal import isal_zlib
data = open(sys.argv[1], "rb").read()
packed = {f"ISA-L {level}": isal_zlib.compress(data, level) for level in range(4)}
packed["libdeflate 1"] = deflate.gzip_compress(data, 1)
for name, text in packed.items():
    print(f"{name}: {hashlib.sha256(text).hexdigest()[:8]}", end="  ")
"""


def make(folder: Path, sources: tuple[str, ...]) -> dict[str, tuple[str, Path]]:
    """Make small archives; returns the recipe and the raw folder of each."""
    made = {}
    demo = [name for name in sources if name not in (PHANTOM, SLANTED)]
    for name, raw in make_archives(folder, 0, demo).items():
        own = raw / f"{name}.yaml"
        made[name] = (str(own) if own.is_file() else name, raw)
    for name in sorted(set(sources) - set(demo)):
        raw = folder / name
        make_phantom(raw, 2, 1, (96, 80, 48))
        if name == SLANTED:
            slant(raw)
        recipe = raw / RECIPE_FILE
        recipe.write_text(RECIPE, encoding="utf-8")
        made[name] = (str(recipe), raw)
    return made


def slant(raw: Path) -> None:
    """Turn the phantom's axes against the patient's, so that no number of its headers is round."""
    turns = [np.eye(4), np.eye(4)]
    for turn, (a, b), degrees in zip(turns, ((0, 1), (1, 2)), (11.0, 7.0), strict=True):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn[a, a], turn[a, b], turn[b, a], turn[b, b] = cos, -sin, sin, cos
    for path in raw.glob("*/*.nii.gz"):
        image = nibabel.loadsave.load(path)
        assert isinstance(image, nibabel.nifti1.Nifti1Image)
        voxels = np.asanyarray(image.dataobj)
        nibabel.loadsave.save(
            nibabel.nifti1.Nifti1Image(voxels, turns[1] @ turns[0] @ image.affine), path
        )


def build(model: str | None, recipe: str, raw: Path, out: Path) -> None:
    """Build on an emulated processor; on this one where none is named.

    Raises
    ------
    SystemExit
        It ended in an error: nothing can be compared.
    """
    emulator = [] if model is None else [EMULATOR, "-cpu", model]
    command = [*emulator, sys.executable, "-m", "uls_data", "build", recipe]
    # Made-up archives hold broken cases on purpose, which end with exit code 1.
    done = subprocess.run(
        [*command, "--raw", str(raw), "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{model or 'here'}: build of {recipe} failed:\n{done.stderr[-3000:]}")


def differences(here: Path, there: Path) -> list[str]:
    """Files that two trees do not have in common to the byte, sorted."""
    names = {
        path.relative_to(root).as_posix()
        for root in (here, there)
        for path in root.rglob("*")
        if path.is_file()
    }
    _, differ, missing = filecmp.cmpfiles(here, there, names, shallow=False)
    return sorted(differ + missing)


def compare(models: tuple[str, ...], sources: tuple[str, ...], folder: Path) -> int:
    """Build and compare; prints a line for each model and source.

    Returns
    -------
    int
        How many files differ.
    """
    count = 0
    for source, (recipe, raw) in make(folder / "raw", sources).items():
        here = folder / source / "here"
        build(None, recipe, raw, here)
        files = sum(path.is_file() for path in here.rglob("*"))
        for model in models:
            there = folder / source / model
            build(model, recipe, raw, there)
            differ = differences(here, there)
            count += len(differ)
            said = f"{len(differ)} differ, such as {differ[0]}" if differ else "all the same"
            print(f"{model:14} {source:12} {files:4} files, {said}", flush=True)
    return count


def codecs(models: tuple[str, ...], folder: Path) -> None:
    """Print a line for each model: hashes of what each encoder makes of the same noise."""
    noise = np.random.default_rng(0).normal(40, 15, 1 << 19)
    data = folder / "noise"
    data.write_bytes(noise.astype("<i2").tobytes())
    for model in (None, *models, OLD_MODEL):
        emulator = [] if model is None else [EMULATOR, "-cpu", model]
        done = subprocess.run(
            [*emulator, sys.executable, "-c", CODECS, str(data)],
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"{model or 'this machine':14} {done.stdout.strip()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, help="of `qemu-x86_64 -cpu help`")
    parser.add_argument("--sources", nargs="+", default=SOURCES)
    parser.add_argument("--codecs", action="store_true")
    arguments = parser.parse_args()
    if shutil.which(EMULATOR) is None:
        raise SystemExit(f"{EMULATOR} is not installed: apt-get install qemu-user")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.codecs:
            codecs(tuple(arguments.models), Path(folder))
            return
        count = compare(tuple(arguments.models), tuple(arguments.sources), Path(folder))
    raise SystemExit(1 if count else 0)


if __name__ == "__main__":
    main()
