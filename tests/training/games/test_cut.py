"""CUT: its objective written plainly, what each step moves, what is kept of it, and what FastCUT changes."""

import copy
import math

import pytest
import torch
from safetensors import safe_open
from torch.nn.functional import cross_entropy, normalize

import models
from models import InputError, ResNetConfig
from tests.training.games.unpaired import made, moved, photos, sight
from training import CUTRun, train
from training.networks.backbone import EfficientNetLite
from training.options.flags import from_dict, merged

ALL = {"patches": 1024}  # places of a layer at 32 px
STILL = {"g_lr": 1e-9, "d_lr": 1e-9}
FP32 = {"precision": "fp32"}


@pytest.fixture
def cut(smallest, tmp_path):
    """A tiny CUT run; keyword arguments are groups of options that differ."""

    def make(**changes: dict) -> CUTRun:
        base = merged(smallest("cut", batch=2, blocks=2), {"output": {"out": str(tmp_path / "run")}})
        return from_dict(CUTRun, merged(base, changes))

    return make


def seen(game, images):
    """Of every layer and image, the vectors of all places: [p, d] each."""
    return [
        [normalize(head(one.flatten(1).T), dim=1) for one in maps]
        for head, maps in zip(game.heads.heads, game.a_to_b.features(images), strict=True)
    ]


def contrast(queries, keys):
    """Equation 3 with means for sums."""
    losses = [
        cross_entropy(query @ key.T.detach() / 0.07, torch.arange(len(query)))
        for layer in zip(queries, keys, strict=True)
        for query, key in zip(*layer, strict=True)
    ]
    return torch.stack(losses).mean()


def test_the_generator_minimises_equation_5(cut):
    game, real = made(cut(game=ALL, machine=FP32)), photos()
    a, b = real["a"], real["b"]
    learning = [*game.a_to_b.parameters(), *game.heads.parameters()]
    fake = game.a_to_b(a)
    of_a, of_b = contrast(seen(game, fake), seen(game, a)), contrast(seen(game, game.a_to_b(b)), seen(game, b))
    adversarial = (game.opponents.networks["b"](fake) - 1).square().mean()
    plain = torch.autograd.grad(adversarial + of_a + of_b, learning)

    _, terms = game._generator_step(real, sight())
    for name, expected in (("loss_g", adversarial), ("nce", of_a), ("nce_identity", of_b)):
        torch.testing.assert_close(terms[name], expected.detach(), rtol=1e-4, atol=1e-5)
    norm = torch.cat([one.flatten() for one in plain]).norm()
    missed = torch.cat([(mine.grad - one).flatten() for mine, one in zip(learning, plain, strict=True)]).norm()
    assert missed < 1e-3 * norm


def test_flip_equivariance_compares_a_mirrored_photos_maps_mirrored_back(cut):
    """The discriminator is shown the mirrored translation, and the keys are of the photo as it is."""
    game = made(cut(game=ALL | {"variant": "fastcut"}, machine=FP32, optimizer=STILL))
    real = photos(count=4)
    fakes, terms = game._generator_step(real, sight())
    with torch.no_grad():
        plain, other = game.a_to_b(real["a"]), game.a_to_b(real["a"].flip(3))
        mirrored = [
            bool((fake - one).abs().mean() < (fake - two).abs().mean())
            for fake, one, two in zip(fakes["b"], other, plain, strict=True)
        ]
        assert {True, False} == set(mirrored)
        wanted = torch.where(torch.tensor(mirrored)[:, None, None, None], other, plain)
        torch.testing.assert_close(fakes["b"], wanted, rtol=1e-4, atol=1e-4)
        maps = game.a_to_b.features(wanted)
        back = [
            torch.stack([one.flip(2) if flip else one for one, flip in zip(layer, mirrored, strict=True)])
            for layer in maps
        ]
        queries = [
            [normalize(head(one.flatten(1).T), dim=1) for one in layer]
            for head, layer in zip(game.heads.heads, back, strict=True)
        ]
        torch.testing.assert_close(terms["nce"], contrast(queries, seen(game, real["a"])), rtol=1e-3, atol=1e-4)
    assert "nce_identity" not in terms


