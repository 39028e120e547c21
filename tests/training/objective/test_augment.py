"""Differentiable augmentation: what each transformation may do, and what it must leave alone."""

import pytest
import torch
from torch import Tensor

from models import InputError
from training.engine.draws import Draws
from training.objective.augment import POLICIES, diff_augment

ALL = tuple(POLICIES)


def seeded(seed: int = 0, rank: int = 0, world: int = 1) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), rank, world)


def pictures(n: int = 16, channels: int = 3, height: int = 16, width: int = 16) -> Tensor:
    return torch.rand(n, channels, height, width, generator=seeded(99).generator) * 2 - 1


def test_the_policies_are_the_papers() -> None:
    assert ALL == ("color", "translation", "cutout")


def test_an_empty_policy_is_the_identity() -> None:
    images = pictures()
    assert diff_augment(images, (), seeded()) is images


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown augmentation 'colour': choose from color, translation, cutout"):
        diff_augment(pictures(), ["color", "colour"], seeded())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_draws_follow_the_seed_and_differ_from_image_to_image(name: str, channels: int) -> None:
    images = pictures(1, channels).expand(64, -1, -1, -1)
    once, again = (diff_augment(images, [name], seeded(5)) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, diff_augment(images, [name], seeded(6)))
    assert once.shape == images.shape
    assert once.dtype == images.dtype
    assert len(torch.unique(once.flatten(1), dim=0)) > 8


@pytest.mark.parametrize("name", ALL)
def test_two_processes_augment_as_one_does(name: str) -> None:
    images = pictures(8)
    shares = [diff_augment(half, [name], seeded(5, rank, 2)) for rank, half in enumerate(images.chunk(2))]
    assert torch.equal(torch.cat(shares), diff_augment(images, [name], seeded(5)))


def test_transformations_are_applied_in_the_order_given() -> None:
    """Brightness lifts the zeros that a hole or a shift leaves, unless it comes first."""
    images = pictures(64).abs() + 0.6  # no zeros of its own, and none after -0.5
    last = diff_augment(images, ["color", "cutout"], seeded())
    first = diff_augment(images, ["cutout", "color"], seeded())
    assert (last == 0).flatten(1).any(dim=1).all()
    assert not (first == 0).flatten(1).any(dim=1).all()


@pytest.mark.parametrize("policy", [*[(name,) for name in ALL], ALL])
def test_gradients_pass_as_the_numbers_say(policy: tuple[str, ...]) -> None:
    images = pictures(2, 3, 6, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, policy, seeded(4)), images)


def test_color_changes_brightness_by_up_to_a_half() -> None:
    """Of a grey flat image only brightness is left: saturation and contrast have nothing to scale."""
    flat = torch.full((4000, 3, 2, 2), 0.25)
    shift = (diff_augment(flat, ["color"], seeded()) - 0.25)[:, 0, 0, 0]
    assert -0.5 <= shift.min() < -0.49
    assert 0.49 < shift.max() <= 0.5
    assert shift.mean().abs() < 0.02


def test_color_scales_saturation_from_zero_to_two() -> None:
    """Channels at -a, 0, a around their mean: what is left after contrast, whose factor the luma gives."""
    n = 4000
    images = torch.zeros(n, 3, 2, 2)
    images[:, 0], images[:, 2] = -0.1, 0.1
    images += torch.tensor([[0.3, -0.3], [-0.3, 0.3]])  # a grey pattern, for contrast to scale
    out = diff_augment(images, ["color"], seeded())
    contrast = (out[..., 0, 0] - out[..., 0, 1]).mean(dim=1) / 0.6
    saturation = (out[:, 2, 0, 0] - out[:, 0, 0, 0]) / 0.2 / contrast
    assert 0.5 <= contrast.min() < 0.51
    assert 1.49 < contrast.max() <= 1.5 + 1e-5
    assert -1e-5 <= saturation.min() < 0.01
    assert 1.99 < saturation.max() <= 2 + 1e-4


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 8)])
def test_translation_moves_by_up_to_an_eighth_and_fills_with_zero(height: int, width: int) -> None:
    """One bright pixel in the middle shows where the image went."""
    images = torch.zeros(2000, 1, height, width)
    images[:, :, height // 2, width // 2] = 1
    out = diff_augment(images, ["translation"], seeded())
    assert torch.equal(out.sum(dim=(1, 2, 3)), torch.ones(2000))
    _, _, rows, columns = out.nonzero(as_tuple=True)
    assert (rows - height // 2).unique().tolist() == list(range(-(height // 8), height // 8 + 1))
    assert (columns - width // 2).unique().tolist() == list(range(-(width // 8), width // 8 + 1))


def test_translation_shifts_the_whole_image() -> None:
    images = pictures(32, 3, 16, 8)
    out = diff_augment(images, ["translation"], seeded())
    for image, moved in zip(images, out, strict=True):
        candidates = []
        for down in range(-2, 3):
            for right in range(-1, 2):
                rolled = torch.roll(image, (down, right), dims=(1, 2))
                rolled[:, : max(down, 0)] = 0
                rolled[:, 16 + min(down, 0) :] = 0
                rolled[:, :, : max(right, 0)] = 0
                rolled[:, :, 8 + min(right, 0) :] = 0
                candidates.append(torch.equal(rolled, moved))
        assert sum(candidates) == 1


@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 20)])
def test_cutout_is_one_rectangle_of_half_the_side(height: int, width: int) -> None:
    images = torch.ones(500, 3, height, width)
    out = diff_augment(images, ["cutout"], seeded())
    gone = out == 0
    assert torch.equal(gone[:, :1].expand_as(gone), gone)  # in all channels at once
    assert torch.equal(out[~gone], images[~gone])
    rows, columns = gone[:, 0].any(dim=2), gone[:, 0].any(dim=1)
    assert torch.equal(rows[:, :, None] & columns[:, None, :], gone[:, 0])  # a rectangle, and unbroken:
    for side, lines in ((height, rows), (width, columns)):
        assert ((lines[:, 1:] != lines[:, :-1]).sum(dim=1) <= 2).all()
        assert lines.sum(dim=1).max() == side // 2
        # its centre is anywhere from edge to edge, so half of it lies outside at most, and at either end
        assert lines[:, side // 4 - 1 :].sum(dim=1).min() == 1
        assert lines[:, : side - side // 4 + 1].sum(dim=1).min() == 1
        assert lines.any(dim=0).all()  # every line is in some hole


def test_bf16_images_stay_bf16() -> None:
    images = pictures().bfloat16()
    assert diff_augment(images, ALL, seeded()).dtype == torch.bfloat16
