"""The records of an input: rows of CSV, or objects of JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence

import attrs

from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._inputs import Format
from skillstat_agg.cli._lines import Lines
from skillstat_agg.cli._rules import Rules


@attrs.frozen
class Record:
    """One record of an input.

    Attributes:
        line: Number of the line it begins at, from 1.
        fields: Its values by column or key.
        fault: Why it cannot be read; None where it can.
    """

    line: int
    fields: Mapping[str, object]
    fault: str | None = None


def records(lines: Lines, format_name: Format, rules: Rules) -> Iterator[Record]:
    """Return the records of an input; blank lines are none."""
    return _csv_records(lines, rules) if format_name == "csv" else _jsonl_records(lines)


def _csv_records(lines: Lines, rules: Rules) -> Iterator[Record]:
    """Return the rows below the header by their columns."""
    header: Sequence[str] | None = None
    for line, row, fault in _csv_rows(lines):
        if header is None:
            fault = fault or _fault_in_header(row, rules)
            if fault is not None:
                raise failure(f"{lines.name}, line {line}: {fault}; nothing was stored")
            header = row
        elif fault is not None:
            yield Record(line, {}, fault)
        elif len(row) != len(header):
            end = "" if lines.last == line else f", in a row that ends in line {lines.last}"
            fault = f"the number of fields is {len(row)} instead of {len(header)}{end}"
            yield Record(line, {}, fault)
        else:
            yield Record(line, dict(zip(header, row, strict=True)))


def _csv_rows(lines: Lines) -> Iterator[tuple[int, Sequence[str], str | None]]:
    """Return number of the first line, fields and fault of each row that is not blank.

    A row that cannot be read ends with its first line: a quote that is never closed must not
    take the good lines after it along. Only where it may be a very long field nothing is
    read on, since what stands in a field must not be taken for rows.
    """
    reader = csv.reader(lines, strict=True)
    while True:
        line = lines.begin()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.length > csv.field_size_limit() and lines.quotes % 2:
                raise failure(
                    f"{lines.name}, line {line}: a quote is not closed within"
                    f" {csv.field_size_limit():,} characters; nothing was stored"
                ) from error
            lines.end_after_first()
            reason = str(error).partition(" - ")[0]
            yield line, (), lines.fault or f"this is not a row of CSV: {reason}"
        else:
            if row or lines.fault is not None:
                yield line, row, lines.fault


def _fault_in_header(header: Sequence[str], rules: Rules) -> str | None:
    """Return why a table with these columns cannot be read, or None."""
    for name in rules.needed:
        if name not in header:
            why = " and no --default-kind" if name == "kind" else ""
            return f"there is no column {name!r} among {', '.join(header)}{why}"
    for name in (*rules.needed, *rules.optional):
        if header.count(name) > 1:
            return f"there are two columns {name!r}"
    return None


def _jsonl_records(lines: Lines) -> Iterator[Record]:
    """Return the objects, one a line."""
    while True:
        line = lines.begin()
        text = next(lines, None)
        if text is None:
            return
        if lines.fault is not None:
            yield Record(line, {}, lines.fault)
        elif not text.isspace():
            yield _json_record(line, text)


def _json_record(line: int, text: str) -> Record:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return Record(line, {}, f"this is not JSON: {error.msg}, at character {error.pos + 1}")
    except (ValueError, RecursionError):
        return Record(line, {}, "this JSON is nested too deep or holds too long a number")
    if not isinstance(value, dict):
        return Record(line, {}, "this is not a JSON object")
    return Record(line, value)
