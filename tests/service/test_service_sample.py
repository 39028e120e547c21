"""POST /v1/sample over real HTTP."""

import requests


def test_the_real_service_samples(server: str) -> None:
    answer = requests.post(f"{server}/v1/sample", json={"model": "tiny", "seed": 7}, timeout=20)

    assert answer.status_code == 200
    assert answer.headers["X-Seeds"] == "7"
    assert answer.content.startswith(b"\x89PNG")
