"""The project's checks, each in a fresh environment: ``nox`` runs them all."""

import shutil
import tempfile
from pathlib import Path

import nox

nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)


def install(session: nox.Session, *what: str, groups: tuple[str, ...]) -> None:
    """Install *what* together with the dependency groups, in one resolution."""
    session.install(*what, *nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after ``--`` go to pytest."""
    install(session, "-e", ".[cli,postgres,testing]", groups=("tests",))
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run the tests, and measure what they cover: that takes half as long again."""
    install(session, "-e", ".[cli,postgres,testing]", groups=("tests",))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-n", "auto", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check the code against the rules of ruff, and its format."""
    install(session, groups=("lint",))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types with mypy, then with pyright."""
    install(session, "-e", ".[cli,postgres,testing]", groups=("tests", "typing"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    install(session, "-e", ".[cli,postgres,testing]", groups=("docs",))
    session.run("sphinx-build", "-W", "--keep-going", "-n", "docs", "docs/_build/html")


@nox.session(
    python=PYTHONS[-1], reuse_venv=False
)  # pip keeps an installed wheel of the same version
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, check both, and run the tests against the wheel."""
    install(session, groups=("package",))
    session.run("validate-pyproject", "pyproject.toml")
    with tempfile.TemporaryDirectory() as dist:
        session.run("python", "-m", "build", "--outdir", dist)
        [sdist], [wheel] = Path(dist).glob("*.tar.gz"), Path(dist).glob("*.whl")
        session.run("check-wheel-contents", str(wheel))
        session.run("twine", "check", "--strict", str(sdist), str(wheel))

        install(session, f"{wheel}[cli,postgres,testing]", groups=("tests",))
        with session.chdir(dist):  # where src/ cannot be imported
            where = ("-c", str(ROOT / "pyproject.toml"), str(ROOT / "tests"))
            # Another server than that of the session `tests`.
            session.run("pytest", "-n", "auto", *where, env={"SKILLSTAT_POSTGRES_VERSION": "16"})


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Kill processes on one SQLite file, on a PostgreSQL server, and through simulated years.

    Arguments after ``--`` are added to the first two.
    """
    install(session, ".[postgres,testing]", groups=("tests",))
    session.run(
        *("python", "-m", "skillstat_agg.testing", "soak"),
        "skillstat_agg.testing.harnesses:sqlite",
        *("--kills", "200", "--appenders", "4", "--workers", "2"),
        *session.posargs,
    )
    session.run("python", "-m", "tests.postgres_soak", "--kills", "100", *session.posargs)
    session.run("python", "-m", "tests.years_soak", "--minutes", "20")


@nox.session(default=False)
def gallery(session: nox.Session) -> None:
    """Try every check on every broken store, and write down which ones fail."""
    session.install("-e", ".[testing]")
    session.run("python", "-m", "skillstat_agg.testing._matrix", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run the benchmarks; arguments after ``--`` go to them."""
    install(session, ".[cli,postgres,testing]", groups=("tests",))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Break the core in a thousand small ways, and see that a test fails each time."""
    install(session, "-e", ".[testing]", groups=("mutants", "tests"))
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)  # mutmut does not see that a test changed
    session.run("mutmut", "run", *session.posargs)
    session.run("python", "-m", "tests.survivors")


@nox.session(default=False)
def changelog(session: nox.Session) -> None:
    """Show what the next release would say."""
    install(session, groups=("changelog",))
    session.run("towncrier", "build", "--draft", "--version", PYPROJECT["project"]["version"])
