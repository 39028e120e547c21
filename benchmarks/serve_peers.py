"""The same generator behind other servers, as their documentation would have one write it.

`python -m benchmarks.serve_peers fastapi|litserve PORT` serves one; `Batchable` is for `bentoml serve`. PEER_CHECKPOINT
names the file, PEER_PRECISION is float32 or bfloat16. Each answers POST /sample {"seed": 1} with a PNG, compressed as
ours are (BentoML's batchable endpoint: {"seeds": [1]} with a list of base64).
"""

import base64
import dataclasses
import os
import sys
from pathlib import Path

import bentoml
import litserve as ls
import torch
from starlette.responses import Response

import models
from service.engine.prepare import Rounded


def load(path: str) -> models.Generator:
    """The checkpoint as `models.load` gives it, with the threads that our own service takes."""
    torch.set_num_threads(int(os.environ.get("GAN_THREADS", "1")))
    network = models.load(Path(path), models.Generator)
    if os.environ["PEER_PRECISION"] == "bfloat16":
        return dataclasses.replace(network, parts={"generator": Rounded(network.parts["generator"])})
    return network


def fastapi(port: int) -> None:
    """One request, one forward pass, on FastAPI's own thread pool."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Ask(BaseModel):
        seed: int

    network = load(os.environ["PEER_CHECKPOINT"])
    app = FastAPI()

    @app.post("/sample")
    def sample(ask: Ask) -> Response:
        pixels = models.to_uint8(network(models.draw([ask.seed], network.latent_size)))
        return Response(models.encode(pixels[0], compression=1), media_type="image/png")

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


class LitApi(ls.LitAPI):
    """LitServe's hooks around the generator."""

    def setup(self, device: str) -> None:
        self.network = load(os.environ["PEER_CHECKPOINT"])

    def decode_request(self, request: dict[str, int]) -> torch.Tensor:
        return models.draw([request["seed"]], 100)[0]

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, latents: torch.Tensor) -> list[bytes]:
        return [models.encode(one, compression=1) for one in models.to_uint8(self.network(latents))]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        return output

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/png")


def litserve(port: int) -> None:
    """LitServe with its batching, on one worker."""
    api = LitApi(max_batch_size=32, batch_timeout=0.005, api_path="/sample")
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Batchable:
    """BentoML's own adaptive batching."""

    def __init__(self) -> None:
        self.network = load(os.environ["PEER_CHECKPOINT"])

    @bentoml.api(batchable=True, max_batch_size=32, route="/sample")
    def sample(self, seeds: list[int]) -> list[str]:
        pixels = models.to_uint8(self.network(models.draw(seeds, self.network.latent_size)))
        return [base64.b64encode(models.encode(one, compression=1)).decode() for one in pixels]


if __name__ == "__main__":
    {"fastapi": fastapi, "litserve": litserve}[sys.argv[1]](int(sys.argv[2]))
