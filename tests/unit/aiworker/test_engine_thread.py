import threading

import pytest

from aiworker.io.engine_thread import EngineThread
from shared.errors import EngineError

pytestmark = pytest.mark.unit


async def test_everything_runs_in_one_thread_that_is_not_the_loops() -> None:
    thread = EngineThread("test")
    first, second = await thread.call(threading.get_ident), await thread.call(threading.get_ident)
    thread.close()
    assert first == second != threading.get_ident()


async def test_what_the_engine_raises_reaches_the_caller() -> None:
    def fail() -> None:
        raise EngineError("broken")

    thread = EngineThread("test")
    with pytest.raises(EngineError, match="broken"):
        await thread.call(fail)
    assert await thread.call(lambda: "alive") == "alive"
    thread.close()
