"""CycleGAN's networks are the ones that the paper and its authors' code describe."""

import pytest
import torch

from models import InputError, PatchGANConfig, ResNetConfig


def test_cyclegan_has_the_parameters_of_the_authors_code() -> None:
    """The authors print 11.378 M for the 9-block generator and 2.765 M for the discriminator."""
    generator = ResNetConfig().parts()["a_to_b"]
    assert sum(p.numel() for p in generator.parameters()) == 11_378_179
    discriminator = PatchGANConfig().build()
    assert sum(p.numel() for p in discriminator.parameters()) == 2_764_737


def test_a_patch_sees_70_pixels() -> None:
    """The gradient of one logit reaches exactly 70 x 70 input pixels (norms aside, which see everything)."""
    discriminator = PatchGANConfig(width=2, norm="spectral").build()
    images = torch.randn(1, 3, 128, 128, requires_grad=True)
    logits = discriminator(images)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert images.grad is not None
    rows = images.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert int(rows.max() - rows.min() + 1) == 70


def test_configs_refuse_what_cannot_be_built() -> None:
    with pytest.raises(InputError, match="blocks is "):
        ResNetConfig(blocks=0)
    with pytest.raises(InputError, match="layers is "):
        PatchGANConfig(layers=9)


def test_sub_pixel_layers_see_squares_of_two_by_two() -> None:
    """The first convolution has a photo's squares as channels, and what comes after the last lays them out again."""
    generator = ResNetConfig(width=2, blocks=1, sub_pixel=True).parts()["a_to_b"]
    squares, painted = generator.layers[0], generator.layers[-2]
    photo = torch.rand(1, 3, 8, 12)
    assert squares(photo).shape == (1, 12, 4, 6)
    torch.testing.assert_close(squares(photo)[0, :4, 1, 2], photo[0, 0, 2:4, 4:6].flatten())
    torch.testing.assert_close(painted(squares(photo)), photo)
    assert generator(photo).shape == photo.shape


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        (ResNetConfig(width=2, resampling="antialiased"), (4, 8, 12, 16)),  # the authors' code names 0, 4, 8, 12, 16
        (ResNetConfig(width=2), (4, 7, 10, 14)),
        (ResNetConfig(width=2, blocks=2), (4, 7, 10, 11)),
        (ResNetConfig(width=2, blocks=1), (4, 7, 10)),
        (ResNetConfig(width=2, sub_pixel=True), (5, 8, 12)),
    ],
)
def test_cut_compares_pixels_halving_convolutions_and_the_first_and_fifth_block(config, numbers) -> None:
    generator, image = config.parts()["a_to_b"], torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        expected = [image, *(generator.layers[: number + 1](image) for number in numbers)]
        for maps, plain in zip(generator.features(image), expected, strict=True):
            torch.testing.assert_close(maps, plain)
