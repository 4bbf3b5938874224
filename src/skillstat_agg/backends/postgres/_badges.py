"""What a store of badges on PostgreSQL does: its statements, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Sequence

from skillstat_agg._badges import Badge, BadgeKind, BadgeMap, maps_in_order
from skillstat_agg._buckets import microseconds
from skillstat_agg.backends._records import badges_of
from skillstat_agg.backends.postgres._arrays import texts
from skillstat_agg.backends.postgres._names import Names, Query
from skillstat_agg.backends.postgres._schema import VERSION, Steps, checked_version
from skillstat_agg.errors import ForgottenSkillError


def setting(names: Names, skill_id: str, kind: BadgeKind, badge: Badge) -> Steps[bool]:
    """Give a skill a badge: see ``BadgeStore.set``.

    Of two at once the second waits for the end of the first. ``xmax`` of a row that is new is 0.
    """
    schema, forgotten = names["skillstat_schema"], names["skillstat_forgotten"]
    answer = yield Query(
        f"""
        WITH here AS (
            SELECT (SELECT max(version) FROM {schema}) AS version,
                EXISTS (SELECT FROM {forgotten} WHERE skill_id = %s) AS is_forgotten
        ), stored AS (
            INSERT INTO {names["skillstat_badges"]} AS there (skill_id, kind, by_user_id, at_us)
            SELECT %s, %s, %s, %s FROM here WHERE version = {VERSION} AND NOT is_forgotten
            ON CONFLICT (skill_id, kind) DO UPDATE
                SET by_user_id = excluded.by_user_id, at_us = excluded.at_us
                WHERE (there.by_user_id, there.at_us) <> (excluded.by_user_id, excluded.at_us)
            RETURNING xmax = 0 AS is_new
        )
        SELECT json_build_object('version', version, 'is_forgotten', is_forgotten,
            'is_new', coalesce((SELECT is_new FROM stored), false))::text FROM here
        """,
        (skill_id, skill_id, kind.value, badge.by_user_id, microseconds(badge.at)),
    )
    checked_version(answer["version"])
    if answer["is_forgotten"]:
        raise ForgottenSkillError(skill_id)
    return bool(answer["is_new"])


def clearing(names: Names, skill_id: str, kind: BadgeKind) -> Steps[bool]:
    """Take a badge away: see ``BadgeStore.clear``."""
    answer = yield Query(
        f"""
        WITH here AS (
            SELECT max(version) AS version FROM {names["skillstat_schema"]}
        ), gone AS (
            DELETE FROM {names["skillstat_badges"]} USING here
            WHERE skill_id = %s AND kind = %s AND version = {VERSION} RETURNING kind
        )
        SELECT json_build_object('version', version,
            'was_there', EXISTS (SELECT FROM gone))::text FROM here
        """,
        (skill_id, kind.value),
    )
    checked_version(answer["version"])
    return bool(answer["was_there"])


def mapping(names: Names, wanted: Sequence[str]) -> Steps[list[tuple[str, BadgeMap]]]:
    """Return each of the skills with its badges: see ``BadgeStore.badge_maps``.

    What a transaction has set that began before its skill was forgotten is not read.
    """
    answer = yield Query(
        f"""
        SELECT json_build_object(
            'version', (SELECT max(version) FROM {names["skillstat_schema"]}),
            'rows', (SELECT coalesce(json_agg(
                    json_build_array(skill_id, kind, by_user_id, at_us)), '[]')
                FROM {names["skillstat_badges"]} AS there
                WHERE skill_id = ANY(%s::text[]) AND NOT EXISTS (
                    SELECT FROM {names["skillstat_forgotten"]} AS gone
                    WHERE gone.skill_id = there.skill_id))
        )::text
        """,
        (texts(wanted),),
    )
    checked_version(answer["version"])
    return maps_in_order(wanted, badges_of(answer["rows"]))


def dropping(names: Names, skill_id: str) -> Query:
    """Return the statement that takes all badges of a skill away, as far as it sees them."""
    return Query(f"DELETE FROM {names['skillstat_badges']} WHERE skill_id = %s", (skill_id,))
