"""Playing one seed: real library, scripted provider, virtual time."""

from __future__ import annotations

import logging
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from traceback import extract_tb
from unittest.mock import patch

import anyio
import attrs

from batcher._shell import runtime
from batcher._shell.backend.current import current_backend
from batcher.events import Event, EventKind
from batcher.testing import virtual_time
from tests.simulation.callers import Callers
from tests.simulation.faces import face_of
from tests.simulation.journals import Journal
from tests.simulation.laws import Run, judge
from tests.simulation.plans import Plan, plan_of
from tests.simulation.provider import Provider
from tests.simulation.watching import Watch
from tests.simulation.workloads import Workload

HANGS_AFTER = 20_000.0  # virtual seconds
SPINS_AFTER = 100.0  # real seconds; a seed takes a third of one


@attrs.frozen(kw_only=True)
class Result:
    """What came of one seed."""

    plan: Plan
    journal: Journal
    calls: int
    offered: int
    accepted: int
    seconds: float
    """Of virtual time."""

    @property
    def broken(self) -> Counter[str]:
        """How often which law was broken."""
        return Counter(law for law, _ in self.journal.broken)

    def fates(self) -> list[tuple[int, str | None, int, int]]:
        """Return tag, outcome, calls and applications of each record: equal for two plays of one seed."""
        return [
            (each.tag, None if each.outcome is None else each.outcome.kind, each.carried, each.applied)
            for each in self.journal.submissions
        ]

    def __str__(self) -> str:
        plan = self.plan
        return (
            f"seed {plan.seed} on {plan.backend}: {plan.script}, {plan.workload}, {plan.ending}, {plan.face}; "
            f"{self.offered} records, {self.accepted} accepted, {self.calls} calls, {self.seconds:.1f} virtual seconds"
        )

    def complaint(self) -> str:
        """Return which laws were broken, with figures, and how to see it again; empty if none was."""
        if not self.journal.broken:
            return ""
        shown: dict[str, str] = {}
        for law, figures in self.journal.broken:
            shown.setdefault(law, figures)
        lines = [f"  {law}: {figures} ({self.broken[law]} times)" for law, figures in shown.items()]
        return "\n".join([str(self), *lines, f"  again: {self.command}"])

    @property
    def command(self) -> str:
        """What replays it."""
        return f"python -m tests.simulation --seed {self.plan.seed} --backend {self.plan.backend}"


class _Spins(BaseException):
    """So much real time has passed that somebody must be going round in circles."""


@contextmanager
def _watchdog() -> Iterator[None]:
    """Bark where the clock stands still for ever; on the main thread, and where there are such timers."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def bark(*_: object) -> None:
        raise _Spins(f"one seed has taken more than {SPINS_AFTER:g} real seconds")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, SPINS_AFTER, SPINS_AFTER / 20)  # again and again: it may be caught
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _BodyFails(Exception):
    """What the body of the ``async with`` raises."""


def play(seed: int, backend: str | None = None) -> Result:
    """Play one seed, and judge it."""
    plan, journal, run = plan_of(seed, backend), Journal(), None
    try:
        with faithful(seed, plan.backend), _watchdog():
            run = anyio.run(_play, plan, journal, backend=plan.backend, backend_options=virtual_time(plan.backend))
    except BaseException as error:
        if isinstance(_leaf(error), KeyboardInterrupt):
            raise KeyboardInterrupt from None
        journal.breach("P1 crashed", _where(_leaf(error)))
    if run is not None:
        judge(run)
    accepted = 0 if run is None else run.statistics.accepted
    seconds = HANGS_AFTER if run is None else run.left_at - run.began_at
    return Result(
        plan=plan,
        journal=journal,
        calls=journal.calls,
        offered=len(journal.submissions),
        accepted=accepted,
        seconds=seconds,
    )


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _where(error: BaseException) -> str:
    frame = extract_tb(error.__traceback__)[-2 if isinstance(error, _Spins) else -1]
    return f"{type(error).__name__}: {error}, in {frame.name}(), line {frame.lineno} of {frame.filename}"


@contextmanager
def faithful(seed: object, backend: str) -> Iterator[None]:
    """Take the dice of the library, and of trio's scheduler, from the seed; and keep the log quiet."""
    logger = logging.getLogger("batcher")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with patch.object(runtime, "random", Random(f"{seed} jitter").random), _deterministic_trio(seed, backend):
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _deterministic_trio(seed: object, backend: str) -> Iterator[None]:
    if backend != "trio":
        yield
        return
    import trio._core._run as scheduler

    with patch.multiple(scheduler, _ALLOW_DETERMINISTIC_SCHEDULING=True, _r=Random(f"{seed} trio")):
        yield


async def _play(plan: Plan, journal: Journal) -> Run | None:
    journal.now = current_backend().now
    watch = Watch(plan, journal)
    provider = Provider(plan.conduct, plan.seed, journal, watch)

    def hear(event: Event) -> None:
        if event.reason is not None:
            journal.met(f"left because: {event.reason.value}")
        if event.kind is EventKind.DETACHED:
            journal.detached += 1
        if event.kind is EventKind.BREAKER:
            journal.met(f"breaker: of a {event.scope}, {event.state}")
            if event.scope == "lane" and event.state is not None:
                watch.breaks(event.key, event.state, journal.now())
            elif event.state is not None:
                watch.breaks_down(event.state, journal.now())

    face = face_of(plan, provider, hear if plan.hook else None)
    watch.statistics, watch.provider = face.shell.statistics, provider
    workload = Workload(plan)
    arrivals = workload.arrivals()
    provider.known = {each.tag: each for _, handful in arrivals for each in handful}
    began_at = leaves_at = journal.now()
    with anyio.move_on_after(HANGS_AFTER) as patience:
        async with anyio.create_task_group() as tasks:
            callers = Callers(plan, journal, watch, face, tasks)
            with anyio.CancelScope() as host:
                try:
                    async with face.shell:
                        await callers.come(arrivals, workload)
                        while plan.ending == "drained" and any(each.open for each in journal.submissions):
                            await anyio.sleep(1)
                        leaves_at = journal.now()
                        if plan.ending == "raises":
                            raise _BodyFails
                        if plan.ending == "cancelled":
                            host.cancel()
                            await anyio.sleep(1)
                except _BodyFails:
                    pass
            watch.left, left_at = True, journal.now()
    if patience.cancelled_caught:
        left = [each.tag for each in journal.submissions if each.open]
        law, what = ("P1 hangs", f"such as {left[:3]}") if left else ("P11 hangs", "but leaving never ends")
        journal.breach(law, f"{len(left)} records are open for ever, {what}")
        return None
    provider.finish()
    return Run(
        plan=plan,
        journal=journal,
        watch=watch,
        provider=provider,
        statistics=face.shell.statistics(),
        began_at=began_at,
        leaves_at=leaves_at,
        left_at=left_at,
    )
