"""The command line against the service: what it writes and where, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gan_client import Client
from gan_client.command import main
from tests.client.conftest import HOOKS, Proxy

ROOT = Path(__file__).parents[2]
HORSES = sorted((ROOT / "tests" / "fixtures" / "horse2zebra" / "testA").iterdir())
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def gan(local) -> Callable[..., tuple[int, str, str]]:
    """Runs a command against the service; gives status, standard output and the sentences on standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        done = subprocess.run(
            command(*words), env=environment(local.url), capture_output=True, text=True, timeout=300, check=False
        )
        return done.returncode, done.stdout, "\n".join(sentences(done.stderr))

    return run


def sentences(text: str) -> list[str]:
    """Without the progress bars."""
    return [line for line in re.split(r"[\r\n]+", text) if line.strip() and "/s]" not in line]


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for number, photo in enumerate(HORSES[:6]):
        (folder / "trip" / f"{number}.jpg").write_bytes(photo.read_bytes())
    return folder


def command(*words: object) -> list[str]:
    """`python -m gan_client`, in which Ctrl-C does what it does at a terminal, whoever started these tests."""
    code = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "runpy.run_module('gan_client', run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", code, *map(str, words)]


def environment(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")}
    return {**kept, "PYTHONPATH": str(ROOT / "client"), "GAN_URL": url}


# sample ------------------------------------------------------------------------------------


def test_sample_names_pictures_by_their_seeds(gan, local, tmp_path):
    """Also where it takes several requests."""
    assert gan("sample", "-n", 70, "-o", tmp_path / "new" / "out", "--model", "tiny", "--seed", 5) == (0, "", "")
    saved = {path.name: path.read_bytes() for path in (tmp_path / "new" / "out").iterdir()}
    with Client(local.url) as client:
        assert saved == {f"{one.seed}.png": one.data for one in client.sample(70, model="tiny", seed=5)}


def test_sample_counts_on_from_a_seed_that_the_service_drew(gan, tmp_path):
    assert gan("sample", "-n", 70, "-o", tmp_path, "--model", "tiny")[0] == 0
    seeds = sorted(int(path.stem) for path in tmp_path.iterdir())
    assert seeds == list(range(seeds[0], seeds[0] + 70))


def test_samples_options_reach_the_service(gan, local, tmp_path):
    words = (
        "--model",
        "classy",
        "--class",
        "dog",
        "--seed",
        3,
        "--truncation",
        0.8,
        "--format",
        "jpeg",
        "--quality",
        50,
    )
    assert gan("sample", "-o", tmp_path, *words)[0] == 0
    with Client(local.url) as client:
        same = client.sample(model="classy", classes=1, seed=3, truncation=0.8, format="jpeg", quality=50)
    assert (tmp_path / "3.jpeg").read_bytes() == same[0].data
    status, _, said = gan("sample", "-o", tmp_path, "--model", "nothing")
    assert (status, said) == (1, "There is no model nothing; there are: classy, tiny.")


# jobs --------------------------------------------------------------------------------------


def test_a_job_is_submitted_looked_at_waited_for_and_removed(gan, tmp_path):
    status, printed, _ = gan("sample", "-n", 300, "--job", "--model", "tiny", "--seed", 5)
    assert status == 0
    job = printed.strip()
    assert gan("jobs", job, "--wait") == (2, "", "The job makes images: say with -o where they go.")
    assert gan("jobs", job, "--wait", "-o", tmp_path / "out") == (0, "", "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{seed}.png" for seed in range(5, 305)}
    view = json.loads(gan("jobs", job)[1])
    assert (view["kind"], view["state"], view["progress"]["done"]) == ("sample", "done", 300)
    assert json.loads(gan("jobs", job, "--cancel")[1])["id"] == job
    status, _, said = gan("jobs", job)
    assert status == 1
    assert said.startswith("There is no job")


@pytest.mark.parametrize(("output", "kind"), [("image", "PNG"), ("json", "WEBP")])
def test_a_job_of_any_output_is_saved(gan, local, tmp_path, output, kind):
    with Client(local.url) as client:
        body = {"output": output, "format": kind.lower()}
        job = client.request("POST", "/v1/jobs/translate", body, images=HORSES[0]).json()["id"]
    assert gan("jobs", job, "--wait", "-o", tmp_path / "out")[0] == 0
    file = tmp_path / "out" if output == "image" else tmp_path / "out" / "0.webp"
    with Image.open(file) as image:
        assert (image.format, image.size) == (kind, (256, 256))


@pytest.mark.parametrize("job", ["nothing", "../models", "a/../b?c#d"])
def test_what_is_no_job_is_said_to_be_none(gan, job):
    status, _, said = gan("jobs", job)
    assert status == 1
    assert said.startswith("There is no")


# translate ---------------------------------------------------------------------------------


def test_translate_goes_on_where_it_stopped_and_names_what_failed(gan, local, photos, tmp_path):
    out = tmp_path / "out"
    (photos / "broken.jpg").write_bytes(HORSES[0].read_bytes()[:-2000])
    status, printed, said = gan("translate", photos, out, "--direction", "zebra")
    assert (status, printed) == (1, "")
    assert re.search(r"photos/broken\.jpg: broken\.jpg is truncated", said)
    assert said.endswith("6 translated, 0 already there, 1 failed.")
    assert {path.name for path in (out / "trip").iterdir()} == {f"{number}.png" for number in range(6)}
    with Client(local.url) as client:
        assert (out / "trip" / "0.png").read_bytes() == client.translate(HORSES[0], direction="zebra").data

    (out / "trip" / "4.png").unlink()
    (out / "trip" / "5.png").write_bytes(b"done before, and left alone")
    (photos / "broken.jpg").write_bytes(HORSES[0].read_bytes())
    assert gan("translate", photos, out) == (0, "", "2 translated, 5 already there, 0 failed.")
    assert (out / "trip" / "5.png").read_bytes() == b"done before, and left alone"


def test_translate_takes_files_and_shows_how_far_it_is(local, photos, tmp_path):
    words = command("translate", photos / "trip" / "0.jpg", photos / "trip" / "1.jpg", tmp_path, "--format", "jpeg")
    done = subprocess.run(words, env=environment(local.url), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0
    assert "2/2" in done.stderr
    for name in ("0.jpeg", "1.jpeg"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "JPEG"


def test_translate_refuses_before_the_work_what_would_lose_a_photo(gan, photos, tmp_path):
    (photos / "trip" / "0.gif").write_bytes(b"")
    status, _, said = gan("translate", photos, tmp_path / "out", "--url", NOWHERE)
    assert status == 2
    assert re.fullmatch(r".*0\.gif and .*0\.jpg would both become .*0\.png: rename one of them\.", said)
    assert not (tmp_path / "out").exists()


def test_several_photos_are_under_way_at_once(local, proxy, photos, tmp_path):
    """Of 6 photos, each three requests wait for one another."""
    together = threading.Barrier(3, timeout=300)
    proxy.behind, proxy.before = local.url, lambda path: together.wait() if path == "/v1/translate" else None
    assert main(["translate", str(photos), str(tmp_path / "out"), "--parallel", "3", "--url", proxy.url]) == 0


def interrupted(proxy: Proxy, words: list[str], when: Callable[[str], bool]) -> tuple[int, list[str]]:
    """Ctrl-C at a command whose request, the first of which `when` is true, is not answered until it has ended."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if when(path):
            reached.set()
            go_on.wait(300)

    proxy.before = hold
    process = subprocess.Popen(words, env=environment(proxy.url), stderr=subprocess.PIPE, text=True)
    assert reached.wait(300)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=300)
    proxy.before = lambda path: None
    go_on.set()
    return process.returncode, sentences(shown)


def test_after_ctrl_c_the_same_command_goes_on(local, proxy, photos, tmp_path):
    proxy.behind = local.url
    words = command("translate", photos, tmp_path / "out", "--parallel", 1)
    status, said = interrupted(proxy, words, lambda _: sum(b"filename" in body for _, body in proxy.seen) == 3)
    assert status == 130
    assert said == ["Interrupted with 2 of 6 done; the same command goes on from there."]
    done = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(done) == 2
    for path in done:
        with Image.open(path) as image:
            image.load()
    again = subprocess.run(words, env=environment(proxy.url), capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0
    assert sentences(again.stderr) == ["4 translated, 2 already there, 0 failed."]


def test_after_ctrl_c_a_job_can_be_found_again(proxy, photos):
    proxy.answers = [(202, None, '{"id": "4f1c"}')]
    status, said = interrupted(proxy, command("score", photos, photos), lambda path: path == "/v1/jobs/4f1c/events")
    assert (status, said) == (130, ["Interrupted; the job goes on: gan jobs 4f1c --wait"])


# score -------------------------------------------------------------------------------------


def test_score_prints_json(gan, scoring, photos, tmp_path):
    to = ("--url", scoring.url)
    status, printed, said = gan("score", photos, photos, "--metrics", "fid,kid", "--bootstrap", 20, *to)
    assert (status, said) == (0, "")
    answer = json.loads(printed)
    assert answer["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert answer["a"]["n"] == 6
    with Client(scoring.url) as client:
        client.add_reference("horses", photos)
        status, printed, _ = gan("score", photos, "reference:horses", *to)
        client.delete_reference("horses")
    assert status == 0
    assert json.loads(printed)["b"]["source"] == "reference horses"


def test_a_score_can_be_a_job(gan, scoring, photos, tmp_path):
    to = ("--url", scoring.url)
    job = gan("score", photos, photos, "--job", *to)[1].strip()
    status, printed, _ = gan("jobs", job, "--wait", *to)
    assert status == 0
    assert json.loads(printed)["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert gan("jobs", job, "--wait", "-o", tmp_path / "score.json", *to) == (0, "", "")
    assert (tmp_path / "score.json").read_text() == printed


def test_a_job_is_followed_line_by_line(gan, tmp_path):
    job = gan("sample", "-n", 600, "--model", "tiny", "--job")[1].strip()
    status, printed, said = gan("jobs", job, "--follow")
    lines = [json.loads(line) for line in printed.splitlines()]
    assert (status, said, lines[0]["event"], lines[-1]["event"]) == (0, "", "state", "end")
    assert (lines[-1]["id"], lines[-1]["state"], lines[-1]["progress"]["done"]) == (job, "done", 600)


# Mistakes and ends -----------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "-n", "4", "-o", "out"],
        ["sample", "--job"],
        ["translate", "photos", "out"],
        ["score", "photos", "photos"],
        ["jobs", "1", "--wait", "-o", "out"],
    ],
)
def test_an_unreachable_service_is_one_sentence(words, photos, monkeypatch, capsys):
    monkeypatch.chdir(photos.parent)
    assert main([*words, "--url", NOWHERE]) == 1
    shown = capsys.readouterr()
    assert (shown.out, sentences(shown.err)) == ("", [f"{NOWHERE} cannot be reached: Connection refused"])
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["jobs", "1", "-o", "out"], "-o is where the result of --wait goes."),
        (["translate", "empty", "out"], "There is no photo in empty (looked for apng, avif, "),
        (["score", "empty", "photos"], "empty holds no image."),
        (["jobs", "1", "--api-key", "schlüssel"], "An API key consists of visible ASCII characters."),
    ],
)
def test_what_makes_no_sense_as_a_whole_is_status_2(words, sentence, photos, monkeypatch, capsys):
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    assert main([*words, "--url", NOWHERE]) == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_a_place_that_cannot_be_written_to_is_named_once(gan, photos, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert gan("sample", "-o", out, "--model", "tiny") == (1, "", f"{out}: Not a directory.")
    assert gan("translate", photos, out) == (1, "", f"{out}: Not a directory.")


def test_a_reader_who_leaves_is_no_error_to_read_about(local, tmp_path):
    with Client(local.url) as client:
        job = client.submit(client.sample, model="tiny")
    reading, writing = os.pipe()
    os.close(reading)
    words = command("jobs", job.id)
    done = subprocess.run(
        words, env=environment(local.url), stdout=writing, stderr=subprocess.PIPE, timeout=300, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
    closed = subprocess.run(["bash", "-c", '"$@" >&-', "bash", *words], env=environment(local.url), check=False)
    assert closed.returncode == 0


def test_photos_are_encoded_and_lead_somewhere(encoding, tmp_path):
    def gan(*words: object) -> subprocess.CompletedProcess[str]:
        run = {"env": environment(encoding.url), "capture_output": True, "text": True, "timeout": 300, "check": False}
        return subprocess.run(command(*words), **run)

    assert gan("encode", *HORSES[:2], "-o", tmp_path / "found.json").returncode == 0
    assert len(json.loads((tmp_path / "found.json").read_text())["photos"]) == 2
    made = json.loads(gan("direction", "to-the-second", *HORSES[:2], "--method", "linear").stdout)
    assert (made["method"], made["n_a"], made["n_b"]) == ("linear", 1, 1)
    moved = ("sample", "-o", tmp_path / "moved", "--seed", 3, "--model", "mirror")
    assert gan(*moved, "--direction", "to-the-second=2", "--direction", "sefa-1=-1").returncode == 0
    assert (tmp_path / "moved" / "3.png").is_file()
    assert "POST /v1/jobs/encode" in gan("encode", HORSES[0], "--model", "tiny").stderr
    assert gan(*moved, "--direction", "sefa-1").returncode == 2
    summed = ("sample", "-o", tmp_path / "moved", "--model", "mirror", "--combine", "1=1", "--combine")
    assert gan(*summed, "2=-0.5").returncode == 0
    assert (tmp_path / "moved" / "combined.png").is_file()
    assert gan(*summed, "2").returncode == 2


def test_a_job_calls_back(hooked, capsys):
    assert main(["--url", hooked, "sample", "--job", "--model", "tiny", "--callback", f"{HOOKS}/gan"]) == 0
    job = capsys.readouterr().out.split()[-1]  # after the service's own lines
    with Client(hooked, timeout_s=300) as client:
        assert client.job(job).view()["webhook"]["state"] == "pending"


@pytest.mark.parametrize("words", [["sample", "-o", "out"], ["encode", str(HORSES[0])]])
def test_what_is_no_job_calls_nobody_back(words, capsys):
    assert main(["--url", NOWHERE, *words, "--callback", f"{HOOKS}/gan"]) == 2
    assert "goes with --" in capsys.readouterr().err
