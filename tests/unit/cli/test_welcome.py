"""What a person at a terminal is told when all is ready."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import model_text, serving
from watcherd.cli.welcome import welcome
from watcherd.settings import Settings


async def test_it_says_where_to_look_and_what_to_try(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop"), "broken.yaml": "domain: 7\n"}) as walk:
        text = welcome(Settings(models=walk.models), "http://127.0.0.1:8000", walk.reloader.world)

    assert "serves 1 model, 1 rejected." in text
    assert "Dashboard   http://127.0.0.1:8000/\n" in text
    assert "API docs    http://127.0.0.1:8000/docs\n" in text
    assert f"Models      {walk.models}\n" in text
    assert "curl http://127.0.0.1:8000/api/shop/items\n" in text


async def test_without_models_it_says_how_to_make_one(tmp_path: Path) -> None:
    async with serving(tmp_path, {}) as walk:
        text = welcome(Settings(models=walk.models), "http://0.0.0.0:80", walk.reloader.world)

    assert f"watcherd new todo --models {walk.models}" in text
    assert "http://localhost:80/" in text


async def test_on_a_socket_of_a_file_it_names_that(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        text = welcome(Settings(models=walk.models), "unix:/run/w.sock", walk.reloader.world)

    assert "Socket      /run/w.sock\n" in text
    assert "curl --unix-socket /run/w.sock http://localhost/api/shop/items" in text
