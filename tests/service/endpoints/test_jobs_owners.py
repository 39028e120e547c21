"""With API keys, a job is its owner's."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from service.http.auth import load_keys
from service.settings import Settings

Serve = Callable[..., Any]
BODY = {"model": "tiny", "n": 2, "output": "json"}


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def ask(url: str, key: str, method: str, path: str, **options: Any) -> requests.Response:
    return requests.request(method, f"{url}/v1/jobs/{path}", headers={"X-API-Key": key}, timeout=300, **options)


def submit(url: str, key: str) -> str:
    answer = ask(url, key, "POST", "sample", json=BODY)
    assert answer.status_code == 202, answer.text
    job = str(answer.json()["id"])
    assert ask(url, key, "GET", f"{job}/events").status_code == 200  # read to its end
    return job


def sees(url: str, key: str, job: str) -> bool:
    answers = [ask(url, key, "GET", path).status_code for path in (job, f"{job}/events", f"{job}/result")]
    assert len(set(answers)) == 1
    return answers[0] == 200


def test_a_job_is_its_owner_s_and_an_operator_s(serve: Serve) -> None:
    keys = (f"ann:{digest('a')}", f"ben:{digest('b')}", digest("c"), f"root:{digest('r')}")
    url = serve(api_keys=keys, operators=("root",)).url
    jobs = {key: submit(url, key) for key in "abc"}
    for owner, job in jobs.items():
        assert [key for key in "abcr" if sees(url, key, job)] == [owner, "r"]
    assert requests.get(f"{url}/v1/jobs/{jobs['a']}", timeout=300).status_code == 401
    other = ask(url, "b", "DELETE", jobs["a"])
    none = ask(url, "b", "DELETE", "0" * 32)
    assert (other.status_code, other.text.replace(jobs["a"], "0" * 32)) == (none.status_code, none.text)
    assert sees(url, "a", jobs["a"])
    assert ask(url, "r", "DELETE", jobs["b"]).status_code == 200
    assert ask(url, "a", "DELETE", jobs["a"]).status_code == 200
    assert not sees(url, "a", jobs["a"])


def test_a_named_key_can_be_replaced_and_another_s_place_in_the_list_means_nothing(
    serve: Serve, tmp_path: Path
) -> None:
    first = serve(api_keys=(f"ann:{digest('old')}", digest("c"))).url
    named, unnamed = submit(first, "old"), submit(first, "c")
    second = serve(api_keys=(f"ann:{digest('new')}", digest("x"), digest("c").upper())).url
    assert [key for key in ("new", "x", "c") if sees(second, key, named)] == ["new"]
    assert [key for key in ("new", "x", "c") if sees(second, key, unnamed)] == ["c"]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "store" / "jobs").iterdir()).decode("latin-1")
    for text in ("ann", "old", digest("old"), digest("c")):
        assert f'"{text}"' not in kept


def test_jobs_of_before_are_seen_by_whoever_has_a_key_and_the_id(serve: Serve) -> None:
    job = requests.post(f"{serve().url}/v1/jobs/sample", json=BODY, timeout=300).json()["id"]
    url = serve(api_keys=(f"ann:{digest('a')}",)).url
    assert ask(url, "a", "GET", f"{job}/events").status_code == 200
    assert sees(url, "a", job)


def test_without_keys_all_jobs_are_seen(serve: Serve) -> None:
    job = submit(serve(api_keys=(f"ann:{digest('a')}",)).url, "a")
    assert sees(serve().url, "", job)


def test_the_same_idempotency_key_of_two_owners_is_two_jobs(serve: Serve) -> None:
    url = serve(api_keys=(digest("a"), digest("b"))).url
    headers = {"Idempotency-Key": "once"}
    jobs = [
        requests.post(f"{url}/v1/jobs/sample", json=BODY, headers={**headers, "X-API-Key": key}, timeout=300).json()
        for key in ("a", "b", "a")
    ]
    assert jobs[0]["id"] == jobs[2]["id"] != jobs[1]["id"]


@pytest.mark.parametrize("operators", [("ben",), ("key-1",)])
def test_an_operator_has_a_key(operators: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"GAN_OPERATORS: no key has the name {operators[0]}\."):
        load_keys(Settings(api_keys=(digest("a"),), operators=operators))
