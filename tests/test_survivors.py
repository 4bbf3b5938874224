"""What ``nox -s mutants`` compares at its end: the mutants that survived, and those explained."""

from __future__ import annotations

from pathlib import Path

from tests.survivors import PAGE, change, complaints, explained, statuses

SHOWN = """\
# skillstat_agg._events.x{name}__mutmut_6: survived
--- src/skillstat_agg/_events.py
+++ src/skillstat_agg/_events.py
@@ -1,5 +1,5 @@
 def f():
     f(
-        1 - 2,
-        3,
-    )
+        1 + 2,
+        )
     return None

"""


def test_what_became_of_each_mutant_is_read():
    """Names of methods and functions, and statuses of several words."""
    results = "    a._b.xǁEventǁf__mutmut_1: killed\n    a._b.x__f__mutmut_2: no tests\n"

    assert statuses(results) == {
        "a._b.xǁEventǁf__mutmut_1": "killed",
        "a._b.x__f__mutmut_2": "no tests",
    }


def test_a_mutant_is_known_by_its_function_and_its_lines():
    """The number is left out, and so are indentation and what did not change."""
    lines = "- 1 - 2,\n- 3,\n- )\n+ 1 + 2,\n+ )"

    assert change(SHOWN.format(name="_f")) == f"# _events.f\n{lines}"
    assert change(SHOWN.format(name="__f")) == f"# _events._f\n{lines}"
    assert change(SHOWN.format(name="ǁEventǁ__f__")) == f"# _events.Event.__f__\n{lines}"


def test_both_kinds_of_difference_are_complaints():
    """A survivor without a reason and a reason without a survivor are named; nothing else is."""
    said = complaints(alive={"# a", "# b"}, listed={"# b", "# c"})

    assert said == (
        "survived, and is not in mutants.md:\n# a\n\nis in mutants.md, and is dead:\n# c\n"
    )
    assert complaints(alive={"# b"}, listed={"# b"}) == ""


def test_the_page_names_lines_that_are_there():
    """A line that was edited or removed is noticed without a run of the mutants."""
    source = Path(__file__).parent.parent / "src" / "skillstat_agg"
    listed = explained(PAGE.read_text(encoding="utf-8"))

    assert listed
    for each in listed:
        name, *lines = each.splitlines()
        module = name.removeprefix("# ").partition(".")[0]
        text = (source / f"{module}.py").read_text(encoding="utf-8")
        there = {line.strip() for line in text.splitlines()}
        assert {line.removeprefix("- ") for line in lines if line.startswith("- ")} <= there
