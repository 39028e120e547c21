"""Masks of translators: what they leave alone stays exactly, and a network without one is what it was."""

import math
from pathlib import Path

import pytest
import torch

import models
from models import InputError, ResNetConfig, Unblended, compose
from models.networks.attention import MaskHead


def attentive(seed: int = 0, **fields: int) -> torch.nn.Module:
    """A small generator whose masks have all values from 0 to 1."""
    torch.manual_seed(seed)
    network = ResNetConfig(**{"width": 4, "blocks": 1, "attention": 8, **fields}).parts()["a_to_b"].eval()
    torch.nn.init.normal_(network.mask.layers[-1].weight, std=30)
    return network


def test_composing_is_exact_where_a_mask_is_0_or_1() -> None:
    photos, painted = torch.rand(2, 3, 8, 8) * 2 - 1, torch.rand(2, 3, 8, 8) * 2 - 1
    masks = torch.zeros(2, 1, 8, 8)
    masks[..., 4:] = 1
    masks[..., 0, :] = 0.25
    made = compose(photos, painted, masks)
    assert torch.equal(made[..., 1:, :4], photos[..., 1:, :4])
    assert torch.equal(made[..., 1:, 4:], painted[..., 1:, 4:])
    torch.testing.assert_close(made[..., 0, :], 0.25 * painted[..., 0, :] + 0.75 * photos[..., 0, :])


def test_a_translation_is_the_painting_laid_over_the_photo_by_the_mask() -> None:
    network, photos = attentive(), torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        painted, masks = network.attend(photos)
        made, apart = network(photos), Unblended(network)(photos)
    assert masks.shape == (2, 1, 16, 24)
    assert masks.min() == 0
    assert masks.max() == 1
    assert torch.equal(made, compose(photos, painted, masks))
    assert torch.equal(apart, torch.cat([painted, masks], dim=1))
    untouched = (masks == 0).expand_as(photos)
    assert torch.equal(made[untouched], photos[untouched])


def test_a_mask_is_in_range_and_comes_back_from_its_ends() -> None:
    """The clamp would stop all gradients; while it trains they go straight through it."""
    head = MaskHead(4, 8, scale=4)
    maps = torch.randn(1, 4, 5, 6)
    assert head.eval()(maps).shape == (1, 1, 20, 24)
    for logit, end in ((-9.0, 0.0), (9.0, 1.0)):
        torch.nn.init.constant_(head.layers[-1].bias, logit)
        assert torch.equal(head.eval()(maps), torch.full((1, 1, 20, 24), end))
        head.zero_grad()
        mask = head.train()(maps)
        torch.testing.assert_close(mask, torch.full_like(mask, end))
        mask.mean().backward()
        assert head.layers[-1].bias.grad > 0


def test_a_mask_is_soft_while_it_learns_and_decides_afterwards() -> None:
    head = MaskHead(4, 8, scale=4)
    torch.nn.init.constant_(head.layers[-1].bias, 0.3)
    maps = torch.zeros(1, 4, 5, 6)
    for mask, logit in ((head.train()(maps), 0.3), (head.eval()(maps), 0.9)):
        torch.testing.assert_close(mask, torch.full_like(mask, 1.2 / (1 + math.exp(-logit)) - 0.1))


def test_without_attention_there_is_nothing_of_it() -> None:
    plain = ResNetConfig(width=4, blocks=1)
    assert not plain.attends
    assert not any(name.startswith("mask.") for name in plain.parts()["a_to_b"].state_dict())
    with pytest.raises(InputError, match="attention is "):
        ResNetConfig(attention=-1)


def test_what_paints_begins_alike_with_and_without_attention() -> None:
    torch.manual_seed(0)
    plain = ResNetConfig(width=4, blocks=1).parts()["a_to_b"].state_dict()
    torch.manual_seed(0)
    masked = ResNetConfig(width=4, blocks=1, attention=8).parts()["a_to_b"].state_dict()
    assert all(torch.equal(tensor, masked[name]) for name, tensor in plain.items())


def test_a_checkpoint_keeps_the_mask(tmp_path: Path) -> None:
    config = ResNetConfig(width=4, blocks=1, attention=8)
    parts = {"a_to_b": attentive(0), "b_to_a": attentive(1)}
    models.save(tmp_path / "m.safetensors", parts, models.metadata_of(config, domains=("horse", "zebra")))
    loaded = models.load(tmp_path / "m.safetensors", models.Translator)
    assert loaded.attends
    photos = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(loaded(photos, "b_to_a"), parts["b_to_a"](photos))
