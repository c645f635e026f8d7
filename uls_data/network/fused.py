"""Norms, activations, sums and pooling of a residual U-Net in few passes over memory, on a GPU.

At full resolution a feature map of the `baseline` plan has half a gigabyte, and torch's own
instance norm first copies it out of the channels-last layout that the convolutions want. Here a
norm is one pass that sums and one that applies scale, shift, residual and activation; the bias
before a norm, which the norm takes out again, is left out; and the last activation and the head
are one kernel that gives the margin. Sums are taken in a fixed order: equal images, equal masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional

try:
    import triton
    import triton.language as tl
except ImportError:  # torch for CPUs comes without it
    triton = None

_LAYOUT = torch.channels_last_3d
_BLOCK = 4096
_PARTS = 1024
_SLOPE = 0.01


def fused_margin(network: Any) -> Callable[[Any], Any] | None:
    """Fused forward pass of a network, or None where it cannot be had.

    Parameters
    ----------
    network : torch.nn.Module
        On the device it will run on, channels last. What it is made of is looked at: a
        `ResidualEncoderUNet` of basic blocks with affine instance norms and LeakyReLU, without
        squeeze and excitation, dropout or bottlenecks.

    Returns
    -------
    callable or None
        From a normalised image, shape (1, 1, z, y, x), to the logit of lesion minus that of
        background, shape (1, z, y, x), float32.
    """
    if triton is None or not _known(network):
        return None
    return lambda image: _forward(network, image)


class Replayed:
    """A function of one image on a GPU, recorded once and replayed: one launch instead of 400.

    All images must have one shape and dtype.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._graph: Any = None
        self._image: Any = None
        self._result: Any = None

    def __call__(self, image: Any) -> Any:
        """Give the result for an image, in memory of its own."""
        if self._graph is None:
            self._record(image)
        self._image.copy_(image)
        self._graph.replay()
        return self._result.clone()

    def _record(self, image: Any) -> None:
        self._image = image.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._function(self._image)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._result = self._function(self._image)
        self._graph = graph


def _known(network: Any) -> bool:
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
    from dynamic_network_architectures.building_blocks.residual import BasicBlockD
    from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU

    if not isinstance(network, ResidualEncoderUNet) or network.encoder.stem is None:
        return False
    blocks = [block for stage in network.encoder.stages for block in stage.blocks]
    parts = [part for part in network.modules() if isinstance(part, ConvDropoutNormReLU)]
    slopes = {m.negative_slope for m in network.modules() if isinstance(m, torch.nn.LeakyReLU)}
    return (
        all(isinstance(block, BasicBlockD) for block in blocks)
        and not any(block.apply_se or block.apply_stochastic_depth for block in blocks)
        and slopes == {_SLOPE}
        and len(network.decoder.seg_layers[-1].weight) == 2
        and all(
            isinstance(getattr(part, "norm", None), torch.nn.InstanceNorm3d)
            and part.norm.affine
            and getattr(part, "dropout", None) is None
            for part in parts
        )
    )


def _forward(network: Any, image: Any) -> Any:
    encoder, decoder = network.encoder, network.decoder
    features = image
    for part in encoder.stem.convs:
        features = _part(part, features)
    skips = []
    for stage in encoder.stages:
        for block in stage.blocks:
            features = _block(block, features)
        skips.append(features)
    last = len(decoder.stages) - 1
    for at, (up, stage) in enumerate(zip(decoder.transpconvs, decoder.stages, strict=True)):
        features = _joined(up, features, skips[-at - 2])
        *before, part = stage.convs
        for other in before:
            features = _part(other, features)
        if at < last:
            features = _part(part, features)
    return _head(part, features, decoder.seg_layers[-1])


def _block(block: Any, features: Any) -> Any:
    residual = features
    if isinstance(block.skip, torch.nn.Sequential):
        for step in block.skip:
            if isinstance(step, torch.nn.AvgPool3d):
                residual = _pooled(residual, step.kernel_size)
            else:
                residual = _part(step, residual, active=False)
    return _part(block.conv2, _part(block.conv1, features), residual)


def _convolved(conv: Any, features: Any) -> Any:
    """Without bias: a norm follows."""
    found = functional.conv3d(
        features, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups
    )
    return found.contiguous(memory_format=_LAYOUT)


def _part(part: Any, features: Any, residual: Any = None, active: bool = True) -> Any:
    """Convolution, norm, residual, activation."""
    features = _convolved(part.conv, features)
    channels = features.shape[1]
    voxels = features.numel() // channels
    out = torch.empty_like(features)
    tile = _tile(channels)
    _apply[(triton.cdiv(voxels, tile[0]), triton.cdiv(channels, tile[1]))](
        features, _scale_shift(features, part.norm), features if residual is None else residual,
        out, voxels, channels, _SLOPE, residual is not None, active, *tile, num_warps=8,
    )  # fmt: skip
    return out


