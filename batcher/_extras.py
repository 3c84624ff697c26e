"""Optional dependencies: what is said where one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def missing(what: str, extra: str) -> str:
    """Return the sentence that tells how to get the extra that *what* needs."""
    return f"{what} needs the extra {extra!r}: pip install 'saas-batcher[{extra}]', or '.[{extra}]' in a clone"


@contextmanager
def needed_by(what: str, extra: str, *packages: str) -> Iterator[None]:
    """Import in the body what needs *packages*, which come with *extra*.

    :raises ModuleNotFoundError: one is missing; says how to get it. Of other modules in their own words
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in packages:
            raise
        raise ModuleNotFoundError(missing(what, extra), name=error.name) from error
