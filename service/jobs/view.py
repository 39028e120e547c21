"""A job as everybody is shown it: over HTTP, in its events."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from service.jobs.records import Delivery, Record, State


class JobProgress(BaseModel):
    """How far a job is: in images, in the tiles of large photos, or in steps for work without images."""

    done: int
    total: int = Field(description="0 until it is known.")
    seconds_left: float | None = Field(description="By the pace so far; null until there is one.")


class JobWebhook(BaseModel):
    """What became of telling the job's callback that it is over."""

    state: Literal["pending", "delivered", "failed"]
    attempts: int
    last_at: datetime | None
    last_status: int | None = Field(description="Of the last attempt; null where there was no answer.")
    last_error: str | None = Field(description="Why there was none.")


class JobView(BaseModel):
    """A job."""

    id: str
    kind: str
    state: State
    progress: JobProgress
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int = Field(description="More than 1: the service went down while running it, and began again.")
    note: str | None = Field(description="What the state means where it needs saying.")
    result: str | None = Field(description="Where the result is, once there is one.")
    webhook: JobWebhook | None = Field(description="Of a job with a callback.")


def view(record: Record) -> JobView:
    return JobView(
        id=record.id,
        kind=record.kind,
        state=record.state,
        progress=progress(record),
        created_at=_when(record.created_at),
        started_at=_when(record.started_at) if record.started_at else None,
        finished_at=_when(record.finished_at) if record.finished_at else None,
        attempts=record.attempts,
        note=_note(record),
        result=f"/v1/jobs/{record.id}/result" if record.status is not None else None,
        webhook=_webhook(record.delivery or Delivery()) if record.callback is not None else None,
    )


def progress(record: Record) -> JobProgress:
    return JobProgress(done=record.done, total=record.total, seconds_left=record.seconds_left)


def _webhook(delivery: Delivery) -> JobWebhook:
    return JobWebhook(
        state=delivery.state,
        attempts=delivery.attempts,
        last_at=_when(delivery.last_at) if delivery.last_at else None,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
    )


def _note(record: Record) -> str | None:
    if record.state == "interrupted" and not record.attempts:
        return "Another version of this service accepted this job, and none that works can read it; submit it again."
    if record.state == "interrupted":
        return f"The service was stopped short {record.attempts} times by this job and gave it up; submit it again."
    if record.state == "failed":
        return f"The work ended in an error ({record.status}); the result says which."
    return "Begun again after a restart of the service." if record.attempts > 1 else None


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
