"""`python -m mediaworker`: one media worker; see `app`."""

import sys

from mediaworker.app import main

if __name__ == "__main__":
    sys.exit(main())
