"""Salesforce's ids, against some that Salesforce gave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.sandbox.salesforce.ids import checksum, new_id, to_long


@pytest.mark.parametrize(
    "id", ["0015500001QdZPKAA3", "0035500001H9kZuAAJ", "0035500001H9kaAAAR", "0065500000KQ12XAAT", "001RM000003oLnnYAE"]
)
def test_the_checksum_is_salesforces(id):
    """Recorded ids of 18 characters end in the checksum of their first 15, and come back from lower case."""
    assert checksum(id[:15]) == id[15:]
    assert to_long(id[:15]) == to_long(id) == to_long(id.lower()) == id


@pytest.mark.parametrize("wrong", [None, 1, "", "0015500001QdZPKAA", "0015500001QdZP-", "0015500001QdZPK!!!"])
def test_what_is_no_id_is_none(wrong):
    """By its type, its length or its characters."""
    assert to_long(wrong) is None


@pytest.mark.parametrize("check", ["999", "555"])
def test_a_checksum_that_cannot_be_is_refused(check):
    """9 is no sign of it, and a digit has no case."""
    assert to_long("001550000100000" + check) is None


@given(st.integers(0, 62**6), st.integers(0, 62**6), st.sampled_from(["Account", "Contact", "X__c", "Y__c"]))
def test_numbers_become_distinct_ids(one, other, type):
    """Two numbers give one id only if they are one."""
    assert (new_id(type, one) == new_id(type, other)) == (one == other)
    assert to_long(new_id(type, one)) == new_id(type, one)
