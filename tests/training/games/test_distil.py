"""Distillation: its objective written plainly, what each step moves, what is told of the teacher, what is refused."""

import copy
import json
import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from models import CheckpointError, InputError, NotFoundError, ResNetConfig
from tests.training.games.unpaired import made, moved, photos, sight
from training import DistilRun, train
from training.options.flags import from_dict, merged
from training.shipping.pretrained import RECIPES

PLAIN = {"machine": {"precision": "fp32"}}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A translator of both directions; with `attention`, one that gives masks that are not all alike."""
    folder, kept = tmp_path_factory.mktemp("teachers"), {}

    def make(attention: int = 0, directions: tuple[str, ...] = ("a_to_b", "b_to_a")) -> str:
        path = folder / f"teacher-{attention}-{len(directions)}.safetensors"
        if path not in kept:
            config = ResNetConfig(width=4, blocks=1, attention=attention)
            parts = {name: part for name, part in config.parts().items() if name in directions}
            for part in parts.values() if attention else ():
                torch.nn.init.normal_(part.mask.layers[-1].weight)
            models.save(path, parts, models.metadata_of(config, domains=("horse", "zebra")))
            kept[path] = True
        return str(path)

    return make


@pytest.fixture
def distil(smallest, tmp_path):
    """A tiny run; keyword arguments are groups of options that differ."""

    def make(teacher: str, **changes: dict) -> DistilRun:
        base = merged(smallest("distil", batch=2), {"output": {"out": str(tmp_path / "run")}})
        return from_dict(DistilRun, merged(merged(base, {"network": {"teacher": teacher}}), changes))

    return make


@pytest.mark.parametrize("masked", [False, True])
def test_the_student_minimises_equation_4(distil, teacher, masked):
    """Adversarial losses of both directions, and ten times the L1 between what teacher and student make of a photo.

    In training both masks are soft: the teacher's counts as it did when it learned.
    """
    file = teacher(attention=8 if masked else 0)
    changes = {"network": {"attention": 4}, "game": {"imitate_mask": 3.0}} if masked else {}
    game, real = made(distil(file, **merged(PLAIN, changes))), photos()
    wise = models.load(file, models.Translator)
    total, imitated, between = 0.0, 0.0, 0.0
    for name, source, target in (("a_to_b", "a", "b"), ("b_to_a", "b", "a")):
        photo, student, other = real[source], game.players.networks[name], wise.parts[name].train()
        fake, wanted = student(photo), other(photo).detach()
        total = total + (game.opponents.networks[target](fake) - 1).square().mean() + 10 * (fake - wanted).abs().mean()
        imitated += (fake - wanted).abs().mean().detach()
        if masked:
            apart = (student.attend(photo)[1] - other.attend(photo)[1].detach()).abs().mean()
            total, between = total + 3 * apart, between + apart.detach()
    learning = list(game.generators.parameters())
    plain = torch.autograd.grad(total, learning)

    _, terms = game._generator_step(real, sight())
    torch.testing.assert_close(terms["imitation"], imitated, rtol=1e-4, atol=1e-5)
    if masked:
        assert between > 0.01
        torch.testing.assert_close(terms["mask_imitation"], between, rtol=1e-4, atol=1e-5)
    norm = torch.cat([one.flatten() for one in plain]).norm()
    missed = torch.cat([(mine.grad - one).flatten() for mine, one in zip(learning, plain, strict=True)]).norm()
    assert missed < 1e-3 * norm


def test_each_step_moves_its_networks_and_the_teacher_stays(distil, teacher):
    game, real = made(distil(teacher(attention=8), network={"attention": 4})), photos()
    networks = {**game.players.networks, "teacher": game.teachers["a_to_b"]}

    before = copy.deepcopy(networks)
    fake, _ = game._generator_step(real, sight())
    assert moved(networks, before) == {"a_to_b", "b_to_a"}
    before = copy.deepcopy(networks)
    game.opponents.step(real, fake, sight())
    assert moved(networks, before) == {"judge_a", "judge_b"}


def test_a_student_of_one_direction_says_whose_it_is(distil, teacher, tmp_path):
    """Also where it began as another student did."""
    file = teacher(directions=("a_to_b",))
    first = train(distil(file, game={"adversarial": 0.0}))
    second = distil(file, network={"start": first.checkpoint}, output={"out": str(tmp_path / "second")})
    for outcome in (first, train(second)):
        model = models.load(outcome.checkpoint, models.Translator)
        assert model.directions == ("a_to_b",)
        told = model.metadata.training
        assert told["teacher"] == {"name": "teacher-0-1", "digest": models.load(file).digest}
        assert "teacher" not in told["config"]["network"]
    assert told["start"]["name"] == "run"


def test_a_student_comes_nearer_to_its_teacher(distil, teacher):
    run = distil(teacher(attention=8), network={"attention": 4, "width": 8}, optimizer={"g_lr": 0.002}, **PLAIN)
    game, real = made(run), photos()
    game.opponents.weight = 0.0
    found = [float(game._generator_step(real, sight())[1]["imitation"]) for _ in range(30)]
    assert found[-1] < 0.6 * found[0]


def test_the_shipped_student_takes_2_6_thousand_million_products_a_photo():
    """What CAT and GAN Compression need for a photo of 256 px; the teacher needs 9.1."""
    network = json.loads((RECIPES / "horse2zebra-small.json").read_text())["network"]
    fields = {name: network[name] for name in ("width", "blocks", "attention", "sub_pixel")}
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ResNetConfig(**fields).parts()["a_to_b"](torch.empty(1, 3, 256, 256))
    assert counter.get_total_flops() / 2 <= 2.6e9


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"game": {"imitate": 0.0}}, "imitate"),
        ({"game": {"imitate": math.nan}}, "imitate"),
        ({"game": {"imitate_mask": 1.0}}, "imitate_mask"),
        ({"game": {"cycle": 1.0}}, "cycle"),
        ({"machine": {"compile": True}}, "compile"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_flag(distil, teacher, changes, option):
    with pytest.raises(InputError) as caught:
        distil(teacher(), **changes)
    assert caught.value.where == option


def test_a_teacher_that_cannot_teach_is_refused_before_the_first_step(distil, teacher, tmp_path):
    sampler = models.DCGANConfig(image_size=16, width=4, latent_size=8)
    models.save(tmp_path / "sampler.safetensors", sampler.parts(), models.metadata_of(sampler))
    grey = ResNetConfig(channels=1, width=4, blocks=1)
    models.save(tmp_path / "grey.safetensors", grey.parts(), models.metadata_of(grey, domains=("a", "b")))
    (tmp_path / "broken.safetensors").write_bytes(b"no checkpoint")
    for name, error, said in (
        ("", InputError, "--teacher is missing"),
        ("none.safetensors", NotFoundError, "there is no such file"),
        ("broken.safetensors", CheckpointError, "broken.safetensors"),
        ("sampler.safetensors", InputError, "draws images from latents"),
        ("grey.safetensors", InputError, "grey images"),
    ):
        with pytest.raises(error, match=said):
            made(distil(str(tmp_path / name) if name else ""))
    with pytest.raises(InputError, match="gives no masks"):
        made(distil(teacher(), network={"attention": 4}, game={"imitate_mask": 1.0}))
