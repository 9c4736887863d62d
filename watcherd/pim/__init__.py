"""The modelling language: the bytes of a file in, a spec or diagnostics out.

The walk, each stage a module::

    bytes -> source (size, encoding) -> yaml_reader (events, bounded -> positioned tree of nodes)
          or, of a file that is being edited, pieces (what did not change -> the nodes it gave before)
          -> shapes (tree -> document, by the pydantic models of `document`)
          -> resolve (document -> spec: names, attributes, relations, sentences, services, flows)
          -> sharing (what an edit left as it was stays the same object)
          -> linking (spec + the other specs -> linked model)

Pure: no files, no clock, no web framework, no database. Nothing in here raises for what a file
holds; all that is wrong with it comes back as diagnostics, at once.
"""

from watcherd.pim.canonical import fingerprint
from watcherd.pim.code import CodeFault, code_diagnostics, gather, handlers
from watcherd.pim.codes import CODES, Code
from watcherd.pim.diagnostics import Diagnostic, Position, Related, Severity
from watcherd.pim.linking import file_diagnostic, link, link_diagnostics, owned_elsewhere
from watcherd.pim.parsing import Parsed, parse
from watcherd.pim.pieces import Pieces
from watcherd.pim.schema import json_schema
from watcherd.pim.sharing import shared, ways
from watcherd.pim.source import DEFAULT_LIMITS, Limits

__all__ = [
    "CODES",
    "DEFAULT_LIMITS",
    "Code",
    "CodeFault",
    "Diagnostic",
    "Limits",
    "Parsed",
    "Pieces",
    "Position",
    "Related",
    "Severity",
    "code_diagnostics",
    "file_diagnostic",
    "fingerprint",
    "gather",
    "handlers",
    "json_schema",
    "link",
    "link_diagnostics",
    "owned_elsewhere",
    "parse",
    "shared",
    "ways",
]
