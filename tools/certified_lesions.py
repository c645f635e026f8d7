"""Lesions to try certificates on: real and made up, with masks that are wrong now and then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cc3d
import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.certificates.gather import with_drawn_lines
from uls_data.certificates.judged import Judged
from uls_data.certificates.measures import judged
from uls_data.ensemble.member import Jury3d, Member, member_of
from uls_data.ensemble.subject import Subject
from uls_data.ids import draw
from uls_data.manifest.row import Row
from uls_data.measure.ellipsoid import radius_field
from uls_data.voi import VOI_SHAPE

JITTER = 0.05
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Tried:
    """A lesion with its mask measured, and the worse of the errors that the paper's rule bounds."""

    mask: Judged
    axis_error_vox: float


class Teacher(Protocol):
    """Whatever makes masks of lines and image, and says how good they are."""

    def judged(self, subject: Subject) -> tuple[Mask, Row] | None:
        """Mask, and the row with what is said of it; None without a mask."""
        ...


class Followed:
    """The jury in 3D, which needs no training."""

    def judged(self, subject: Subject) -> tuple[Mask, Row] | None:
        """See `Teacher`."""
        found = Jury3d().solid(subject)
        if found is None:
            return None
        return found.mask, subject.row | {"predicted_dice": found.predicted_dice}


@dataclass(frozen=True)
class Look:
    """How made-up scans look."""

    noise_hu: tuple[float, float] = (8.0, 25.0)
    ground_hu: tuple[float, float] = (-60.0, 60.0)
    lesion_type: str = "soft_tissue"


USUAL = Look()
SHIFTED = {
    "other noise": Look(noise_hu=(40.0, 70.0)),
    "other organ": Look(ground_hu=(-870.0, -820.0), lesion_type="lung"),
}


def tried(subject: Subject, truth: Mask, seed: int, told: Teacher | None = None) -> Tried | None:
    """Draw lines, make a mask, measure it; None where the lines make no mask.

    Parameters
    ----------
    told : Told, optional
        What makes the mask, beside members that the package has.
    """
    subject = with_drawn_lines(subject, truth, JITTER, seed)
    members: tuple[Member, ...] = MEMBERS
    if told is None:
        mask = TEACHER.mask(subject)
    else:
        made = told.judged(subject)
        mask, members = None if made is None else made[0], PACKAGED
        if made is not None:
            subject = replace(subject, row=made[1])
    if mask is None or subject.lines is None:
        return None
    found = judged(subject, mask, members, truth)
    lines, errors = subject.lines, found.measures
    long = (errors["long_error"] or 0) * lines.long_vox
    short = (errors["short_error"] or 0) * lines.short_vox
    return Tried(found, max(long, short))


@dataclass(frozen=True)
class Shells:
    """A member that looks at the image: from an inner shell of the ellipsoid to an outer one.

    What is like the core reaches to the outer shell, what is unlike only to the inner one.

    Attributes
    ----------
    name : str
    inner, outer : float
        Radii, as shares of the ellipsoid's.
    smooth_vox : float
        How far the image is smoothed.
    """

    name: str
    inner: float
    outer: float
    smooth_vox: float
    needs: frozenset[str] = frozenset({"lines", "image"})

    def mask(self, subject: Subject) -> Mask | None:
        """Mask in 3D; None without lines or spacing."""
        if subject.lines is None or subject.key_slice is None or subject.spacing_mm is None:
            return None
        middle_vox = [*subject.lines.points.mean(axis=0), subject.key_slice]
        reach_mm = subject.lines.long_vox * max(subject.spacing_mm[:2]) * self.outer / 2
        box = tuple(
            slice(
                max(part.start, int(at - reach_mm / mm) - 2),
                min(part.stop, int(at + reach_mm / mm) + 3),
            )
            for at, mm, part in zip(middle_vox, subject.spacing_mm, subject.scan, strict=True)
        )
        x, y, z = (part.start for part in box)
        a, b, c = (part.stop - part.start for part in box)
        if min(a, b, c) < 1:
            return None
        lines = subject.lines.moved(-x, -y)
        near = radius_field(lines, subject.key_slice - z, subject.spacing_mm, (a, b, c))
        wide = (self.smooth_vox, self.smooth_vox, self.smooth_vox / 2)
        smooth = ndimage.gaussian_filter(subject.hu[box].astype(np.float32), wide)
        core = near <= self.inner
        if not core.any():
            return None
        middle = float(np.median(smooth[core]))
        spread = max(1.4826 * float(np.median(np.abs(smooth[core] - middle))), 4.0)
        unlike = np.clip(np.abs(smooth - middle) / spread / 2 - 0.5, 0, 1)
        found = near <= self.outer - (self.outer - self.inner) * unlike
        labels = cc3d.connected_components(found, connectivity=6)
        sizes = np.bincount(labels[core])
        sizes[0] = 0
        mask = np.zeros(VOI_SHAPE, bool)
        mask[box] = labels == sizes.argmax()
        return mask


TEACHER = Shells("shells", 0.65, 1.5, 1.0)
PACKAGED = tuple(member_of(name) for name in ("ellipsoid", "likeness", "jury"))
MEMBERS = (member_of("ellipsoid"), Shells("coarse", 0.5, 1.8, 2.0), member_of("jury"))


