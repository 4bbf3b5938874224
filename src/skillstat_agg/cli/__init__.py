"""The command line: ``skillstat``, or ``python -m skillstat_agg.cli``."""

try:
    from skillstat_agg.cli._main import main
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in {"click", "jinja2", "rich"}:
        raise
    raise SystemExit(
        f"Error: the command line needs {missing}: install skillstat-agg[cli]"
    ) from error

__all__ = ["main"]
