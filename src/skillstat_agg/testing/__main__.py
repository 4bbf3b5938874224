"""``python -m skillstat_agg.testing``."""

import sys

from skillstat_agg.testing._commands import main

if __name__ == "__main__":
    sys.exit(main())
