"""`python -m aiworker ROLE`: one AI worker."""

import os
import sys

# Before numpy is imported anywhere: its own threads make a log-mel of one utterance up to five times dearer.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from aiworker.app import main

if __name__ == "__main__":
    sys.exit(main())
