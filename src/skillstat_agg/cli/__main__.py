"""``python -m skillstat_agg.cli`` is ``skillstat``."""

from skillstat_agg.cli import main

main()
