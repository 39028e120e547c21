"""A job's events over HTTP, read as they come."""

import base64
import io
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from PIL import Image

from service.endpoints import events
from tests.service.sse import follow

SCORE = {"a_n": 8, "a_model": "tiny", "b_n": 8, "b_model": "tiny", "b_seed": 50}
Serve = Callable[..., Any]


def submit(url: str, kind: str, body: object = None, **options: Any) -> str:
    answer = requests.post(f"{url}/v1/jobs/{kind}", json=body, timeout=300, **options)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_a_job_is_followed_from_its_start_to_its_end(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile).url
    submit(url, "score", SCORE)  # runs before it
    job = submit(url, "score", SCORE)
    seen = []
    with follow(url, job) as stream:
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        assert stream.response.headers["X-Accel-Buffering"] == "no"
        assert "no-cache" in stream.response.headers["Cache-Control"]
        for event in stream:
            seen.append(event)
            if event.data.get("state") == "queued":
                for _ in range(4):
                    turnstile.let_one()
            elif event.name in ("state", "progress"):
                turnstile.let_one()
    names = [event.name for event in seen]
    assert [event.data["state"] for event in seen if event.name == "state"] == ["queued", "running", "done"]
    assert names[-2:] == ["state", "end"]
    done = [event.data["done"] for event in seen if event.name == "progress"]
    assert done == [4, 8, 12, 16][: len(done)]
    assert {event.data["total"] for event in seen if event.name == "progress"} == {16}
    assert seen[-1].data == requests.get(f"{url}/v1/jobs/{job}", timeout=300).json()
    assert int(stream.retry) > 0


def test_who_comes_back_is_told_what_has_changed_since(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile, job_heartbeat_s=0.05).url
    job = submit(url, "score", SCORE)
    with follow(url, job) as stream:
        for event in stream:
            if event.name == "state" and event.data["state"] == "running":
                turnstile.let_one()
            if event.name == "progress" and event.data["done"] == 4:
                break
    with follow(url, job, event.last_id) as again:
        coming = iter(again)
        turnstile.let_one()
        later = next(coming)
        assert (later.name, later.data["done"]) == ("progress", 8)  # and not its state once more
        turnstile.let_all()
        *_, end = coming
    assert (end.name, end.data["state"]) == ("end", "done")
    for unknown in ("", "nonsense", "9.9.9.9", "\u00b2.queued.1.1"):
        with follow(url, job, unknown.encode().decode("latin-1")) as late:
            assert [event.name for event in late] == ["state", "end"]
    with follow(url, job, end.last_id) as over:
        assert (over.response.status_code, over.response.content) == (204, b"")


def test_pictures_are_shown_as_they_are_made(serve: Serve, picture: Callable[..., bytes]) -> None:
    url = serve(tile=256, tile_above_pixels=4096).url
    files = [("images", ("large.png", picture(400, 600)))]
    answer = requests.post(f"{url}/v1/jobs/translate", files=files, timeout=300)
    with follow(url, answer.json()["id"]) as stream:
        told = list(stream)
    assert [event.data["total"] for event in told if event.name == "progress"][-1] == 3 * 4
    previews = [event.data for event in told if event.name == "preview"]
    assert previews
    for shown in previews:
        with Image.open(io.BytesIO(base64.b64decode(shown["data"]))) as image:
            assert (image.format, image.size) == ("JPEG", (shown["width"], shown["height"]))
            assert image.width == 256
    assert [shown["number"] for shown in previews] == sorted({shown["number"] for shown in previews})
    drawn = submit(url, "sample", {"model": "tiny", "n": 10_000, "output": "npz"})
    with follow(url, drawn) as stream:
        shown = next(event.data for event in stream if event.name == "preview")
        assert (shown["width"], shown["height"]) == (16, 16)
    requests.delete(f"{url}/v1/jobs/{drawn}", timeout=300)


def test_a_stream_that_has_nothing_to_tell_is_kept_open(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile, job_heartbeat_s=0.05).url
    job = submit(url, "score", SCORE)
    with follow(url, job) as stream:
        for line in stream.response.iter_lines(chunk_size=1):
            stream.comments += line.startswith(b":")
            if stream.comments == 3:
                break
    turnstile.let_all()


def test_a_cancelled_job_ends_its_stream(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile).url
    job = submit(url, "score", SCORE)
    with follow(url, job) as stream:
        coming = iter(stream)
        next(coming)
        requests.delete(f"{url}/v1/jobs/{job}", timeout=300)
        *_, end = coming
    assert (end.name, end.data["state"]) == ("end", "cancelled")
    turnstile.let_all()


def test_followers_are_so_many_at_most_and_places_are_freed(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile, job_followers_per_caller=2, job_heartbeat_s=0.05).url
    job = submit(url, "score", SCORE)
    with follow(url, job) as one, follow(url, job) as two:
        assert (one.response.status_code, two.response.status_code) == (200, 200)
        with follow(url, job) as three:
            assert three.response.status_code == 503
            assert int(three.response.headers["Retry-After"]) >= 1
            assert "of at most 2" in three.response.json()["error"]["message"]
    end = time.monotonic() + 60
    while True:
        with follow(url, job) as later:
            if later.response.status_code == 200:
                break
        assert time.monotonic() < end
    turnstile.let_all()


def test_a_reader_that_stalls_is_dropped(serve: Serve, turnstile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fills what the system keeps for it, and has `send_s` from then on."""
    monkeypatch.setattr(events, "_HEARTBEAT", b": " + bytes(1 << 16) + b"\n\n")  # or it would take minutes to fill it
    one = serve(turnstile, job_heartbeat_s=0.001, send_s=0.2)
    job = submit(one.url, "score", SCORE)
    host, port = one.url.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.sendall(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        client.settimeout(60)
        assert client.recv(12) == b"HTTP/1.1 200"
        end = time.monotonic() + 300
        while one.runtime.jobs.followers.count:
            assert time.monotonic() < end
            time.sleep(0.05)
    turnstile.let_all()


def test_what_is_asked_wrongly_is_told(scoring: Any) -> None:
    job = submit(scoring.url, "sample", {"model": "tiny"})
    assert requests.get(f"{scoring.url}/v1/jobs/{'0' * 32}/events", timeout=300).status_code == 404
    other = requests.get(f"{scoring.url}/v1/jobs/{job}/events", headers={"Accept": "application/json"}, timeout=300)
    assert (other.status_code, other.headers["Content-Type"].partition(";")[0]) == (200, "text/event-stream")
    assert requests.get(f"{scoring.url}/v1/jobs/{job}/events?a=1", timeout=300).status_code == 400
    head = requests.head(f"{scoring.url}/v1/jobs/{job}/events", timeout=300)
    assert (head.status_code, "Content-Length" in head.headers) == (200, False)


@pytest.mark.parametrize("accept", ["*/*", "text/*", "text/event-stream;q=0.1, image/png"])
def test_the_real_service_streams(server: str, accept: str) -> None:
    job = submit(server, "sample", {"model": "tiny", "n": 300, "seed": 7})
    with follow(server, job, Accept=accept) as stream:
        *_, end = stream
    assert (end.name, end.data["progress"]["done"]) == ("end", 300)
