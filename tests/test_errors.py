"""Every exception says what is the matter, in a sentence, and travels with its data."""

from __future__ import annotations

import copy
import inspect
import pickle

import attrs
import pytest

from skillstat_agg import SkillstatError, errors

ERRORS = [
    (errors.InvalidEventError("kind must be a string, not int"), "kind must be a string, not int"),
    (
        errors.InvalidEventError("kind must be a string, not int", 3),
        "event 3: kind must be a string, not int",
    ),
    (errors.InvalidProjectionError("a granularity is given twice"), "a granularity is given twice"),
    (
        errors.InvalidBoundError("page", "0"),
        "page must be a whole number of at least 1, not 0",
    ),
    (errors.InvalidBoardError("at least one board is needed"), "at least one board is needed"),
    (
        errors.InvalidBadgeError("there is no badge 'golden'"),
        "there is no badge 'golden'",
    ),
    (
        errors.ForgottenSkillError("a"),
        "skill 'a' was forgotten, for good: it gets no badge any more",
    ),
    (
        errors.UnlikeTalliesError("hour", "day"),
        "a tally by hour and a tally by day do not add",
    ),
    (
        errors.UncountableEventError("unknown kind 'k'", "p", "a", "k"),
        "projection 'p' cannot count the event of skill 'a': unknown kind 'k'",
    ),
    (
        errors.UncountableEventError("unknown kind 'k'", "p", "a", "k", "e", "812-44"),
        "projection 'p' cannot count the event of skill 'a' with id 'e' at position 812-44:"
        " unknown kind 'k'",
    ),
    (
        errors.UncountableEventError("unknown kind 'k'", "p", "a", "k", index=0),
        "projection 'p' cannot count the event 0 (event of skill 'a'): unknown kind 'k'",
    ),
    (
        errors.UnreadableEventError("7", "kind must be a string, not bytes"),
        "the event at 7 was not stored by append: kind must be a string, not bytes",
    ),
    (
        errors.EventIdConflictError(("e",)),
        "event id 'e' stands for other content already",
    ),
    (
        errors.EventIdConflictError(("e", "f")),
        "event id 'e' (and 1 more) stands for other content already",
    ),
    (
        errors.EventIdConflictError(("e", "f", "g")),
        "event id 'e' (and 2 more) stands for other content already",
    ),
    (
        errors.CursorConflictError("p"),
        "projection 'p' has moved since its cursor was read",
    ),
    (
        errors.HistoryChangedError("another event stands at 7"),
        "history changed under the cursor: another event stands at 7",
    ),
    (
        errors.TableChangedError("p", "kind 'k' has another effect"),
        "the table of projection 'p' does not fit its stats: kind 'k' has another effect",
    ),
    (
        errors.OpenTransactionError("drain"),
        "drain begins and ends its own transaction, and the connection is inside one: commit or"
        " roll back first (with autocommit=False one is always open, and with autocommit=True"
        " `with connection:` ends none)",
    ),
    (
        errors.NoReadersError(),
        "no reader of this log is known, so nobody can say how much of it is folded: drain it"
        " once, or prune it together with the stats that are folded from it",
    ),
    (
        errors.OutOfRangeError("p", "a", "day.downloads"),
        "projection 'p': day.downloads of skill 'a' would leave the range of signed 64 bits",
    ),
    (
        errors.StoreContractError("total_order", "position 1 comes after 2"),
        "the store breaks the law 'total_order': position 1 comes after 2",
    ),
    (errors.SchemaError("call create_tables once"), "call create_tables once"),
    (errors.StoreBusyError("database is locked"), "the database is busy: database is locked"),
    (
        errors.StoreUnavailableError("disk is full"),
        "the database cannot be used: disk is full",
    ),
    (
        errors.AdoptionRefusedError("p", "it has counted 3 events"),
        "projection 'p' cannot adopt these counts: it has counted 3 events",
    ),
    (
        errors.NotBuildingError("p", "rebuild"),
        "projection 'p' builds no numbers called 'rebuild' (any more): they were swapped in, or"
        " discarded, or never begun",
    ),
    (
        errors.GenerationBehindError("p", "rebuild", "they stand at 3, what serves stands at 4"),
        "the numbers 'rebuild' of projection 'p': they stand at 3, what serves stands at 4",
    ),
]
CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and value.__module__ == errors.__name__
]

each_error = pytest.mark.parametrize(("error", "message"), ERRORS)


def test_every_exception_is_tried_here():
    """No class of the module is left out of these tests."""
    tried = {type(error) for error, _ in ERRORS}

    assert tried == set(CLASSES) - {SkillstatError}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_exception_has_one_base(kind):
    """``except SkillstatError`` catches all of them, and each says what to do about it."""
    assert issubclass(kind, SkillstatError)
    assert kind.__name__.endswith("Error")
    assert kind.__doc__ is not None


@each_error
def test_a_message_is_one_clear_sentence(error, message):
    """People read the message and nothing else: one line, without the form of code."""
    text = str(error)

    assert text == message
    assert text.isprintable()
    assert not text.endswith(".")
    for of_code in ("Traceback", "Error(", " object at 0x", "<class"):
        assert of_code not in text


@each_error
def test_an_exception_survives_pickle_and_copy(error, message):
    """What is caught in another process is the same exception with the same data."""
    twins = [
        copy.copy(error),
        copy.deepcopy(error),
        attrs.evolve(error),
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in range(6)),
    ]

    for twin in twins:
        assert type(twin) is type(error)
        assert attrs.asdict(twin) == attrs.asdict(error)
        assert str(twin) == message


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InvalidEventError, ValueError),
        (errors.InvalidProjectionError, ValueError),
        (errors.InvalidBoundError, ValueError),
        (errors.InvalidBoardError, ValueError),
        (errors.InvalidBadgeError, ValueError),
        (errors.UnlikeTalliesError, TypeError),
        (errors.OutOfRangeError, OverflowError),
    ],
)
def test_a_wrong_argument_is_also_a_builtin_error(kind, builtin):
    """Who knows nothing of this package catches what Python would raise."""
    assert issubclass(kind, builtin)


@each_error
def test_a_note_of_the_caller_survives_a_pickle(error, message):
    """``add_note`` works on these exceptions as on any other, in every process."""
    noted = copy.copy(error)
    noted.add_note("in worker 3")

    twin = pickle.loads(pickle.dumps(noted))

    assert twin.__notes__ == ["in worker 3"]
