"""What the methods take by keyword is what the service takes, for type checkers and for whoever runs them."""

from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from mypy import api as mypy
from pydantic import BaseModel

from gan_client import Client, ServiceError, options
from service.endpoints.directions import DirectionRequest
from service.endpoints.encode import EncodeJob
from service.endpoints.interpolate import InterpolateRequest
from service.endpoints.references import ReferenceRequest
from service.endpoints.sample import SampleRequest
from service.endpoints.score import ScoreRequest
from service.endpoints.translate import TranslateRequest


@pytest.mark.parametrize(
    ("ours", "theirs", "by_the_methods"),
    [
        (options.Sampling, SampleRequest, {"n", "output"}),
        (options.Interpolation, InterpolateRequest, {"seeds"}),
        (options.Encoding, EncodeJob, {"output"}),
        (options.Directing, DirectionRequest, {"name"}),
        (options.Translation, TranslateRequest, {"output"}),
        (options.Scoring, ScoreRequest, set()),
    ],
)
def test_options_are_what_the_service_takes(ours: type, theirs: type[BaseModel], by_the_methods: set[str]):
    hints = get_type_hints(ours)
    assert hints.keys() == theirs.model_fields.keys() - by_the_methods
    for name, hint in hints.items():
        left_out = {"json"} if name == "output" else set()  # of an interpolation: the method gives a file
        assert leaves(hint) == leaves(theirs.model_fields[name].annotation) - left_out, name
    assert leaves(options.Protocol) == leaves(ReferenceRequest.model_fields["protocol"].annotation)


def leaves(hint: Any) -> set[Any]:
    """Types and literal values in a hint, whatever lists, bounds and unions are around them."""
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, BaseModel | dict) and get_type_hints(hint):
        return {
            (name, leaf) for name, one in get_type_hints(hint).items() for leaf in leaves(one) if name in _own(hint)
        }
    inner = [one for one in get_args(hint) if isinstance(one, type) or get_origin(one) is not None]
    return set().union(*map(leaves, inner)) if inner else {hint} - {NoneType}


def _own(hint: type) -> set[str]:
    return set(hint.model_fields if issubclass(hint, BaseModel) else get_type_hints(hint))


def test_an_unknown_option_is_an_error_of_the_service(local):
    with Client(local.url) as client, pytest.raises(ServiceError, match="truncaton") as caught:
        client.sample(model="tiny", truncaton=0.5)
    assert (caught.value.status, caught.value.where) == (400, "truncaton")


def test_types_reach_through_options_and_jobs(tmp_path):
    (tmp_path / "user.py").write_text(
        "from gan_client import Client\n"
        "client = Client()\n"
        "reveal_type(client.submit(client.sample, 5, seed=1).wait())\n"
        "client.sample(truncaton=0.5)\n"
        "client.submit(client.interpolate, method='line')\n"
        "client.submit(client.interpolate, method='lerp').wait().save('between.png')\n"
    )
    out, _, status = mypy.run([str(tmp_path / "user.py"), "--cache-dir", str(tmp_path), "--no-color-output"])
    assert status == 1
    found = [line.split("user.py:")[1] for line in out.splitlines() if "error: " in line or "Revealed" in line]
    assert [line[:8] for line in found] == ["3: note:", "4: error", "5: error"], out
    assert "list[gan_client.answers.Picture]" in found[0]
    assert "truncaton" in found[1]
    assert "slerp" in found[2]
