"""`python -m mediaworker`: one media worker; see `app`."""

import os
import sys

# Before numpy is imported anywhere: threads of its own would take turns with the tick for the same core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from mediaworker.app import main

if __name__ == "__main__":
    sys.exit(main())