def test_each_step_moves_its_networks_and_no_other(cut):
    game, real = made(cut()), photos()
    before = copy.deepcopy(game.players.networks)
    fake, _ = game._generator_step(real, sight())
    assert moved(game.players.networks, before) == {"a_to_b", "heads"}
    before = copy.deepcopy(game.players.networks)
    game.opponents.step(real, fake, sight())
    assert moved(game.players.networks, before) == {"judge_b"}


def test_a_run_keeps_the_heads_and_its_checkpoint_is_a_translator_of_one_direction(cut, small):
    run = cut(pace={"kimg": 0.004, "snapshot_kimg": 0.004}, watch={"fid_kimg": 0.004, "fid_images": 10})
    outcome = train(run, extractor=small)
    model = models.load(outcome.checkpoint, models.Translator)
    assert model.directions == ("a_to_b",)
    assert list(model.metadata.metrics) == ["fid_a_to_b"]
    with safe_open(outcome.checkpoint, "pt") as file:
        assert {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118  it is no mapping == {"a_to_b"}
    state = torch.load(f"{run.output.out}/state.pt", weights_only=True)
    assert set(state["networks"]) == {"a_to_b", "heads", "judge_b"}
    assert set(state["optimizers"]) == {"generators", "heads", "discriminators"}


def test_it_begins_with_one_direction_of_a_checkpoint_that_has_both(cut, tmp_path):
    config = ResNetConfig(width=4, blocks=2)
    parts, start = config.parts(), tmp_path / "both.safetensors"
    models.save(start, parts, models.metadata_of(config, domains=("horse", "zebra")))
    game = made(cut(network={"start": str(start), "resampling": "strided"}))
    for key, tensor in parts["a_to_b"].state_dict().items():
        torch.testing.assert_close(
            game.a_to_b.state_dict()[key], tensor, rtol=1e-3, atol=1e-3
        )  # kept in half precision
    assert len(game.heads.heads) == 5


@pytest.mark.parametrize("fast", [True, False])
def test_every_trick_a_mask_and_a_projected_discriminator_play_along(cut, stepped, tricks, monkeypatch, fast):
    if fast:
        game = tricks | {"variant": "fastcut"}
        run = cut(network={"attention": 4}, game=game | {"sparsity": 0.1, "smoothness": 0.1})
    else:
        monkeypatch.setattr("training.games.opponents.backbone", EfficientNetLite)
        run = cut(network={"discriminator": "projected"}, data={"image_size": 64}, game={"loss": "hinge"})
    _, told = stepped(run, steps=1)
    assert all(math.isfinite(value) for value in told[0].values())
    assert {"nce", "mask"} <= told[0].keys() if fast else {"nce", "nce_identity"} <= told[0].keys()


def test_defaults_are_the_papers_and_fastcut_brings_its_own_under_flags(cut):
    plain = from_dict(CUTRun, {"data": {"data": "fake"}, "output": {"out": "run"}})
    fast = cut(game={"variant": "fastcut"})
    assert (plain.game.nce, plain.game.nce_identity, plain.game.flip_equivariance) == (1, 1, False)
    assert (fast.game.nce, fast.game.nce_identity, fast.game.flip_equivariance) == (10, 0, True)
    assert cut(game={"variant": "fastcut", "nce": 5.0}).game.nce == 5
    assert (plain.game.temperature, plain.game.patches, plain.network.projection) == (0.07, 256, 256)
    assert (plain.game.loss, plain.game.pool, plain.network.resampling) == ("lsgan", 0, "antialiased")


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"game": {"nce": 0.0}}, "nce"),
        ({"game": {"patches": 1}}, "patches"),
        ({"game": {"temperature": 0.0}}, "temperature"),
        ({"game": {"perceptual": 1.0}}, "perceptual"),
        ({"game": {"cycle": 1.0}}, "cycle"),
        ({"game": {"sparsity": 1.0}}, "sparsity"),
        ({"network": {"projection": 0}}, "projection"),
        ({"machine": {"compile": True}}, "compile"),
        ({"watch": {"fid_kimg": 1.0, "fid_reference_a": "horses.npz"}}, "fid_reference_a"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_flag(cut, changes, option):
    with pytest.raises(InputError) as caught:
        cut(**changes)
    assert caught.value.where == option
