"""The Python client against the service, and what it makes of answers that are not the service's."""

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from client import Client, Drawn, Job, Picture, Reference, ServiceError
from client.sets import files_of, side_of
from metrics.featuresets import of_features
from models.images import read_text

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


def test_sample_by_lists(client):
    by_seed = client.sample(2, model="classy", seed=[4, 1], classes=["dog", 0], image_format="webp", truncation=1.0)
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
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9 cannot be reached") as caught:
        client.models()
    assert (caught.value.status, caught.value.code) == (0, "unreachable")


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Answers like something that stands in front of the service, and remembers what it was asked."""

    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        type(self).seen.append(dict(self.headers))
        self.send_response(503, "Busy")
        self.send_header("Retry-After", "3")
        self.end_headers()
        self.wfile.write(b"<html>Busy</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[str]:
    _Proxy.seen = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_proxys_answer_is_the_same_exception_and_the_key_is_sent(proxy):
    with Client(proxy, api_key="secret", timeout_s=300) as client, pytest.raises(ServiceError) as caught:
        client.models()
    assert str(caught.value) == f"503 Busy for {proxy}/v1/models"
    assert (caught.value.code, caught.value.retry_after_s) == ("http_error", 3.0)
    assert _Proxy.seen[0]["Authorization"] == "Bearer secret"


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
    assert client.translate(str(HORSE), direction="b_to_a", image_format="jpeg", quality=80).media_type == "image/jpeg"


def test_translate_many_with_the_round_trip(client):
    done = client.translate_many([HORSE, HORSE.read_bytes()], cycle=True)
    assert len(done) == 2
    assert all(loss is not None and 0 <= loss <= 1 for _, loss in done)
    np.testing.assert_array_equal(pixels(done[0][0]), pixels(client.translate(HORSE)))


def test_inspect_leads_back_to_the_same_pixels(client):
    picture = client.sample(model="classy", seed=5, classes="dog", truncation=0.8)[0]
    found = client.inspect(picture.data)
    assert found["served"]
    body = found["sample"]
    again = client.sample(model=body["model"], seed=body["seed"], classes=body["class"], truncation=body["truncation"])
    assert again[0].data == picture.data


# Sets and jobs -----------------------------------------------------------------------------


def test_sets_are_named_in_every_way(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a.JPG", "deep/c.webp", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    assert [name for _, (name, _) in files_of("a", tmp_path)] == ["a.JPG", "b.png", "c.webp"]
    assert files_of("a", [tmp_path / "b.png", b"xyz"]) == [("a", ("b.png", b"b.png")), ("a", ("image-1", b"xyz"))]
    assert side_of("b", Reference("zebras")) == ([], {"b_reference": "zebras"})
    assert side_of("a", Drawn("tiny", 10))[1] == {"a_model": "tiny", "a_n": 10, "a_seed": 0, "a_truncation": None}


def test_a_folder_without_images_is_an_error_before_anything_is_sent(tmp_path):
    with pytest.raises(ValueError, match="holds no image"):
        files_of("a", tmp_path)


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
    job = client.submit_score(statistics(tmp_path / "one.npz", 1.0), Reference("client-test"))
    result = job.wait(lambda done, total: seen.append((done, total)), timeout_s=300)
    assert result["fid"]["value"] == pytest.approx(2048, rel=1e-6)
    assert seen
    assert job.view()["state"] == "done"
    with np.load(io.BytesIO(client.reference_npz("client-test"))) as numbers:
        np.testing.assert_array_equal(numbers["mu"][8:], np.zeros(2040))
    assert client.job(job.id).wait().json() == result
    client.delete_reference("client-test")
    with pytest.raises(ServiceError, match="There is no reference client-test"):
        client.score(Reference("client-test"), Reference("client-test"))


def test_a_jobs_error_is_raised_by_wait(client):
    job: Job[dict[str, object]] = client.submit_score(Drawn("nothing", 4), Drawn("tiny", 4))
    with pytest.raises(ServiceError, match="There is no model nothing"):
        job.wait(timeout_s=300)
    job.cancel()
    with pytest.raises(ServiceError, match="There is no job"):
        job.view()
