"""From a plan to a network of dynamic-network-architectures, and from images to logits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch.utils.flop_counter import FlopCounterMode

from uls_data.network.plan import Architecture, Plan

CLASSES = 2  # background, lesion

# Logit of lesion minus that of background before training: a probability of 1.8 %.
_FIRST_MARGIN = -4.0
# Of the heads of a network that corrects an ellipsoid.
_FIRST_WEIGHT = 0.01


# Which channel of a prompted image tells the ellipsoid's radius (`uls_data.network.prompt`).
_RADIUS = 2
_SLOPE = 4.0


def build_network(architecture: Architecture, seed: int | None = None, channels: int = 1) -> Any:
    """Network (torch.nn.Module) of two classes.

    Parameters
    ----------
    seed : int, optional
        Initialise the weights as nnU-Net does (He, slope 0.01; the last norm of a residual
        block at 0), by this seed, but for the heads: they begin by calling 2 % of the voxels
        lesion, not half of them (arXiv 1708.02002, section 3.3). Unlearning the other half
        carries a short training past the lesions, and some never come back from there. Without
        a seed weights are whatever torch fills in.
    """
    counts = {"residual_encoder": "n_blocks_per_stage", "plain": "n_conv_per_stage"}
    kinds = {"residual_encoder": ResidualEncoderUNet, "plain": PlainConvUNet}
    kind = architecture.kind
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0 if seed is None else seed)
        network = kinds[kind](
            input_channels=channels,
            n_stages=len(architecture.features),
            features_per_stage=list(architecture.features),
            conv_op=torch.nn.Conv3d,
            kernel_sizes=[list(kernel) for kernel in architecture.kernels],
            strides=[list(stride) for stride in architecture.strides],
            num_classes=CLASSES,
            n_conv_per_stage_decoder=list(architecture.decoder_convs),
            conv_bias=True,
            norm_op=torch.nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=torch.nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            deep_supervision=False,
            **{counts[kind]: list(architecture.blocks)},
        )
        if seed is not None:
            network.apply(network.initialize)
            for head in network.decoder.seg_layers:
                torch.nn.init.constant_(head.bias, 0)
                if channels == 1:
                    head.bias.data[1:] = _FIRST_MARGIN
                else:
                    torch.nn.init.normal_(head.weight, std=_FIRST_WEIGHT)
    return network


def deep_logits(network: Any, plan: Plan, images: Any) -> list[Any]:
    """Logits at every resolution of the decoder, finest first.

    Parameters
    ----------
    images : tensor, shape (batch, channels, z, y, x) with the plan's crop; normalised

    Returns
    -------
    list of tensor, shape (batch, 2, z, y, x)
        The first has the crop's size. The others are there if the network's decoder has
        deep supervision switched on.
    """
    pooled = functional.avg_pool3d(images, plan.pool) if plan.pool != (1, 1, 1) else images
    outputs = network(pooled)
    outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    if pooled is not images:
        outputs[0] = functional.interpolate(
            outputs[0], size=images.shape[2:], mode="trilinear", align_corners=False
        )
    return outputs if plan.prompt is None else [_corrected(logits, images) for logits in outputs]


def _corrected(logits: Any, images: Any) -> Any:
    """Logits as a correction of the ellipsoid of the lines: a probability of 1/2 on its surface."""
    radius = images[:, _RADIUS : _RADIUS + 1].to(logits.dtype)
    if radius.shape[2:] != logits.shape[2:]:
        radius = functional.adaptive_avg_pool3d(radius, logits.shape[2:])
    return torch.cat([logits[:, :1], logits[:, 1:] + _SLOPE * (radius - 1)], dim=1)


def cost(plan: Plan) -> tuple[int, int]:
    """Parameters, and floating point operations of one VOI's forward pass.

    Operations are those of the convolutions, transposed ones included, a multiplication and
    an addition counted as two, with the heads of deep supervision; norms, activations and sums
    are left out. For `baseline`: 190,062,284 and 5.82e12.
    """
    with torch.device("meta"):
        network = build_network(plan.architecture, channels=plan.channels)
        network.decoder.deep_supervision = True
        parameters = sum(weights.numel() for weights in network.parameters())
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty(1, plan.channels, *plan.network_shape))
    return parameters, int(counter.get_total_flops())
