"""aiortp sessions as an echo of N calls: `python -m bench.media.aiortp_echo BASE_PORT STEP N SOURCE_PORT`.

What per-packet session objects cost, on uvloop, with decoding and encoding as our engine has them. Ends on SIGTERM.
"""

import asyncio
import signal
import sys

import uvloop
from aiortp import RTPSession


async def serve(base: int, step: int, count: int, source: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    sessions = []
    for number in range(count):
        session = await RTPSession.create(
            ("127.0.0.1", base + step * number), ("127.0.0.2", source + 2 * number), payload_type=0
        )
        session.on_audio = session.send_audio_pcm
        sessions.append(session)
    print("READY", flush=True)
    await stopped.wait()
    for session in sessions:
        await session.close()


if __name__ == "__main__":
    uvloop.run(serve(*(int(word) for word in sys.argv[1:5])))
