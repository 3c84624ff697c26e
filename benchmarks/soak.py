"""Does a Writer stay well, and honest, under thousands of callers and faults of every kind, over real sockets?

    python -m benchmarks.soak                                             # HubSpot, 5 minutes
    python -m benchmarks.soak --minutes 60 --provider salesforce --backend trio

``batcher sandbox`` runs in a process of its own and breaks a few percent of the calls in each of its ways: late, lost,
cut in half, throttled, refused, locked, out of order. 5,000 callers share one Writer. Each creates, updates, upserts
and deletes records of its own, alone and in groups, withdraws some and is cancelled in others, until the time is up;
then the writer is left, and drains.

Exits with 1, and says why, if the sandbox contradicts an outcome that somebody was told, or holds a record twice; if a
caller got no outcome; if tasks, file descriptors or memory grew; or if a kind of fault that was ordered struck nobody.

Memory is the resident memory of this process after garbage collections; that of the sandbox is not part of it. What a
shorter run than two minutes says of it is not judged.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from itertools import count
from math import ceil

import anyio
import httpx

from batcher import Limits, Writer
from benchmarks.soak_callers import Load
from benchmarks.soak_figures import HEADING, Sample, growth, open_fds, open_tasks, resident_mb
from benchmarks.soak_ledger import Ledger
from benchmarks.soak_providers import PROVIDERS, SHORT_DELAY, Provider, SideDoor, sandbox_of

SHORTEST = 0.05
ROUND = 10.0
# MB a minute in the second half, less what the soak itself holds; and MB, once, for the allocator to find its level.
# Measured: 3.6 MB a minute in two minutes on trio, 1.2 and -0.4 in three on asyncio, and 5.7 where each record left 133
# bytes behind at 1,200 a second. So five minutes see what leaks a hundred bytes a record.
MOST_GROWTH = 1.0
MOST_GROWTH_ONCE = 6.0
# Below this a slope is noise, and calls that take longer than their destination waits would not be over in time.
SHORTEST_JUDGED = 120.0
SHORTEST_WITH_EVERY_FAULT = 20.0
# Besides the callers: the soak's own tasks, the timer's, and 32 workers. As many after an hour as after a minute.
MOST_OTHER_TASKS = 45
# The client's pool holds a connection per call and 20 idle ones.
MOST_OTHER_FDS = 70
# For what should take no time at all, on a busy machine.
PATIENCE = 60.0


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace, provider: Provider, address: str, sandbox: int) -> None:
        self.options = options
        self.provider = provider
        self.address = address
        self.sandbox = sandbox
        self.seconds: float = options.minutes * 60
        self.patient = self.seconds >= SHORTEST_JUDGED
        self.ledger = Ledger(provider.object, settling=SHORT_DELAY + 1.0)
        self.samples: list[Sample] = []
        self.reasons: list[str] = []
        self.began = time.monotonic()

    async def run(self) -> list[str]:
        """Run, and return what is not well."""
        tasks, fds = open_tasks(), open_fds()
        async with httpx.AsyncClient(base_url=self.address, timeout=PATIENCE) as client:
            door = SideDoor(client)
            faults = self.provider.faults(patient=self.patient)
            await door.order(faults, self.options.seed)
            writer, load = await self._write(door)
            requests, struck = await door.struck()
            await door.order([], self.options.seed)
            print("the writer is left; comparing what is left to compare", flush=True)
            self.ledger.turn()  # to a round in which nothing is written
            with anyio.move_on_after(self.ledger.settling + PATIENCE):
                while self.ledger.held:
                    await self._compare(door)
        self._report(writer, load)
        print(f"{requests:,} requests, of which were struck: {dict(sorted(struck.items()))}")
        if self.seconds > SHORTEST_WITH_EVERY_FAULT:
            never = sorted({fault.name for fault in faults} - struck.keys())
            self.reasons += [f"no request met the fault {name}" for name in never]
        self._judge_outcomes(writer, load)
        await self._judge_growth(tasks, fds)
        return self.reasons

    async def _write(self, door: SideDoor) -> tuple[Writer, Load]:
        """Let the callers write until the time is up, and leave the writer while they do."""
        callers: int = self.options.callers
        # Not for all of them at once: some wait for a place.
        limits = Limits(max_pending_records=max(200, callers * 4 // 5), quotas=self.provider.quotas(self.seconds))
        async with anyio.create_task_group() as tasks:
            async with Writer(self.provider.destination(self.address), limits=limits) as writer:
                load = Load(writer, self.ledger, self.provider, self.options.seed)
                for _ in range(callers):
                    tasks.start_soon(load.run)
                async with anyio.create_task_group() as own:
                    own.start_soon(self._turn)
                    own.start_soon(self._watch, writer)
                    own.start_soon(self._compare_all, door)
                    await anyio.sleep(self.seconds)
                    own.cancel_scope.cancel()
                load.over = True
                leaving = time.monotonic()
            print(f"left in {time.monotonic() - leaving:.1f} s")
            with anyio.move_on_after(PATIENCE):
                await load.ended.wait()
            if load.callers:
                self.reasons.append(f"{load.callers} callers got no outcome")
            tasks.cancel_scope.cancel()
        return writer, load

    # Beside the callers

    async def _turn(self) -> None:
        while True:
            await anyio.sleep(min(ROUND, self.seconds / 3))
            self.ledger.turn()

    async def _compare_all(self, door: SideDoor) -> None:
        while True:
            await self._compare(door)

    async def _compare(self, door: SideDoor) -> None:
        """Compare the rounds to which nothing can happen any more."""
        for each in self.ledger.settled():
            self.ledger.compare(each, await door.records(each.object))
        await anyio.sleep(0.5)

    async def _watch(self, writer: Writer) -> None:
        print(HEADING, flush=True)
        shown: Sample | None = None
        interval = min(5.0, self.seconds / 12)
        for number in count(1):
            await anyio.sleep(max(0.0, self.began + number * interval - time.monotonic()))
            sample = Sample.take(writer, self.ledger)
            self.samples.append(sample)
            if number % 2 == 0:
                print(sample.line(self.began, shown), flush=True)
                shown = sample

    # At the end

    def _report(self, writer: Writer, load: Load) -> None:
        now, ledger = writer.statistics(), self.ledger
        print(
            f"{load.submitted:,} records submitted: {load.told.total():,} outcomes told, {load.cancelled:,} callers "
            f"cancelled, {load.turned_away:,} turned away at the end; {ledger.compared:,} records compared"
        )
        print(f"outcomes of the writer: {dict(sorted(now.outcomes.items()))}")
        print(
            f"{now.settled / self.seconds:,.0f} records/s in {now.calls / self.seconds:.1f} calls/s, "
            f"{now.settled / max(1, now.calls):.1f} records per call; "
            f"wait p50 {load.waits.percentile(50):.2f} s, p99 {load.waits.percentile(99):.2f} s"
        )
        points = [self.samples[int((len(self.samples) - 1) * part)].resident for part in (0, 1 / 3, 2 / 3, 1)]
        print(
            f"resident MB: {', '.join(f'{each:.1f}' for each in points)} at the start, 1/3, 2/3 and the end; "
            f"growth in the second half, without what the soak holds, {growth(self.samples):.2f} MB a minute; "
            f"the sandbox has {resident_mb(self.sandbox):.0f} MB"
        )

    def _judge_outcomes(self, writer: Writer, load: Load) -> None:
        now, ledger = writer.statistics(), self.ledger
        if now.accepted != now.settled or now.pending or now.waiting or now.in_flight:
            self.reasons.append(f"the writer still holds something: {now}")
        if load.submitted != load.told.total() + load.cancelled + load.turned_away:
            self.reasons.append("records submitted are not those told, cancelled and turned away")
        unheard = now.settled - load.told.total()
        if load.told - Counter(now.outcomes) or not 0 <= unheard <= load.cancelled:
            self.reasons.append(f"callers were told {dict(load.told)}, and {unheard} outcomes went unheard")
        if ledger.held:
            self.reasons.append(f"{ledger.held} records could not be compared: something still writes to them")
        if ledger.contradicted:
            self.reasons.append(f"{ledger.contradicted} contradictions, such as:")
            self.reasons += ledger.contradictions

    async def _judge_growth(self, tasks: int, fds: int) -> None:
        for _ in range(int(PATIENCE / 0.1)):
            if (open_tasks(), open_fds()) == (tasks, fds):
                break
            await anyio.sleep(0.1)
        for name, before, after, most in (
            ("tasks", tasks, open_tasks(), max(each.tasks for each in self.samples)),
            ("file descriptors", fds, open_fds(), max(each.fds for each in self.samples)),
        ):
            print(f"{name}: {before} before, {most} at most, {after} after")
            if after != before:
                self.reasons.append(f"{after - before} {name} are left over")
            others = MOST_OTHER_TASKS + self.options.callers if name == "tasks" else MOST_OTHER_FDS
            if most > before + others:
                self.reasons.append(f"there were {most} {name}, and {before + others} can be explained")
        slope, allowed = growth(self.samples), MOST_GROWTH + MOST_GROWTH_ONCE / (self.seconds / 60 / 2)
        if self.seconds >= SHORTEST_JUDGED and slope > allowed:
            self.reasons.append(f"memory grew by {slope:.1f} MB a minute, of {allowed:.1f} allowed")


def main() -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help=f"{SHORTEST:g} or more (default: 5)")
    parser.add_argument("--callers", type=int, default=5000, help="tasks that write (default: 5000)")
    parser.add_argument("--provider", choices=PROVIDERS, default="hubspot", help="(default: hubspot)")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="(default: asyncio)")
    parser.add_argument("--seed", type=int, default=1, help="of actions, faults and the sandbox (default: 1)")
    options = parser.parse_args()
    if not options.minutes >= SHORTEST or options.callers < 1:
        parser.error(f"--minutes must be at least {SHORTEST:g}, and --callers at least 1")
    # Stopped by whatever signal, it stops the sandbox.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    provider = PROVIDERS[options.provider]
    seconds = options.minutes * 60
    rounds = ceil(seconds / min(ROUND, seconds / 3)) + 1
    try:
        with sandbox_of(provider, rounds=rounds, seed=options.seed, seconds=seconds + 600) as (address, pid):
            reasons = anyio.run(Soak(options, provider, address, pid).run, backend=options.backend)
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    for reason in reasons:
        print(f"NOT WELL: {reason}")
    print("well" if not reasons else "NOT WELL")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
