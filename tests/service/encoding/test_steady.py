"""Frames that flicker no more than what they were made of."""

import numpy as np

from service.encoding.steady import Steady


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 190, (16, 20, 3), dtype=np.uint8)


def test_what_stands_still_keeps_its_first_translation() -> None:
    steady, still = Steady(), photo(0)
    first = steady.steadied(still, photo(1))
    np.testing.assert_array_equal(first, photo(1))
    for seed in (2, 3):
        np.testing.assert_array_equal(steady.steadied(still, photo(seed)), first)


def test_what_moves_is_translated_anew_and_what_is_near_it() -> None:
    steady, before = Steady(), photo(0)
    steady.steadied(before, photo(1))
    after = before.copy()
    after[:, :8] = 255 - after[:, :8]
    made = steady.steadied(after, photo(2))
    np.testing.assert_array_equal(made[:, :7], photo(2)[:, :7])
    np.testing.assert_array_equal(made[:, 11:], photo(1)[:, 11:])


def test_noise_is_no_motion_and_stays_what_it_was() -> None:
    """The output's differences are the input's, level for level."""
    rng, ground, steady = np.random.default_rng(0), photo(0).astype(int), Steady()
    noisy = [(ground + rng.integers(-2, 3, ground.shape)).astype(np.uint8) for _ in range(5)]
    made = [steady.steadied(frame, (frame // 2 + photo(seed) // 4)) for seed, frame in enumerate(noisy)]
    given = np.diff(np.stack(noisy).astype(int), axis=0)
    np.testing.assert_array_equal(np.diff(np.stack(made).astype(int), axis=0), given)


def test_a_slow_change_adds_up_until_it_counts() -> None:
    steady = Steady()
    for level in range(100, 160, 2):
        frame = np.full((16, 20, 3), level, np.uint8)
        made = steady.steadied(frame, 255 - frame)
    assert np.abs(made.astype(int) - (255 - 158)).max() <= 24  # 2 * (MOVED - STILL), where its first was 103 away
