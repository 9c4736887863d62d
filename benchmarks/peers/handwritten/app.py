"""The peer: the user-management model as one would write it by hand, with FastAPI and SQLAlchemy.

Run by `uvicorn app:app --reload` in a copy of this directory. It is a smaller job than watcherd's:
one model, no migration of tables, no problem bodies, no filters.
"""

import schemas
import tables
from crud import crud_router
from fastapi import FastAPI

tables.Base.metadata.create_all(tables.engine)

app = FastAPI(title="User management", version=schemas.VERSION)
for router in (
    crud_router("users", tables.User, schemas.NewUser, schemas.StoredUser),
    crud_router("teams", tables.Team, schemas.Team, schemas.StoredTeam),
    crud_router("memberships", tables.Membership, schemas.Membership, schemas.StoredMembership),
    crud_router("sessions", tables.Session, schemas.Session, schemas.StoredSession),
):
    app.include_router(router, prefix="/api/user-management")


@app.get("/api/user-management")
def index() -> dict[str, str]:
    """What is served here, and in which version."""
    return {"name": "user-management", "version": schemas.VERSION}
