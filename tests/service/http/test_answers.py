"""Errors become answers: each kind its status, in one shape, in the documentation, too."""

import json
import re
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

import models.errors
import service.errors
from models.errors import BrokenImageError, GanError, InputError, NotFoundError
from service.errors import MethodError, RateLimitError
from service.http.answers import FAULTS, INTERNAL, SERVER_FAULTS, ErrorBody, error_answer

PAGE = Path(__file__).parents[3] / "docs" / "api" / "errors.md"


def kinds() -> list[type[GanError]]:
    named = {**vars(models.errors), **vars(service.errors)}.values()
    return [one for one in named if isinstance(one, type) and issubclass(one, GanError) and one is not GanError]


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_error_has_a_status_of_its_own_or_its_parents(kind: type[GanError]) -> None:
    assert any(one in FAULTS for one in kind.__mro__)


def test_a_subclass_is_answered_as_its_nearest_parent() -> None:
    class Stranger(BrokenImageError):
        pass

    assert error_answer(Stranger("x")).status == FAULTS[BrokenImageError].status == 422
    assert error_answer(RateLimitError("x", retry_after_s=0.2)).headers == {"Retry-After": "1"}
    assert error_answer(MethodError("x", allowed=["GET", "PUT"])).headers == {"Allow": "GET, PUT"}


def test_the_body_is_the_documented_one() -> None:
    answer = error_answer(InputError("n is wrong.", where="n"))
    assert answer.media_type == "application/json"
    assert ErrorBody.model_validate_json(answer.content).error.model_dump() == {
        "code": "invalid_input",
        "message": "n is wrong.",
        "where": "n",
    }


def test_text_of_a_client_that_is_no_text_does_no_harm() -> None:
    assert json.loads(error_answer(NotFoundError("no \ud800", where="\udfff")).content)["error"]["where"] == "?"


def test_what_nobody_foresaw_is_500_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    answer = error_answer(RuntimeError("secret"))
    assert (answer.status, b"secret" in answer.content) == (INTERNAL.status, False)
    assert "secret" in caplog.text
    assert error_answer(HTTPException(418)).status == 418


def test_the_page_lists_what_there_is() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE.read_text(), re.MULTILINE)
    listed = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    faults = {(fault.status, fault.code) for fault in (*FAULTS.values(), *SERVER_FAULTS)}
    assert listed == faults
