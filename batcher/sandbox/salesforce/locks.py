"""Which rows a request holds while it is applied."""

from __future__ import annotations

from batcher.destinations._http.decoding import NotJSON
from batcher.sandbox._calls import Call
from batcher.sandbox.salesforce.inputs import listed
from batcher.sandbox.salesforce.records import ATTRIBUTES, Records


def wanted(call: Call, records: Records) -> set[str]:
    """Return the ids of the rows that a request will hold; none if it cannot be read."""
    try:
        body = call.content() if call.body else {}
    except NotJSON:
        return set()
    ids = [call.name("id"), *listed(call.query("ids"))]
    held = [records.locks("", {"id": id}) for id in ids]
    given = body.get("records", [body])
    for record in given if isinstance(given, list) else ():
        if isinstance(record, dict):
            attributes = record.get(ATTRIBUTES)
            type = attributes.get("type") if isinstance(attributes, dict) else call.name("type")
            held.append(records.locks(str(type), record))
    return set().union(*held)
