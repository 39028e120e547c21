"""SNGAN's ResNets are the paper's: channels and sides after every block, spectral norm everywhere, classes."""

import pytest
import torch
from torch import nn

from models import InputError
from models.networks.sngan import SNGANConfig, SNGANDiscriminatorConfig

# side, width and multiplier of the generator, of the discriminator; channels of the maps, sides in pixels
CIFAR = (32, (256, 1), (128, 1), [256] * 3, [(128, 16), (128, 8), (128, 8), (128, 8)])
STL = (48, (64, 16), (64, 16), [256, 128, 64], [(64, 24), (128, 12), (256, 6), (512, 3), (1024, 3)])


def sizes(network, inputs, blocks):
    """Channels and side of what each block gives."""
    found = []
    hooks = [block.register_forward_hook(lambda _, __, maps: found.append(maps.shape[1:3])) for block in blocks]
    network(inputs)
    for hook in hooks:
        hook.remove()
    return [tuple(size) for size in found]


@pytest.mark.parametrize(("side", "generator", "discriminator", "up", "down"), [CIFAR, STL])
def test_the_papers_tables(side, generator, discriminator, up, down):
    (width, most), first = generator, side // 8
    drawn = SNGANConfig(side, width=width, max_multiplier=most).parts()["generator"]
    latents = torch.randn(2, 128)
    assert sizes(drawn, latents, drawn.blocks) == list(zip(up, (2 * first, 4 * first, 8 * first), strict=True))
    images = drawn(latents)
    assert images.shape == (2, 3, side, side)
    assert images.abs().max() <= 1
    (width, most) = discriminator
    judge = SNGANDiscriminatorConfig(side, width=width, max_multiplier=most).build()
    assert sizes(judge, images, judge.blocks) == down
    assert judge(images).shape == (2,)


def test_every_layer_of_the_discriminator_has_a_spectral_norm_of_one():
    judge = SNGANDiscriminatorConfig(width=8, classes=3).build().eval()
    layers = [layer for layer in judge.modules() if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) == 2 + 2 + 4 * 2 - 2 + 2  # two convolutions a block, two shortcuts, head and projection
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=0.2)  # of a power iteration
    bare = SNGANDiscriminatorConfig(width=8, norm="none").build()
    assert not any("parametrizations" in name for name, _ in bare.named_parameters())


def test_classes_begin_as_none_in_the_generator_and_project_in_the_discriminator():
    """A class's scale and shift begin at 0; its logit is the inner product of its row with what is pooled, eq. 3."""
    torch.manual_seed(0)
    drawn = SNGANConfig(width=4, classes=3).parts()["generator"].eval()
    latents = torch.randn(2, 128)
    torch.testing.assert_close(drawn(latents, torch.tensor([0, 1])), drawn(latents, torch.tensor([2, 2])))
    judge = SNGANDiscriminatorConfig(width=4, classes=3).build().eval()
    images, classes = torch.randn(2, 3, 32, 32), torch.tensor([0, 2])
    pooled = judge.features(images)[-1].relu().sum(dim=(2, 3))
    expected = judge.head(pooled)[:, 0] + (judge.projection.weight[classes] * pooled).sum(dim=1)
    torch.testing.assert_close(judge(images, classes), expected)
    with pytest.raises(InputError, match="give a class for each image"):
        judge(images)
    with pytest.raises(InputError, match="has no classes"):
        SNGANConfig(width=4).parts()["generator"](latents, classes)


def test_an_image_size_that_the_paper_has_no_network_for():
    with pytest.raises(InputError, match="image_size is one of 32, 48, 64, 128, not 40"):
        SNGANConfig(40)
