"""Scores of generated images that agree with the field's, and how far to trust them.

result = metrics.score("generated/", "real/", metrics=("fid", "kid"))
result["fid"]["value"], result["fid"]["interval"], result["fid"]["verdict"]
"""

from metrics.extraction import Extractor, Features, InceptionExtractor, Progress, extractor, stream_features
from metrics.featuresets import FEATURE_LIMIT, FeatureSet
from metrics.frechet import frechet_distance
from metrics.inception_score import inception_score
from metrics.infinity import fid_infinity
from metrics.kernel import kid
from metrics.moments import Accumulator, Statistics
from metrics.neighbours import prdc
from metrics.openvino_backend import compile_network as compile_openvino
from metrics.protocols import PROTOCOLS
from metrics.scoring import METRICS, features, score, statistics
from metrics.sources import Images, Loader, Samples, open_images
from metrics.weights import cache_folder, cached_weights
from metrics.wheels import Wheel

__all__ = [
    "FEATURE_LIMIT",
    "METRICS",
    "PROTOCOLS",
    "Accumulator",
    "Extractor",
    "FeatureSet",
    "Features",
    "Images",
    "InceptionExtractor",
    "Loader",
    "Progress",
    "Samples",
    "Statistics",
    "Wheel",
    "cache_folder",
    "cached_weights",
    "compile_openvino",
    "extractor",
    "features",
    "fid_infinity",
    "frechet_distance",
    "inception_score",
    "kid",
    "open_images",
    "prdc",
    "score",
    "statistics",
    "stream_features",
]
