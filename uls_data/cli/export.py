"""`uls-data export`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from uls_data.cli.output import (
    F,
    failures,
    json_line,
    json_option,
    next_step,
    quoted,
    workers_option,
)
from uls_data.cli.progress_bar import Progress
from uls_data.cli.suggesting import Suggesting

_manifests_argument = click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)


@click.group(cls=Suggesting, no_args_is_help=True)
def command() -> None:
    """Write VOIs in the layout of another program."""


@command.command(
    "grand-challenge",
    short_help="Write stacks as the challenge's containers read them.",
    epilog="""\b
Examples:
  uls-data export grand-challenge vois --to stacks
  uls-data export grand-challenge vois --to sets --parts
  docker run -v $PWD/stacks/job-001/input:/input -v $PWD/answer:/output ALGORITHM
  uls-data evaluate --pred answer/images/ct-binary-uls --truth stacks/job-001/ground-truth
""",
)
@_manifests_argument
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the jobs.")
@click.option("--layer", help="Layer of the masks; default: annotated where there is one.")
@click.option(
    "--stack-size",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="VOIs per job, at most; the challenge's jobs have 100.",
)
@click.option(
    "--parts",
    is_flag=True,
    help="A folder for each part of the set (source_split), as `uls-data split` draws them.",
)
@json_option
def grand_challenge(
    manifests: tuple[Path, ...],
    to: Path,
    layer: str | None,
    stack_size: int,
    parts: bool,
    as_json: bool,
) -> int:
    """Write stacks as the ULS23 challenge's containers read them, and their truth.

    Each job-NNN holds `input`, what a container sees as /input, and `ground-truth`,
    what the challenge's evaluation asks for: masks in the same order, spacings, the
    index of the first click of each lesion (single_sample.json) and all pairs of clicks on a
    lesion with their translation in mm (multi_sample.json; needs a build with --clicks K). Images
    are not compressed: 16.8 MB each.
    """
    from uls_data.export import export_grand_challenge

    with Progress("VOIs", "VOIs") as bar:
        found = export_grand_challenge(
            list(manifests),
            to,
            layer=layer,
            stack_size=stack_size,
            parts=parts,
            started=bar.begin,
            progress=lambda vois: bar.step(vois, vois),
        )
    failures(found.failed)
    if as_json:
        for job in found.jobs:
            json_line({"job": str(job)})
    else:
        click.echo(
            f"{found.vois} VOIs of {found.lesions} lesions in {len(found.jobs)} jobs, "
            f"{found.with_truth} with truth: {to}"
        )
        truth = quoted(to / "JOB" / "ground-truth")
        next_step(f"an ALGORITHM on each job, then uls-data evaluate --truth {truth}")
    return 1 if found.failed else 0


def _dataset_options(function: F) -> F:
    for decorate in (
        json_option,
        click.option(
            "--folds", default=5, show_default=True, help="Folds; a patient's VOIs share one."
        ),
        click.option(
            "--layer", "layers", multiple=True, help="Masks to take; default: the best of each VOI."
        ),
        click.option(
            "--certified",
            is_flag=True,
            help="Of pseudo-masks take only those that a certificate keeps.",
        ),
        _manifests_argument,
    ):
        function = decorate(function)
    return function


@command.command(
    short_help="Write a dataset of nnU-Net.",
    epilog="""\b
Examples:
  uls-data export nnunet vois --to nnUNet_raw --id 100 --name ULS --link
  nnUNetv2_plan_and_preprocess -d 100 --verify_dataset_integrity
  uls-data export nnunet vois --to nnUNet_preprocessed --preprocessed
  nnUNetv2_train 100 3d_fullres 0 -p baseline
