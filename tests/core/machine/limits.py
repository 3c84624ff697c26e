"""What the engines of the model may carry: small figures, so that every ceiling is met soon."""

from __future__ import annotations

from collections.abc import Hashable

from batcher.policies import AutoBatchPolicy, Fairness, LaneRules, Limits, Quota

KEYS = ("contacts", "deals", "notes")
POLICY = AutoBatchPolicy(max_records=3, max_bytes=10, max_delay=4)
LIMITS = (
    Limits(  # full in flight before it is full of records
        max_pending_records=9,
        max_pending_bytes=30,
        max_lane_records=5,
        max_lane_bytes=16,
        max_in_flight=3,
        max_lane_in_flight=2,
    ),
    Limits(  # and the other way round
        max_pending_records=5,
        max_pending_bytes=18,
        max_lane_records=4,
        max_lane_bytes=16,
        max_in_flight=9,
        max_lane_in_flight=9,
    ),
    Limits(  # neither: but quotas, of all lanes together and of each
        max_pending_records=20,
        max_lane_records=12,
        max_in_flight=5,
        max_lane_in_flight=3,
        quotas=[Quota(per=10, calls=3), Quota(per=4, records=4, by=str), Quota(per=60, calls=12, by=len)],
    ),
    Limits(  # shared out: "deals" and "notes" are one tenant
        max_pending_records=8,
        max_lane_records=5,
        max_in_flight=2,
        max_lane_in_flight=2,
        fairness=Fairness(by=len, weights={5: 3}),
    ),
)
RULES = {
    "notes": LaneRules(max_records=2, max_bytes=8, max_in_flight=1, all_or_none=False),
    "deals": LaneRules(idempotent=True),
    "contacts": LaneRules(verifiable=True),
}


def rules_of(key: Hashable) -> LaneRules:
    """What one call may carry."""
    return RULES.get(str(key), LaneRules())


def max_records(key: Hashable) -> float:
    return min(POLICY.max_records, rules_of(key).max_records)


def max_bytes(key: Hashable) -> float:
    return min(POLICY.max_bytes, rules_of(key).max_bytes)
