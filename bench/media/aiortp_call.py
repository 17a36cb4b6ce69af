"""aiortp as a call uses it, as an echo of N calls: `python -m bench.media.aiortp_call BASE_PORT STEP N SOURCE_PORT`.

`aiosipua.rtp_bridge.CallSession` with its adaptive jitter buffer and clocked playout, on asyncio's own event loop, each frame of
audio sent back. Ends on SIGTERM.
"""

import asyncio
import signal
import sys
from functools import partial

from aiosipua import parse_sdp
from aiosipua.rtp_bridge import CallSession

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
)


def back(session: CallSession, pcm: bytes, _timestamp: int) -> None:
    session.rtp_session.send_audio_pcm_auto(pcm)


async def serve(base: int, step: int, count: int, source: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    sessions = []
    for number in range(count):
        offer = parse_sdp(OFFER.format(port=source + 2 * number))
        session = CallSession("127.0.0.1", base + step * number, offer, playout=True)
        await session.start()
        session.on_audio = partial(back, session)
        sessions.append(session)
    print("READY", flush=True)
    await stopped.wait()
    for session in sessions:
        await session.close()


if __name__ == "__main__":
    asyncio.run(serve(*(int(word) for word in sys.argv[1:5])))
