"""`watcherd show NAME`: one model in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from watcherd.cli.output import AsJson, Name, Url, print_findings, print_json, print_line, print_table

_FLAGS = ("required", "unique", "index", "primary_key", "read_only", "write_only")


def show(name: Name, *, url: Url = None, as_json: AsJson = False) -> None:
    """Show one model: its state, findings, entities with their attributes, and every endpoint.

    Exits with 0 when there is such a model, in whatever state, and with 2 when there is none or the
    daemon cannot be asked.

    Example: `watcherd show library`
    """
    from watcherd.cli.client import ask

    answer = ask("GET", f"/admin/pim/{quote(name, safe='')}", url=url)
    if as_json:
        print_json(answer)
        return
    print_line(f"{answer['name']}: {answer['state']}", "bold")
    for label, value in _facts(answer):
        print_line(f"  {label:<10}{value}")
    print_findings(answer["file"], answer["diagnostics"])
    for difference in answer["drift"]:
        print_line(f"The table differs: {', '.join(str(value) for value in difference.values() if value)}", "yellow")
    entities = (answer["spec"] or {}).get("entities", {})
    print_table(("ENTITY", "ATTRIBUTE", "TYPE", "IS"), _attributes(entities))
    print_table(("METHOD", "PATH"), (endpoint.split(" ", 1) for endpoint in answer["endpoints"]))


def _facts(answer: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "file", answer["file"]
    if answer["version"]:
        yield "version", answer["version"]
    if answer["revision"] is not None:
        yield "revision", f"{answer['revision']}, loaded {answer['loaded_at']}"
        yield "in flight", answer["in_flight"]
    if answer["rejected_since"] is not None:
        yield "rejected", f"since {answer['rejected_since']}"
    for draining in answer["draining"]:
        yield "draining", f"revision {draining['revision']}, {draining['in_flight']} in flight"


def _attributes(entities: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    for entity, told in entities.items():
        for name, attribute in told["attributes"].items():
            if attribute.get("implied"):
                continue
            kind = f"{attribute['kind']}{'[]' if attribute.get('is_list') else ''}"
            reference = attribute.get("reference")
            if reference:
                kind = f"{kind} to {reference['entity']}"
            yield entity, name, kind, ", ".join(flag for flag in _FLAGS if attribute.get(flag))
