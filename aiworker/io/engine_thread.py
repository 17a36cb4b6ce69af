"""The one thread in which an engine lives: decoding releases the GIL, the event loop goes on.

It knows nothing of calls. A call into the engine that never returns cannot be ended from outside; whoever waits for it
sees its own deadline pass and ends the process (I10).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class EngineThread:
    """Runs functions one after the other in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def call(self, work: Callable[[], T]) -> T:
        """The result of `work()`, or what it raised."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Nothing more is started; what runs is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
