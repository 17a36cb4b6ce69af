"""`python -m sipfront`: one SIP front."""

import sys

from shared.errors import ConfigError
from sipfront.app import main

try:
    main()
except (ConfigError, OSError) as error:
    sys.exit(f"sipfront: {error}")
