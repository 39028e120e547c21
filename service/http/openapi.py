"""The OpenAPI 3.1 document, made from the same `Operation`s and pydantic models that answer.

BentoML's own document is 3.0.2 with 3.1 schemas inside, and knows neither our statuses nor our answers; ours takes its
place at /docs.json (see edge.py), so that there is one description only.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import __version__
from service.http.answers import ErrorBody, about
from service.http.operation import Content, Operation

_REF = "#/components/schemas/{model}"
Json = dict[str, Any]

_ALWAYS = (400, 401, 408, 429, 503, 504)
_WITH_BODY = (413, 415)
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def document(operations: Iterable[Operation]) -> Json:
    """The whole document, as JSON."""
    operations = list(operations)
    models = _models(operations)
    _, definitions = models_json_schema([(model, _mode(model, operations)) for model in models], ref_template=_REF)
    schemas = definitions.get("$defs", {})
    for model in models:
        if any(one.body is model for one in operations):
            schemas[model.__name__] = _with_null(schemas[model.__name__])
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GAN service",
            "version": __version__,
            "description": "Samples, interpolations, translations and scores of generative adversarial networks.",
        },
        "paths": paths | _system_paths(),
        "security": [{}, {"bearer": []}, {"key": []}],
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _models(operations: Iterable[Operation]) -> list[type[BaseModel]]:
    found: dict[type[BaseModel], None] = {ErrorBody: None}
    for operation in operations:
        if operation.body is not None and operation.takes_json and operation.method == "POST":
            found[operation.body] = None
        for content in operation.answers.values():
            if isinstance(content, type):
                found[content] = None
    return list(found)


def _mode(model: type[BaseModel], operations: Iterable[Operation]) -> Any:
    return "validation" if any(one.body is model for one in operations) else "serialization"


def _operation(operation: Operation) -> Json:
    statuses = {*_ALWAYS, *operation.errors, *(_WITH_BODY if operation.body or operation.files else ())}
    if operation.files:
        statuses.add(422)
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "responses": {str(operation.status): _success(operation)}
        | {str(status): {"description": when} for status, when in operation.empty.items()}
        | {str(status): _error(status) for status in sorted(statuses)},
    }
    parameters = _path_parameters(operation.path)
    if operation.method != "POST" and operation.body is not None:
        parameters += _query_parameters(operation.body)
    parameters += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in operation.request_headers.items()
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.method == "POST" and (operation.body or operation.files):
        described["requestBody"] = _request_body(operation)
    return described


def _success(operation: Operation) -> Json:
    answer: Json = {"description": HTTPStatus(operation.status).phrase}
    if operation.answers:
        answer["content"] = {media: _content(content) for media, content in operation.answers.items()}
    if operation.headers:
        answer["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in operation.headers.items()
        }
    return answer


def _content(content: Content) -> Json:
    if content is None:
        return {"schema": {"type": "string", "format": "binary"}}
    return {"schema": _reference(content) if isinstance(content, type) else dict(content)}


def _error(status: int) -> Json:
    answer: Json = {
        "description": about(status),
        "content": {"application/json": {"schema": _reference(ErrorBody)}},
    }
    return answer | ({"headers": _RETRY} if status in (429, 503) else {})


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _REF.format(model=model.__name__)}


def _path_parameters(path: str) -> list[Json]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(model: type[BaseModel]) -> list[Json]:
    schema = _inlined(model)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(one)}
        for name, one in schema["properties"].items()
    ]


def _request_body(operation: Operation) -> Json:
    content: Json = {}
    if operation.body is not None and operation.takes_json:
        content["application/json"] = {"schema": _reference(operation.body)}
        if operation.examples:
            examples = {name: {"value": dict(value)} for name, value in operation.examples.items()}
            content["application/json"]["examples"] = examples
    if operation.files:
        content["multipart/form-data"] = {"schema": _form(operation)}
    required = operation.body is not None and "required" in _inlined(operation.body)
    needed = required or any(field.required for field in operation.files)
    return {"required": needed, "content": content}


def _form(operation: Operation) -> Json:
    properties: Json = {}
    required = [field.name for field in operation.files if field.required]
    for field in operation.files:
        file: Json = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
        properties[field.name] = {
            "type": "array",
            "items": file,
            "minItems": 1 if field.required else 0,
            "maxItems": field.most,
            "description": field.description,
        }
    if operation.body is not None:
        schema = _inlined(operation.body)
        for name, one in schema["properties"].items():
            text = _as_text(_without_null(one))
            properties[name] = _either(properties[name], text) if name in properties else text
        required += schema.get("required", [])
    form: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        form["required"] = required
    return form


def _either(files: Json, text: Json) -> Json:
    """A field of a form that takes files, text, or both in parts of their own."""
    said = " ".join(one.pop("description") for one in (text, files))
    return {"anyOf": [text, files], "description": said}


def _inlined(model: type[BaseModel]) -> Json:
    """A flat model's schema. Forms and queries have text fields only, so there is nothing to refer to."""
    return model.model_json_schema(by_alias=True)


def _as_text(schema: Json) -> Json:
    """A form has no lists: words and numbers of a list are separated by commas, lists in a list are JSON."""
    if schema.get("type") != "array":
        return schema
    if "enum" not in schema["items"]:
        kept: Json = {key: schema[key] for key in ("description", "title") if key in schema}
        return {"type": "string", "minLength": 1, **kept}
    words = "|".join(schema["items"]["enum"])
    return {"type": "string", "pattern": f"^({words})(,({words}))*$", "description": schema["description"]}


def _with_null(schema: Json) -> Json:
    """A JSON body's: null is as good as left out, on every field that may be left out (see values.py). So null is no
    default to speak of, and generators of clients would have a field with a default given in every request."""
    required = schema.get("required", [])
    fields = {name: one if name in required else _or_null(one) for name, one in schema["properties"].items()}
    said = {
        name: {key: it for key, it in one.items() if (key, it) != ("default", None)} for name, one in fields.items()
    }
    return {**schema, "properties": said}


def _or_null(schema: Json) -> Json:
    null: Json = {"type": "null"}
    if "anyOf" in schema:
        return schema if null in schema["anyOf"] else {**schema, "anyOf": [*schema["anyOf"], null]}
    outer = {key: value for key, value in schema.items() if key in ("default", "description", "title")}
    inner = {key: value for key, value in schema.items() if key not in outer}
    return {"anyOf": [inner, null], **outer}


def _without_null(schema: Json) -> Json:
    """Text has no null: a field is left out instead."""
    options = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if not options:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return rest | (options[0] if len(options) == 1 else {"anyOf": options})


def _system_paths() -> Json:
    """What BentoML answers itself."""

    def plain(summary: str, name: str, media: str, *statuses: int) -> Json:
        text = {"content": {media: {"schema": {"type": "string"}}}}
        responses = {str(status): {"description": HTTPStatus(status).phrase, **text} for status in statuses}
        return {"get": {"operationId": name, "summary": summary, "tags": ["health"], "responses": responses}}

    return {
        "/livez": plain("The process lives", "livez", "text/plain", 200),
        "/readyz": plain("Every model that can be loaded is, and warm", "readyz", "text/plain", 200, 503),
        "/metrics": plain("Prometheus metrics", "metrics", "text/plain", 200),
    }
