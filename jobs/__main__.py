"""`python -m jobs`: one worker for post-call jobs."""

import asyncio
import os
import sys

from jobs.app import serve
from shared.config import load
from shared.errors import ConfigError
from shared.log import set_up_logs


def main() -> int:
    name = os.environ.get("VOICEFARM_WORKER_NAME", "jobs-0")
    try:
        config = load()
    except ConfigError as error:
        sys.stderr.write(f"configuration: {error}\n")
        return 2
    set_up_logs(name, config.ops.log_level, config.ops.log_format)
    asyncio.run(serve(config, name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
