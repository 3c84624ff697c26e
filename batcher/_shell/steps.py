"""Steps: the state changes in one piece, whoever runs in the middle.

Code of others may run at any bytecode of ours: a finalizer, whenever the garbage collector does; a signal handler. It
may submit, withdraw, cancel or leave, and it may raise. So a step is marked while it is under way. Whoever comes in is
put off to its end, or told that it cannot be done; and what is raised in the middle ends the batcher, for nobody knows
how much of the step has been done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from batcher._core.model.entries import Entry
from batcher._shell.backend.waiters import AwaitableWaiter
from batcher.errors import InvalidRecord

T = TypeVar("T")

# Where a batcher is open that takes no more records. Not None: that is also what runs where no loop does.
NOWHERE: Final = object()
# Where one is open in the middle of a step.
IN_STEP: Final = object()


class Steps(ABC):
    """Does steps, one at a time.

    :param loop: where the batcher is open
    """

    def __init__(self, loop: object, new_waiter: Callable[[], AwaitableWaiter]) -> None:
        self.gate = loop  # until it closes; then NOWHERE
        self.open_in = loop  # the gate, or IN_STEP: submit() asks one thing for every record
        self.new_waiter = new_waiter
        self.broken: BaseException | None = None  # what was raised in the middle of a step
        self._put_off: deque[Callable[[], object]] = deque()

    @abstractmethod
    def go_on_soon(self) -> None:
        """Have a turn made soon: something may be left to do."""

    @abstractmethod
    def salvage(self, cause: str) -> None:
        """Settle everything, in whatever state it is."""

    def step(self, function: Callable[..., T], *arguments: Any, entry: Entry | None = None) -> T:
        """Do a step. ``submit()`` of Batcher and Writer has it unrolled.

        :param entry: the first that it is to accept, if any
        """
        try:
            self.open_in = IN_STEP
            result = function(*arguments)
            self.open_in = self.gate
        except BaseException as error:
            self.cut_off(error, entry)
            raise
        return result

    def cut_off(self, error: BaseException, entry: Entry | None = None) -> None:
        """Something was raised in a step, or right behind it. Go on if the state is whole; else settle all, and end."""
        if self.open_in is not IN_STEP:
            self.go_on_soon()  # nobody else will do what the step has made necessary
        elif isinstance(error, InvalidRecord) or _is_untouched(entry, error):
            self.open_in = self.gate
        else:
            self.gate = self.open_in = NOWHERE
            self.broken = error
            self.salvage(f"the batcher was cut off in the middle of a step by {type(error).__name__}")
            self.go_on_soon()

    def close_gate(self) -> None:
        """Take no more records."""
        self.gate = NOWHERE
        if self.open_in is not IN_STEP:
            self.open_in = NOWHERE

    def put_off(self, action: Callable[[], object]) -> None:
        """Have *action* done when the step is over that is under way."""
        self._put_off.append(action)
        self.go_on_soon()

    def catch_up(self) -> None:
        """Do what was put off."""
        while self._put_off:
            self._put_off.popleft()()

    async def whole(self) -> None:
        """Wait until the step is over, if this is awaited in the middle of one."""
        while self.open_in is IN_STEP:
            waiter = self.new_waiter()
            self.put_off(partial(waiter.set_result, None))
            await waiter


def _is_untouched(entry: Entry | None, error: BaseException) -> bool:
    """Return whether only code of the user has run: for his key, before *entry* has got a lane."""
    return isinstance(error, Exception) and entry is not None and not hasattr(entry, "lane")
