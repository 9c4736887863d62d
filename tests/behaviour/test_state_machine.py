"""Random edits of files, decisions and restarts, against a simple model of what must be served.

The model knows nothing of revisions, plans and rounds. It says which file speaks for which domain
and what that file last said that was good; after each step requests and the admin API must agree.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.helpers import Walk, model_text, serving

T = TypeVar("T")

FILES = ("a.yaml", "b.yaml", "c.yaml")
DOMAINS = ("shop", "library")

files = st.sampled_from(FILES)
domains = st.sampled_from(DOMAINS)
variants = st.sampled_from([frozenset(), frozenset({"color"}), frozenset({"size"}), frozenset({"color", "size"})])


@dataclass(frozen=True)
class Content:
    """What a file says: `has` are its attributes beside the name; `domain` None: not even that can be read."""

    domain: str | None
    has: frozenset[str] = frozenset()
    valid: bool = True

    @property
    def text(self) -> str:
        if self.domain is None:
            return "{{{ no model at all"
        text = model_text(self.domain, *sorted(self.has))
        return text if self.valid else text.replace("name: string", "name: strnig")


@dataclass
class Expected:
    """What must be served. `good` is what each domain last served, `noted` from which file."""

    files: dict[str, Content] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    served: dict[str, frozenset[str]] = field(default_factory=dict)
    good: dict[str, frozenset[str]] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)
    unloaded: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def reload(self) -> None:
        self._settle()
        served = {}
        for domain, path in self.owners.items():
            if domain in self.unloaded:
                continue
            if path not in self.refused:
                served[domain] = self.good[domain] = self.files[path].has
                self.noted[domain] = path
            elif domain in self.good:
                served[domain] = self.good[domain]
        self.served = served
        for domain in DOMAINS:
            if domain not in self.owners:
                self.good.pop(domain, None)
                self.noted.pop(domain, None)
                self.unloaded.discard(domain)

    def restart(self) -> None:
        self.owners, self.served = dict(self.noted), {}
        self.reload()

    def state(self, path: str) -> str:
        domain = self.domain_of(path)
        if domain in self.unloaded:
            return "unloaded"
        if domain not in self.served:
            return "rejected"
        return "stale" if path in self.refused else "live"

    def domain_of(self, path: str) -> str | None:
        return next((domain for domain, owner in self.owners.items() if owner == path), None)

    def _settle(self) -> None:
        """An owner stays while it claims its domain; who claims in vain falls back to what it spoke for.

        A fallback yields to a valid file that declares the domain.
        """
        before = {path: domain for domain, path in self.owners.items()}
        self.refused = {path for path, content in self.files.items() if not content.valid}
        while True:
            claims: dict[str, list[str]] = {}
            for path, content in sorted(self.files.items()):
                fallback = before.get(path, content.domain)
                domain = fallback if path in self.refused else content.domain
                if domain is not None:
                    claims.setdefault(domain, []).append(path)
            owners = {domain: self._owner(domain, paths) for domain, paths in claims.items()}
            losers = set(self.files) - set(owners.values()) - self.refused
            if not losers:
                self.owners = owners
                return
            self.refused |= losers

    def _owner(self, domain: str, claimants: list[str]) -> str:
        valid = [path for path in claimants if path not in self.refused]
        owner = self.owners.get(domain)
        if owner in claimants:
            left = self.files[owner].valid and self.files[owner].domain != domain
            if not (left and valid):
                return owner
        same = Content(domain, self.served[domain]) if domain in self.served else None
        renamed = [path for path in claimants if self.files[path] == same]
        return (renamed or valid or claimants)[0]


class Edits(RuleBasedStateMachine):
    """Each rule is one step: what a person does, then the reload that follows."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.expected = Expected()
        self.rows: dict[str, dict[str, dict[str, Any]]] = {domain: {} for domain in DOMAINS}
        self.numbers: dict[str, int] = {}
        self.context: AbstractAsyncContextManager[Walk]
        self.walk: Walk
        (Path(self.directory.name) / "models").mkdir()
        self.open()

    def open(self) -> None:
        self.context = serving(Path(self.directory.name))
        self.walk = self.run(self.context.__aenter__())

    def close(self) -> None:
        self.run(self.context.__aexit__(None, None, None))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.close()
        self.runner.close()
        self.directory.cleanup()

    def follow(self, *paths: str) -> None:
        """Reload, and see that there was one swap if anything served has changed, and none otherwise."""
        generation, served, table = self.walk.generation, dict(self.expected.served), self.walk.gateway.table
        self.expected.reload()
        self.run(self.walk.see(*paths))
        self.expect_swap(generation, served)
        for domain, revision in table.revisions.items():
            if self.expected.served.get(domain) == served[domain]:
                assert self.walk.revision(domain) is revision

    def expect_swap(self, generation: int, served: dict[str, frozenset[str]]) -> None:
        assert self.walk.generation == generation + (self.expected.served != served)

    def put(self, path: str, content: Content) -> None:
        self.walk.write(path, content.text)
        self.expected.files[path] = content

    @initialize(one=variants, other=variants)
    def begin_with_two_models(self, one: frozenset[str], other: frozenset[str]) -> None:
        self.put("a.yaml", Content(DOMAINS[0], one))
        self.put("b.yaml", Content(DOMAINS[1], other))
        self.follow("a.yaml", "b.yaml")

    # -- what a person does to files --------------------------------------------------------------

    @rule(path=files, domain=domains, has=variants)
    def save(self, path: str, domain: str, has: frozenset[str]) -> None:
        self.put(path, Content(domain, has))
        self.follow(path)

    @rule(path=files, domain=domains, readable=st.booleans())
    def save_broken(self, path: str, domain: str, readable: bool) -> None:
        self.put(path, Content(domain if readable else None, valid=False))
        self.follow(path)

    @precondition(lambda self: self.expected.files)
    @rule(data=st.data())
    def comment(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.expected.files)))
        self.walk.write(path, self.expected.files[path].text + "# nothing new\n")
        self.follow(path)

    @precondition(lambda self: self.expected.files)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.expected.files)))
        self.walk.delete(path)
        del self.expected.files[path]
        self.follow(path)

    @precondition(lambda self: self.expected.files)
    @rule(data=st.data(), to=files)
    def rename(self, data: st.DataObject, to: str) -> None:
        path = data.draw(st.sampled_from(sorted(self.expected.files)))
        (self.walk.models / path).rename(self.walk.models / to)
        self.expected.files[to] = self.expected.files.pop(path)
        self.follow(path, to)

    @precondition(lambda self: len(self.expected.files) > 1)
    @rule(data=st.data())
    def exchange(self, data: st.DataObject) -> None:
        pairs = st.permutations(sorted(self.expected.files)).map(lambda paths: paths[:2])
        one, other = data.draw(pairs)
        contents = self.expected.files[one], self.expected.files[other]
        self.put(one, contents[1])
        self.put(other, contents[0])
        self.follow(one, other)

    @rule()
    def read_all_again(self) -> None:
        generation, served = self.walk.generation, dict(self.expected.served)
        self.expected.reload()
        self.run(self.walk.reload_all("reconcile"))
        self.expect_swap(generation, served)

    # -- what an administrator does ---------------------------------------------------------------

    @precondition(lambda self: self.expected.served)
    @rule(data=st.data())
    def unload(self, data: st.DataObject) -> None:
        domain = data.draw(st.sampled_from(sorted(self.expected.served)))
        self.expected.unloaded.add(domain)
        del self.expected.served[domain]
        self.run(self.walk.unload(domain))

    @precondition(lambda self: self.loadable())
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        domain = data.draw(st.sampled_from(self.loadable()))
        self.expected.unloaded.discard(domain)
        self.expected.reload()
        self.run(self.walk.load(self.expected.owners[domain]))

    def loadable(self) -> list[str]:
        expected = self.expected
        return sorted(domain for domain in expected.unloaded if expected.owners[domain] not in expected.refused)

    @rule()
    def restart(self) -> None:
        before = dict(self.numbers), dict(self.expected.served)
        self.close()
        self.expected.restart()
        self.open()
        for domain, revision in self.walk.gateway.table.revisions.items():
            if before[1].get(domain) == self.expected.served[domain]:
                assert revision.number == before[0][domain]

    # -- what a client does -----------------------------------------------------------------------

    @precondition(lambda self: self.expected.served)
    @rule(data=st.data())
    def store_a_row(self, data: st.DataObject) -> None:
        domain = data.draw(st.sampled_from(sorted(self.expected.served)))
        values = {name: f"{name} {len(self.rows[domain])}" for name in ("name", *self.expected.served[domain])}
        row = self.run(self.walk.post(f"/api/{domain}/items", values))
        self.rows[domain][row["id"]] = values

    # -- what must hold after each step -----------------------------------------------------------

    @invariant()
    def what_is_served_is_what_must_be(self) -> None:
        self.run(self._look())

    async def _look(self) -> None:
        for domain in DOMAINS:
            has = self.expected.served.get(domain)
            index = await self.walk.get(f"/api/{domain}")
            assert index.status == (404 if has is None else 200), domain
            if has is None:
                continue
            assert index.revision >= self.numbers.get(domain, 1), domain
            self.numbers[domain] = index.revision
            listed = (await self.walk.get(f"/api/{domain}/items")).json
            shown = {item.pop("id"): item for item in listed["items"]}
            assert shown.keys() == self.rows[domain].keys()
            for key, item in shown.items():
                stored = self.rows[domain][key]
                assert {name: item[name] for name in item.keys() - {"created_at", "updated_at"}} == {
                    name: stored.get(name) for name in ("name", *has)
                }

    @invariant()
    def every_file_is_listed_with_its_state(self) -> None:
        pims = self.run(self.walk.get("/admin/pim")).json["pims"]
        states = {entry["file"]: entry["state"] for entry in pims}
        assert states == {path: self.expected.state(path) for path in self.expected.files}
        for entry in pims:
            errors = [item for item in entry["diagnostics"] if item["severity"] == "error"]
            assert bool(errors) == (entry["file"] in self.expected.refused)


Edits.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    # A failure is told with its steps as they were: to shorten them would take minutes.
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.too_slow],
)
TestEdits = Edits.TestCase
