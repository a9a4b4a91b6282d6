"""What every interface needs of a request: the server's service, and its parameters as JSON, a form or a query."""

from __future__ import annotations

import json
from email import policy
from email.parser import BytesParser
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from pairloom.server.problems import ProblemError, bad
from pairloom.server.service import Service

MOST_FIELDS = 2000
"""Fields of one form or query."""

Asked = TypeVar("Asked", bound=BaseModel)


def service_of(request: Request) -> Service:
    """The service of the application that the request came to."""
    return cast(Service, request.app.state.service)


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """The body in /openapi.json, for handlers that read it themselves."""
    schema = kind.model_json_schema()
    media = ("application/json", "application/x-www-form-urlencoded")
    return {"requestBody": {"content": {one: {"schema": schema} for one in media}, "required": True}}


async def asked_for(request: Request, kind: type[Asked]) -> Asked:
    """The parameters, checked. Raises ProblemError or RequestValidationError."""
    try:
        return kind.model_validate(await parameters(request))
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False, include_input=False)]
        raise RequestValidationError(found) from None


async def parameters(request: Request) -> dict[str, Any]:
    """What the query says, and over it the body: a JSON table or a form. A name that occurs twice has a list."""
    given = _fields(parse_qsl_bounded(request.scope["query_string"].decode("latin-1")))
    body = await request.body()
    if not body:
        return given
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/x-www-form-urlencoded"):
        return {**given, **_fields(parse_qsl_bounded(body.decode("utf-8", "replace")))}
    if kind.startswith("multipart/form-data"):
        return {**given, **_fields(_parts(kind, body))}
    return {**given, **table(body)}


def table(body: bytes) -> dict[str, Any]:
    """A body that is a JSON table. Raises ProblemError 400."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad(f"the body is not JSON: {error}"[:300], code="not_json") from None
    if not isinstance(content, dict):
        raise bad("the body is not a JSON table", code="not_json")
    return content


def parse_qsl_bounded(text: str) -> list[tuple[str, str]]:
    """The fields of a query or a form. Raises ProblemError 413 for thousands of them."""
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise ProblemError(413, f"more than {MOST_FIELDS} fields") from None


def _parts(kind: str, body: bytes) -> list[tuple[str, str]]:
    """The fields of a multipart form; files are not read."""
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=policy.HTTP).parsebytes(head + body)
    found = []
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes) and part.get_filename() is None:
            found.append((name, content.decode("utf-8", "replace")))
    return found[:MOST_FIELDS]


def _fields(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found
