"""A job that is bound to fail is refused when it is submitted, in the words that its request is refused with."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests

Picture = Callable[..., bytes]
Form = tuple[dict[str, str], list[tuple[str, tuple[str, bytes]]]]
Said = tuple[int, str, str]

SAMPLES: list[dict[str, Any]] = [
    {"model": "nothing"},
    {"model": "horse"},
    {"model": "classy", "class": 2},
    {"model": "classy", "n": 2, "class": ["cat", "cow"]},
    {"model": "classy", "latents": [[0.0] * 8]},
    {"model": "tiny", "class": 0},
    {"model": "tiny", "latents": [[0.0] * 7]},
    {"model": "tiny", "latents": [[1e39] * 8]},
    {"model": "tiny", "latents": [[0.0] * 8], "seed": 1},
    {"model": "tiny", "combine": [{"seed": 1, "latent": [0.0] * 8}]},
    {"model": "tiny", "combine": [{"latent": [0.0] * 9}]},
    {"model": "tiny", "directions": {"older": 1.0}},
    {"model": "tiny", "space": "w"},
    {"model": "tiny", "n": 2, "seed": [1, 2, 3]},
    {"model": "tiny", "n": 2, "output": "image"},
]
WALKS: list[dict[str, Any]] = [
    {"model": "nothing", "seeds": [1, 2]},
    {"model": "tiny"},
    {"model": "tiny", "seeds": [1]},
    {"model": "tiny", "seeds": [1, 2], "latents": [[0.0] * 8]},
    {"model": "tiny", "latents": [[0.0] * 7, [0.0] * 7]},
    {"model": "tiny", "latents": [[0.0] * 8] * 2, "truncation": 0.5},
    {"model": "tiny", "seeds": [1, 2, 3], "shape": "map"},
    {"model": "tiny", "seeds": [1, 2, 3, 4], "shape": "map", "loop": True},
    {"model": "tiny", "seeds": [1, 2, 3, 4], "shape": "map", "output": "gif"},
    {"model": "tiny", "seeds": [1, 2], "output": "gif", "frame_ms": 10},
    {"model": "tiny", "seeds": [1, 2], "space": "w"},
    {"model": "tiny", "seeds": [1, 2], "classes": ["cat"]},
    {"model": "classy", "latents": [[0.0] * 8] * 2},
    {"model": "classy", "seeds": [1, 2], "classes": ["cat", "cow"]},
    {"model": "classy", "seeds": [1, 2, 3], "classes": ["cat", "dog"]},
]


def said(answer: requests.Response) -> Said:
    """Status, sentence, and the field that it is about."""
    error = answer.json()["error"]
    return answer.status_code, error["message"], error.get("where", "")


@pytest.mark.parametrize(
    ("kind", "body"), [*(("sample", body) for body in SAMPLES), *(("interpolate", body) for body in WALKS)]
)
def test_what_cannot_be_drawn(local: Any, kind: str, body: dict[str, Any]) -> None:
    request = requests.post(f"{local.url}/v1/{kind}", json=body, timeout=300)
    job = requests.post(f"{local.url}/v1/jobs/{kind}", json=body, timeout=300)
    assert 400 <= request.status_code < 500
    assert said(job) == said(request)


def form(field: str, *files: bytes, **fields: str) -> Form:
    return fields, [(field, (f"{number}.png", data)) for number, data in enumerate(files)]


def test_photos_that_do_not_fit(encoding: Any, picture: Picture) -> None:
    small, broken, line = picture(8, 9), b"no picture", picture(1, 16_384)
    masked: Form = {}, [("images", ("photo.png", small)), ("mask", ("mask.png", picture(9, 9, mode="L")))]
    asked = [
        ("encode", form("images", small, model="nothing")),
        ("encode", form("images", small, small, model="mirror", output="image")),
        ("encode", form("images", small, broken, model="mirror")),
        ("interpolate", form("images", small, small, model="tiny")),
        ("interpolate", form("images", small, model="mirror")),
        ("interpolate", form("images", small, small, model="mirror", truncation="0.5")),
        ("interpolate", form("images", small, broken, model="mirror")),
        ("translate", form("images", small, model="tiny")),
        ("translate", form("images", small, direction="cow")),
        ("translate", form("images", small, small, output="image")),
        ("translate", form("images", small, mask="true", output="zip")),
        ("translate", form("images", small, broken)),
        ("translate", form("images", line, format="webp")),
        ("translate", masked),
    ]
    for kind, (fields, files) in asked:
        request, job = (
            requests.post(f"{encoding.url}/v1/{path}", data=fields, files=files, timeout=300)
            for path in (kind, f"jobs/{kind}")
        )
        assert 400 <= request.status_code < 500, (kind, fields)
        assert said(job) == said(request)


def packed(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def statistics() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, mu=np.zeros(12), sigma=np.eye(12))
    return buffer.getvalue()


def test_sets_that_cannot_be_scored_or_kept(scoring: Any, picture: Picture) -> None:
    small, words = picture(8, 9), packed(("readme.txt", b"words"))
    kept = requests.post(
        f"{scoring.url}/v1/references", data={"name": "kept-before"}, files={"images": statistics()}, timeout=300
    )
    assert kept.status_code == 201, kept.text
    asked = [
        ("score", "score", form("a", small)),
        ("score", "score", form("a", small, a_reference="kept-before", b_reference="kept-before")),
        ("score", "score", form("a", small, small, b_reference="nothing")),
        ("score", "score", form("a", small, small, b_model="nothing", b_n="8")),
        ("score", "score", form("a", small, small, b_model="tiny")),
        ("score", "score", form("a", small, small, a_seed="7", b_reference="kept-before")),
        ("score", "score", form("a", small, small, b_reference="kept-before", extractor="others")),
        ("score", "score", form("a", words, b_reference="kept-before")),
        ("score", "score", form("a", small, packed(("0.png", small)), b_reference="kept-before")),
        ("references", "reference", form("images", small, small, name="a/b")),
        ("references", "reference", form("images", small, small, name="kept-before")),
        ("references", "reference", form("images", small, small, name="new", extractor="others")),
        ("references", "reference", form("images", words, name="new")),
        ("references", "reference", form("images", statistics(), name="new", extractor="mine")),
    ]
    for path, kind, (fields, files) in asked:
        request = requests.post(f"{scoring.url}/v1/{path}", data=fields, files=files, timeout=300)
        job = requests.post(f"{scoring.url}/v1/jobs/{kind}", data=fields, files=files, timeout=300)
        assert 400 <= request.status_code < 500, (kind, fields)
        assert said(job) == said(request)


def test_a_job_that_came_before_is_found_though_it_could_not_be_submitted_any_more(
    scoring: Any, wait_until: Callable[[Callable[[], bool], str], None]
) -> None:
    """Its own success has taken the name meanwhile."""

    def submit(key: str) -> requests.Response:
        return requests.post(
            f"{scoring.url}/v1/jobs/reference",
            data={"name": "once"},
            files={"images": ("set.npz", statistics())},
            headers={"Idempotency-Key": key},
            timeout=300,
        )

    first = submit("mine").json()["id"]
    job = f"{scoring.url}/v1/jobs/{first}"
    wait_until(lambda: requests.get(job, timeout=300).json()["state"] == "done", "the job's end")
    again = submit("mine")
    assert (again.status_code, again.json()["id"]) == (202, first)
    assert submit("another").status_code == 409
