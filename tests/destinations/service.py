"""A scripted API over HTTP, whichever: what the tests that go through the writer share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio
import attrs

from batcher import AutoBatchPolicy, RetryPolicy, Write, Writer
from batcher.destinations._http.answers import Answer

# One try per record, so that no test waits for a backoff.
ONCE = RetryPolicy(max_attempts=1)
AT_ONCE = RetryPolicy(backoff_base=0)
SECRET = "that-nobody-may-see"  # within every secret of the tests

Reply: TypeAlias = tuple[int, Any]
"""A status, and a body as bytes or as the value that it is the JSON of."""


@attrs.frozen(kw_only=True)
class Kind:
    """A destination and the API behind it. Records are known by numbers here."""

    make: Callable[..., Any]
    """Makes the destination, with a secret."""
    server: str
    """The name of the argument with the address of the server."""
    url: str
    """Where creates of the object ``things`` go."""
    headers: dict[str, str]
    """What they show."""
    max_records: int
    fields: Callable[[int], dict[str, Any]]
    """The record of a number."""
    write_options: dict[str, Any] = attrs.field(factory=dict)
    record_id: Callable[[int], str]
    call: Callable[[Any], Any]
    """What a request carries, in the form that is of use to the tests of this API."""
    numbers: Callable[[Any], list[int]]
    """The numbers of the records in that."""
    written: Callable[[Any], Reply]
    """The answer to it if all goes well."""
    refusal: Callable[[Any], Reply]
    """The answer if one of its records is bad, and the API does not say which."""
    code: str | None
    """The code in it."""
    credentials: str
    """What a 401 is about."""
    app: dict[str, Any] | None = None
    """The arguments for tokens of an issuer; None if there is none."""
    issuer: str | None = None
    """Its address."""
    app_url: str = ""
    """Where creates go with a token of it."""
    token: Callable[[str], dict[str, Any]] = lambda token: {"access_token": token}
    """What it answers."""
    revoked: dict[str, Any] = attrs.field(factory=dict)
    """What it says if it gives none."""
    refused: str = ""
    """What is said of that."""
    expired: tuple[Reply, ...] = ()
    """Answers after which a fresh token is shown."""
    verified: Callable[..., Reply] | None = None
    """Answers the question for which of the records of a request are there, given those; None if nobody can ask."""
    question: str = "/no such path"
    """How the path of that question ends."""
    unique: dict[str, Any] = attrs.field(factory=dict)
    """The arguments that make creates of ``things`` verifiable."""

    def create(self, number: int, object: str = "things") -> Write:
        return Write(object, "create", self.fields(number), **self.write_options)


class Service:
    """An API behind a mock transport: it does what it is told, and by default it writes everything."""

    def __init__(self, kind: Kind, module: Any) -> None:
        self.kind = kind
        self.module = module
        self.script: list[Callable[[Any], Any]] = []
        """What makes a reply of a call; a reply may be an exception."""
        self.calls: list[Any] = []
        self.requests: list[Any] = []
        self.questions: list[Any] = []
        self.there: set[int] = set()
        """The numbers of the records that a question finds."""
        self.answers: list[Any] = []
        """Replies to questions, before the true ones."""
        self.logins: list[Any] = []
        self.tokens: list[Reply] = []
        """Replies of the issuer, before those with numbered tokens."""
        self.headers: dict[str, str] = {}
        """Of every answer to a call."""
        self.client = module.AsyncClient(transport=module.MockTransport(self.answer))

    async def answer(self, request: Any) -> Any:
        path = request.url.path
        if str(request.url) == self.kind.issuer:
            self.logins.append(request)
            return self._response(self.tokens.pop(0) if self.tokens else (200, self.kind.token(f"t{len(self.logins)}")))
        if path.endswith(self.kind.question) and self.kind.verified is not None:
            self.questions.append(request)
            return self._response(self.answers.pop(0) if self.answers else self.kind.verified(request, self.there))
        call, step = self.kind.call(request), self.script.pop(0) if self.script else self.kind.written
        self.requests.append(request)
        self.calls.append(call)
        await anyio.lowlevel.checkpoint()
        return self._response(step(call), self.headers)

    def _response(self, reply: Any, headers: dict[str, str] | None = None) -> Any:
        if isinstance(reply, Exception):
            raise reply
        status, body = reply
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.module.Response(status, headers=headers, **content)

    def says(self, status: int, body: Any) -> None:
        """Answer the next call so."""
        self.script.append(lambda _: (status, body))

    def breaks(self, name: str) -> None:
        """Let the next call end in an exception of the client, such as ``ReadError``."""
        self.script.append(lambda _: getattr(self.module, name)("x"))

    @property
    def numbers(self) -> list[list[int]]:
        """The numbers of the records of each call."""
        return [self.kind.numbers(call) for call in self.calls]

    @property
    def shown(self) -> list[str]:
        """The tokens that arrived."""
        return [request.headers["authorization"] for request in self.requests]

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]

    def destination(self, **options: Any) -> Any:
        return self.kind.make(client=self.client, **options)

    def writer(self, retry: RetryPolicy = ONCE, max_delay: float = 0.0, **options: Any) -> Writer:
        policy = AutoBatchPolicy(max_records=self.kind.max_records, max_delay=max_delay)
        return Writer(self.destination(**options), retry=retry, auto_batch=policy)

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.__aexit__(kind, error, trace)


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    """An answer as the sender gives it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def without(number: int, kind: Kind) -> Callable[[Any], Reply]:
    """Refuse every call with this record in it."""
    return lambda call: (kind.refusal if number in kind.numbers(call) else kind.written)(call)


def kinds_of(outcomes: Sequence[Any]) -> list[str]:
    return [outcome.kind for outcome in outcomes]