""",
)
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder nnUNet_raw (or nnUNet_preprocessed), or another.",
)
@click.option("--id", "number", default=100, show_default=True, help="Number of the dataset.")
@click.option("--name", default="ULS", show_default=True, help="Name of the dataset.")
@click.option(
    "--weak",
    type=click.Choice(["leave-out", "ignore", "background"]),
    default="leave-out",
    show_default=True,
    help="Masks of one slice; ignore: nnU-Net's loss leaves out all other slices.",
)
@click.option("--link", is_flag=True, help="Hard links to the build's files instead of copies.")
@click.option(
    "--preprocessed",
    is_flag=True,
    help="Write what nnUNetv2_train starts from, with VOIs at their own spacing.",
)
@click.option(
    "--plan",
    default="baseline",
    show_default=True,
    help="With --preprocessed: network and normalisation; baseline, small or a file.",
)
@workers_option
@_dataset_options
def nnunet(
    manifests: tuple[Path, ...],
    layers: tuple[str, ...],
    as_json: bool,
    preprocessed: bool,
    plan: str,
    number: int,
    **options: Any,
) -> int:
    """Write a dataset of nnU-Net v2, with folds by patient.

    Held-out patients are in imagesTs and labelsTs, and in no fold. nnU-Net's planning takes over
    splits_final.json.

    With --preprocessed, planning and preprocessing are done: VOIs are normalised but not resampled,
    and held-out patients are left out. It uses --workers, and needs the extra uls-data[store].
    """
    from uls_data.export import export_nnunet
    from uls_data.network.plan import load_plan

    then = f"nnUNetv2_plan_and_preprocess -d {number}"
    if preprocessed:
        then = f"nnUNetv2_train {number} 3d_fullres FOLD -p {load_plan(plan).name}"
    chosen = {"preprocessed": preprocessed, "plan": plan, "number": number}
    return _export(
        export_nnunet, then, list(manifests), as_json, layers=layers, **chosen, **options
    )


@command.command(
    short_help="Write a datalist for MONAI.",
    epilog="""\b
Examples:
  uls-data export monai vois --to lists
  python -c 'from monai.data import load_decathlon_datalist as load; \
      print(load("lists/dataset.json", True, "training")[0])'
""",
)
@click.option(
    "--to", required=True, type=click.Path(path_type=Path), help="Folder of dataset.json."
)
@click.option("--weak", is_flag=True, help="List masks of one slice too; see key_slice_voi.")
@click.option(
    "--pairs", is_flag=True, help="List each followed lesion together with its previous study."
)
@_dataset_options
def monai(
    manifests: tuple[Path, ...], layers: tuple[str, ...], as_json: bool, **options: Any
) -> int:
    """Write a datalist for MONAI that names the VOIs where they are.

    `training` has a fold by patient, `validation` holds the held-out patients. Paths are
    relative to the list: move it together with the VOIs.
    """
    from uls_data.export import export_monai

    then = "monai.data.load_decathlon_datalist reads it"
    return _export(export_monai, then, list(manifests), as_json, layers=layers, **options)


@command.command(
    short_help="Write shards for WebDataset.",
    epilog="""\b
Examples:
  uls-data export webdataset vois --to shards
  python -c 'import webdataset as wds; \
      print(next(iter(wds.WebDataset("shards/train-000000.tar").decode())))'
""",
)
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the shards.")
@click.option("--weak", is_flag=True, help="Take masks of one slice too; see key_slice_voi.")
@click.option(
    "--shard-size",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="VOIs per shard, at most; shards differ by at most one.",
)
@_dataset_options
def webdataset(
    manifests: tuple[Path, ...], layers: tuple[str, ...], as_json: bool, **options: Any
) -> int:
    """Write tar shards with image, label and JSON of each VOI, in random order.

    train-NNNNNN.tar have a fold by patient in their JSON, heldout-NNNNNN.tar hold the held-out
    patients. The JSON beside a shard says where its members start. The same command again
    writes only what is missing.
    """
    from uls_data.export import export_webdataset

    then = "webdataset.WebDataset(...).decode() reads them"
    return _export(export_webdataset, then, list(manifests), as_json, layers=layers, **options)


@command.command(
    short_help="Write Parquet with Croissant metadata.",
    epilog="""\b
Examples:
  uls-data export croissant vois --to set
  mlcroissant validate --jsonld set/croissant.json
