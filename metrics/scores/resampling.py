"""Bootstrap over images: how far a score would move with other images from the same sources.

Efron 1979. A resample draws n images of n with replacement; here it is a row of counts. Distances between sets grow
when images repeat, so resamples sit above the score itself (their mean differs from it by about the score's own
small-sample bias). An interval must not carry that shift: it is the spread of the resamples, centred on the score.
"""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]

CONFIDENCE = 0.95


def resample_counts(n: int, replicates: int, generator: np.random.Generator) -> Counts:
    """How often each of n images occurs in each resample: [replicates, n], every row sums to n."""
    return generator.multinomial(n, np.full(n, 1.0 / n), size=replicates).astype(np.float64)


def interval(value: float, resampled: npt.ArrayLike, *, floor: float | None = None) -> list[float] | None:
    """The central 95% of the resampled values, moved so that their mean is `value`; None without resamples.

    Args:
        floor: the least value that the score can take, where it has one.
    """
    values = np.asarray(resampled, dtype=np.float64)
    if len(values) < 2:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values - values.mean() + value, [tail, 1 - tail])
    return [float(low) if floor is None else max(float(low), floor), float(high)]


def interval_of_mean(
    per_image: npt.ArrayLike, counts: Counts | None, *, least: float = 0.0, most: float = np.inf
) -> list[float] | None:
    """`interval` of a mean over images from each image's own value [n], cut to what the mean can be; None without
    counts."""
    if counts is None:
        return None
    values = np.asarray(per_image, dtype=np.float64)
    found = interval(float(values.mean()), counts @ values / len(values))
    return found and [min(max(end, least), most) for end in found]
