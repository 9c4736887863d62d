"""With a thousand models the cost of a change is that of the model that changed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import model_text, serving
from watcherd import build, directory, intake

MODELS = 1000


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_of_a_thousand_models_the_one_that_changed_is_built_and_swapped_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"m{number}.yaml": model_text(f"m{number}", "color") for number in range(MODELS)}
    async with serving(tmp_path, files) as walk:
        assert len(walk.gateway.table.revisions) == MODELS
        before = dict(walk.gateway.table.revisions)
        done: list[str] = []
        for module, name in ((build, "compile_model"), (intake, "parse"), (directory, "read")):
            monkeypatch.setattr(module, name, noting(done, name, getattr(module, name)))

        report = await walk.save("m500.yaml", model_text("m500", "color", "size"))

        assert report.swapped == ("m500",)
        assert sorted(done) == ["compile_model", "parse", "read"]
        after = walk.gateway.table.revisions
        assert [name for name in after if after[name] is not before[name]] == ["m500"]
        assert (await walk.get("/api/m500/items")).revision == 2
        assert (await walk.get("/api/m999/items")).revision == 1


async def test_a_start_makes_no_garbage_that_has_to_be_looked_for_however_many_models_there_are(
    tmp_path: Path,
) -> None:
    found = []
    gc.disable()
    try:
        for models in (10, 10, 40):  # the first start is also the first use of much
            directory = tmp_path / str(len(found))
            directory.mkdir()
            gc.collect()
            files = {f"m{number}.yaml": model_text(f"m{number}", "color") for number in range(models)}
            async with serving(directory, files) as walk:
                assert len(walk.gateway.table.revisions) == models
                found.append(gc.collect())
    finally:
        gc.enable()
    assert found[2] < found[1] + 30


def noting(done: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which writes down that it was called."""

    def noted(*arguments: Any, **options: Any) -> Any:
        done.append(name)
        return function(*arguments, **options)

    return noted
