"""Scores of generated images that agree with the field's, and how far to trust them.

result = metrics.score("generated/", "real/", metrics=("fid", "kid"))
result["fid"]["value"], result["fid"]["interval"], result["fid"]["verdict"]
"""

from metrics.distributed import ProcessLost, World, joined, world
from metrics.extraction.arrays import Stored, stored_images
from metrics.extraction.custom import CustomExtractor, custom_extractor
from metrics.extraction.extractor import Extractor, InceptionExtractor, Progress, extractor, stream_features
from metrics.extraction.protocols import PROTOCOLS
from metrics.extraction.sources import Images, Loader, Samples, load_image, open_images, open_stored
from metrics.network.onnx import onnx_session
from metrics.network.openvino_backend import compile_network as compile_openvino
from metrics.network.perceptual import PerceptualDistance, perceptual_distance
from metrics.network.weights import cache_folder, cached_weights, weights_file
from metrics.network.wheels import Wheel
from metrics.scores.frechet import frechet_distance
from metrics.scores.inception_score import inception_score
from metrics.scores.infinity import fid_infinity
from metrics.scores.kernel import kid
from metrics.scores.memorisation import authenticity, data_copying
from metrics.scores.neighbours import prdc
from metrics.scores.resampling import interval_of_mean, resample_counts
from metrics.scores.table import METRICS
from metrics.scoring import features, score, statistics
from metrics.sets.featuresets import FEATURE_LIMIT, FeatureSet
from metrics.sets.moments import Accumulator, Features, Statistics

__all__ = [
    "FEATURE_LIMIT",
    "METRICS",
    "PROTOCOLS",
    "Accumulator",
    "CustomExtractor",
    "Extractor",
    "FeatureSet",
    "Features",
    "Images",
    "InceptionExtractor",
    "Loader",
    "PerceptualDistance",
    "ProcessLost",
    "Progress",
    "Samples",
    "Statistics",
    "Stored",
    "Wheel",
    "World",
    "authenticity",
    "cache_folder",
    "cached_weights",
    "compile_openvino",
    "custom_extractor",
    "data_copying",
    "extractor",
    "features",
    "fid_infinity",
    "frechet_distance",
    "inception_score",
    "interval_of_mean",
    "joined",
    "kid",
    "load_image",
    "onnx_session",
    "open_images",
    "open_stored",
    "perceptual_distance",
    "prdc",
    "resample_counts",
    "score",
    "statistics",
    "stored_images",
    "stream_features",
    "weights_file",
    "world",
]
