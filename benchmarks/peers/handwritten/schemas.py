"""The bodies of the hand-written peer: what pim_models/user_management.yaml says, as pydantic models.

The benchmark edits this file: `VERSION`, and one attribute of a user after `preferences`.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, EmailStr, Field, HttpUrl

VERSION = "1.0.0"


class Stored(BaseModel):
    """What every stored row has."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime
    updated_at: datetime


class User(BaseModel):
    """A person who may sign in."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    email: EmailStr
    phone: Annotated[str | None, Field(pattern=r"^\+?[0-9 ()-]{5,24}$")] = None
    homepage: HttpUrl | None = None
    status: Literal["active", "inactive", "suspended"] = "active"
    role: Literal["admin", "member", "guest"] = "member"
    verified: bool = False
    last_login_at: datetime | None = None
    preferences: dict[str, Any] | None = None


class NewUser(User):
    """A user with what is never given out again."""

    password: Annotated[str | None, Field(min_length=10, max_length=200)] = None


class StoredUser(Stored, User):
    """A user as given out."""


class Team(BaseModel):
    """Users who work together."""

    name: Annotated[str, Field(max_length=80)]
    purpose: str | None = None
    labels: list[str] = []


class StoredTeam(Stored, Team):
    """A team as given out."""


class Membership(BaseModel):
    """One user in one team."""

    user_id: UUID
    team_id: UUID
    since: date | None = None


class StoredMembership(Stored, Membership):
    """A membership as given out."""


class Session(BaseModel):
    """One sign-in."""

    user_id: UUID
    device: Annotated[str | None, Field(max_length=120)] = None
    correlation_id: UUID | None = None
    expires_at: datetime


class StoredSession(Stored, Session):
    """A session as given out."""
