"""The Python client against the service, and what it makes of answers that are not the service's."""

import base64
import contextlib
import hashlib
import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from gan_client import Client, Picture, ServiceError
from metrics.sets.featuresets import of_features
from models import read_text
from service.jobs import kept
from service.settings import Settings
from tests.client.conftest import HOOKS
from tests.service.conftest import PATIENT, local_server, save_translator

HORSE = sorted((Path(__file__).parents[1] / "fixtures" / "horse2zebra").rglob("*.jpg"))[0]


def pixels(picture: Picture) -> np.ndarray:
    with Image.open(io.BytesIO(picture.data)) as image:
        return np.asarray(image)


@pytest.fixture
def client(local) -> Iterator[Client]:
    with Client(local.url, timeout_s=300) as one:
        yield one


def test_models_are_the_catalogue(client, local):
    assert client.models() == requests.get(f"{local.url}/v1/models", timeout=300).json()["models"]


def test_sample_gives_pictures_with_their_seeds(client, tmp_path):
    pictures = client.sample(3, model="tiny", seed=7)
    assert [picture.seed for picture in pictures] == [7, 8, 9]
    assert client.sample(model="tiny", seed=9)[0].data == pictures[2].data
    saved = pictures[0].save(tmp_path / "seven.png")
    text = read_text(saved.read_bytes())
    assert (text["gan.seed"], text["gan.digest"]) == ("7", pictures[0].digest)
    assert pictures[0].media_type == "image/png"


def test_a_picture_is_saved_whole_or_not_at_all(tmp_path):
    picture = Picture(b"new", "image/png", "tiny@1", "1")
    (tmp_path / "old.png").write_bytes(b"old")
    (tmp_path / "folder.png").mkdir()
    assert picture.save(str(tmp_path / "old.png")).read_bytes() == b"new"
    with pytest.raises(IsADirectoryError):
        picture.save(tmp_path / "folder.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "old.png"]


def test_sample_by_lists(client):
    by_seed = client.sample(2, model="classy", seed=[4, 1], classes=["dog", 0], format="webp", truncation=1.0)
    assert [picture.seed for picture in by_seed] == [4, 1]
    assert by_seed[0].media_type == "image/webp"
    by_range = client.sample(model="tiny", seed=range(3, 5))
    assert [picture.seed for picture in by_range] == [3, 4]
    assert client.sample(model="tiny", seed=np.int64(4))[0].data == by_range[1].data
    by_latent = client.sample(model="tiny", latents=np.zeros((1, 8), np.float32))
    assert by_latent[0].seed is None
    assert Image.open(io.BytesIO(by_latent[0].data)).size == (16, 16)


def test_the_services_sentence_becomes_one_exception(client):
    with pytest.raises(ServiceError, match="There is no model nothing; there are: classy, tiny") as caught:
        client.sample(model="nothing")
    assert (caught.value.status, caught.value.code, caught.value.where) == (404, "not_found", "model")
    assert caught.value.retry_after_s is None


def test_numbers_that_are_none_get_the_services_sentence(client):
    with pytest.raises(ServiceError, match="latents") as caught:
        client.sample(model="tiny", latents=np.full((1, 8), np.nan))
    assert (caught.value.status, caught.value.code) == (400, "invalid_input")


def test_where_nobody_answers_it_says_so():
    client = Client("http://127.0.0.1:9", timeout_s=2)
    with pytest.raises(ServiceError) as caught:
        client.models()
    assert str(caught.value) == "http://127.0.0.1:9 cannot be reached: Connection refused"
    assert (caught.value.status, caught.value.code) == (0, "unreachable")


def test_a_proxys_answer_is_the_same_exception_and_the_key_is_sent(proxy):
    with Client(proxy.url, api_key="secret", patience_s=0) as client, pytest.raises(ServiceError) as caught:
        client.models()
    assert str(caught.value) == f"503 Busy for {proxy.url}/v1/models"
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "http_error", 3.0)
    assert [headers["Authorization"] for headers, _ in proxy.seen] == ["Bearer secret"]


