"""Networks, checkpoints, images and latents: what training, metrics and service share.

model = models.load("models/pretrained/NAME.safetensors")
images = model(models.draw(models.sample_seeds(0, 16), model.latent_size))     # [16, c, s, s] in [-1, 1]
"""

from models import addresses, commandline, console, filesets, origin, strict_json, tiles
from models.architectures import Architecture, AutoencoderConfig, ClassifierConfig, SamplerConfig, TranslatorConfig
from models.checkpoints.checkpoint import (
    add_directions,
    load,
    read_metadata,
    save,
    with_directions,
    with_metadata,
)
from models.checkpoints.foreign import import_checkpoint
from models.checkpoints.told import Told
from models.classifier import Classifier
from models.decoding import ACCEPTED, HEAD, MAX_PIXELS, coded_as, decode, opened, read_text, upright
from models.directions import find_directions, sefa
from models.errors import (
    BrokenImageError,
    CheckpointError,
    ConflictError,
    GanError,
    ImageError,
    InputError,
    LimitError,
    NotFoundError,
    OverloadError,
    WeightsUnavailable,
)
from models.faces import Autoencoder, Direction, Generator, Model, Space, Translator
from models.files import atomic_path, sha256_of
from models.images import (
    FORMAT_NAMES,
    Pixels,
    as_pixels,
    centre_square,
    check_sides,
    crop,
    encode,
    grid,
    grid_size,
    pad_to_stride,
    plain,
    split_alpha,
    to_float,
    to_rgb,
    to_uint8,
)
from models.latents import SEED_LIMIT, check_seed, draw, lerp, random_seed, sample_seeds, slerp
from models.metadata import Metadata
from models.moving import Animation, Frame, Motion, Video, frames, motion
from models.networks.airbench import Airbench, AirbenchConfig
from models.networks.alae import CodeDiscriminatorConfig
from models.networks.attention import Unblended, compose
from models.networks.cyclegan import PatchGANConfig, ResNetConfig, SampleNorm, use_sample_norms
from models.networks.dcgan import DCGANConfig, DCGANDiscriminatorConfig
from models.networks.initial import he_deviation, initialize_as_dcgan
from models.networks.mlp import MaxoutConfig, MLPConfig
from models.networks.spectral import (
    filters_of,
    held_spectral_norm,
    load_without_spectral_norm,
    put_spectral_norm,
    settle_spectral_norm,
    state_without_spectral_norm,
)
from models.networks.table import architectures, discriminators, kind_of, metadata_of
from models.networks.unet import UNetConfig
from models.origin import SOURCE_TYPES, Origin, SourceType
from models.precision import Precision, faster_in_bfloat16
from models.strict_json import legible

__all__ = [
    "ACCEPTED",
    "FORMAT_NAMES",
    "HEAD",
    "MAX_PIXELS",
    "SEED_LIMIT",
    "SOURCE_TYPES",
    "Airbench",
    "AirbenchConfig",
    "Animation",
    "Architecture",
    "Autoencoder",
    "AutoencoderConfig",
    "BrokenImageError",
    "CheckpointError",
    "Classifier",
    "ClassifierConfig",
    "CodeDiscriminatorConfig",
    "ConflictError",
    "DCGANConfig",
    "DCGANDiscriminatorConfig",
    "Direction",
    "Frame",
    "GanError",
    "Generator",
    "ImageError",
    "InputError",
    "LimitError",
    "MLPConfig",
    "MaxoutConfig",
    "Metadata",
    "Model",
    "Motion",
    "NotFoundError",
    "Origin",
    "OverloadError",
    "PatchGANConfig",
    "Pixels",
    "Precision",
    "ResNetConfig",
    "SampleNorm",
    "SamplerConfig",
    "SourceType",
    "Space",
    "Told",
    "Translator",
    "TranslatorConfig",
    "UNetConfig",
    "Unblended",
    "Video",
    "WeightsUnavailable",
    "add_directions",
    "addresses",
    "architectures",
    "as_pixels",
    "atomic_path",
    "centre_square",
    "check_seed",
    "check_sides",
    "coded_as",
    "commandline",
    "compose",
    "console",
    "crop",
    "decode",
    "discriminators",
    "draw",
    "encode",
    "faster_in_bfloat16",
    "filesets",
    "filters_of",
    "find_directions",
    "frames",
    "grid",
    "grid_size",
    "he_deviation",
    "held_spectral_norm",
    "import_checkpoint",
    "initialize_as_dcgan",
    "kind_of",
    "legible",
    "lerp",
    "load",
    "load_without_spectral_norm",
    "metadata_of",
    "motion",
    "opened",
    "origin",
    "pad_to_stride",
    "plain",
    "put_spectral_norm",
    "random_seed",
    "read_metadata",
    "read_text",
    "sample_seeds",
    "save",
    "sefa",
    "settle_spectral_norm",
    "sha256_of",
    "slerp",
    "split_alpha",
    "state_without_spectral_norm",
    "strict_json",
    "tiles",
    "to_float",
    "to_rgb",
    "to_uint8",
    "upright",
    "use_sample_norms",
    "with_directions",
    "with_metadata",
]
