"""What people do. Each function is called inside a transaction, and appends the event in it.

A row and its event become visible together or not at all. Where the row shows that nothing has
changed, since a request came twice, there is no event.
"""

from __future__ import annotations

from datetime import datetime

from registry.database import Session
from skillstat_agg import Event


class UnknownSkillError(Exception):
    """The registry has no such skill. Nothing was stored."""

    def __str__(self) -> str:
        return "there is no such skill"


def put_skill(session: Session, skill_id: str, title: str) -> bool:
    """Register a skill, or give it another title; return whether it had not that title."""
    insert = "INSERT INTO skills VALUES (?, ?) ON CONFLICT (skill_id) DO NOTHING"
    if session.write(insert, skill_id, title):
        return True
    rename = "UPDATE skills SET title = ? WHERE skill_id = ? AND title <> ?"
    return session.write(rename, title, skill_id, title)


def download(session: Session, skill_id: str, at: datetime, key: str | None) -> bool:
    """Record a download; return whether it is new.

    No row tells a second try from a second download, but the client can: *key* is the same for
    all of its tries, and becomes the id of the event. Without one each try counts.

    Raises:
        UnknownSkillError: If there is no such skill.
        EventIdConflictError: If the key stands for the download of another skill.
    """
    check_known(session, skill_id)
    return _append(session, skill_id, "download", at, key)


def star(session: Session, skill_id: str, person: str, at: datetime) -> bool:
    """Note that a person stars a skill; return whether that is new."""
    check_known(session, skill_id)
    insert = "INSERT INTO stars VALUES (?, ?) ON CONFLICT (person, skill_id) DO NOTHING"
    return session.write(insert, person, skill_id) and _append(session, skill_id, "star", at)


def unstar(session: Session, skill_id: str, person: str, at: datetime) -> bool:
    """Note that a person takes a star back; return whether there was one."""
    check_known(session, skill_id)
    delete = "DELETE FROM stars WHERE person = ? AND skill_id = ?"
    return session.write(delete, person, skill_id) and _append(session, skill_id, "unstar", at)


def install(session: Session, skill_id: str, machine: str, at: datetime) -> bool:
    """Note that a machine has a skill; return whether it had not."""
    check_known(session, skill_id)
    insert = "INSERT INTO installs VALUES (?, ?, TRUE) ON CONFLICT (machine, skill_id) DO NOTHING"
    if session.write(insert, machine, skill_id):
        return _append(session, skill_id, "install_new", at)
    again = _set_active(session, skill_id, machine, is_active=True)
    return again and _append(session, skill_id, "install_reactivate", at)


def uninstall(session: Session, skill_id: str, machine: str, at: datetime) -> bool:
    """Note that a machine has a skill no more; return whether it had it."""
    check_known(session, skill_id)
    was_active = _set_active(session, skill_id, machine, is_active=False)
    return was_active and _append(session, skill_id, "install_deactivate", at)


def check_known(session: Session, skill_id: str) -> None:
    """Check that the registry has a skill.

    Raises:
        UnknownSkillError: If it has not.
    """
    if not session.read("SELECT 1 FROM skills WHERE skill_id = ?", skill_id):
        raise UnknownSkillError


def _set_active(session: Session, skill_id: str, machine: str, *, is_active: bool) -> bool:
    update = (
        "UPDATE installs SET is_active = ? WHERE machine = ? AND skill_id = ? AND is_active <> ?"
    )
    return session.write(update, is_active, machine, skill_id, is_active)


def _append(
    session: Session, skill_id: str, kind: str, at: datetime, event_id: str | None = None
) -> bool:
    """Append an event; return whether it is new, which one without an id always is."""
    event = Event(skill_id=skill_id, kind=kind, occurred_at=at, event_id=event_id)
    return session.events.append([event]).new == 1