def test_a_key_is_not_replaced_by_what_netrc_says_of_the_host(proxy, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    proxy.answers = [(200, None, '{"models": []}')]
    with Client(proxy.url, api_key="secret") as client:
        client.models()
    assert [headers["Authorization"] for headers, _ in proxy.seen] == ["Bearer secret"]


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_what_no_header_can_carry_is_no_key(key):
    with pytest.raises(ValueError, match="visible ASCII"):
        Client(api_key=key)


@pytest.mark.parametrize("body", ["<html>Welcome</html>", "[]", '{"data": []}', '{"images": [{"seed": 1}]}'])
def test_another_servers_answer_is_said_to_be_one(proxy, body):
    proxy.answers = [(200, None, body)]
    with Client(proxy.url) as client:
        for method in (client.models, client.references, lambda: client.submit(client.sample)):
            with pytest.raises(ServiceError, match="is not the GAN service") as caught:
                method()
            assert (caught.value.status, caught.value.code) == (200, "http_error")
    if body != '{"data": []}':  # any JSON may be a result
        with Client(proxy.url) as client, pytest.raises(ServiceError, match="is not the GAN service"):
            client.sample()


@pytest.mark.parametrize("body", ['{"error": "no"}', '{"error": {"message": "no"}}', "[]", ""])
def test_json_of_another_shape_is_a_proxys_answer_too(proxy, body):
    proxy.answers = [(502, None, body)]
    with Client(proxy.url) as client, pytest.raises(ServiceError, match="502 Busy for") as caught:
        client.models()
    assert (caught.value.code, caught.value.where, caught.value.retry_after_s) == ("http_error", None, None)


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """The client's clock: sleeping takes no time, and is written down."""
    clock = SimpleNamespace(slept=[], monotonic=lambda: sum(clock.slept))
    clock.sleep = clock.slept.append
    monkeypatch.setattr("gan_client.client.time", clock)
    monkeypatch.setattr("gan_client.jobs.time", clock)
    return clock


def test_a_busy_service_is_asked_again_when_it_says(proxy, clock):
    proxy.answers = [(429, "7", ""), (503, "2", ""), (200, None, '{"id": "4f1c"}')]
    with Client(proxy.url) as client:
        assert client.submit(client.sample, 5000, seed=1).id == "4f1c"
    assert clock.slept == [7, 2]
    headers, bodies = zip(*proxy.seen, strict=True)
    assert [json.loads(body) for body in bodies] == [{"n": 5000, "output": "json", "seed": 1}] * 3
    assert len({one["Idempotency-Key"] for one in headers}) == 1


def test_patience_has_an_end_and_is_not_spent_on_a_wait_that_is_too_long(proxy, clock):
    proxy.answers = [(503, "4", "")]
    with Client(proxy.url, patience_s=10) as client, pytest.raises(ServiceError) as caught:
        client.models()
    assert (clock.slept, caught.value.retry_after_s) == ([4, 4], 4.0)
    proxy.answers = [(503, "3600", "")]
    with Client(proxy.url) as client, pytest.raises(ServiceError):
        client.models()
    assert clock.slept == [4, 4]


@pytest.mark.parametrize(("status", "wait"), [(503, None), (503, "Wed, 21 Oct 2026 07:28:00 GMT"), (500, None)])
def test_what_names_no_seconds_to_wait_is_raised_at_once(proxy, clock, status, wait):
    proxy.answers = [(status, wait, "")]
    with Client(proxy.url) as client, pytest.raises(ServiceError):
        client.models()
    assert clock.slept == []
    assert len(proxy.seen) == 1


def test_keys_are_accepted_by_a_service_that_asks_for_them(serve):
    url = serve(api_keys=(hashlib.sha256(b"open sesame").hexdigest(),)).url
    with Client(url, api_key="open sesame") as client:
        assert client.models()
    with Client(url) as client, pytest.raises(ServiceError, match="API key") as caught:
        client.models()
    assert caught.value.status == 401


def test_interpolate(client):
    strip = client.interpolate([1, 2, 3], model="tiny", steps=4)
    assert Image.open(io.BytesIO(strip.data)).size == (9 * 16, 16)
    square = client.interpolate([1, 2, 3, 4], model="classy", classes=["cat"], shape="map", steps=5, method="lerp")
    assert Image.open(io.BytesIO(square.data)).size == (80, 80)
    loop = client.interpolate(latents=np.eye(3, 8), model="tiny", steps=2, loop=True, output="gif")
    assert loop.media_type == "image/gif"
    assert Image.open(io.BytesIO(loop.data)).n_frames == 6  # type: ignore[attr-defined]


def test_translate_from_a_path_and_from_bytes(client, tmp_path):
    from_path = client.translate(HORSE)
    from_bytes = client.translate(HORSE.read_bytes(), direction="zebra")
    np.testing.assert_array_equal(pixels(from_path), pixels(from_bytes))
    with Image.open(from_path.save(tmp_path / "zebra.png")) as saved:
        assert saved.size == (256, 256)
    assert client.translate(str(HORSE), direction="b_to_a", format="jpeg", quality=80).media_type == "image/jpeg"


def test_translate_many_with_the_round_trip(client):
    done = client.translate_many([HORSE, HORSE.read_bytes()], cycle=True)
    alone = client.translate(HORSE, cycle=True)
    for picture in done:
        np.testing.assert_array_equal(pixels(picture), pixels(alone))
        assert picture.cycle_l1 == pytest.approx(alone.cycle_l1, abs=1e-6)
        assert (picture.media_type, picture.digest) == ("image/png", alone.digest)
    assert len(done) == 2
    assert alone.cycle_l1 is not None
    assert 0 < alone.cycle_l1 <= 1
    assert client.translate(HORSE).cycle_l1 is None


def test_masks_go_there_and_come_back(tmp_path):
    """What may change, from the client; what did, from a model with attention."""
    (tmp_path / "models").mkdir()
    save_translator(tmp_path / "models" / "horse.safetensors", attention=8)
    settings = Settings(models=(tmp_path / "models",), store=tmp_path / "store", **PATIENT)
    with local_server(settings) as attentive, Client(attentive.url) as client:
        with Image.open(HORSE) as photo:
            original = np.asarray(photo)
        black = io.BytesIO()
        Image.fromarray(original[..., 0] * 0).save(black, "PNG")
        kept = client.translate(HORSE, black.getvalue(), format="png")
        assert np.array_equal(pixels(kept), original)
        assert kept.mask is None
        (picture,) = client.translate_many(HORSE, mask=True)
        assert picture.data == client.translate(HORSE).data
        picture.save(tmp_path / "zebra.png")
        assert (tmp_path / "zebra.mask.png").read_bytes() == picture.mask
        mask = np.asarray(Image.open(io.BytesIO(picture.mask)))
        assert mask.shape == original.shape[:2]
        assert np.array_equal(pixels(picture)[mask == 0], original[mask == 0])
        nothing, all_black = client.translate_many([HORSE, HORSE], [black.getvalue()], strength=0.5, mask=True)
        assert nothing == all_black
        assert not np.asarray(Image.open(io.BytesIO(nothing.mask))).any()


def test_inspect_leads_back_to_the_same_pixels(client):
    picture = client.sample(model="classy", seed=5, classes="dog", truncation=0.8)[0]
    found = client.inspect(picture.data)
    assert found["served"]
    body = found["sample"]
    again = client.sample(model=body["model"], seed=body["seed"], classes=body["class"], truncation=body["truncation"])
    assert again[0].data == picture.data


# References and jobs -----------------------------------------------------------------------


def statistics(path: Path, shift: float) -> Path:
    """Of eight feature vectors, shifted: covariances are equal, so that FID is the squared shift of the mean."""
    features = np.full((8, 2048), shift)
    features[:, :8] += np.random.default_rng(0).standard_normal((8, 8))
    of_features(path.name, features.astype(np.float32), "pytorch-fid", "test").save(path)
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)  # 33 MB otherwise
    return path


