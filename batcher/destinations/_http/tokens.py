"""Access tokens: fetched on first use, refreshed ahead of their expiry, replaced when refused; one refresh at a time.

A token is fetched before a write is sent, so whatever goes wrong meanwhile has applied nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import inf
from urllib.parse import urlencode

import anyio
import attrs

from batcher.destinations._http.answers import Answer
from batcher.destinations._http.arguments import Secret
from batcher.destinations._http.sender import Sender
from batcher.errors import BatcherError
from batcher.outcomes import NotWritten, Refused, Retry

# The code of an answer that gives no token which can be used; its message is the library's own.
NO_ACCESS_TOKEN = "NO_ACCESS_TOKEN"  # noqa: S105


@attrs.frozen(eq=False)
class Token:
    """What an issuer of access tokens gave. Two of them are never equal, only the same."""

    secret: Secret
    """The access token."""
    base_url: str
    """The server that it is for, and that it is shown to."""
    expires_at: float = inf
    """When it ends, in seconds on the clock of the event loop, which nobody sets."""


def without_token(refused: Refused, way_out: str) -> NotWritten:
    """Return the verdict of each record for which the issuer will give no token: it is not their fault.

    The issuer's codes are told; its messages may quote what was sent, and are not.

    :param way_out: what to do about it
    """
    said = dict.fromkeys(
        error.message if error.code == NO_ACCESS_TOKEN else f"the issuer refused ({error.code or 'no code given'})"
        for error in refused.errors
    )
    return NotWritten(f"no access token: {', '.join(said)}: {way_out}", attempts=1)


class TokenSource:
    """One access token for all calls of a destination.

    If the task that fetches is cancelled, one of those that wait for it fetches in its place.

    :param fetch: asks the issuer. To be raised: ``Retry`` if asking again may help, ``Refused`` if the issuer will not
        give a token. Whether the request for the token was carried out does not matter: no write was sent
    :param margin: seconds before its expiry at which a token is replaced; of a token that lives less than twice as
        long, half its life. 60 covers the ways of the answer with the token and of a call to the service
    """

    def __init__(self, fetch: Callable[[], Awaitable[Token]], *, margin: float = 60.0) -> None:
        self._fetch = fetch
        self._margin = margin
        self._token: Token | None = None
        self._stale_at = -inf
        self._refresh: _Refresh | None = None

    async def token(self) -> Token:
        """Return a token that is not about to expire; wait for the one refresh under way, or make it.

        A refresh that fails fails those who waited for it; the next caller tries again.

        :raises Retry: with ``applied="no"``: there is no token now, perhaps later
        :raises Refused: the issuer will not give one
        """
        while True:
            if self._token is not None and anyio.current_time() < self._stale_at:
                return self._token
            refresh = self._refresh
            if refresh is None:
                refresh = self._refresh = _Refresh()
                await self._run(refresh)
            else:
                await refresh.ended.wait()
            if refresh.error is not None:
                raise _verdict(refresh.error)
            if refresh.token is not None:
                return refresh.token
            # Whoever fetched was cancelled.

    def invalidate(self, token: Token) -> None:
        """Forget *token*, which the service refused; nothing happens if it has been replaced already."""
        if token is self._token:
            self._token = None

    async def _run(self, refresh: _Refresh) -> None:
        try:
            refresh.token = token = await self._fetch()
            now = anyio.current_time()
            self._token, self._stale_at = token, token.expires_at - min(self._margin, (token.expires_at - now) / 2)
        except Exception as error:
            refresh.error = error
        finally:
            self._refresh = None
            refresh.ended.set()


@attrs.define(eq=False)
class _Refresh:
    """A question to the issuer; it ends with a token, an error, or, cancelled, with neither."""

    ended: anyio.Event = attrs.field(factory=anyio.Event)
    token: Token | None = None
    error: Exception | None = None


def _verdict(error: Exception) -> Exception:
    """Return what is to be raised, fresh for each who waited."""
    match error:
        case Retry():
            # The request for the token may have been carried out; the write was not even sent.
            return Retry(error.cause, error.after, error.pause_lane, applied="no")
        case Refused():
            return Refused(error.errors)
        case BatcherError():
            return error
    return Retry(error, applied="no")


class AuthorizedSender:
    """Sends requests with an access token; once more with a fresh one, if the token was refused.

    :param sender: carries them
    :param tokens: where the tokens come from. If it gives a refused one again, there is no other
    :param is_refused: whether an answer says that its token is not accepted, and nothing was applied
    :param watch: is shown every answer
    """

    def __init__(
        self,
        sender: Sender,
        tokens: TokenSource,
        is_refused: Callable[[Answer], bool],
        watch: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        self._sender = sender
        self._tokens = tokens
        self._is_refused = is_refused
        self._watch = watch

    async def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Make one request of the server that the token is for, and return its answer, whatever its status.

        :raises Retry: the request never left, its answer was lost, or there is no access token now
        :raises Refused: there is no access token to be had; nothing was applied
        :raises BatcherNotOpen: outside of ``async with``
        """
        token = await self._tokens.token()
        answer = await self._show(token, method, path, body, headers)
        if not self._is_refused(answer):
            return answer
        self._tokens.invalidate(token)
        fresh = await self._tokens.token()
        return answer if fresh is token else await self._show(fresh, method, path, body, headers)

    async def _show(
        self, token: Token, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> Answer:
        shown: dict[str, str | Secret] = {**(headers or {}), "authorization": token.secret.bearer()}
        answer = await self._sender.request(method, token.base_url + path, body, shown)
        self._watch(answer)
        return answer


async def answer_of_issuer(sender: Sender, url: str, form: Mapping[str, str]) -> Answer:
    """Return what an issuer of tokens answers to a form: RFC 6749, section 4."""
    content_type = {"content-type": "application/x-www-form-urlencoded"}
    return await sender.request("POST", url, urlencode(form).encode(), content_type)
