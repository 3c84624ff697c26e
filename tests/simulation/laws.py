"""The laws that a whole run is held to, once it has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from batcher import NotWritten, Rejected, RolledBack, Statistics, Unknown, Written
from batcher.testing import check_conserved
from tests.simulation.journals import Journal, Submission
from tests.simulation.plans import Plan
from tests.simulation.provider import STUBBORN, Provider
from tests.simulation.watching import INSTANT, Watch
from tests.simulation.workloads import LONGEST_DELAY


@attrs.frozen(kw_only=True)
class Run:
    """All that a law may look at."""

    plan: Plan
    journal: Journal
    watch: Watch
    provider: Provider
    statistics: Statistics
    began_at: float
    leaves_at: float
    left_at: float


def judge(run: Run) -> None:
    """Hold a run to every law."""
    for law in LAWS:
        law(run)


def p1_one_fate(run: Run) -> None:
    """Every accepted record has exactly one fate, and the library counts the same."""
    journal, statistics = run.journal, run.statistics
    try:
        check_conserved(statistics)
    except AssertionError as error:
        journal.breach("P1 conserved", str(error))
    journal.check("P1 conserved", statistics.pending == 0, f"{statistics.pending} records are pending at the end")
    told: Counter[str] = Counter()
    cancelled = 0
    for each in journal.submissions:
        if each.refused is not None:
            journal.check("P1 refused", not each.carried, f"{each.tag} was refused ({each.refused}), and sent")
            journal.met(f"refused: {each.refused}")
        elif each.cancelled_at is not None:
            cancelled += 1
        else:
            journal.check("P1 one fate", each.told == 1, f"{each.tag} ({each.verb}) was told {each.told} fates")
        if each.outcome is not None:
            told[each.outcome.kind] += 1
            journal.met(f"told: {each.outcome.kind}")
            if (
                isinstance(each.outcome, NotWritten)
                and not each.carried
                and each.outcome.cause == "its deadline passed"
            ):
                journal.met("deadline: a record expired unsent")
    if run.plan.roomy:  # else nobody knows who of the cancelled ones had been accepted
        accepted = told.total() + cancelled
        journal.check(
            "P1 count", statistics.accepted == accepted, f"{accepted} accepted, {statistics.accepted} counted"
        )
        missing = {kind: (count, statistics.outcomes.get(kind, 0)) for kind, count in told.items()}
        more = {kind: pair for kind, pair in missing.items() if pair[0] > pair[1]}
        journal.check("P1 count", not more, f"told and counted differ: {more}")


def p2_own_fate(run: Run) -> None:
    """What a caller is told names its own record."""
    for each in run.journal.submissions:
        outcome, tag = each.outcome, each.tag
        if isinstance(outcome, Written):
            own = outcome.data == tag and outcome.record_id in (None, f"id-{tag}")
            run.journal.check("P2 own", own and each.own, f"{tag} was told of {outcome.data}, {outcome.record_id}")
        elif isinstance(outcome, Rejected) and outcome.isolated:
            words = [detail.message for detail in outcome.errors]
            run.journal.check("P2 own", words == [f"bad {tag}"] and each.own, f"{tag} was told: {words}")
        elif outcome is not None:
            run.journal.check("P2 own", each.own, f"the error that {tag} got names another write")


def p4_innocents(run: Run) -> None:
    """A good record is not rejected, unless the search for the culprit ran out of calls, and says so."""
    for each in run.journal.submissions:
        if not isinstance(each.outcome, Rejected):
            continue
        if not each.outcome.isolated:
            run.journal.met("P4: a search ran out of calls")
            continue
        too_large = [detail.code for detail in each.outcome.errors] == ["TOO_LARGE"]
        fair = not (too_large and run.provider.conduct.says_too_large)
        run.journal.check("P4 innocents", fair, f"{each.tag} was rejected because its call was too large")
        guilty = each.bad or (run.provider.conduct.unique and each.applied > 0)
        run.journal.check("P4 innocents", guilty, f"{each.tag} is a good record, and was rejected")
        if each.carried > 1 and not each.fellows:
            run.journal.met("P4: a culprit was found")


def p5_whole(run: Run) -> None:
    """A group is written whole or not at all, and its members are told so."""
    groups = dict.fromkeys(each.fellows for each in run.journal.submissions if each.fellows)
    for group in groups:
        applied = {min(each.applied, 1) for each in group}
        tags = [each.tag for each in group]
        run.journal.check(
            "P5 whole", len(applied) == 1, f"of group {tags} {[each.applied for each in group]} was applied"
        )
        outcomes = [each.outcome for each in group if each.outcome is not None]
        sure = {outcome.applied for outcome in outcomes if outcome.applied != "maybe"}
        run.journal.check("P5 told", len(sure) <= 1, f"group {tags} was told {[outcome.kind for outcome in outcomes]}")
        if any(isinstance(outcome, RolledBack) for outcome in outcomes):
            run.journal.met("P5: a group was rolled back")
    alone = [each.tag for each in run.journal.submissions if isinstance(each.outcome, RolledBack) and not each.fellows]
    run.journal.check("P5 told", not alone, f"records of no group were rolled back: {alone[:5]}")


def p7_honest(run: Run) -> None:
    """Told written: it is there. Told no: it is not. A create is there once, unless the policy risks more."""
    for each in run.journal.submissions:
        if each.outcome is not None:
            _honest(run, each)
        if each.create and (not run.plan.resends or run.provider.conduct.unique):
            run.journal.check("P7 doubled", each.applied <= 1, f"{each.tag} was written {each.applied} times")
        elif each.create and each.applied > 1:
            run.journal.met("P7: a create was doubled, as the policy allows")
            run.journal.check("P7 doubled", each.doubted, f"{each.tag} was doubled without any doubt")


def _honest(run: Run, each: Submission) -> None:
    outcome, journal = each.outcome, run.journal
    assert outcome is not None
    if outcome.applied == "yes":
        journal.check("P7 honest", each.applied, f"{each.tag} is told to be written, and is not there")
    elif outcome.applied == "no":
        journal.check("P7 honest", not each.applied, f"{each.tag} is told {outcome.kind}, and is there")
        if isinstance(outcome, NotWritten) and each.carried:
            journal.met("P7: told not written after calls")
        if isinstance(outcome, NotWritten) and str(outcome.cause).startswith("the circuit breaker"):
            journal.met("breaker: told at once")
        if isinstance(outcome, NotWritten) and str(outcome.cause).startswith("the retry budget"):
            journal.met("budget: told that it is used up")
    elif each.applied:
        journal.met("P7: told unknown, and it is there")
    else:
        journal.met("P7: told unknown, and it is not there")
    # A group is in doubt as a whole.
    doubt = not isinstance(outcome, Unknown) or any(member.doubted for member in each.fellows or (each,))
    journal.check("P7 doubt", doubt, f"{each.tag} is told unknown: {outcome!r}, and no answer was lost")


def p7_rows(run: Run) -> None:
    """Of all writes of one remote record the last one that was told to be written stands."""
    last: dict[object, Submission] = {}
    unsure = set()
    for each in run.journal.submissions:
        if each.identity is None or not each.carried:
            continue
        if each.outcome is None or each.outcome.applied == "maybe" or each.applied_late:
            unsure.add(each.identity)
        elif each.outcome.applied == "yes":
            last[each.identity] = each
    for identity, each in last.items():
        if identity in unsure or not run.plan.roomy:
            continue
        row = run.provider.rows.get(identity)
        run.journal.met("P6: the last write of a row was known")
        run.journal.check(
            "P6 rows", row is each, f"{identity} holds {row and row.tag}, the last one written is {each.tag}"
        )


def p8_cancelled(run: Run) -> None:
    """Whoever was cancelled hurts nobody. (That the others have their fates is P1.)"""
    for each in run.journal.submissions:
        if each.withdrawn:
            run.journal.met("P8: withdraw() said True")
            told = each.outcome is not None and each.outcome.kind == ("unknown" if each.doubted else "not_written")
            run.journal.check("P8 withdrawn", told, f"{each.tag} was withdrawn, and is told {each.outcome!r}")
        if each.cancelled_at is not None:
            run.journal.met("P8: a call carried what its caller gave up" if each.detached else "P8: a caller gave up")
    if run.plan.hook:
        least = sum(each.detached and each.verb != "enqueue" for each in run.journal.submissions)
        observed = run.journal.detached
        run.journal.check("P8 observed", observed >= least, f"{observed} outcomes observed, {least} callers had gone")
        run.journal.met("P8: an outcome that nobody waited for was observed", observed)


def timing(run: Run) -> None:
    """Where the time of a record went adds up to the time that it took, in as many calls as carried it."""
    for each in run.journal.submissions:
        spent = each.timing
        if spent is None or each.accepted_at is None:
            continue
        took = each.told_at - each.accepted_at
        run.journal.check("timing", abs(spent.total - took) < INSTANT, f"{each.tag} took {took:.4f} s, told: {spent}")
        parts = (spent.identity, spent.window, spent.quota, spent.pause, spent.breaker, spent.slot, spent.retry)
        run.journal.check("timing", min(*parts, spent.service) >= 0, f"{each.tag} is told a negative time: {spent}")
        calls, batches = each.carried + each.asked, len(spent.batches)
        # When the batcher ended, a batch may have left its lane whose call had not begun.
        unsent = each.told_at >= run.leaves_at and batches == calls + 1
        run.journal.check("timing", batches == calls or unsent, f"{each.tag} was in {calls} calls, told: {spent}")
        for name, part in zip(("identity", "window", "quota", "pause", "breaker", "slot", "retry"), parts, strict=True):
            run.journal.met(f"timing: {name}", part > INSTANT)


def breaker(run: Run) -> None:
    """Nobody is told that the destination is down when it is time to try."""
    spells = [spell for outage in run.watch.outages for spell in outage.spells]
    for each in run.journal.submissions if run.plan.hook else ():
        cause = each.outcome.cause if isinstance(each.outcome, NotWritten) else ""
        if each.verb == "submit" and not each.fellows and "breaker of the destination" in str(cause):
            run.journal.met("breaker: told at once, because of the destination")
            due = any(since - INSTANT <= each.told_at <= until + INSTANT for since, until in spells)
            run.journal.check("breaker", due, f"{each.tag} was told at {each.told_at:.3f}, open: {spells[-3:]}")


def p10_fair(run: Run) -> None:
    """Who is sick holds up nobody else: with places free, the others wait for their delay and their own call."""
    plan, conduct = run.plan, run.plan.conduct
    if not conduct.sick or not plan.roomy or conduct.faults or conduct.refusal != "verdict" or conduct.brownouts:
        return
    if None in run.watch.crowded or plan.ending != "drained":
        return
    # Several lanes of a tenant who is sick, and a lull of the others, are taken for a destination that is down.
    causes = {each.outcome.cause for each in run.journal.submissions if isinstance(each.outcome, NotWritten)}
    if any(isinstance(cause, str) and "breaker of the destination" in cause for cause in causes):
        return
    waits = sorted(
        each.told_at - each.offered_at
        for each in run.journal.submissions
        if each.told and each.alone and each.tenant not in conduct.sick and each.lane not in run.watch.crowded
        if each.verb != "submit_all"  # who waits for several records, and some may be of the sick
    )
    if len(waits) < 100:
        return
    longest_call = (conduct.latency + conduct.per_record * plan.auto_batch.max_records) * (1 + conduct.spread)
    bound = max(plan.auto_batch.window, LONGEST_DELAY) + longest_call + INSTANT
    p99 = waits[len(waits) * 99 // 100]
    run.journal.met("P10: others were sick, and places free")
    run.journal.check(
        "P10 fair", p99 <= bound, f"99 % of the healthy waited up to {p99:.3f} s, the bound is {bound:.3f} s"
    )


def p11_ends(run: Run) -> None:
    """Leaving takes no longer than it may, and by then everybody is told."""
    plan, journal = run.plan, run.journal
    most = 0.0 if plan.ending == "cancelled" else plan.limits.shutdown_timeout
    took = run.left_at - run.leaves_at
    stubborn = STUBBORN if "stubborn" in plan.conduct.faults else 0.0
    journal.check("P11 ends", took <= most + stubborn + INSTANT, f"leaving took {took:.3f} s, {most:g} s allowed")
    late = [each.tag for each in journal.submissions if each.told_at > run.leaves_at + most + INSTANT]
    journal.check("P11 told", not late, f"{len(late)} were told after that, such as {late[:3]}")
    if plan.ending != "drained" and any(each.told_at >= run.leaves_at - INSTANT for each in journal.submissions):
        journal.met(f"P11: the writer was left in mid-storm ({plan.ending})")
    if took >= most > 0:
        journal.met("P11: the time to drain was up")


LAWS: tuple[Callable[[Run], None], ...] = (
    p1_one_fate,
    p2_own_fate,
    p4_innocents,
    p5_whole,
    p7_honest,
    p7_rows,
    p8_cancelled,
    timing,
    breaker,
    p10_fair,
    p11_ends,
)