def test_references_are_kept_and_scored_as_a_job(client, tmp_path):
    kept = client.add_reference("client-test", statistics(tmp_path / "zero.npz", 0.0))
    assert kept["name"] == "client-test"
    assert "client-test" in [one["name"] for one in client.references()]
    seen: list[tuple[int, int]] = []
    job = client.submit(client.score, statistics(tmp_path / "one.npz", 1.0), b_reference="client-test")
    result = job.wait(lambda done, total: seen.append((done, total)), timeout_s=300)
    assert result["fid"]["value"] == pytest.approx(2048, rel=1e-6)
    assert seen
    assert job.view()["state"] == "done"
    with np.load(io.BytesIO(client.reference_npz("client-test"))) as numbers:
        np.testing.assert_array_equal(numbers["mu"][8:], np.zeros(2040))
    assert client.job(job.id).wait() == result
    client.delete_reference("client-test")
    with pytest.raises(ServiceError, match="There is no reference client-test"):
        client.score(a_reference="client-test", b_reference="client-test")


def test_a_job_is_followed_to_its_end(client):
    job = client.submit(client.sample, 3000, model="tiny", seed=1)
    events = list(job.follow())
    assert {event.name for event in events} == {"state", "progress", "preview", "end"}
    assert [event.data["state"] for event in events if event.name in ("state", "end")][-2:] == ["done", "done"]
    shown = next(event.data for event in events if event.name == "preview")
    with Image.open(io.BytesIO(base64.b64decode(shown["data"]))) as image:
        assert image.size == (16, 16)
    job.cancel()


