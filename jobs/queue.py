"""The job queue as this package shows it; what is put on it and how is told in shared/jobs.py."""

from shared.jobs import enqueue_recording, queue_name, recording_job_id

__all__ = ["enqueue_recording", "queue_name", "recording_job_id"]
