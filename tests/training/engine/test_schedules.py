"""Numbers that change over a run: what they are at each moment, and from when on they depend on the run's length."""

import math

import pytest

from training.engine.schedules import annealing, constant, fading, falling, growing, rising
from training.engine.stage import Moment


def over(schedule, images, total=32):
    return [schedule(Moment(0, seen, total)) for seen in images]


def test_a_fall_is_linear_over_the_last_part():
    assert over(falling(0.016), (0, 15, 16, 24, 32)) == [1.0, 1.0, 1.0, 0.5, 0.0]
    assert over(falling(0.0), (0, 32)) == [1.0, 1.0]


def test_a_rise_is_linear_over_the_first_part():
    assert over(rising(0.016), (0, 8, 16, 24)) == [0.0, 0.5, 1.0, 1.0]
    assert over(rising(0.0), (0, 32)) == [1.0, 1.0]


def test_annealing_is_half_a_cosine_over_the_first_part():
    """A quarter of the way, (1 + cos(pi / 4)) / 2 is left of the distance; half of it halfway; nothing at the end."""
    seen = over(annealing(3.0, 1.0, 0.016), (0, 4, 8, 12, 16, 32))
    early = 1 + 2 * (1 + math.sqrt(0.5)) / 2
    assert seen == pytest.approx([3.0, early, 2.0, 4 - early, 1.0, 1.0])
    assert seen[-2:] == [1.0, 1.0]
    assert over(annealing(3.0, 1.0, 0.0), (0, 32)) == [1.0, 1.0]


def test_growth_is_a_share_of_the_images_so_far():
    assert over(growing(0.5, 6.0), (0, 4, 12, 32)) == [0.0, 2.0, 6.0, 6.0]


def test_fading_takes_the_whole_run():
    assert over(fading(), (0, 16, 32)) == [1.0, 0.5, 0.0]


def test_a_product_is_that_of_the_numbers():
    assert over(constant(2.0) * rising(0.016) * falling(0.008), (0, 8, 16, 24, 28, 32)) == [0, 1, 2, 2, 1, 0]


@pytest.mark.parametrize(
    ("schedule", "begins"),
    [
        (constant(1.0), math.inf),
        (rising(0.004), math.inf),  # it moves from the first image on, but as it would in a longer run
        (annealing(2.0, 1.0, 0.016), math.inf),
        (growing(0.5, 6.0), math.inf),
        (falling(0.008), 24.0),
        (fading(), 0.0),
        (constant(1.0) * rising(0.004) * falling(0.008), 24.0),
    ],
)
def test_until_when_a_run_may_be_made_longer(schedule, begins):
    """Up to there its numbers are those of a longer run, and after it they are not."""
    assert schedule.begins(32) == begins
    for images in range(33):
        short, longer = schedule(Moment(0, images, 32)), schedule(Moment(0, images, 64))
        assert (short == longer) == (images <= begins)
