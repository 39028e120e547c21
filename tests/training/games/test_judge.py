"""The discriminator's side of both games: every loss and trick by its flag, and what each of them is."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import softplus

from training.engine.draws import Draws
from training.engine.schedules import constant, fading
from training.engine.stage import Moment
from training.games.judge import Judge, Penalty, Sight, couples_images, given, rules_of
from training.objective.losses import LOSSES
from training.run.build import build, stage

TRICKS = [
    {"label_smoothing": 0.1},
    {"label_noise": 0.4},
    {"instance_noise": 0.1},
    {"r1": 1.0},
    {"feature_matching": 1.0},
    {"augment": "color,translation,cutout"},
    {"d_steps": 3},
    {"g_steps": 2},
]
FP32 = {"precision": "fp32"}


def made(run):
    return build(run, stage(run.machine, run.pace))[0]


def sight(images=0, seed=0):
    return Sight(Draws(torch.Generator().manual_seed(seed)), Moment(0, images, 100))


@pytest.fixture
def either(request):
    """The maker of a tiny run of either kind, by its name."""
    return lambda kind: request.getfixturevalue(kind)


# --- flags ---


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_a_dcgan(sampler, stepped, loss):
    """By that one flag: what else a loss needs is set by it."""
    game, results = stepped(sampler(game={"loss": loss}))
    assert all(math.isfinite(value) for result in results for value in result.values())
    assert results[0]["g_gradient_norm"] > 0
    if clip := LOSSES[loss].weight_clip:
        assert max(float(p.detach().abs().max()) for p in game.discriminator.parameters()) <= clip


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_a_cyclegan(translator, stepped, loss):
    game, results = stepped(translator(game={"loss": loss}), steps=1)
    assert all(math.isfinite(value) for value in results[0].values())
    if clip := LOSSES[loss].weight_clip:
        assert max(float(p.detach().abs().max()) for p in game.opponents.together.parameters()) <= clip


@pytest.mark.parametrize("kind", ["sampler", "translator"])
@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: next(iter(trick)))
def test_each_trick_changes_the_run_and_keeps_it_finite(either, stepped, kind, trick):
    plain, _ = stepped(either(kind)())
    game, results = stepped(either(kind)(game=trick))
    assert all(math.isfinite(value) for result in results for value in result.values())
    assert any(
        not torch.equal(a, b)
        for name, network in plain.family.weights().items()
        for a, b in zip(network.parameters(), game.family.weights()[name].parameters(), strict=True)
    )
    steps = trick.get("d_steps", 1) if kind == "sampler" else max(trick.get("d_steps", 1), trick.get("g_steps", 1))
    assert game.images_per_step == plain.images_per_step * steps


@pytest.mark.parametrize("trick", [{"d_steps": 3}, {"g_steps": 2}], ids=["d_steps", "g_steps"])
@pytest.mark.parametrize("kind", ["sampler", "translator"])
def test_every_further_step_sees_fresh_images(either, kind, trick, monkeypatch):
    """No real image is dealt twice in an iteration of several discriminator steps, and none is left out of the next."""
    game = made(either(kind)(game=trick, data={"flips": False}))
    shown = []
    original = Judge.discriminator_loss

    def spy(self, *, real, **others):
        if self.network in (game.players.networks.get("discriminator"), game.players.networks.get("judge_a")):
            shown.extend(image.clone() for image in real)
        return original(self, real=real, **others)

    monkeypatch.setattr(Judge, "discriminator_loss", spy)
    game.step(Moment(0, 0, 1000))
    assert len(shown) == trick.get("d_steps", 1) * game.run.pace.batch
    assert len({image.numpy().tobytes() for image in shown}) == len(shown)


# --- what they are ---


def test_one_pass_for_real_and_fake_equals_two(sampler):
    """Without batch norm the discriminator's joined pass is the two passes, to rounding."""
    game = made(sampler(network={"discriminator_norm": "none"}, machine=FP32))
    real, fake = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
    verdict = game.judge.discriminator_loss(real=real, fake=fake, sight=sight())
    expected = softplus(-game.discriminator(real)).mean() + softplus(game.discriminator(fake)).mean()
    torch.testing.assert_close(verdict.total, expected)


