"""Wires the jobs role: the shell of a farm process with an RQ worker beside it."""

from jobs.worker import JobThread
from shared.config import Config
from shared.contracts import Message
from shared.log import get_log
from shared.metrics import Metrics
from shared.shell import Identity, Shell

log = get_log(__name__)


class JobsHooks:
    """What the shell asks of the jobs role. It takes no calls: what a drain waits for is the job that is running."""

    def __init__(self, shell: Shell, thread: JobThread) -> None:
        self._shell = shell
        self._thread = thread

    async def on_message(self, message: Message) -> None:
        log.warning("nobody sends messages to jobs", message=type(message).__name__)

    async def on_beat(self, *, forgotten: bool) -> None:
        del forgotten  # RQ keeps its own registration
        if not self._thread.is_alive() and self._shell.state == "ready":
            log.error("the job thread ended")
            self._shell.stop()  # crash-only: the supervisor starts a whole process

    def calls(self) -> int:
        """1 until a draining worker has finished its job."""
        if self._shell.state == "draining":
            self._thread.end()
        return int(self._thread.is_alive())


async def serve(config: Config, name: str) -> None:
    """Runs jobs until drained (SIGTERM) or stopped (SIGINT)."""
    metrics = Metrics("jobs")
    shell = Shell(config, Identity(role="jobs", name=name, capacity=1, engine="rq"), metrics)
    thread = JobThread(config.redis.url, config.redis.prefix, shell.worker_id, metrics)
    thread.start()
    await shell.run(JobsHooks(shell, thread))
