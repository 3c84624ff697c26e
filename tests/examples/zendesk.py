"""Zendesk ``create_many``: a call starts a job, which is asked until it ends; its results name positions."""

from base64 import b64encode
from typing import Any

from batcher import Rejected, Written
from batcher.destinations.http_batch import Answer, Call, HttpBatch, Request, by_key, details

RUNNING = ("queued", "working")


def zendesk(url: str, *, email: str, token: str, **options: Any) -> HttpBatch:
    """Create records: the object of a write is ``users``, ``tickets``, ``organizations``, ..."""

    def request(call: Call) -> Request:
        return Request("POST", f"/api/v2/{call.object}/create_many.json", json={call.object: call.items})

    def poll(answer: Answer, call: Call) -> str | None:
        job = answer.json["job_status"]
        return str(job["url"]) if job["status"] in RUNNING else None

    def fate(entry: Any) -> Written | Rejected:
        if "error" in entry or entry.get("success") is False:
            return Rejected(details(entry))
        return Written(str(entry["id"]))

    def read(answer: Answer, call: Call) -> list[Any]:
        # Of a job that failed or was killed, records without a result may have been created all the same: unknown.
        return by_key(answer.json["job_status"]["results"], call, fate, key="index")

    user = b64encode(f"{email}/token:{token}".encode()).decode()
    headers = {"authorization": f"Basic {user}"}
    return HttpBatch(url, request=request, read=read, poll=poll, headers=headers, **options)