def test_label_noise_exchanges_the_labels_of_whole_images(translator):
    """Each of the eight ways to exchange three pairs gives one loss; label noise gives one of them, by its draws."""
    game = made(translator(game={"label_noise": 0.4}, machine=FP32))
    real, fake = torch.randn(3, 3, 32, 32), torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        at_real, at_fake = game.opponents.networks["a"](real), game.opponents.networks["a"](fake)
        assert at_real[0].numel() > 1, "logits are a map"
        seen = set()
        for seed in range(20):
            total = float(
                game.opponents.judges["a"].discriminator_loss(real=real, fake=fake, sight=sight(seed=seed)).total
            )
            exchanged = torch.rand(3, 1, 1, 1, generator=torch.Generator().manual_seed(seed)) < 0.4
            ones, zeros = torch.where(exchanged, at_fake, at_real), torch.where(exchanged, at_real, at_fake)
            assert total == pytest.approx(float(((ones - 1) ** 2 + zeros**2).mean()), rel=1e-4)
            seen.add(tuple(exchanged.flatten().tolist()))
    assert len(seen) > 3


@pytest.mark.parametrize("penalty", ["r1", "r2"])
@pytest.mark.parametrize("kind", ["sampler", "translator"])
def test_a_penalty_is_on_the_gradient_of_an_images_mean_logit(either, kind, penalty):
    """R1 at real images, R2 at generated ones."""
    game = made(
        either(kind)(game={penalty: 7.0, "loss": "lsgan"}, network={"discriminator_norm": "spectral"}, machine=FP32)
    )
    judge = game.judge if kind == "sampler" else game.opponents.judges["a"]
    judge.network.eval()  # spectral norm's power iteration stands still
    side = game.run.data.image_size
    real, fake = torch.randn(2, 3, side, side), torch.randn(2, 3, side, side)
    verdict = judge.discriminator_loss(real=real, fake=fake, sight=sight())
    slopes = []
    for image in real if penalty == "r1" else fake:
        image = image[None].clone().requires_grad_()
        (slope,) = torch.autograd.grad(judge.network(image).mean(), image)
        slopes.append(slope.square().sum())
    expected = 7.0 / 2 * torch.stack(slopes).mean()
    assert (verdict.total.detach() - verdict.loss).item() == pytest.approx(float(expected), rel=1e-3)
    assert float(expected) > 1e-4


def test_gradient_penalty_of_a_patch_discriminator(translator):
    """Its weight is 10, and where real and fake are one image, so is the point on the line between them."""
    game = made(translator(game={"loss": "wgan-gp"}, machine=FP32))
    image = torch.randn(1, 3, 32, 32)
    verdict = game.opponents.judges["a"].discriminator_loss(real=image, fake=image.clone(), sight=sight())
    image = image.clone().requires_grad_()
    (slope,) = torch.autograd.grad(game.opponents.networks["a"](image).mean(), image)
    assert (verdict.total.detach() - verdict.loss).item() == pytest.approx(
        10 * (float(slope.norm()) - 1) ** 2, rel=1e-3
    )


def test_feature_matching_of_patches_is_over_all_of_them(translator):
    """To a patch discriminator each patch is a sample: where they lie in the image does not count."""
    game = made(translator(game={"feature_matching": 3.0}, machine=FP32))
    real, fake = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)
    _, matched = game.opponents.judges["a"].generator_loss(fake=fake, real=real, sight=sight())
    wanted, shown = (game.opponents.networks["a"].features(images)[-1].mean(dim=(0, 2, 3)) for images in (real, fake))
    assert matched.item() == pytest.approx(3 * (wanted - shown).square().mean().item(), rel=1e-3)


def test_instance_noise_falls_to_nothing_over_the_run(sampler):
    judge = made(sampler(game={"instance_noise": 0.4})).judge
    images = torch.zeros(64, 3, 16, 16)
    for seen, deviation in ((0, 0.4), (50, 0.2)):
        assert judge._seen(images, sight(seen)).std().item() == pytest.approx(deviation, rel=0.02)
    assert judge._seen(images, sight(100)) is images


# --- rules that a game may replace ---


@pytest.mark.parametrize("conditional", [False, True])
def test_a_relativistic_loss_pairs_each_fake_with_the_real_image_beside_it(sampler, conditional):
    """Huang et al. 2024, equation 2, with R1 and R2, written plainly; with classes both images of a pair are of one."""
    game = made(
        sampler(
            game={"loss": "rpgan", "r1": 3.0, "r2": 5.0},
            network={"discriminator_norm": "none"},
            data={"conditional": conditional},
            machine=FP32,
        )
    )
    classes = torch.tensor([0, 1, 1, 0]) if conditional else None
    beside = given(classes)
    real, fake = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16, requires_grad=True)
    inner = real.clone().requires_grad_()
    at_real, at_fake = game.discriminator(inner, *beside), game.discriminator(fake, *beside)
    loss = torch.log(1 + torch.exp(at_fake - at_real)).mean()
    squares = [
        torch.autograd.grad(logits.sum(), images, create_graph=True)[0].square().sum(dim=(1, 2, 3)).mean()
        for logits, images in ((at_real, inner), (at_fake, fake))
    ]
    expected = loss + 3 / 2 * squares[0] + 5 / 2 * squares[1]
    verdict = game.judge.discriminator_loss(real=real, fake=fake.detach(), sight=sight(), classes=classes)
    torch.testing.assert_close(verdict.loss, loss.detach())
    torch.testing.assert_close(verdict.total, expected)
    weights = list(game.discriminator.parameters())
    for one, other in zip(*(torch.autograd.grad(total, weights) for total in (verdict.total, expected)), strict=True):
        torch.testing.assert_close(one, other)
    mine, _ = game.judge.generator_loss(fake=fake, real=real, sight=sight(), classes=classes)
    at_real, at_fake = game.discriminator(real, *beside), game.discriminator(fake, *beside)
    theirs = torch.log(1 + torch.exp(at_real - at_fake)).mean()
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, fake)[0] for loss in (mine, theirs)))