def _tile(channels: int) -> tuple[int, int]:
    wide = 32 if channels <= 32 else 64
    return _BLOCK // wide, wide


def _scale_shift(features: Any, norm: Any) -> Any:
    """Find what the norm multiplies by and adds, (2, channels), float32."""
    channels = features.shape[1]
    voxels = features.numel() // channels
    tile = _tile(channels)
    each = triton.cdiv(triton.cdiv(voxels, _PARTS), tile[0]) * tile[0]
    parts = triton.cdiv(voxels, each)
    sums = features.new_empty((parts, 2, channels), dtype=torch.float32)
    _sum[(parts, triton.cdiv(channels, tile[1]))](
        features, sums, voxels, channels, each // tile[0], *tile, num_warps=8
    )
    found = features.new_empty((2, channels), dtype=torch.float32)
    _finish[(channels,)](
        sums, norm.weight, norm.bias, found, parts, channels, voxels, norm.eps, _PARTS
    )
    return found


def _pooled(features: Any, stride: Any) -> Any:
    """Mean over boxes of the stride, as AvgPool3d."""
    steps = (stride,) * 3 if isinstance(stride, int) else tuple(stride)
    _, channels, *size = features.shape
    small = [n // step for n, step in zip(size, steps, strict=True)]
    out = torch.empty(
        (1, channels, *small), dtype=features.dtype, device=features.device, memory_format=_LAYOUT
    )
    tile = _tile(channels)
    voxels = out.numel() // channels
    _pool[(triton.cdiv(voxels, tile[0]), triton.cdiv(channels, tile[1]))](
        features, out, voxels, channels, size[1], size[2], small[1], small[2],
        *steps, *tile, num_warps=8,
    )  # fmt: skip
    return out


def _joined(up: Any, features: Any, skip: Any) -> Any:
    """Upsampled features (with their bias) and the skip, side by side."""
    raised = functional.conv_transpose3d(features, up.weight, None, up.stride, up.padding)
    raised = raised.contiguous(memory_format=_LAYOUT)
    channels, others = raised.shape[1], skip.shape[1]
    out = torch.empty(
        (1, channels + others, *raised.shape[2:]),
        dtype=raised.dtype, device=raised.device, memory_format=_LAYOUT,
    )  # fmt: skip
    tile = _tile(channels + others)
    voxels = raised.numel() // channels
    _join[(triton.cdiv(voxels, tile[0]), triton.cdiv(channels + others, tile[1]))](
        raised, raised if up.bias is None else up.bias, skip, out, voxels, channels, others,
        up.bias is not None, *tile, num_warps=8,
    )  # fmt: skip
    return out


def _head(part: Any, features: Any, head: Any) -> Any:
    """Last part and the head: the margin."""
    features = _convolved(part.conv, features)
    channels = features.shape[1]
    voxels = features.numel() // channels
    weight = head.weight.float().reshape(2, -1)
    margin = features.new_empty((1, *features.shape[2:]), dtype=torch.float32)
    bias = features.new_zeros(1, dtype=torch.float32)
    if head.bias is not None:
        bias = (head.bias[1] - head.bias[0]).float().reshape(1)
    _margin[(triton.cdiv(voxels, 128),)](
        features, _scale_shift(features, part.norm), (weight[1] - weight[0]).contiguous(), bias,
        margin, voxels, channels, _SLOPE, 128, triton.next_power_of_2(channels),
    )  # fmt: skip
    return margin


if triton is not None:
    # Feature maps are [voxel, channel] in memory; every program has a tile of both.

    @triton.jit
    def _sum(
        x, sums, voxels, channels,
        steps: tl.constexpr, tall: tl.constexpr, wide: tl.constexpr,
    ):  # fmt: skip
        c = tl.program_id(1) * wide + tl.arange(0, wide)
        v = tl.program_id(0) * steps * tall + tl.arange(0, tall)
        one = tl.zeros((tall, wide), tl.float32)
        two = tl.zeros((tall, wide), tl.float32)
        for _ in range(steps):
            here = (v[:, None] < voxels) & (c[None, :] < channels)
            value = tl.load(x + v[:, None] * channels + c[None, :], mask=here, other=0)
            value = value.to(tl.float32)
            one += value
            two += value * value
            v += tall
        at = sums + tl.program_id(0) * 2 * channels + c
        tl.store(at, tl.sum(one, 0), mask=c < channels)
        tl.store(at + channels, tl.sum(two, 0), mask=c < channels)

    @triton.jit
    def _finish(sums, weight, bias, out, parts, channels, voxels, eps, most: tl.constexpr):
        c = tl.program_id(0)
        at = tl.arange(0, most)
        here = at < parts
        one = tl.load(sums + at * 2 * channels + c, mask=here, other=0).to(tl.float64)
        two = tl.load(sums + at * 2 * channels + channels + c, mask=here, other=0).to(tl.float64)
        mean = tl.sum(one, 0) / voxels
        variance = tl.maximum(tl.sum(two, 0) / voxels - mean * mean, 0.0)
        scale = tl.load(weight + c).to(tl.float64) / tl.sqrt(variance + eps)
        shift = tl.load(bias + c).to(tl.float64) - mean * scale
        tl.store(out + c, scale.to(tl.float32))
        tl.store(out + channels + c, shift.to(tl.float32))

    @triton.jit
    def _apply(
        x, scale, residual, out, voxels, channels, slope,
        added: tl.constexpr, active: tl.constexpr, tall: tl.constexpr, wide: tl.constexpr,
    ):  # fmt: skip
        v = tl.program_id(0) * tall + tl.arange(0, tall)
        c = tl.program_id(1) * wide + tl.arange(0, wide)
        known = c < channels
        here = (v[:, None] < voxels) & known[None, :]
        at = v[:, None] * channels + c[None, :]
        value = tl.load(x + at, mask=here, other=0).to(tl.float32)
        value = value * tl.load(scale + c, mask=known, other=0)[None, :]
        value += tl.load(scale + channels + c, mask=known, other=0)[None, :]
        if added:
            value += tl.load(residual + at, mask=here, other=0).to(tl.float32)
        if active:
            value = tl.where(value > 0, value, value * slope)
        tl.store(out + at, value.to(out.dtype.element_ty), mask=here)

    @triton.jit
    def _pool(
        x, out, voxels, channels, ny, nx, my, mx,
        sz: tl.constexpr, sy: tl.constexpr, sx: tl.constexpr,
        tall: tl.constexpr, wide: tl.constexpr,
    ):  # fmt: skip
        v = tl.program_id(0) * tall + tl.arange(0, tall)
        c = tl.program_id(1) * wide + tl.arange(0, wide)
        here = (v[:, None] < voxels) & (c[None, :] < channels)
        first = ((v // (mx * my) * sz) * ny + v // mx % my * sy) * nx + v % mx * sx
        total = tl.zeros((tall, wide), tl.float32)
        for z in tl.static_range(sz):
            for y in tl.static_range(sy):
                for k in tl.static_range(sx):
                    at = first + (z * ny + y) * nx + k
                    value = tl.load(x + at[:, None] * channels + c[None, :], mask=here, other=0)
                    total += value.to(tl.float32)
        total = total / (sz * sy * sx)
        at = v[:, None] * channels + c[None, :]
        tl.store(out + at, total.to(out.dtype.element_ty), mask=here)

    @triton.jit
    def _join(
        one, bias, two, out, voxels, first, second,
        biased: tl.constexpr, tall: tl.constexpr, wide: tl.constexpr,
    ):  # fmt: skip
        v = tl.program_id(0) * tall + tl.arange(0, tall)
        c = tl.program_id(1) * wide + tl.arange(0, wide)
        mine = c < first
        here = v[:, None] < voxels
        value = tl.load(
            one + v[:, None] * first + c[None, :], mask=here & mine[None, :], other=0
        ).to(tl.float32)
        if biased:
            value += tl.load(bias + c, mask=mine, other=0).to(tl.float32)[None, :]
        theirs = (c >= first) & (c < first + second)
        value += tl.load(
            two + v[:, None] * second + (c - first)[None, :], mask=here & theirs[None, :], other=0
        ).to(tl.float32)
        at = v[:, None] * (first + second) + c[None, :]
        inside = here & (c < first + second)[None, :]
        tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)

    @triton.jit
    def _margin(
        x, scale, weight, bias, out, voxels, channels, slope,
        tall: tl.constexpr, wide: tl.constexpr,
    ):  # fmt: skip
        v = tl.program_id(0) * tall + tl.arange(0, tall)
        c = tl.arange(0, wide)
        known = c < channels
        here = (v[:, None] < voxels) & known[None, :]
        value = tl.load(x + v[:, None] * channels + c[None, :], mask=here, other=0)
        value = value.to(tl.float32) * tl.load(scale + c, mask=known, other=0)[None, :]
        value += tl.load(scale + channels + c, mask=known, other=0)[None, :]
        value = tl.where(value > 0, value, value * slope)
        value = value * tl.load(weight + c, mask=known, other=0)[None, :]
        tl.store(out + v, tl.sum(value, 1) + tl.load(bias), mask=v < voxels)
