"""Every diagnostic code of the modelling language and of what surrounds it: title and severity.

A code is stable: it is documented, searched for and silenced by its number, so a number is never
used again for something else. The hundreds are the stages of the walk: 0 reading and YAML, 1 keys
and shapes, 2 names, types and attributes, 3 constraints, indexes and relationships, 4 services,
flows and rules, 5 between files, 6 schema changes (raised by the store), 7 the file itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from watcherd.pim.diagnostics import Severity


@dataclass(frozen=True, slots=True)
class Code:
    """What a code stands for; `title` is its heading in the documentation."""

    title: str
    severity: Severity = Severity.ERROR


def _warning(title: str) -> Code:
    return Code(title, Severity.WARNING)


CODES: Mapping[str, Code] = MappingProxyType(
    {
        # Reading and YAML
        "PIM001": Code("The text is too large"),
        "PIM002": Code("The text is not UTF-8"),
        "PIM003": Code("A control character"),
        "PIM004": Code("A tab as indentation"),
        "PIM005": Code("Not readable as YAML"),
        "PIM006": Code("Nested too deep"),
        "PIM007": Code("Too many values, aliases expanded"),
        "PIM008": Code("A tag that means nothing here"),
        "PIM009": Code("A key that is not text"),
        "PIM010": Code("A key twice"),
        "PIM011": Code("Several documents in one file"),
        "PIM012": Code("The file is empty"),
        "PIM013": Code("The top level is not a mapping"),
        "PIM014": Code("An alias without a value"),
        "PIM015": Code("A merge of something that is not a mapping"),
        "PIM016": Code("A number that JSON cannot carry"),
        # Keys and shapes
        "PIM101": Code("Unknown key"),
        "PIM102": Code("Missing key"),
        "PIM103": Code("Wrong shape"),
        "PIM104": Code("Two spellings of one key"),
        "PIM105": Code("Too many entities"),
        "PIM106": Code("Too many attributes"),
        "PIM107": Code("A model without entities and services"),
        # Names, types, attributes, defaults
        "PIM201": Code("Malformed domain"),
        "PIM202": Code("Reserved domain"),
        "PIM203": Code("Malformed name"),
        "PIM204": Code("A name is taken"),
        "PIM205": Code("Malformed plural"),
        "PIM206": Code("A path segment is taken"),
        "PIM207": Code("Unknown type"),
        "PIM208": Code("Members of an enum"),
        "PIM209": Code("The default is not valid for the type"),
        "PIM210": _warning("A key that means nothing for the type"),
        "PIM211": Code("Limits that contradict each other"),
        "PIM212": Code("The pattern is not a regular expression"),
        "PIM213": Code("The primary key"),
        "PIM214": Code("Values set by the server"),
        "PIM215": Code("Keys that contradict each other"),
        "PIM216": _warning("The example is not valid for the type"),
        "PIM217": Code("A reference without a target"),
        "PIM218": Code("What deleting does"),
        "PIM219": Code("Precision and scale"),
        # Constraints, indexes, relationships
        "PIM301": _warning("A constraint that is not understood is not enforced"),
        # PIM302 was "A check is not enforced yet", before expressions.
        "PIM303": _warning("A constraint that does not fit its attribute is not enforced"),
        "PIM304": Code("No such attribute"),
        "PIM305": Code("An attribute that cannot be indexed or unique"),
        "PIM306": Code("A relationship that is not understood"),
        "PIM307": Code("No such entity"),
        "PIM308": Code("No attribute carries the key"),
        "PIM309": Code("Several attributes could carry the key"),
        "PIM310": Code("The name of a relation is taken"),
        "PIM311": _warning("The declared type is not that of the key"),
        "PIM312": Code("An expression that does not hold together"),
        # Services, flows, rules
        "PIM401": Code("Unknown type of a parameter or result"),
        "PIM402": Code("Keys that need an entity parameter"),
        "PIM403": _warning("No such flow"),
        "PIM404": _warning("No such rule"),
        "PIM405": Code("No such step"),
        "PIM406": _warning("A step that cannot be reached"),
        "PIM407": _warning("Steps and diagram do not agree"),
        "PIM408": Code("An entity of another model as a parameter or result"),
        "PIM409": Code("Unknown type of a step"),
        "PIM410": _warning("A rule that applies to nothing"),
        "PIM412": Code("States and transitions that do not fit"),
        # Handlers
        "PIM420": Code("Malformed handler"),
        "PIM421": Code("A file that handlers need is missing"),
        "PIM422": Code("A handler's file is not valid Python"),
        "PIM423": Code("The function of a handler is missing"),
        "PIM424": Code("A handler's file cannot be loaded"),
        "PIM425": _warning("Handlers are not allowed to run"),
        # Steps that run
        "PIM430": Code("A step that does not do one thing"),
        "PIM431": Code("The outcomes of a decision"),
        "PIM432": Code("A name in a flow that is taken"),
        "PIM433": Code("A method that a step cannot call"),
        "PIM434": Code("A flow that may end without a result"),
        "PIM435": Code("A malformed code, event or status"),
        # Examples
        "PIM440": Code("An example fails"),
        "PIM441": Code("A malformed example"),
        # Between files
        "PIM501": Code("Another file serves this domain"),
        "PIM502": Code("A model that is referenced is not loaded"),
        "PIM503": Code("An entity of another model does not exist"),
        # Schema changes
        "PIM600": Code("The database refused the change"),
        "PIM601": Code("The type of an attribute changed"),
        "PIM602": Code("The primary key changed"),
        "PIM603": Code("Rows in the way: now required"),
        "PIM604": Code("Now unique"),
        "PIM605": Code("A narrower limit"),
        "PIM606": Code("An enum member was removed"),
        "PIM607": Code("A new check"),
        "PIM608": Code("A new foreign key"),
        "PIM609": Code("A new required attribute without default"),
        "PIM610": Code("A rename onto a name that is taken"),
        "PIM611": Code("The model cannot be built, by a fault of watcherd"),
        "PIM613": Code("Values that cannot be computed from the old ones"),
        "PIM612": _warning("Something that may have been renamed"),
        # The file itself
        "PIM701": Code("Not a regular file"),
        "PIM702": Code("The file cannot be read"),
        "PIM703": Code("The file is too large"),
        "PIM704": Code("The file's name is not UTF-8"),
        "PIM705": Code("A symlink that leads outside of the models directory"),
        "PIM706": Code("The file kept changing while it was read"),
    },
)
