"""Images to features: decoding and resizing in worker threads, overlapped with the network.

The network runs on small batches (8 on the CPU): its first layers make 5.5 MB of activations an image, and a batch
whose activations stay in the cache is 13% faster than one of 32.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from metrics.extraction.protocols import Protocol as ResizeProtocol
from metrics.extraction.sources import Images, Loader
from metrics.network import inception, int8, openvino_backend, weights
from metrics.network.placing import placing
from metrics.sets.moments import Features
from models import InputError

Progress = Callable[[int, int], None]
Precision = Literal["float32", "bfloat16", "int8"]
Backend = Literal["torch", "openvino"]

_AHEAD = 4  # batches decoded before they are needed
_MOST_STREAMS = 16  # of OpenVINO, 4 images each: as many images at a time as a GPU gets


class Extractor(Protocol):
    """What a score needs of a network: `InceptionExtractor`, or one of the user's own (`custom.py`).

    name: statistics carry it, and are compared only under the same one.
    side: height and width of the images it sees, in pixels.
    dimensions: length of a feature vector.  precision: "float32", or the reduced one.
    batch_size: images it likes to see at a time.
    """

    @property
    def name(self) -> str: ...
    @property
    def side(self) -> int: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def batch_size(self) -> int: ...

    def features(self, images: Tensor) -> Features:
        """float32 [n, 3, side, side] in [-1, 1] -> float32 [n, dimensions]."""
        ...

    def logits(self, features: Features) -> npt.NDArray[np.floating]:
        """float32 [n, dimensions] -> [n, classes]; raises WeightsUnavailable or InputError where it has no classes."""
        ...


@dataclass(frozen=True)
class InceptionExtractor:
    """The 2015-12-05 Inception on one device. Made by `extractor`."""

    network: Callable[[Tensor], Tensor]
    classifier: Tensor | None  # [1008, 2048]
    precision: str
    device: torch.device
    batch_size: int
    backend: Backend = "torch"
    name: str = weights.EXTRACTOR
    side: int = inception.SIDE
    dimensions: int = inception.FEATURES

    def features(self, images: Tensor) -> Features:
        """float32 [n, 3, 299, 299] in [-1, 1] -> float32 [n, 2048]."""
        # cuDNN would use TF32 for float32 by default, which moves features in the third digit
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self.network(images.to(self.device, non_blocking=True)).cpu().numpy()

    def logits(self, features: Features) -> npt.NDArray[np.floating]:
        """float32 [n, 2048] -> float64 [n, 1008], without the bias, as Inception Score is computed everywhere."""
        if self.classifier is None:
            raise weights.classifier_missing()
        return features.astype(np.float64) @ self.classifier.double().numpy().T


def extractor(
    weights_path: str | Path | None = None,
    *,
    precision: Precision = "float32",
    backend: Backend = "torch",
    device: str | None = None,
    batch_size: int | None = None,
) -> InceptionExtractor:
    """The Inception that FID is defined on, ready to run.

    Args:
        weights_path: a weights file of the user's; by default as `weights.load` searches.
        precision: "bfloat16" is faster on some CPUs and moves FID a little; "int8", with OpenVINO only, is faster still
            and moves it more. docs/metrics.md has the measured errors.
        backend: "openvino" is an optional extra for CPUs, see `openvino_backend`.
        device: a torch device; by default "cuda" where there is one, else "cpu". OpenVINO runs on the CPU.
        batch_size: by default 8 on the CPU (with OpenVINO 4 a thread, from 8 up) and 64 elsewhere.
    Raises:
        WeightsUnavailable: see `weights.load`.  InputError: an unknown precision, backend or device, or one
        not at hand.
    """
    if precision not in get_args(Precision):
        raise InputError(f"Unknown precision {precision!r}: use {' or '.join(get_args(Precision))}.", where="precision")
    if backend not in get_args(Backend):
        raise InputError(f"Unknown backend {backend!r}: use {' or '.join(get_args(Backend))}.", where="backend")
    if precision == "int8":
        _check_int8(backend)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"A batch has at least 1 image, not {batch_size}.", where="batch_size")
    found = weights.load(weights_path)
    classifier = found.tensors.get("fc.weight")
    if backend == "openvino":
        example = torch.zeros(1, 3, inception.SIDE, inception.SIDE)
        streams = min(torch.get_num_threads(), _MOST_STREAMS)
        trunk: nn.Module = inception.build(found.tensors)
        if precision == "int8":
            trunk = int8.quantized(trunk)
        hint = "float32" if precision == "int8" else precision  # of what is not rounded to integers
        run = openvino_backend.compile_network(trunk, example, hint, streams=streams)
        batch_size = batch_size or max(8, 4 * streams)
        return InceptionExtractor(run, classifier, precision, torch.device("cpu"), batch_size, backend)
    with placing(device) as place:
        network = inception.build(found.tensors, dtype=getattr(torch, precision)).to(place)
    return InceptionExtractor(network, classifier, precision, place, batch_size or (8 if place.type == "cpu" else 64))


def _check_int8(backend: Backend) -> None:
    if backend != "openvino":
        raise InputError("int8 is computed by OpenVINO: use the openvino backend.", where="precision")
    # without VNNI products of bytes are added in 16 bits, which overflow
    if not torch.cpu._is_vnni_supported():
        raise InputError("int8 needs a CPU with VNNI instructions (avx512_vnni): use float32.", where="precision")


def stream_features(
    images: Images,
    network: Extractor,
    protocol: ResizeProtocol,
    *,
    workers: int = 2,
    progress: Progress | None = None,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Features]:
    """Features of a stream of images, batch by batch, in the images' order.

    Args:
        workers: threads that decode and resize.
        progress: called as progress(done, total) after every batch, total 0 where it is not known; whatever it
            raises ends the extraction cleanly.
        part: (i, k) takes every k-th image from the i-th on, for k processes.
    Raises:
        ImageError, LimitError, InputError: as the images' loaders do, naming the image.
    """

    def load(loader: Loader) -> Tensor:
        return protocol.prepare(loader(), network.side)

    mine = itertools.islice(images.loaders(), part[0], None, part[1])
    total = len(range(part[0], images.count, part[1])) if images.count is not None else 0
    done = 0
    waiting: deque[Future[Tensor]] = deque()
    pool = ThreadPoolExecutor(max_workers=max(workers, 1), thread_name_prefix="decode")
    try:
        while True:
            for loader in itertools.islice(mine, _AHEAD * network.batch_size - len(waiting)):
                waiting.append(pool.submit(load, loader))
            if not waiting:
                return
            batch = [waiting.popleft().result() for _ in range(min(network.batch_size, len(waiting)))]
            yield network.features(torch.stack(batch))
            done += len(batch)
            if progress:
                progress(done, total)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
