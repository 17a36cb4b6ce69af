"""Waiting in asyncio tests: polls a condition up to a deadline."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(check: Callable[[], object | Awaitable[object]], timeout_s: float = 10.0) -> object:
    """Returns the first true result of `check` (plain or async); TimeoutError at the deadline."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = check()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)