def test_a_penaltys_weight_is_one_of_the_moment(sampler):
    """Twice the weight is twice the term; at none it is left out."""
    game = made(sampler(network={"discriminator_norm": "none"}, machine=FP32))
    asked = []

    def squares(critic, real, fake, draws, weight):
        asked.append(weight)
        return weight * critic(real).square().mean()

    rules = replace(rules_of(game.run), penalties=(Penalty(constant(4.0) * fading(), squares),))
    judge = Judge(game.discriminator, game.run, game.stage, rules)
    real, fake = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
    added = []
    for images in (0, 50, 100):
        verdict = judge.discriminator_loss(real=real, fake=fake, sight=sight(images))
        added.append(float((verdict.total - verdict.loss).detach()))
    assert asked == [4.0, 2.0]
    assert added == pytest.approx([2 * added[1], added[1], 0.0])
    assert added[1] > 0


def test_augmentation_can_take_a_share_of_the_images(sampler):
    game = made(sampler(game={"augment": "cutout"}))
    images = torch.ones(400, 3, 16, 16)
    for chance, least, most in ((0.0, 0, 0), (0.25, 60, 140), (1.0, 400, 400)):
        rules = replace(rules_of(game.run), augmented=constant(chance))
        seen = Judge(game.discriminator, game.run, game.stage, rules)._seen(images, sight())
        changed = int((seen != 1).flatten(1).any(dim=1).sum())
        assert least <= changed <= most, chance


def test_batch_norm_keeps_real_and_fake_apart(sampler, translator):
    assert couples_images(made(sampler()).discriminator)
    assert not couples_images(made(sampler(network={"discriminator_norm": "layer"})).discriminator)
    assert not couples_images(made(translator()).opponents.networks["a"])


# --- the paper's numbers ---


def test_cyclegan_logs_the_papers_losses(translator):
    """Section 3.1 writes least squares without a factor, and appendix 7.1 halves the discriminators' sum."""
    game = made(translator(machine=FP32))
    a, b, fake_a, fake_b = (torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(4))
    with torch.no_grad():
        sides = ((game.opponents.networks["a"], a, fake_a), (game.opponents.networks["b"], b, fake_b))
        expected = (
            sum((judge(real) - 1).square().mean() + judge(fake).square().mean() for judge, real, fake in sides) / 2
        )
    game.opponents.mover.at(Moment(0, 0, 100))
    loss, _ = game.opponents.step({"a": a, "b": b}, {"a": fake_a, "b": fake_b}, sight())
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_cyclegan_generators_minimise_the_papers_objective(translator):
    """The joined passes give the gradients of equation 3 with identity loss, written plainly."""
    run = translator(machine={"precision": "fp32"}, optimizer={"g_lr": 1e-9, "d_lr": 1e-9})
    game = made(run)
    a, b = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    game.g_mover.at(Moment(0, 0, 100))
    game._generator_step({"a": a, "b": b}, sight())
    ours = [p.grad.clone() for p in game.generators.parameters()]
    game.generators.zero_grad()
    fake_a, fake_b = game.b_to_a(b), game.a_to_b(a)
    loss = ((game.opponents.networks["a"](fake_a) - 1) ** 2).mean() + (
        (game.opponents.networks["b"](fake_b) - 1) ** 2
    ).mean()
    loss = loss + 10 * ((game.b_to_a(fake_b) - a).abs().mean() + (game.a_to_b(fake_a) - b).abs().mean())
    loss = loss + 5 * ((game.b_to_a(a) - a).abs().mean() + (game.a_to_b(b) - b).abs().mean())
    loss.backward()
    for mine, parameter in zip(ours, game.generators.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-3, atol=5e-5)
