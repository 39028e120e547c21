"""A job as everybody is shown it: over HTTP, in its events."""

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from service.jobs.records import Record, State


class JobProgress(BaseModel):
    """How far a job is: in images, in the tiles of large photos, or in steps for work without images."""

    done: int
    total: int = Field(description="0 until it is known.")
    seconds_left: float | None = Field(description="By the pace so far; null until there is one.")


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
    )


def progress(record: Record) -> JobProgress:
    return JobProgress(done=record.done, total=record.total, seconds_left=record.seconds_left)


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
