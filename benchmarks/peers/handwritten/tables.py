"""The tables of the hand-written peer, in one SQLite file beside the app."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_engine(f"sqlite:///{Path(__file__).with_name('peer.db')}")


@event.listens_for(engine, "connect")
def _set_up(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """What every table has."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    updated_at: Mapped[datetime] = mapped_column(default=_now, onupdate=_now)


class User(Base):
    """A person who may sign in."""

    __tablename__ = "users"
    __table_args__ = (Index("users_role_status", "role", "status"),)

    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(unique=True)
    password: Mapped[str | None] = mapped_column(String(200))
    phone: Mapped[str | None]
    homepage: Mapped[str | None]
    status: Mapped[str] = mapped_column(index=True)
    role: Mapped[str]
    verified: Mapped[bool]
    last_login_at: Mapped[datetime | None]
    preferences: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class Team(Base):
    """Users who work together."""

    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(String(80), unique=True)
    purpose: Mapped[str | None]
    labels: Mapped[list[str]] = mapped_column(JSON)


class Membership(Base):
    """One user in one team."""

    __tablename__ = "memberships"
    __table_args__ = (UniqueConstraint("user_id", "team_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), index=True)
    since: Mapped[date | None]


class Session(Base):
    """One sign-in."""

    __tablename__ = "sessions"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    device: Mapped[str | None] = mapped_column(String(120))
    correlation_id: Mapped[UUID | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)