def test_a_stream_that_breaks_is_taken_up_where_it_broke(proxy, clock):
    said = "id: 1.running.4.0\nevent: state\ndata: {}\n\nevent: progress\ndata: {"  # and there it breaks
    proxy.answers = [(200, None, said), (200, None, 'id: 1.done.8.0\nevent: end\ndata: {"state": "done"}\n\n')]
    with Client(proxy.url) as client:
        assert [event.name for event in client.job("4f1c").follow()] == ["state", "end"]
    first, second = (headers for headers, _ in proxy.seen)
    assert ("Last-Event-ID" in first, second["Last-Event-ID"]) == (False, "1.running.4.0")
    assert clock.slept == [1]


def test_waiting_has_an_end(proxy, clock):
    proxy.answers = [(200, None, "event: state\ndata: {}\n\n")]
    with Client(proxy.url) as client, pytest.raises(TimeoutError, match=r"not over after 2\.5 s"):
        client.job("4f1c").wait(timeout_s=2.5)
    assert clock.slept == [1, 1, 0.5]


def test_a_jobs_error_is_raised_by_wait(client):
    with pytest.raises(ServiceError, match="There is no model nothing"):  # known before any work
        client.submit(client.score, a_model="nothing", a_n=4, b_model="tiny", b_n=4)
    job = client.submit(client.translate, HORSE.read_bytes()[:-400])
    with pytest.raises(ServiceError, match="truncated or corrupt"):
        job.wait(timeout_s=300)
    job.cancel()
    with pytest.raises(ServiceError, match="There is no job"):
        job.view()


@pytest.mark.parametrize("method", ["sample", "interpolate", "translate", "translate_many"])
def test_any_call_gives_the_same_as_a_job(client, method):
    arguments: dict[str, Any] = {
        "sample": ((2,), {"model": "tiny", "seed": 3}),
        "interpolate": (([1, 2],), {"model": "tiny", "output": "zip", "method": "lerp"}),
        "translate": ((HORSE,), {"cycle": True}),
        "translate_many": ((HORSE,), {"format": "webp"}),
    }
    given, named = arguments[method]
    job = client.submit(getattr(client, method), *given, **named)
    assert job.wait(timeout_s=300) == getattr(client, method)(*given, **named)
    assert client.job(job.id).wait() == job.wait()


