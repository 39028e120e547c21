"""Calls as bytes: what goes in comes out, and equal calls are equal bytes."""

import io

from models.images import Pixels
from service.call import Call, File
from service.endpoints.sample import SampleJob
from service.jobs.envelope import pack_call, unpack_call


def call(**body: object) -> Call:
    files = {
        "b": [File("b.png", io.BytesIO(b"\n\x00b"))],
        "none": [],
        "a": [File("é\n", io.BytesIO(b"")), File("2", io.BytesIO(b"two"))],
    }
    return Call("text/html", {"id": "7"}, SampleJob.model_validate(body), files, caller="somebody")


class Ignored:
    """A report that nobody looks at."""

    def __call__(self, done: int, total: int) -> None: ...
    def show(self, picture: Pixels) -> None: ...


IGNORED = Ignored()


def test_a_call_comes_back() -> None:
    sent = call(**{"class": ["cat"], "seed": [1, 2]})
    got = unpack_call(pack_call(sent), SampleJob, 7, IGNORED)
    assert got.body == sent.body
    assert got.body.model_fields_set == {"classes", "seed"}
    read = {field: [(file.name, file.read()) for file in many] for field, many in got.files.items()}
    assert read == {"a": [("é\n", b""), ("2", b"two")], "b": [("b.png", b"\n\x00b")], "none": []}
    assert got.is_job
    assert (got.progress, got.show) == (IGNORED, IGNORED.show)
    assert got.seed == 7
    assert got.accept == "*/*"  # the submission's was about the 202


def test_a_call_without_a_body_or_files() -> None:
    got = unpack_call(pack_call(Call()), None, 7, IGNORED)
    assert (got.body, got.files) == (None, {})


def test_equal_calls_are_equal_bytes() -> None:
    assert pack_call(call(seed=1, n=2)) == pack_call(call(n=2, seed=1))
    assert pack_call(call(seed=1)) != pack_call(call(seed=2))
