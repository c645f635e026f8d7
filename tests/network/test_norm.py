"""The norm that keeps the layout is the same norm."""

import torch

from uls_data.network.architecture import build_network
from uls_data.network.norm import LayoutNorm, keep_layout
from uls_data.network.plan import load_plan


def test_it_is_an_instance_norm() -> None:
    torch.manual_seed(0)
    norm = torch.nn.InstanceNorm3d(5, affine=True)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    images = (3 * torch.randn(3, 5, 4, 6, 7) + 2).to(memory_format=torch.channels_last_3d)
    images.requires_grad_()
    found = LayoutNorm(norm)(images)
    torch.testing.assert_close(found, norm(images), rtol=1e-5, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    weights = torch.randn_like(found)
    one, two = (
        torch.autograd.grad((answer * weights).sum(), [images, norm.weight, norm.bias])
        for answer in (found, norm(images))
    )
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_a_network_keeps_its_answers_and_its_names() -> None:
    network = build_network(load_plan("small").architecture, 3).eval()
    names = list(network.state_dict())
    images = torch.randn(2, 1, 32, 64, 64)
    with torch.inference_mode():
        before = network(images)
        keep_layout(network)
        after = network(images)
    assert not any(isinstance(part, torch.nn.InstanceNorm3d) for part in network.modules())
    assert list(network.state_dict()) == names
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