""",
)
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the files.")
@click.option("--weak", is_flag=True, help="Take masks of one slice too; see key_slice_voi.")
@_dataset_options
def croissant(
    manifests: tuple[Path, ...], layers: tuple[str, ...], as_json: bool, **options: Any
) -> int:
    """Write Parquet files with image, label and columns of each VOI, and croissant.json.

    train/NNNNN.parquet have a fold by patient, heldout/NNNNN.parquet hold the held-out
    patients; `image` and `label` are the bytes of a .nii.gz.
    """
    from uls_data.export import export_croissant

    then = "mlcroissant.Dataset(...) reads it"
    return _export(export_croissant, then, list(manifests), as_json, layers=layers, **options)


@command.command(
    "dicom-seg",
    short_help="Write DICOM SEG and SR on the series of the VOIs.",
    epilog="""\b
Examples:
  uls-data export dicom-seg vois --raw raw --to objects
  uls-data export dicom-seg vois --raw raw --to objects --layer pseudo3d-r1
""",
)
@_manifests_argument
@click.option(
    "--raw", required=True, type=click.Path(path_type=Path), help="Folder with the DICOM series."
)
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for objects.")
@click.option(
    "--layer", "layers", multiple=True, help="Masks to take; default: the best of each VOI."
)
@json_option
def dicom_seg(
    manifests: tuple[Path, ...], raw: Path, to: Path, layers: tuple[str, ...], as_json: bool
) -> int:
    """Write masks as DICOM SEG on the series that they were cut from, and an SR of their sizes.

    Each series gets one SEG, TO/SOURCE/SERIES.seg.dcm, with one segment per lesion, and one SR
    (TID 1500) with long and short axis and volume. PatientID is patient_id; name, dates and
    everything else about a person are empty. Needs the extra uls-data[dicom].
    """
    from uls_data.export import export_dicom_seg

    with Progress("lesions", "lesions") as bar:
        found = export_dicom_seg(
            list(manifests),
            to,
            raw,
            layers=layers,
            started=bar.begin,
            progress=lambda lesions: bar.step(lesions, lesions),
        )
    failures(found.failed)
    if as_json:
        json_line({"path": str(found.path), "series": found.series, "lesions": found.lesions})
    else:
        click.echo(f"{found.lesions} lesions on {found.series} series: {found.path}")
    return 1 if found.failed else 0


@command.command(
    short_help="Write a store that a training reads in parts.",
    epilog="""\b
Examples:
  uls-data export store vois --to store --workers 4
  uls-data train --manifest store --out model
  uls-data release verify store
""",
)
@_manifests_argument
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder of the store.")
@workers_option
@json_option
def store(manifests: tuple[Path, ...], to: Path, workers: int, as_json: bool) -> int:
    """Write each scan as one compressed array that a training reads in parts.

    Holds all VOIs and masks of the manifests, and manifests of its own: `train`, `predict`,
    VoiDataset and open_voi take the store in place of the build. VOIs of one scan share its
    array. The same command again writes only what is missing or has changed. Needs the extra
    uls-data[store].
    """
    from uls_data.export import export_store

    with Progress("scans", "scans") as bar:
        found = export_store(
            list(manifests),
            to,
            workers=workers,
            started=bar.begin,
            progress=lambda scans: bar.step(scans, scans),
        )
    failures(found.failed)
    if as_json:
        told = {"path": str(found.path), "vois": found.vois, "masks": found.masks}
        json_line({**told, "scans": found.scans, "bytes": found.size_bytes})
    else:
        click.echo(
            f"{found.vois} VOIs and {found.masks} masks in {found.scans} arrays of scans, "
            f"{found.size_bytes / 1e6:,.1f} MB: {found.path}"
        )
        next_step(f"uls-data train --manifest {quoted(found.path)} --out MODEL")
    return 1 if found.failed else 0


def _export(
    function: Callable[..., Any],
    then: str,
    manifests: list[Path],
    as_json: bool,
    **options: Any,
) -> int:
    with Progress("VOIs", "VOIs") as bar:
        found = function(
            manifests, started=bar.begin, progress=lambda vois: bar.step(vois, vois), **options
        )
    failures(found.failed)
    if as_json:
        json_line(
            {
                "path": str(found.path),
                "train": found.train,
                "heldout": found.heldout,
                "left_out": dict(found.left_out),
            }
        )
    else:
        click.echo(f"{found.train} VOIs to train on, {found.heldout} held out: {found.path}")
        for reason, count in sorted(found.left_out.items()):
            click.echo(f"  left out: {count} {reason}")
        next_step(then)
    return 1 if found.failed else 0
