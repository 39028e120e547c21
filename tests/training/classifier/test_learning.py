"""How the classifier learns: its augmentation, its schedule, what it comes to, and going on where it was stopped."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from models import InputError
from training.classifier import learning
from training.classifier.learning import Recipe, accuracy, augmented, learn, logits_of
from training.data.images import Dataset

SIDE = 16
QUICK = Recipe(epochs=3, batch=16, rate=400.0)  # the few steps of a test must be long ones


@pytest.fixture(scope="module")
def colours() -> Dataset:
    """Noise of two tints: a class each."""
    noise = np.random.default_rng(0).integers(0, 128, (64, SIDE, SIDE, 3), np.uint8)
    labels = torch.arange(64) % 2
    noise[::2, ..., 0] += 64
    noise[1::2, ..., 2] += 64
    return Dataset("colours", torch.from_numpy(noise), labels, ("red", "blue"))


def quiet(*_: float) -> None:
    pass


def test_it_learns(colours: Dataset) -> None:
    losses: list[float] = []
    network = learn(colours, 8, QUICK, progress=lambda _done, _all, loss: losses.append(loss))
    assert len(losses) == QUICK.steps(64) == 12
    assert losses[-1] < losses[0]
    assert accuracy(network, colours) == accuracy(network, colours, views=True) == 1.0
    assert accuracy(network, Dataset("swapped", colours.pixels, 1 - colours.labels, colours.classes)) == 0.0


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    colours: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "_KEPT_EVERY", 2)
    kept = tmp_path / "state.pt"

    def stop(done: int, _all: int, _loss: float) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(colours, 8, QUICK, kept=kept, progress=stop)
    steps: list[int] = []
    found = learn(colours, 8, QUICK, kept=kept, progress=lambda done, *_: steps.append(done))
    assert steps[0] == 7  # the sixth was the last that was kept
    whole = learn(colours, 8, QUICK, progress=quiet)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    for recipe in (dataclasses.replace(QUICK, seed=1), dataclasses.replace(QUICK, epochs=4)):
        with pytest.raises(InputError, match="on other images, or with other options"):
            learn(colours, 8, recipe, kept=kept, progress=quiet)
    kept.write_bytes(b"no run")
    with pytest.raises(InputError, match="holds no run of a classifier"):
        learn(colours, 8, QUICK, kept=kept, progress=quiet)


def test_every_image_is_seen_both_ways_in_two_epochs(colours: Dataset) -> None:
    chosen = torch.arange(64)
    plain = Recipe(shift=0)
    first, second = (augmented(colours.pixels, chosen, epoch * 64, plain) for epoch in (0, 1))
    straight = colours.pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    mirrored = [bool((image == other.flip(2)).all()) for image, other in zip(first, straight, strict=True)]
    assert 16 < sum(mirrored) < 48
    assert torch.allclose(second, first.flip(3))
    assert torch.allclose(torch.where(torch.tensor(mirrored)[:, None, None, None], second, first), straight, atol=1e-6)


def test_images_are_moved_by_two_pixels_at_most_and_reflected_at_the_edge(colours: Dataset) -> None:
    chosen = torch.zeros(2000, dtype=torch.long)  # the first image, in epoch after epoch
    moved = {image.numpy().tobytes() for image in augmented(colours.pixels, chosen, 0, Recipe())}
    image = augmented(colours.pixels, chosen[:1], 0, Recipe(shift=0))[0].permute(1, 2, 0).numpy()
    cuts = set()
    for seen in (image, image[:, ::-1]):
        around = np.pad(seen, ((2, 2), (2, 2), (0, 0)), "reflect")
        for row, column in itertools.product(range(5), range(5)):
            cut = around[row : row + SIDE, column : column + SIDE].transpose(2, 0, 1)
            cuts.add(np.ascontiguousarray(cut).tobytes())
    assert moved == cuts
    assert len(cuts) == 50


def test_the_rate_is_a_triangle() -> None:
    assert [learning._triangle(done) for done in (0.0, 0.23, 1.0)] == pytest.approx([0.2, 1.0, 0.07])
    assert learning._triangle(0.115) == pytest.approx(0.6)
    assert learning._triangle(0.615) == pytest.approx(0.535)


def test_views_are_an_image_and_its_mirror_image_and_both_moved(colours: Dataset) -> None:
    """By a network that gives the red of one corner: the mean of what it sees."""

    class Corner(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0, :1, 0]

    red = colours.pixels[..., 0].float() / 127.5 - 1
    straight = (red[:, 0, 0] + red[:, 0, -1]) / 2
    up = (red[:, 1, 1] + red[:, 1, -2]) / 2  # moved to either corner, the edge is reflected
    lower = (red[:, 1, 1] + red[:, 1, -2]) / 2
    assert torch.allclose(logits_of(Corner(), colours.pixels, views=True)[:, 0], straight / 2 + (up + lower) / 4)


@pytest.mark.parametrize("epochs", [0.0, -1.0, 1e9, float("nan")])
def test_senseless_lengths_are_refused(epochs: float) -> None:
    with pytest.raises(InputError, match="Epochs are more than 0"):
        Recipe(epochs=epochs)
