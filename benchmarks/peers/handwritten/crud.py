"""List, create, read, replace, patch and delete for one table of the hand-written peer."""

from typing import Any
from uuid import UUID

import tables
from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session


def crud_router(path: str, table: type[tables.Base], new: type[BaseModel], stored: type[BaseModel]) -> APIRouter:
    """The six operations on `table`: bodies are validated as `new`, rows are given out as `stored`."""
    router = APIRouter(prefix=f"/{path}", tags=[path])

    @router.get("")
    def list_rows(skip: int = 0, limit: int = 100) -> dict[str, Any]:
        with Session(tables.engine) as session:
            rows = session.scalars(select(table).order_by(table.id).offset(skip).limit(limit)).all()
            total = session.scalar(select(func.count()).select_from(table))
            return {
                "items": [stored.model_validate(row) for row in rows],
                "total": total,
                "skip": skip,
                "limit": limit,
            }

    @router.post("", status_code=201, response_model=stored)
    def create(body: new) -> tables.Base:  # type: ignore[valid-type]  # FastAPI reads it at run time
        with Session(tables.engine, expire_on_commit=False) as session:
            return _save(session, table(**_columns(body)))

    @router.get("/{row_id}", response_model=stored)
    def read(row_id: UUID) -> tables.Base:
        with Session(tables.engine) as session:
            return _find(session, table, row_id)

    @router.put("/{row_id}", response_model=stored)
    def replace(row_id: UUID, body: new) -> tables.Base:  # type: ignore[valid-type]  # as above
        with Session(tables.engine, expire_on_commit=False) as session:
            return _save(session, _change(_find(session, table, row_id), _columns(body)))

    @router.patch("/{row_id}", response_model=stored)
    def patch(row_id: UUID, body: dict[str, Any]) -> tables.Base:
        with Session(tables.engine, expire_on_commit=False) as session:
            row = _find(session, table, row_id)
            before = stored.model_validate(row).model_dump(include=set(new.model_fields))
            try:
                checked = _columns(new.model_validate(before | body))
            except ValidationError as error:
                raise HTTPException(422, error.errors(include_context=False, include_url=False)) from error
            return _save(session, _change(row, {name: checked[name] for name in body if name in checked}))

    @router.delete("/{row_id}", status_code=204)
    def delete(row_id: UUID) -> None:
        with Session(tables.engine) as session:
            session.delete(_find(session, table, row_id))
            session.commit()

    return router


def _columns(body: BaseModel) -> dict[str, Any]:
    values = body.model_dump()
    if values.get("homepage") is not None:
        values["homepage"] = str(values["homepage"])
    return values


def _find(session: Session, table: type[tables.Base], row_id: UUID) -> tables.Base:
    row = session.get(table, row_id)
    if row is None:
        raise HTTPException(404, f"there is no {table.__name__} with the id {row_id}")
    return row


def _change(row: tables.Base, values: dict[str, Any]) -> tables.Base:
    for name, value in values.items():
        setattr(row, name, value)
    return row


def _save(session: Session, row: tables.Base) -> tables.Base:
    session.add(row)
    try:
        session.commit()
    except IntegrityError as error:
        raise HTTPException(409, str(error.orig)) from error
    return row
