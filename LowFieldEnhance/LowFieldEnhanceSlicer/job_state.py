"""The states of a job, from the click on Apply to its end."""

from __future__ import annotations

import enum


class JobState(enum.Enum):
    """What has become of a job."""

    PREPARING = "preparing"
    WAITING = "waiting"
    RUNNING = "running"
    LOADING = "loading"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
