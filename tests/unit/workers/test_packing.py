"""A build comes out of its bytes as it went in, and nothing else does."""

from __future__ import annotations

import pickle
import subprocess
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.samples import SAMPLE_FILES
from watcherd.compile import Options, compile_model
from watcherd.pim import link, parse
from watcherd.pim.linked import LinkedModel
from watcherd.store import Store
from watcherd.store.layout import Layout
from watcherd.workers.packing import Build, UnreadableBuildError, pack, unpack


@pytest.mark.parametrize("file", SAMPLE_FILES, ids=lambda file: file.stem)
async def test_a_build_comes_out_as_it_went_in_and_compiles_to_the_same_api(file: Path, tmp_path: Path) -> None:
    spec = parse(file.read_bytes(), file.name).spec
    assert spec is not None
    linked = link(spec, {spec.name: spec})
    assert isinstance(linked, LinkedModel)
    store = await Store.open(None, tmp_path)
    try:
        plan = await store.plan(linked)
        build = Build.of(plan, 7)
        again = unpack(pack(build))
        assert again == build
        assert isinstance(again.linked.spec.entities, MappingProxyType)
        ours = compile_model(linked, store.bind(plan), 7, options=Options())
        theirs = compile_model(again.linked, store.bind(again.plan), again.number, options=Options())
        assert theirs.openapi == ours.openapi
        assert theirs.operations == ours.operations
    finally:
        await store.close()


def test_a_build_comes_out_however_python_would_pickle_an_enumeration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python 3.11.2, which Debian 12 has, pickles a member as a `getattr` of its class."""
    spec = parse(SAMPLE_FILES[0].read_bytes(), SAMPLE_FILES[0].name).spec
    assert spec is not None
    linked = link(spec, {spec.name: spec})
    assert isinstance(linked, LinkedModel)
    build = Build(1, linked, Layout(spec.name), {})

    def as_before(member: Enum, _protocol: int) -> tuple[object, tuple[object, ...]]:
        return getattr, (type(member), member.name)

    pending = [Enum]
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        if kind.__module__.startswith("watcherd."):
            monkeypatch.setattr(kind, "__reduce_ex__", as_before)
    assert unpack(pack(build)) == build


class Evil:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return subprocess.check_call, (["false"],)


class Named:
    def __init__(self, module: str, name: str) -> None:
        self.text = f"c{module}\n{name}\n."


@pytest.mark.parametrize(
    "packed",
    [
        pickle.dumps(Evil()),
        Named("os", "system").text.encode(),
        Named("builtins", "eval").text.encode(),
        Named("watcherd.daemon", "run").text.encode(),
        Named("watcherd.store", "Store").text.encode(),
        Named("watcherd.workers.packing", "pickle").text.encode(),
    ],
)
def test_bytes_that_name_anything_but_values_are_refused(packed: bytes) -> None:
    with pytest.raises(UnreadableBuildError):
        unpack(packed)
