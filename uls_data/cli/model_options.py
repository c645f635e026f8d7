"""Options that the commands with a network share."""

from __future__ import annotations

from pathlib import Path

import click

certificate_option = click.option(
    "--certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="CERT",
    help="Keep the 3D masks that meet a certificate of `certify`, by no other rule.",
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: a GPU if there is one.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="Precision of the network; auto: bfloat16 on a GPU that has it, float16 on an older one, "
    "float32 on a CPU.",
)
tta_option = click.option(
    "--tta",
    is_flag=True,
    help="Average the eight mirrored views in prediction; eight times the work.",
)
jitter_option = click.option(
    "--jitter",
    type=click.IntRange(min=0, max=64),
    help="Predict again from K other clicks on the mask that was found, and measure their Dice.  "
    "[default: 0]",
)
key_slice_option = click.option(
    "--key-slice",
    type=click.Choice(["replace", "blend", "leave"]),
    help="The mask on the slice that a reader measured: the 2D mask, the majority of network, 2D "
    "mask and ellipse, or the network's mask.  [default: replace for "
    "models that are told the lines, else leave]",
)
image_vote_option = click.option(
    "--image-vote/--no-image-vote",
    default=None,
    help="Let the jury in 3D, which goes by the tissue at the lines, vote with the network.  "
    "[default: on for models that are told the lines]",
)
batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="VOIs on the device at once in prediction; halved where its memory is too small. Changes "
    "no mask.",
)
threads_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Threads that read ahead, and as many that measure and write.",
)
