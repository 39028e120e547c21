"""What clients send: numbers as text, in forms and queries."""

import json

import pytest
from pydantic import BaseModel, ValidationError

from service.endpoints.table import OPERATIONS

FORMS = {one.name: one.body for one in OPERATIONS if one.files and one.body is not None}


def numbers(form: type[BaseModel]) -> set[str]:
    """The fields that take a number, or a list of numbers, and nothing else."""
    kinds = {name: json.dumps(kind) for name, kind in form.model_json_schema()["properties"].items()}
    plain = {name for name, kind in kinds.items() if '"string"' not in kind and kind.count('"array"') < 2}
    return {name for name in plain if '"integer"' in kinds[name] or '"number"' in kinds[name]}


def wrong(form: type[BaseModel], name: str, text: str) -> set[str]:
    """The kinds of errors that a form has with this field."""
    try:
        form.model_validate({name: text}, strict=False)
    except ValidationError as error:
        return {one["type"] for one in error.errors() if one["loc"][0] == name}
    return set()


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("text", ["9_0", "+9", "09", "0x9", "\u0669", "inf", "nan", "9,_"])
def test_a_form_has_numbers_as_json_has_them(name: str, text: str) -> None:
    form = FORMS[name]
    for field in numbers(form):
        assert "numeral" in wrong(form, field, text), field


def test_fields_of_numbers_are_looked_at() -> None:
    assert numbers(FORMS["translate"]) == {"quality", "strength"}
    assert numbers(FORMS["interpolate"]) >= {"seeds", "truncation", "steps", "frame_ms", "quality"}


@pytest.mark.parametrize("text", ["9", " 9 ", "9.0"])
def test_numbers_are_read_with_white_space_around_them(text: str) -> None:
    assert FORMS["translate"].model_validate({"quality": text}, strict=False).model_dump()["quality"] == 9
