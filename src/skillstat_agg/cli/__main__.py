"""``python -m skillstat_agg.cli`` is ``skillstat``."""

from skillstat_command import main

main()
