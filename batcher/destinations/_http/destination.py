"""What the destinations that speak HTTP do alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, TypeVar

from batcher.destinations._http.arguments import Secret
from batcher.destinations._http.sender import Client, Sender
from batcher.errors import InvalidRecord

LaneT = TypeVar("LaneT")

# Lanes that are kept ready. Headers may belong to a lane, so there may be any number of them.
_READY_LANES = 1024


class HTTPDestination:
    """A destination that can send within ``async with``, and not outside of it.

    :param client: as given, with *timeout* and *max_answer_bytes*: see :class:`Sender`
    :param clock: returns seconds since 1970
    :param secrets: header fields that every request carries
    """

    def __init__(
        self,
        client: Client | None,
        *,
        timeout: float | timedelta,
        max_answer_bytes: int,
        clock: Callable[[], float],
        secrets: Mapping[str, Secret] | None = None,
    ) -> None:
        self._clock = clock
        self._sender = Sender(client, timeout=timeout, max_answer_bytes=max_answer_bytes, secrets=secrets or {})

    async def __aenter__(self) -> Self:
        """Make the client, unless one was given."""
        await self._sender.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client that was made here."""
        await self._sender.close(kind, error, trace)


def ready(make: Callable[..., LaneT]) -> Callable[..., LaneT]:
    """Return *make* with a memory for the lanes that it made; it is asked for one with every record.

    What *make* refuses with a ``ValueError`` becomes :class:`~batcher.errors.InvalidRecord`.
    """

    def made(*arguments: Any) -> LaneT:
        try:
            return make(*arguments)
        except ValueError as error:
            raise InvalidRecord(str(error)) from None

    return lru_cache(maxsize=_READY_LANES)(made)
