"""Amazon SQS ``SendMessageBatch``: entries with ids of the caller, and two lists of results in any order."""

from typing import Any

from batcher import Rejected, Retry, Written
from batcher.destinations.http_batch import Answer, Call, HttpBatch, Request, by_lists, details

PROTOCOL = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessageBatch"}


def sqs(endpoint: str, queue_url: str, **options: Any) -> HttpBatch:
    """Send messages: a record has ``MessageBody``, and perhaps ``DelaySeconds`` and the other fields of an entry.

    Amazon wants signed requests: give ``client=httpx.AsyncClient(auth=...)`` with a signature of version 4.
    """

    def request(call: Call) -> Request:
        entries = [{**item.record, "Id": str(n)} for n, item in enumerate(call.items)]
        return Request("POST", "/", json={"QueueUrl": queue_url, "Entries": entries}, headers=PROTOCOL)

    def sent(entry: Any) -> Written:
        return Written(entry["MessageId"])

    def failed(entry: Any) -> Rejected | Retry:
        return Rejected(details(entry)) if entry["SenderFault"] else Retry("SQS is in trouble")

    def read(answer: Answer, call: Call) -> list[Any] | None:
        if answer.status == 400:
            if "Throttl" in answer.json["__type"]:
                raise Retry("throttled", pause_lane=True)
            return None  # as by default: refused as a whole
        body = answer.json
        return by_lists(call, (body.get("Successful"), sent), (body.get("Failed"), failed), key="Id")

    options = {"max_records": 10, "max_bytes": 1_048_576, "overhead": 20, **options}
    return HttpBatch(endpoint, request=request, read=read, statuses={400}, **options)
