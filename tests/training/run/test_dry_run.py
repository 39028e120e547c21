"""What a dry run says that a run would take."""

import re

import pytest
import torch

from training.run.dry_run import kept_by_a_step, preview


class Counted:
    """In a game's place: steps of known size."""

    images_per_step = 1

    def __init__(self, step):
        self.step = step


def kept(function):
    return kept_by_a_step(Counted(lambda moment: function(torch.ones(1000, requires_grad=True))))


def test_what_autograd_keeps_is_counted_once_and_while_it_is_kept():
    """exp keeps what it gives, sin what it gets: the same 4,000 bytes; after a backward pass nothing is kept."""
    assert kept(lambda x: x.exp().sin().sum().backward()) == 4000
    assert kept(lambda x: [x.exp().sum().backward() for _ in range(3)]) == 4000
    assert kept(lambda x: (x.exp() * 2).exp().sum().backward()) == 8000


def test_weights_are_not_what_a_step_keeps():
    weight = torch.nn.Parameter(torch.ones(1000))
    assert kept(lambda x: (x * weight).sum().backward()) == 4000  # x alone


def test_activations_grow_with_what_goes_through_at_once(sampler):
    large = {"data": {"image_size": 64}, "network": {"width": 32}, "machine": {"precision": "fp32"}}
    found = []
    for pace in ({"batch": 32}, {"batch": 64}, {"batch": 64, "accumulate": 2}):
        (line,) = [line for line in preview(sampler(pace=pace, **large)).about if line[:6] == "memory"]
        found.append(int(re.search(r"(\d+) activations", line)[1]))
    assert found[1] == pytest.approx(2 * found[0], abs=1)
    assert 0.7 * found[0] < found[2] <= found[0]  # one part at a time, whose fakes are drawn twice
    assert found[0] > 10


def test_the_real_batch_says_how_many_steps(sampler):
    assert "steps: 4 of 8 images" in preview(sampler(pace={"batch": 8})).about
    assert "steps: 2 of 16 images" in preview(sampler(pace={"batch": 8}, game={"d_steps": 2})).about
