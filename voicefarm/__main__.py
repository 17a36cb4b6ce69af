"""`python -m voicefarm` and the `voicefarm` script."""

import sys

from voicefarm.app import main

if __name__ == "__main__":
    sys.exit(main())
