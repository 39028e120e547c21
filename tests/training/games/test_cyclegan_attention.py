"""CycleGAN with attention: its objective, what is kept, and what a run of masks alone needs."""

import math

import pytest
import torch

import models
from models import InputError, compose
from training import train
from training.engine.draws import Draws
from training.engine.stage import Moment
from training.games import masks as masks_of_games
from training.games.judge import Sight
from training.networks.activation_map import ActivationMap
from training.networks.backbone import EfficientNetLite
from training.networks.backbone_weights import Classifier
from training.objective.attention import edge_aware_variation, guidance, sparsity
from training.run.build import build, stage

ATTENTION = {"attention": 4}
MASKS_ALONE = {
    "network": ATTENTION | {"painter": "keep"},
    "game": {
        "adversarial": 0.0,
        "cycle": 0.0,
        "identity": 0.0,
        "guide": 1.0,
        "guide_classes": "339-355",
        "sparsity": 0.1,
    },
}


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """EfficientNet-Lite0 with random weights, in place of those of the registry."""
    torch.manual_seed(0)
    network, heads = (
        EfficientNetLite(),
        Classifier(
            torch.randn(1280, 320, 1, 1), *map(torch.randn, (1280,)), *(torch.randn(1000, 1280), torch.randn(1000))
        ),
    )
    monkeypatch.setattr(masks_of_games, "backbone", lambda: network)
    monkeypatch.setattr(masks_of_games, "classifier", lambda: heads)


def made(run):
    return build(run, stage(run.machine, run.pace))[0]


def looked(images: torch.Tensor, network: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    painted, masks = network.attend(images)
    return compose(images, painted, masks), masks


def test_the_objective_is_equation_3_on_composed_pictures_and_the_masks_terms(translator):
    weights = {"sparsity": 0.3, "smoothness": 0.7}
    run = translator(
        machine={"precision": "fp32"}, network=ATTENTION, game=weights, optimizer={"g_lr": 1e-9, "d_lr": 1e-9}
    )
    game = made(run)
    for network in (game.a_to_b, game.b_to_a):
        torch.nn.init.normal_(network.mask.layers[-1].weight)
    a, b = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    game.g_mover.at(Moment(0, 0, 100))
    _, terms = game._generator_step({"a": a, "b": b}, Sight(Draws(torch.Generator()), Moment(0, 0, 100)))
    ours = [p.grad.clone() for p in game.generators.parameters()]
    game.generators.zero_grad()
    (fake_b, mask_a), (fake_a, mask_b) = looked(a, game.a_to_b), looked(b, game.b_to_a)
    loss = ((game.opponents.networks["a"](fake_a) - 1) ** 2).mean() + (
        (game.opponents.networks["b"](fake_b) - 1) ** 2
    ).mean()
    loss = loss + 10 * ((game.b_to_a(fake_b) - a).abs().mean() + (game.a_to_b(fake_a) - b).abs().mean())
    loss = loss + 5 * ((game.b_to_a(a) - a).abs().mean() + (game.a_to_b(b) - b).abs().mean())
    loss = loss + 0.3 * (sparsity(mask_a) + sparsity(mask_b))
    loss = loss + 0.7 * (edge_aware_variation(mask_a, a) + edge_aware_variation(mask_b, b))
    loss.backward()
    for mine, parameter in zip(ours, game.generators.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-3, atol=5e-5)
    torch.testing.assert_close(terms["mask"], (mask_a.mean() + mask_b.mean()).detach(), rtol=1e-4, atol=1e-5)


def test_a_game_with_attention_is_played_and_its_checkpoint_attends(translator):
    run = translator(network=ATTENTION, game={"sparsity": 0.1, "g_steps": 2, "pool": 3})
    model = models.load(train(run).checkpoint, models.Translator)
    assert model.attends
    assert model.metadata.architecture["attention"] == 4
    assert model(torch.zeros(1, 3, 32, 32), "a_to_b").isfinite().all()


def test_masks_alone_leave_the_painting_and_the_discriminators_as_they_were(teacher, translator, stepped):
    game, results = stepped(translator(**MASKS_ALONE), steps=3)
    assert all(math.isfinite(value) for result in results for value in result.values())
    assert all(result["loss_d"] == result["loss_g"] == 0 for result in results)
    assert {"mask", "mask_edges", "mask_guide"} <= results[0].keys()
    assert not {"cycle", "identity", "d_real"} & results[0].keys()
    fresh = made(translator(**MASKS_ALONE))
    for name, network in game.players.networks.items():
        before = fresh.players.networks[name].state_dict()
        for key, tensor in network.state_dict().items():
            moved = name in ("a_to_b", "b_to_a") and key.startswith("mask.")
            assert torch.equal(tensor, before[key]) != moved, (name, key)


@pytest.mark.parametrize(("way", "judge"), [("a_to_b", "judge_b"), ("b_to_a", "judge_a")])
def test_one_direction_learns_and_the_other_stays_as_it_was(way, judge, translator, stepped):
    # three steps of discriminators for two of generators: the last of them is on translations made for it alone
    run = translator(network=ATTENTION, game={"learns": way, "g_steps": 2, "d_steps": 3})
    game, results = stepped(run, steps=1)
    assert {"cycle", "identity", "d_real", "d_fake"} <= results[0].keys()
    fresh = made(run)
    for name, network in game.players.networks.items():
        before = fresh.players.networks[name].state_dict()
        same = all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
        assert same != (name in (way, judge)), name


def test_masks_learn_what_the_teacher_sees(teacher, translator):
    run = translator(**MASKS_ALONE, machine={"precision": "fp32"})
    game = made(run)
    photos = torch.rand(2, 3, 32, 32) * 2 - 1
    masks = torch.rand(2, 1, 32, 32)
    total, told = game.masks.loss(masks, photos)
    assert isinstance(game.masks.guide, ActivationMap)
    torch.testing.assert_close(total, guidance(masks, game.masks.guide(photos)) + 0.1 * masks.mean())
    torch.testing.assert_close(told["mask_guide"], guidance(masks, game.masks.guide(photos)))


def test_a_checkpoint_without_a_mask_can_be_given_one(translator, tmp_path):
    plain = train(translator(output={"out": str(tmp_path / "plain")})).checkpoint
    before = models.load(plain, models.Translator)
    game = made(translator(network=ATTENTION | {"start": plain}))
    photos = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        painted, masks = game.a_to_b.eval().attend(photos)
        torch.testing.assert_close(painted, before(photos, "a_to_b"), rtol=1e-4, atol=1e-4)
    assert masks.min() > 0.7  # it begins with most of the painting


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"network": {"painter": "keep"}}, "painter"),
        ({"game": {"sparsity": 0.1}}, "sparsity"),
        ({"game": {"smoothness": 0.1}}, "smoothness"),
        ({"game": {"guide": 1.0, "guide_classes": "1-2"}}, "guide"),
        ({"network": ATTENTION, "game": {"guide": 1.0}}, "guide"),
        ({"network": ATTENTION, "game": {"guide_classes": "1-2"}}, "guide"),
        *(
            ({"network": ATTENTION, "game": {"guide": 1.0, "guide_classes": text}}, "guide_classes")
            for text in ("340", "5-4", "0-1000", "-1-3", "horse")
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_flag(translator, changes, option):
    with pytest.raises(InputError) as caught:
        translator(**changes)
    assert caught.value.where == option