def test_any_other_endpoint_can_be_asked(client):
    answer = client.request("POST", "/v1/images/generations", {"model": "tiny", "prompt": "", "n": 2, "seed": None})
    assert len(answer.json()["data"]) == 2
    arrays = np.load(io.BytesIO(client.request("POST", "/v1/sample", {"model": "tiny", "output": "npz"}).content))
    assert arrays["images"].shape == (1, 16, 16, 3)


@contextlib.contextmanager
def cut_after(url: str, most: int) -> Iterator[str]:
    """The address of a wire to a service that breaks after so many bytes of answers on each connection."""
    host, port = url.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket, left: int) -> None:
        with contextlib.suppress(OSError):
            while left > 0 and (data := source.recv(min(left, 4096))):
                target.sendall(data)
                left -= len(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def connect(near: socket.socket) -> None:
        with near, socket.create_connection((host, int(port))) as far:
            threads = [
                threading.Thread(target=carry, args=(near, far, 1 << 30)),
                threading.Thread(target=carry, args=(far, near, most)),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=connect, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_result_is_saved_as_it_comes_and_goes_on_where_it_broke_off(client, local, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_SMALL", 1000)
    body = {"model": "tiny", "n": 1500, "seed": 1, "output": "zip"}
    job = client.job(client.request("POST", "/v1/jobs/sample", body).json()["id"])
    whole = job.wait().data
    (tmp_path / "out").mkdir()
    with cut_after(local.url, len(whole) // 3) as url, Client(url) as far:
        seen = []
        saved = far.job(job.id).save(tmp_path / "out" / "many.zip", lambda *told: seen.append(told))
        assert saved.read_bytes() == whole
        assert set(seen) == {(1500, 1500)}
    with cut_after(local.url, 8000) as url, Client(url) as far, pytest.raises(ServiceError, match="again and again"):
        far.job(job.id).save(tmp_path / "out" / "never.zip")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["many.zip"]


def test_photos_have_latents_and_directions(encoding, tmp_path):
    with Client(encoding.url, timeout_s=300) as client:
        found = client.encode(HORSE)
        assert found["space"] == "w"
        again = client.sample(model="mirror", latents=[found["photos"][0]["latent"]], space="w")[0]
        assert pixels(again).tolist() == pixels(client.reconstruct(HORSE, model="mirror")).tolist()
        photos = [again.data, client.sample(model="mirror", seed=4)[0].data]
        made = client.add_direction("between", photos[:1], photos[1:], method="linear")
        assert client.add_direction("seeds", model="tiny", a_seeds=range(3), b_seeds=np.arange(4, 9))["n_b"] == 5
        assert [one["name"] for one in client.directions()] == ["between", "seeds"]
        moved = client.sample(2, model="mirror", seed=1, directions={"between": 0.5})
        assert [picture.seed for picture in moved] == [1, 2]
        summed = client.sample(model="tiny", combine=[{"seed": 1}, {"mean_of": [2, 3], "weight": -1}])
        assert len(summed) == 1
        walk = client.interpolate([5], photos, steps=3, loop=True, output="webp")
        assert walk.media_type == "image/webp"
        assert made["space"] == "w"
        for name in ("between", "seeds"):
            client.delete_direction(name)
        assert client.directions() == []
        with pytest.raises(ServiceError, match="POST /v1/jobs/encode"):
            client.encode(HORSE, model="tiny")


def test_a_job_calls_back(hooked):
    with Client(hooked, callback=f"{HOOKS}/gan", timeout_s=300) as told, Client(hooked, timeout_s=300) as other:
        assert told.submit(told.sample, 2, model="tiny").view()["webhook"]["state"] == "pending"
        assert told.submit(told.translate, HORSE).view()["webhook"]["state"] == "pending"
        assert other.submit(other.sample, 2, model="tiny").view()["webhook"] is None
        assert told.sample(2, model="tiny", seed=1) == other.sample(2, model="tiny", seed=1)  # no job, nobody to tell
    strange = Client(hooked, callback="https://elsewhere.example.com/")
    with strange, pytest.raises(ServiceError, match="elsewhere"):
        strange.submit(strange.sample, 2)
