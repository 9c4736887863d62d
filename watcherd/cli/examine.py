"""What model files hold: read, parsed and linked as a reload would, beside their neighbours.

Files that are named one by one are looked at beside the other models of their directories, so that
references to those are understood, but findings about those are not asked for. Owns what is found;
how it is shown is in `report` and `formats`. Needs no daemon and no database.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from watcherd.errors import ModelsDirectoryError

if TYPE_CHECKING:
    from watcherd.pim import Parsed
    from watcherd.pim.coverage import Coverage
    from watcherd.pim.diagnostics import Diagnostic
    from watcherd.pim.spec import ModelSpec

DEFAULT_DIRECTORY = Path("pim_models")


@dataclass(frozen=True, slots=True)
class Source:
    """One file to look at: its name for people, its bytes or why there are none, and whether to report on it.

    Python files, which the handlers of models may need, are never asked for: what is wrong with them
    is told of the models that need them.
    """

    file: str
    content: bytes | None
    unreadable: Diagnostic | None
    asked_for: bool

    @property
    def is_code(self) -> bool:
        """Whether it is a Python file beside the models."""
        return self.file.endswith(".py")


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of one file in the end; `spec` is there when it could be served."""

    source: Source
    spec: ModelSpec | None
    diagnostics: tuple[Diagnostic, ...]
    examples: int | None = None
    """How many of its examples were run; None where nobody asked for that."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was looked at and found, in numbers.

    `unexecutable` are methods that answer 501, handlers allowed or not; `examples` are those that were
    run, None where nobody asked for that.
    """

    files: int
    errors: int
    warnings: int
    models: int
    entities: int
    unexecutable: int
    examples: int | None = None

    def as_json(self) -> dict[str, int | None]:
        """The numbers by name, as `check --format json` prints them."""
        return {
            "files": self.files,
            "errors": self.errors,
            "warnings": self.warnings,
            "models": self.models,
            "entities": self.entities,
            "methods_without_execution": self.unexecutable,
            "examples": self.examples,
        }


def summarise(checked: Sequence[Checked]) -> Summary:
    """Count files, findings, and what the models that could be served hold."""
    findings = [finding for each in checked for finding in each.diagnostics]
    errors = sum(finding.is_error for finding in findings)
    specs = [each.spec for each in checked if each.spec is not None]
    ran = [each.examples for each in checked if each.examples is not None]
    return Summary(
        files=len(checked),
        errors=errors,
        warnings=len(findings) - errors,
        models=len(specs),
        entities=sum(len(spec.entities) for spec in specs),
        unexecutable=sum(len(share.methods.prose) for share in coverages(checked).values()),
        examples=sum(ran) if ran else None,
    )


def coverages(checked: Sequence[Checked]) -> dict[str, Coverage]:
    """How much of each model that could be served is enforced or can run, by domain; as if handlers were allowed."""
    from watcherd.pim.coverage import coverage

    return {each.spec.domain: coverage(each.spec) for each in checked if each.spec is not None}


def read_sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Read what is asked for and its neighbours; neighbours first, so that a conflict is told of the file asked for."""
    asked_for = {_identity(source.file): source for path in paths for source in _scan(path, asked_for=True)}
    neighbourhoods = dict.fromkeys(path.parent for path in paths if not path.is_dir())
    for directory in neighbourhoods:
        for source in _scan(directory, asked_for=False):
            if _identity(source.file) not in asked_for:
                yield source
    yield from asked_for.values()


def _scan(path: Path, *, asked_for: bool) -> Iterator[Source]:
    from watcherd import directory, pim

    max_bytes = pim.DEFAULT_LIMITS.max_bytes
    if path.is_dir():
        root, found = path, list(directory.scan(path, max_bytes=max_bytes, code=True).values())
    else:
        root = path.parent
        file = directory.read(root, path.name, max_bytes=max_bytes) if root.is_dir() else None
        if file is None:
            raise ModelsDirectoryError(f"Cannot check {str(path)!r}: no such file or directory.")
        found = [file]
    for file in found:
        name = str(root / file.display)
        unreadable = replace(file.diagnostic, file=name) if file.diagnostic else None
        yield Source(name, file.content, unreadable, asked_for and not directory.is_code_name(file.path))


def _identity(file: str) -> str:
    """One name for a file that is reached by several paths; a link and its target stay two files."""
    head, tail = os.path.split(file)
    return str(Path(os.path.realpath(head), tail))


def examine(sources: Sequence[Source], reserved_domains: frozenset[str] = frozenset()) -> list[Checked]:
    """Parse every file, give each domain to the first good file that declares it, and link the models.

    `reserved_domains` are those that a daemon without an API prefix cannot serve.
    """
    from watcherd import pim

    parsed = {
        source.file: pim.parse(source.content, source.file, reserved_domains=reserved_domains)
        for source in sources
        if source.content is not None and not source.is_code
    }
    code = {source.file: source.content for source in sources if source.content is not None and source.is_code}
    owners = _owners(parsed.values())
    models = {name: owner.spec for name, owner in owners.items() if owner.spec is not None}
    looked_at = [source for source in sources if not source.is_code]
    return [_checked(source, parsed.get(source.file), owners, models, code) for source in looked_at]


def _owners(parsed: Iterable[Parsed]) -> dict[str, Parsed]:
    owners: dict[str, Parsed] = {}
    for each in parsed:
        if each.spec is not None:
            owners.setdefault(each.spec.name, each)
    return owners


def _checked(
    source: Source,
    parsed: Parsed | None,
    owners: Mapping[str, Parsed],
    models: Mapping[str, ModelSpec],
    code: Mapping[str, bytes],
) -> Checked:
    from watcherd import pim
    from watcherd.pim.spec import fold

    if parsed is None:
        return Checked(source, None, (source.unreadable,) if source.unreadable else ())
    found = list(parsed.diagnostics)
    owner = owners.get(fold(parsed.domain)) if parsed.domain else None
    if owner is not None and owner is not parsed:
        found.append(pim.owned_elsewhere(parsed, owner.file, owner))
    if parsed.spec is not None:
        linked = pim.link(parsed.spec, models)
        if isinstance(linked, tuple):
            found.extend(pim.link_diagnostics(parsed, linked, models))
        gathered = pim.gather(parsed.spec, source.file.rpartition("/")[0], code)
        if isinstance(gathered, tuple):
            found.extend(pim.code_diagnostics(parsed, gathered))
    found.sort(key=lambda finding: (finding.line, finding.column))
    rejected = any(finding.is_error for finding in found)
    return Checked(source, None if rejected else parsed.spec, tuple(found))
