"""Graphs: captured once for each pass, from what a step gives it; on a GPU they compute what eager passes compute."""

import dataclasses

import pytest
import torch
from torch import nn

from models import InputError
from training.engine.graphs import Pass
from training.engine.stage import Moment
from training.games.dcgan import DCGAN
from training.games.judge import Judge
from training.options.shared import Machine, Pace
from training.run.build import build, stage

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GAMES = [
    {"data": {"image_size": 16}, "game": {"loss": "hinge", "augment": "translation"}},
    {"data": {"image_size": 16, "conditional": True}, "game": {"d_steps": 2, "g_steps": 2, "label_noise": 0.2}},
    {"network": {"discriminator_norm": "spectral", "class_embedding": 0}, "data": {"conditional": True}},
]


def steps(game, count=3):
    """What the first steps log, as numbers."""
    return [
        {name: float(value) for name, value in game.step(Moment(number, 4 * number, 1000)).scalars().items()}
        for number in range(count)
    ]


@pytest.fixture
def captures(monkeypatch):
    """In a GPU's place: what was to be captured, as it was called; afterwards the pass runs as captured."""
    taken = []

    def capture(module, sample):
        assert torch.is_grad_enabled()
        taken.append((module, sample))
        eager = module.forward

        def replay(*tensors):
            assert [t.shape for t in tensors] == [t.shape for t in sample]
            assert [t.requires_grad for t in tensors] == [
                t.requires_grad for t in sample
            ] or not torch.is_grad_enabled()
            return eager(*tensors)

        module.forward = replay

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    return taken


@pytest.mark.parametrize("changes", GAMES)
def test_each_pass_of_a_game_is_captured_once(sampler, captures, changes):
    run = sampler(**changes)
    here = stage(run.machine, run.pace)
    plain, _ = build(run, here)
    captured, _ = build(run, dataclasses.replace(here, graphs=True))
    assert steps(captured) == steps(plain)
    assert isinstance(captured, DCGAN)
    both, generated = captured.judge.both, captured.generated
    assert [module for module, _ in captures] == [generated, both, captured.judge.one]
    assert [[t.requires_grad for t in sample[:1]] for _, sample in captures] == [[False], [False], [True]]
    assert {id(p) for p in both.parameters()} == {id(p) for p in captured.discriminator.parameters()}
    assert {id(p) for p in generated.parameters()} == {id(p) for p in captured.generator.parameters()}


def test_a_pass_without_graphs_is_its_function(captures):
    layer = nn.Linear(3, 2)
    assert torch.equal(Pass(layer, layer, graphs=False)(torch.ones(1, 3)), layer(torch.ones(1, 3)))
    assert not captures


def test_spectral_norm_judges_real_and_fake_by_the_same_weights(sampler):
    """Batch norm keeps the two passes apart; power iteration must not move the weights between them."""
    run = sampler()
    here = stage(run.machine, run.pace)
    torch.manual_seed(0)
    spectral = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 5, 16))
    network = nn.Sequential(spectral, nn.BatchNorm2d(5, affine=False, momentum=0.0).eval(), nn.Flatten())
    images = torch.randn(4, 3, 16, 16)
    real, fake = Judge(network, run, here).both(images, images)
    assert torch.equal(real, fake)
    assert not torch.equal(network(images), network(images))  # outside, each pass in training moves them


def test_graphs_that_cannot_be_are_refused(sampler, translator):
    with pytest.raises(InputError, match="--graphs is for GPUs"):
        stage(Machine(device="cpu", graphs=True), Pace())
    with pytest.raises(InputError, match="--graphs is for dcgan"):
        translator(machine={"graphs": True})


@GPU
def test_several_processes_have_no_graphs():
    with pytest.raises(InputError, match="one process"):
        stage(Machine(device="cuda", graphs=True), Pace(batch=4), rank=0, world=2)


@GPU
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch 2.11's own, at import
@pytest.mark.parametrize("changes", GAMES)
def test_graphs_compute_what_eager_passes_compute(sampler, changes):
    """In float32 within what another order of sums does."""
    run = sampler(**changes, machine={"device": "cuda", "precision": "fp32"})
    here = stage(run.machine, run.pace)
    eager, graphs = (steps(build(run, dataclasses.replace(here, graphs=on))[0]) for on in (False, True))
    for one, other in zip(eager, graphs, strict=True):
        assert other == pytest.approx(one, rel=0.02, abs=0.01)
