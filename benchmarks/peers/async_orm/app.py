"""The peer: one entity as FastAPI's and SQLAlchemy's documentation have it, on the async ORM and aiosqlite.

Run by `uvicorn app:app` in a directory of its own. `PEER_POOL=1` is its better form: one pooled
connection, so that writes wait for each other in the pool and not for SQLite's lock.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

POOL = {"pool_size": 1, "max_overflow": 0} if os.environ.get("PEER_POOL") == "1" else {}
engine = create_async_engine("sqlite+aiosqlite:///peer.db", **POOL)
sessions = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def _set_up(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """What every table has."""


class Product(Base):
    """The table."""

    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    price: Mapped[float]
    quantity: Mapped[int]
    active: Mapped[bool]
    description: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=_now)
    updated_at: Mapped[datetime] = mapped_column(default=_now, onupdate=_now)


class NewProduct(BaseModel):
    """The body of a create."""

    model_config = ConfigDict(extra="forbid")

    sku: Annotated[str, Field(max_length=40)]
    name: Annotated[str, Field(min_length=1, max_length=80)]
    price: Annotated[float, Field(ge=0)]
    quantity: Annotated[int, Field(ge=0)] = 0
    active: bool = True
    description: str | None = None


class ProductPatch(BaseModel):
    """The body of an update."""

    model_config = ConfigDict(extra="forbid")

    sku: Annotated[str, Field(max_length=40)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    price: Annotated[float, Field(ge=0)] | None = None
    quantity: Annotated[int, Field(ge=0)] | None = None
    active: bool | None = None
    description: str | None = None


class StoredProduct(NewProduct):
    """A row as given out."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime
    updated_at: datetime


class Products(BaseModel):
    """A page."""

    items: list[StoredProduct]
    total: int
    skip: int
    limit: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the table."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


async def session() -> AsyncIterator[AsyncSession]:
    """One session a request."""
    async with sessions() as opened:
        yield opened


app = FastAPI(title="Shop", lifespan=lifespan)
Opened = Annotated[AsyncSession, Depends(session)]


@app.get("/products/{product_id}")
async def read_product(product_id: int, db: Opened) -> StoredProduct:
    """One row."""
    return StoredProduct.model_validate(await _found(db, product_id))


@app.get("/products")
async def list_products(db: Opened, skip: int = 0, limit: Annotated[int, Query(le=1000)] = 100) -> Products:
    """A page of rows, and how many there are."""
    rows = (await db.scalars(select(Product).order_by(Product.id).offset(skip).limit(limit))).all()
    total = await db.scalar(select(func.count()).select_from(Product))
    return Products(items=[StoredProduct.model_validate(row) for row in rows], total=total or 0, skip=skip, limit=limit)


@app.post("/products", status_code=201)
async def create_product(body: NewProduct, db: Opened) -> StoredProduct:
    """A new row."""
    row = Product(**body.model_dump())
    db.add(row)
    await _commit(db)
    return StoredProduct.model_validate(row)


@app.patch("/products/{product_id}")
async def update_product(product_id: int, body: ProductPatch, db: Opened) -> StoredProduct:
    """A changed row."""
    row = await _found(db, product_id)
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(row, name, value)
    await _commit(db)
    return StoredProduct.model_validate(row)


async def _found(db: AsyncSession, product_id: int) -> Product:
    row = await db.get(Product, product_id)
    if row is None:
        raise HTTPException(404, f"there is no product {product_id}")
    return row


async def _commit(db: AsyncSession) -> None:
    try:
        await db.commit()
    except IntegrityError as error:
        raise HTTPException(409, str(error.orig)) from error