def made_up(
    patient: int, seed: int, look: Look = USUAL, told: Teacher | None = None
) -> Iterator[Tried]:
    """Lesions of a made-up patient: one to three, all as hard as that patient's."""
    random = np.random.default_rng(draw(1 << 63, seed, "patient", patient, look.lesion_type))
    spacing = (float(random.uniform(0.7, 0.98)),) * 2 + (float(random.choice([1.5, 2.5, 3, 5])),)
    noise, ground = random.uniform(*look.noise_hu), random.uniform(*look.ground_hu)
    contrast = random.uniform(15, 70) if ground > -500 else random.uniform(500, 900)
    height = float(np.exp(random.normal(0, 0.25)))
    for lesion in range(int(random.choice([1, 1, 1, 2, 3]))):
        radius_mm = float(np.exp(random.uniform(np.log(6), np.log(24))))
        truth, hu = _scan(random, radius_mm, height, spacing, noise, ground, contrast)
        yield from _in_voi(
            f"made-{patient:04d}", lesion + 1, truth, hu, spacing, look.lesion_type, seed, told
        )


def _scan(
    random: np.random.Generator,
    radius_mm: float,
    height: float,
    spacing: tuple[float, ...],
    noise_hu: float,
    ground_hu: float,
    contrast_hu: float,
) -> tuple[Mask, NDArray[np.int16]]:
    """Make a lobed lesion, with neighbours that are like it, in a noisy scan about it."""
    reach = [
        int(np.ceil(1.9 * radius_mm * h / s)) + 3
        for h, s in zip((1, 1, height), spacing, strict=True)
    ]
    reach = [min(n, whole // 2) for n, whole in zip(reach, VOI_SHAPE, strict=True)]
    x, y, z = np.meshgrid(
        *(np.arange(-n, n) * s for n, s in zip(reach, spacing, strict=True)), indexing="ij"
    )
    z = z / height
    far = np.sqrt(x**2 + y**2 + z**2) + 1e-6
    wave = np.zeros_like(far)
    for _ in range(6):
        way = random.normal(size=3)
        way *= random.uniform(1, 3) / np.linalg.norm(way)
        cosine = (x * way[0] + y * way[1] + z * way[2]) / far
        wave += random.normal(0, 0.12) * np.cos(np.pi * cosine + random.uniform(0, 2 * np.pi))
    truth = far <= radius_mm * np.exp(np.clip(wave, -0.45, 0.45))
    sign = 1 if ground_hu < -500 or random.random() < 0.7 else -1
    image = np.full(far.shape, ground_hu)
    for _ in range(int(random.integers(0, 6))):
        way = random.normal(size=3)
        way *= radius_mm * random.uniform(1.1, 1.7) / np.linalg.norm(way)
        size = radius_mm * random.uniform(0.3, 0.8)
        like = sign * contrast_hu * random.uniform(0.7, 1.3)
        other = np.sqrt((x - way[0]) ** 2 + (y - way[1]) ** 2 + (z - way[2]) ** 2) <= size
        image[other] = ground_hu + like
    image[truth] = ground_hu + sign * contrast_hu
    image = ndimage.gaussian_filter(image, (0.8, 0.8, 0.4))
    grain = ndimage.gaussian_filter(random.normal(size=image.shape), (0.6, 0.6, 0.2))
    hu = np.rint(image + grain / grain.std() * noise_hu).astype(np.int16)
    labels = cc3d.connected_components(truth, connectivity=6)
    centre = tuple(n // 2 for n in truth.shape)
    return labels == labels[centre], hu


def _in_voi(
    case: str,
    lesion: int,
    truth: Mask,
    hu: NDArray[np.int16],
    spacing: tuple[float, ...],
    lesion_type: str,
    seed: int,
    told: Teacher | None = None,
) -> Iterator[Tried]:
    """Put a lesion at the middle of a VOI; nothing where it has no lines."""
    places = np.argwhere(truth)
    middle = np.rint(places.mean(axis=0)).astype(int)
    row: Row = {
        "source": "made-up" if case.startswith("made") else "ibsi",
        "case_id": case,
        "patient_id": case,
        "lesion_index": lesion,
        "sample_index": 0,
        "voi_id": f"{case}_{lesion}",
        "layer": "shells",
        "lesion_type": lesion_type,
        "supervision": "pseudo_3d",
        "predicted_dice": None,
        "uncertainty": None,
        "candidate_scores": None,
        "qc_flags": [],
        "spacing_x_mm": spacing[0],
        "spacing_y_mm": spacing[1],
        "spacing_z_mm": spacing[2],
    }
    image = np.full(VOI_SHAPE, -2000, np.int16)
    whole = np.zeros(VOI_SHAPE, bool)
    ours, theirs, pads = [], [], []
    for at, size, n in zip(middle, VOI_SHAPE, hu.shape, strict=True):
        start = int(at) - size // 2
        low, high = max(start, 0), min(start + size, n)
        ours.append(slice(low - start, high - start))
        theirs.append(slice(low, high))
        pads.append((low - start, size - (high - start)))
    image[tuple(ours)] = hu[tuple(theirs)]
    whole[tuple(ours)] = truth[tuple(theirs)]
    (x0, x1), (y0, y1), (z0, z1) = pads
    row |= {"pad_before_x_vox": x0, "pad_after_x_vox": x1, "pad_before_y_vox": y0}
    row |= {"pad_after_y_vox": y1, "pad_before_z_vox": z0, "pad_after_z_vox": z1}
    found = tried(Subject(row, image), whole, seed, told)
    if found is not None:
        yield found


def sarcoma(case: Path, seed: int, told: Teacher | None = None) -> list[Tried]:
    """Measure the lesion of a real patient: a folder with an image and a mask."""
    files = [nibabel.load(case / f"CT_{what}.nii.gz") for what in ("image", "mask")]
    image, mask = (nibabel.as_closest_canonical(one) for one in files)
    spacing = tuple(float(mm) for mm in image.header.get_zooms()[:3])
    hu = np.clip(np.asanyarray(image.dataobj), -1500, 3071).astype(np.int16)
    truth = np.asanyarray(mask.dataobj) > 0
    return list(_in_voi(case.name, 1, truth, hu, spacing, "soft_tissue", seed, told))
