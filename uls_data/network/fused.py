"""Norms, activations, sums and pooling of a residual U-Net in few passes over memory, on a GPU.

At full resolution a feature map of the `baseline` plan has half a gigabyte, and torch's own
instance norm first copies it out of the channels-last layout that the convolutions want. Here a
norm is one pass that sums and one that applies scale, shift, residual and activation; the bias
before a norm, which the norm takes out again, is left out; and the last activation and the head
are one kernel that gives the margin. Sums are taken in a fixed order: equal images, equal masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

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
        Of `build_network`, on the device it will run on, channels last; residual encoders only.

    Returns
    -------
    callable or None
        From a normalised image, shape (1, 1, z, y, x), to the logit of lesion minus that of
        background, shape (1, z, y, x), float32.
    """
    if triton is None or not isinstance(network, ResidualEncoderUNet):
        return None
    return lambda image: _forward(network, image)


class Replayed:
    """A function of one image on a GPU, recorded once and replayed: one launch instead of hundreds.

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
    out = torch.empty_like(features)
    voxels, channels, grid, tile = _tiled(out)
    _apply[grid](
        features, _scale_shift(features, part.norm), features if residual is None else residual,
        out, voxels, channels, _SLOPE, residual is not None, active, *tile, num_warps=8,
    )  # fmt: skip
    return out


def _tiled(features: Any) -> tuple[int, int, tuple[int, int], tuple[int, int]]:
    """Voxels, channels, number of tiles, and size of a tile, each along voxels and channels."""
    channels = features.shape[1]
    voxels = features.numel() // channels
    wide = 32 if channels <= 32 else 64
    tall = _BLOCK // wide
    grid = triton.cdiv(voxels, tall), triton.cdiv(channels, wide)
    return voxels, channels, grid, (tall, wide)


def _scale_shift(features: Any, norm: Any) -> Any:
    """Find what the norm multiplies by and adds, (2, channels), float32."""
    voxels, channels, (tiles, across), tile = _tiled(features)
    steps = triton.cdiv(tiles, _PARTS)
    parts = triton.cdiv(tiles, steps)
    sums = features.new_empty((parts, 2, channels), dtype=torch.float32)
    _sum[(parts, across)](features, sums, voxels, channels, steps, *tile, num_warps=8)
    found = features.new_empty((2, channels), dtype=torch.float32)
    _finish[(channels,)](
        sums, norm.weight, norm.bias, found, parts, channels, voxels, norm.eps, _PARTS
    )
    return found


def _empty(like: Any, channels: int, size: Sequence[int]) -> Any:
    return torch.empty(
        (1, channels, *size), dtype=like.dtype, device=like.device, memory_format=_LAYOUT
    )


def _pooled(features: Any, steps: Sequence[int]) -> Any:
    """Mean over boxes, as AvgPool3d."""
    size = features.shape[2:]
    out = _empty(features, features.shape[1], [n // k for n, k in zip(size, steps, strict=True)])
    voxels, channels, grid, tile = _tiled(out)
    _pool[grid](
        features, out, voxels, channels, *size[1:], *out.shape[3:], *steps, *tile, num_warps=8
    )
    return out


def _joined(up: Any, features: Any, skip: Any) -> Any:
    """Upsampled features (with their bias) and the skip, side by side."""
    raised = functional.conv_transpose3d(features, up.weight, None, up.stride, up.padding)
    raised = raised.contiguous(memory_format=_LAYOUT)
    first, second = raised.shape[1], skip.shape[1]
    out = _empty(raised, first + second, raised.shape[2:])
    voxels, _, grid, tile = _tiled(out)
    _join[grid](raised, up.bias, skip, out, voxels, first, second, *tile, num_warps=8)
    return out


def _head(part: Any, features: Any, head: Any) -> Any:
    """Last part and the head: the margin."""
    features = _convolved(part.conv, features)
    channels = features.shape[1]
    voxels = features.numel() // channels
    weight = head.weight.float().reshape(2, -1)
    margin = features.new_empty((1, *features.shape[2:]), dtype=torch.float32)
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
        tall: tl.constexpr, wide: tl.constexpr,
    ):  # fmt: skip
        v = tl.program_id(0) * tall + tl.arange(0, tall)
        c = tl.program_id(1) * wide + tl.arange(0, wide)
        mine = c < first
        here = v[:, None] < voxels
        value = tl.load(
            one + v[:, None] * first + c[None, :], mask=here & mine[None, :], other=0
        ).to(tl.float32)
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
