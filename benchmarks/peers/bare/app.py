"""The floor: one ASGI function that reads the row on the event loop and encodes it. No validation, no headers.

Run by `uvicorn app:app` in a directory of its own, where the rows are in `peer.db`.
"""

import sqlite3
from typing import Any

from pydantic_core import to_json

COLUMNS = ("id", "sku", "name", "price", "quantity", "active", "description", "created_at", "updated_at")

connection = sqlite3.connect("peer.db")
connection.execute("PRAGMA journal_mode=WAL")


async def app(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """GET /products/{id}, and nothing else."""
    key = scope["path"].rpartition("/")[2]
    row = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM products WHERE id = ?", (key,)).fetchone()
    body = to_json(dict(zip(COLUMNS, row, strict=True)))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
