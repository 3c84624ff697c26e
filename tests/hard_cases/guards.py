"""``@guards(...)`` names the line of the library that keeps a bug out, in a way that cannot rot.

After the test has passed, the line is looked up in the source. A refactoring that moves it makes the test fail, and
somebody look. How the line can be broken stands next to it: ``tests/hard_cases/mutate.py`` does so, and sees that the
test fails.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import reduce, wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import attrs

LONG = 100_000.0  # seconds of virtual time: whoever waits for longer waits for ever
GUARDS: list[Guard] = []


class LineMoved(Exception):
    """The guarded line is not where the test says."""


@attrs.frozen
class Guard:
    """One line without which one test fails."""

    test: str
    file: str
    """Of the test; absolute."""
    module: str
    name: str
    """Qualified, of the function or method."""
    line: str
    """A part of the line that occurs once in the function."""
    broken: str
    """What to put in its place to have the bug."""

    def source(self) -> tuple[Path, str]:
        """Return the file of the guarded function, and the text of the function.

        :raises LineMoved: it is not there, or the line is not in it, or more than once
        """
        where = f"{self.module}.{self.name}"
        try:
            function = reduce(getattr, self.name.split("."), import_module(self.module))
        except (ImportError, AttributeError) as error:
            raise LineMoved(
                f"{self.test} guards {where}, which is not there: find what keeps the bug out now"
            ) from error
        text, file = inspect.getsource(function), inspect.getsourcefile(function)
        if file is None or text.count(self.line) != 1:
            raise LineMoved(
                f"{self.test} guards {self.line!r} in {where}, where it is {text.count(self.line)} times: "
                "find what keeps the bug out now, and see the test fail without it"
            )
        return Path(file), text


def guards(
    module: str, name: str, line: str, *, broken: str
) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
    """Name a line that the test guards; may be repeated for several. The test has :data:`LONG` to end.

    :param module: for example ``"batcher._core.lanes"``
    :param name: qualified, of a function or method
    :param line: a part of its source that occurs in it once
    :param broken: what brings the bug back if it stands there instead
    """

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        original: Any = inspect.unwrap(test)
        guard = Guard(original.__name__, original.__code__.co_filename, module, name, line, broken)
        GUARDS.append(guard)

        @wraps(test)
        async def run(*args: Any, **kwargs: Any) -> None:
            with anyio.fail_after(LONG):
                await test(*args, **kwargs)
            guard.source()  # last, so that a broken line is seen in what it does

        return run

    return decorate
