"""Scores of generated images: FID, and how far to trust it.

result = metrics.score("generated/", "real.npz")
result["fid"]["value"]
"""

from metrics.extraction import Extractor, InceptionExtractor, extractor, stream_features
from metrics.frechet import frechet_distance
from metrics.moments import Accumulator, Statistics
from metrics.protocols import PROTOCOLS
from metrics.scoring import METRICS, score, statistics
from metrics.sources import Images, Samples, open_images
from metrics.weights import cached_weights

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "Accumulator",
    "Extractor",
    "Images",
    "InceptionExtractor",
    "Samples",
    "Statistics",
    "cached_weights",
    "extractor",
    "frechet_distance",
    "open_images",
    "score",
    "statistics",
    "stream_features",
]
