"""What fourteen Python batchers get wrong under stress: thirteen fail badly at one of these cases at least.

5,000 callers, as when those were tried. What other tests show already is named in ``ELSEWHERE``.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from importlib import import_module
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Limits
from batcher.errors import RecordUnknown
from tests.api import Api, gather

ELSEWHERE = {
    # Ten of them leave callers hanging for ever, and two stay dead.
    "a leaked cancellation": "test_p01_p02_fate.test_p01_a_leaked_cancellation_is_an_outcome_and_kills_nobody",
    # With everything at once: cancelled, raised, miscounted, leaked.
    "all kinds of trouble": "test_p01_p02_fate.test_p01_thousands_of_callers_under_every_kind_of_trouble",
    # All eight that limit calls deadlock.
    "a submit inside of write": "shell.test_workers.test_waiting_for_the_same_batcher_inside_write_is_refused",
    # dloader merges them, and some refuse a dict.
    "equal records": "test_p06_order.test_p06_equal_records_without_identity_are_two_records",
    # Five hang.
    "a second event loop": "test_p13_p14_discreet_both_loops.test_p14_a_second_event_loop_is_refused",
    # async-batcher starts the delay anew with each arrival.
    "a restarted delay": "hard_cases.test_b01_b10.test_b04_the_delay_counts_from_the_first_record",
    # aioautobatch counts from the oldest of an overloaded queue, and made 50,000 calls for 50,000 records.
    "an old queue": "test_p03_prompt.test_p03_an_old_queue_is_not_sent_in_batches_of_one",
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_stress_what_is_tested_elsewhere_is_still_there(case):
    """Each case that has no test here has the one that is named."""
    module, _, name = ELSEWHERE[case].rpartition(".")
    assert callable(getattr(import_module(f"tests.{module}"), name))


@pytest.mark.anyio
async def test_stress_a_third_of_the_callers_cancelled_harms_no_other():
    """Of 5,000 callers 30 % are cancelled, in the buffer or in flight: all others get their own, none is sent twice.

    async-batcher leaves 3,226 of 3,499 survivors hanging, aiomisc writes a batch twice when its first caller leaves.
    """
    api = Api(seconds=0.25)
    fates: Counter[str] = Counter()

    async def one(batcher: Batcher[int, int], n: int) -> None:
        await anyio.sleep(n % 7 / 64)
        with anyio.move_on_after(n % 5 / 16 if n % 10 < 3 else 3600):
            fates["right" if await batcher.submit(n, key=n % 3) == n else "WRONG"] += 1

    async with Batcher[int, int](api) as batcher:
        await gather(*(partial(one, batcher, n) for n in range(5_000)))
        assert batcher.statistics().pending == 0
    sent = Counter(n for batch in api.batches for n in batch)
    assert fates.keys() == {"right"}
    assert 3_500 <= fates["right"] < 5_000
    assert set(sent.values()) == {1}
    assert {n for n in range(5_000) if n % 10 >= 3} <= set(sent)
    assert len(sent) < 5_000, "those that were cancelled in the buffer are not sent"


@pytest.mark.anyio
@pytest.mark.parametrize("change", [lambda rows: rows[1:], lambda rows: [-1, *rows]], ids=["too few", "too many"])
async def test_stress_a_third_of_the_answers_miscounted_misleads_nobody(change):
    """A caller among 5,000 gets its own result, or is told that nobody knows.

    aioautobatch, aiomisc, dike and pybatcher give about 2,850 of 5,000 callers the result of another; two hang some.
    """
    api = Api(*[list, change, list] * 17, seconds=0.125)
    async with Batcher[int, int](api) as batcher:
        results = await gather(*(partial(batcher.submit, n) for n in range(5_000)))
    assert all(each == n or is_unknown(each) for n, each in enumerate(results))
    assert sum(map(is_unknown, results)) == 1_700


def is_unknown(result: Any) -> bool:
    return isinstance(result, RecordUnknown)


@pytest.mark.anyio
async def test_stress_a_third_of_the_calls_raise():
    """Each caller of a call that raised has an exception object of its own, and nothing is sent again.

    All but one of the fourteen hand one object to many callers; smartbatch wrote 1,200 records twice.
    """
    raised = ConnectionError("down")
    api = Api(*[list, raised, list] * 17, seconds=0.125)
    async with Batcher[int, int](api) as batcher:
        results = await gather(*(partial(batcher.submit, n) for n in range(5_000)))
    errors = [each for each in results if is_unknown(each)]
    assert len(errors) == len(set(map(id, errors))) == 1_700
    assert {each.__cause__ for each in errors} == {raised}
    assert all(is_unknown(each) or each == n for n, each in enumerate(results))
    assert Counter(n for batch in api.batches for n in batch) == Counter(range(5_000))


@pytest.mark.anyio
async def test_stress_closing_with_250_callers_waiting():
    """All are written, and none waits its delay out.

    smartbatch loses 150 of them, several cannot be closed, and async-batcher waits the delay out.
    """
    api = Api(seconds=0.5)
    results: list[int] = []
    async with anyio.create_task_group() as tasks:
        async with Batcher[int, int](api, auto_batch=AutoBatchPolicy(max_delay=3600)) as batcher:

            async def one(n: int) -> None:
                results.append(await batcher.submit(n))

            for n in range(250):
                tasks.start_soon(one, n)
            await anyio.sleep(0.25)
            left_at = anyio.current_time()
        assert anyio.current_time() - left_at < 2
    assert sorted(results) == list(range(250))
    assert sorted(api.sizes) == [50, 100, 100]


@pytest.mark.anyio
@pytest.mark.parametrize("waiting", [1_000, 50_000])
async def test_stress_a_long_queue_costs_no_more_per_record(waiting):
    """Dispatch walks over nothing that it leaves behind: counted in steps, not in seconds.

    batchlet walks its queue for each dispatch: with 160,000 waiting it sends 19,000 a second, a million never end.
    """
    api = Api(seconds=1)
    limits = Limits(max_pending_records=200_000, max_in_flight=1)
    async with Batcher[int, int](api, limits=limits) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(waiting)]
        lane = batcher._engine.accumulator.lanes.by_key[None]
        walked = 0
        original = lane.queue.entries

        class Counting:
            """The queue, counting every entry that is looked at beyond taking it out."""

            def __getattr__(self, name: str) -> Any:
                return getattr(original, name)

            def __len__(self) -> int:
                return len(original)

            def __bool__(self) -> bool:
                return bool(original)

            def __iter__(self) -> Any:
                nonlocal walked
                for entry in original:
                    walked += 1
                    yield entry

            def __getitem__(self, index: int) -> Any:
                nonlocal walked
                walked += 1
                return original[index]

        lane.queue.entries = Counting()  # type: ignore[assignment]
        await anyio.sleep(5.5)  # five calls
        done = sum(receipt.done for receipt in receipts)
        assert done == 500
        assert walked <= 3 * done
        for receipt in receipts[600:]:
            receipt.withdraw()
