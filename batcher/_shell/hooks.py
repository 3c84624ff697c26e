"""Hooks: one or several, with or without ``capture()``. What they raise is their own affair."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from batcher._core.model.entries import LinkedEntry
from batcher.events import Event, Hook

logger = logging.getLogger("batcher")
logger.addHandler(logging.NullHandler())  # a library prints nothing by itself

E = TypeVar("E", bound=LinkedEntry)
T = TypeVar("T")
Capture: TypeAlias = Callable[[], Any]
Around: TypeAlias = Callable[[int], AbstractContextManager[Any]]

MOST_LINKS: Final = 128  # of one event: as many as a span of OpenTelemetry keeps


def as_hook(on_event: Hook | Sequence[Hook] | None) -> Hook | None:
    """Return the one hook that stands for all those given; None if there are none.

    :raises TypeError: something given cannot be called, or only awaited
    """
    if on_event is None:
        return None
    hooks = tuple(on_event) if isinstance(on_event, Sequence) and not callable(on_event) else (on_event,)
    for hook in hooks:
        if not callable(hook):
            raise TypeError(f"on_event must be a function of one event, or a list of such, not {type(hook).__name__}")
        if isinstance(hook, type):
            raise TypeError(f"on_event must be a function, not the class {hook.__name__}: give an instance of it")
        if iscoroutinefunction(hook) or iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004
            raise TypeError(
                "on_event must be a plain function, not an async one, which nobody would await: define it with 'def', "
                "and have it put events where a task of yours takes them from"
            )
    if len(hooks) < 2:
        return hooks[0] if hooks else None
    return Hooks(hooks)


def capture_of(hook: Hook | None) -> Capture | None:
    """Return what is to be called at each submit, if *hook* has a ``capture()``. It raises nothing."""
    capture: Capture | None = getattr(hook, "capture", None)
    if capture is None:
        return None
    return partial(call_guarded, capture, "capture() of the on_event hook raised; the record has no link")


def linking(capture: Capture, kind: type[E]) -> Callable[[], E]:
    """Return what makes the entry, of that *kind*, of a record that is submitted now."""

    def new_entry() -> E:
        entry = kind()
        entry.link = capture()
        return entry

    return new_entry


def around_of(hook: Hook | None) -> Around | None:
    """Return what gives, for the number of a batch, what *hook* wants to be open while its call is out, if anything."""
    around: Around | None = getattr(hook, "around", None)
    return None if around is None else partial(_guarded_around, around)


@contextmanager
def _guarded_around(around: Around, number: int) -> Iterator[None]:
    opened = ExitStack()
    try:
        opened.enter_context(around(number))
    except Exception:
        logger.exception("around() of the on_event hook raised; the call is made without it")
    try:
        yield
    finally:
        try:
            opened.close()  # without what the call raised: that is for nobody to swallow
        except Exception:
            logger.exception("what around() of the on_event hook returned raised; the call is not affected")


def tell(hook: Hook, event: Event) -> None:
    """Call *hook*."""
    call_guarded(hook, "the on_event hook raised; the event is lost, the records are not", event)


def distinct(links: Sequence[Any]) -> tuple[Any, ...]:
    """Return each object among *links* once, at most :data:`MOST_LINKS`."""
    # By identity: the same span gives the same object, and nobody asked that a link can be hashed.
    return tuple({id(link): link for link in links if link is not None}.values())[:MOST_LINKS]


def call_guarded(function: Callable[..., T], trouble: str, *arguments: object) -> T | None:
    """Call what a user has handed in. What it raises is logged as *trouble*, and its own affair: None is returned."""
    try:
        return function(*arguments)
    except BaseException as error:
        if stops_programs(error):
            raise
        logger.exception(trouble)
        return None


def stops_programs(error: BaseException) -> bool:
    """Return whether *error* is, or contains, an interrupt or an exit: nobody's outcome."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(stops_programs, error.exceptions))
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))


class Hooks:
    """Several hooks as one. None of them loses an event, or sees a link, because of another."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = hooks
        self.logs = any(getattr(hook, "logs", False) for hook in hooks)
        self._captures = [capture_of(hook) for hook in hooks]
        captures = [capture for capture in self._captures if capture is not None]
        if captures:
            # What one captures needs no wrapping, which is the usual case.
            self.capture = captures[0] if len(captures) == 1 else self._capture_all
        self._wrapped = len(captures) > 1
        self._arounds = [around for hook in hooks if (around := around_of(hook)) is not None]

    def _capture_all(self) -> tuple[Any, ...] | None:
        links = tuple(None if capture is None else capture() for capture in self._captures)
        return None if all(link is None for link in links) else links

    def __call__(self, event: Event) -> None:
        """Tell each of them."""
        for position, hook in enumerate(self._hooks):
            tell(hook, self._seen_by(position, event) if event.links else event)

    def around(self, number: int) -> AbstractContextManager[Any]:
        """Return what all of them want to be open."""
        stack = ExitStack()
        for around in self._arounds:
            stack.enter_context(around(number))
        return stack

    def _seen_by(self, position: int, event: Event) -> Event:
        if self._captures[position] is None:
            return attrs.evolve(event, links=())
        if not self._wrapped:
            return event
        return attrs.evolve(event, links=distinct([links[position] for links in event.links]))
