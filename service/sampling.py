"""POST /v1/sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from starlette.responses import JSONResponse, Response

import models
from models.errors import InputError
from models.images import Pixels
from service import bulk, encoders
from service.classes import class_weights, default_classes
from service.core import Core
from service.engine import Latents, Sampler
from service.operations import Call, Operation
from service.registry import Served
from service.schemas import MAX_IMAGES, SampleAnswer, SampleRequest

_SMALL = 64 * 64 * 3  # values; one such image is encoded sooner than another thread is woken


@dataclass(frozen=True)
class Plan:
    """What to draw: `seeds` is None for latents that the client gave."""

    served: Served
    rows: Latents
    seeds: list[int] | None
    truncation: float | None

    @property
    def count(self) -> int:
        return len(self.rows.latents)

    def text(self, index: int) -> dict[str, str]:
        """What a PNG carries, so that the image can be made again."""
        text = {"gan.model": self.served.id, "gan.digest": self.served.digest}
        if self.seeds is None:
            text["gan.latent"] = encoders.base64_of(self.rows.latents[index].numpy().tobytes())
        else:
            text["gan.seed"] = str(self.seeds[index])
        if self.truncation is not None:
            text["gan.truncation"] = repr(self.truncation)
        if self.rows.classes is not None:
            text["gan.class"] = str(int(self.rows.classes[index].argmax()))
        return text


async def sample(core: Core, call: Call) -> Response:
    """Seeds or latents to images, in the form that was asked for."""
    request: SampleRequest = call.body
    served = core.registry.get(request.model, Sampler)
    plan = make_plan(served, request)
    choice = encoders.choose(call.request.headers.get("accept", ""), request.output, request.format, plan.count)
    assert isinstance(served.unit, Sampler)
    pixels = await bulk.images(served.unit, plan.rows, call.progress)
    core.served("sample", served.source.name, pixels, drift=served.source.name)
    if pixels.size <= _SMALL:
        content, media = pack(pixels, plan, choice, request.quality)
    else:
        content, media = await core.encode(pack, pixels, plan, choice, request.quality)
    if isinstance(content, dict):
        return JSONResponse(content)
    return Response(content, media_type=media, headers=provenance(plan))


def make_plan(served: Served, request: SampleRequest) -> Plan:
    """Turns a request into latents and classes; raises InputError where its parts contradict each other."""
    network = served.unit.network
    assert isinstance(network, models.Generator)
    if request.latents is not None and (request.seed is not None or request.truncation is not None):
        raise InputError("Give latents, or seed and truncation, not both.", where="latents")
    count = _count(request)
    seeds = None
    if request.latents is not None:
        if any(len(row) != network.latent_size for row in request.latents):
            raise InputError(f"Each latent of {served.id} has {network.latent_size} numbers.", where="latents")
        latents = torch.tensor(request.latents, dtype=torch.float32)
    else:
        seeds = request.seed if isinstance(request.seed, list) else None
        if seeds is None:
            base = models.random_seed() if request.seed is None else request.seed
            assert isinstance(base, int)
            seeds = models.sample_seeds(base, count)
        latents = models.draw(seeds, network.latent_size, truncation=request.truncation)
    labels = request.classes if request.classes is not None or seeds is None else default_classes(network, seeds)
    classes = class_weights(network, labels, count)
    return Plan(served, Latents(latents, classes), seeds, request.truncation)


def _count(request: SampleRequest) -> int:
    lists = {
        name: len(value)
        for name, value in (("seed", request.seed), ("latents", request.latents), ("class", request.classes))
        if isinstance(value, list)
    }
    counts = {*lists.values(), *([request.n] if request.n is not None else [])}
    if len(counts) > 1:
        given = ", ".join(f"{name} has {length}" for name, length in lists.items())
        raise InputError(f"The lists differ in length, or from n: {given}.", where=next(iter(lists)))
    return counts.pop() if counts else 1


def pack(pixels: Pixels, plan: Plan, choice: encoders.Choice, quality: int) -> tuple[bytes | dict[str, object], str]:
    """(content, media type) of the answer."""
    kind = choice.format
    seeds: Sequence[int | None] = plan.seeds or [None] * plan.count
    texts = [plan.text(index) for index in range(plan.count)]
    if choice.output == "grid":
        text = {"gan.model": plan.served.id, "gan.digest": plan.served.digest, "gan.seeds": seed_list(plan)}
        return encoders.encode(models.grid(pixels), kind, quality, text), encoders.MEDIA[kind]
    if choice.output == "npz":
        arrays: Mapping[str, np.ndarray] = {"images": pixels, "latents": plan.rows.latents.numpy()}
        if plan.seeds is not None:
            arrays = {**arrays, "seeds": np.array(plan.seeds, np.int64)}
        return encoders.npz_of(arrays), encoders.MEDIA["npz"]
    files = encoders.files(pixels, kind, quality, texts)
    if choice.output == "image":
        return files[0], encoders.MEDIA[kind]
    if choice.output == "zip":
        digits = max(3, len(str(plan.count - 1)))
        names = [f"{i:0{digits}d}{'' if seed is None else f'_seed{seed}'}.{kind}" for i, seed in enumerate(seeds)]
        return encoders.zip_of(dict(zip(names, files, strict=True))), encoders.MEDIA["zip"]
    images = [
        {"seed": seed, "format": kind, "data": encoders.base64_of(file)}
        for seed, file in zip(seeds, files, strict=True)
    ]
    answer: dict[str, object] = {
        "model": plan.served.id,
        "digest": plan.served.digest,
        "seeds": seeds,
        "images": images,
    }
    return answer, encoders.MEDIA["json"]


def seed_list(plan: Plan) -> str:
    """`7,8,9`; for a job's thousands, which follow one another, `7..5006`: no HTTP library takes them in a header."""
    seeds = plan.seeds or []
    return f"{seeds[0]}..{seeds[-1]}" if len(seeds) > MAX_IMAGES else ",".join(map(str, seeds))


def provenance(plan: Plan) -> dict[str, str]:
    """Headers of binary answers: what made the image."""
    headers = {"X-Model": plan.served.id, "X-Digest": plan.served.digest}
    return headers if plan.seeds is None else {**headers, "X-Seeds": seed_list(plan)}


SAMPLE = Operation(
    "POST",
    "/v1/sample",
    "sample",
    "Draw images",
    sample,
    "generate",
    body=SampleRequest,
    answers={
        **{media: None for name, media in encoders.MEDIA.items() if name != "json"},
        "application/json": SampleAnswer,
    },
    headers={
        "X-Seeds": "The seed of each image, separated by commas.",
        "X-Model": "Name and version.",
        "X-Digest": "SHA-256 of the checkpoint.",
    },
    errors=(404, 406),
    examples={"four": {"n": 4, "seed": 7, "output": "grid"}},
)
