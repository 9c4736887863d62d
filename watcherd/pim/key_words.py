"""What is said of each key of the format: the words that an editor shows, and what it offers there.

Owns the words, the examples, and the spellings of texts that are limited. They stand apart from the
shape of a file (`document`), so that reading one does not carry them along; the schema of both
together is made by `schema`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from watcherd.pim.flow_spec import STEP_TYPES
from watcherd.pim.kinds import KINDS
from watcherd.pim.spec import Kind, OnDelete


class Key(NamedTuple):
    """What is said of one key: a sentence, examples, and what its text may be where that is limited.

    `values` are offered by the editor; texts that `pattern` finds are accepted, too. Without
    `values`, `pattern` holds for all texts. `names` holds for the keys of a mapping from names.
    """

    description: str
    examples: tuple[Any, ...]
    values: tuple[str, ...] = ()
    pattern: str | None = None
    names: str | None = None


def _any_case(words: Iterable[str]) -> str:
    """A regular expression for these words in any case: JSON Schema knows no flags."""
    return "|".join("".join(f"[{char.upper()}{char}]" if char.isalpha() else char for char in word) for word in words)


def _loose(words: Iterable[str]) -> str:
    """The same, with spaces or dashes for underscores and blanks around."""
    return rf"^\s*({_any_case(words).replace('_', '[ _-]')})\s*$"


_KIND = f"({_any_case(KINDS)})"
_LIST = _any_case(["list"])
_TYPE = rf"^\s*({_KIND}|{_LIST}\s*[\[<]\s*{_KIND}\s*[\]>]|{_KIND}\s*\[\s*\])\s*$"
_TYPES = (*(kind.value for kind in Kind), *(f"{kind.value}[]" for kind in (Kind.STRING, Kind.INTEGER)))
_DOMAIN = "^[a-z][a-z0-9]*([-_][a-z0-9]+)*$"
_ENTITY = r"^([A-Z][A-Za-z0-9_]*|.*[^\x00-\x7F].*)$"
_NAME = r"^([A-Za-z][A-Za-z0-9_]*|.*[^\x00-\x7F].*)$"

_DESCRIPTION = "What it is, for people: shown in the documentation of the API."
_MEMBERS = "The members of an enum: texts, each once. With members and no `type`, the type is enum."
_REFERENCE = "The entity whose key this holds, `User`, or `user-management.User` of another model: a real foreign key."

_EXAMPLES = "Examples that a new revision has to stand before it serves, on a database of their own."

_BINDS = "Under this name the expressions of later steps know the result."

_ACTION: Mapping[str, Key] = {
    "label": Key("Its name for people.", ("Take the payment",)),
    "description": Key(_DESCRIPTION, ("The card is charged",)),
    "when": Key(
        "The condition without which an action is passed over; or, in a step that decides, a condition for each "
        "outcome but one, tried in this order.",
        ("quantity > 0", {"enough": "product.stock >= quantity"}),
    ),
    "get": Key("Reads a row of this entity by its `key`; without one the flow ends with 404.", ("Product",)),
    "find": Key("Reads the rows of this entity that meet all conditions of `where`.", ("Product",)),
    "create": Key("Makes a row of this entity of `values`.", ("Order",)),
    "update": Key("Changes `values` of the row of this entity with this `key`.", ("Product",)),
    "delete": Key("Deletes the row of this entity with this `key`.", ("Order",)),
    "set": Key("Names values: name -> expression.", ({"total": "product.price * quantity"},)),
    "each": Key("Does the steps of `do` for each item of a list.", ("items",)),
    "assert": Key("Goes on where the condition holds, else ends with 422 and the `message`.", ("total > 0",)),
    "call": Key(
        "Runs a method of this model, whatever is behind it, within the same transaction.", ("Payments.reserve",)
    ),
    "emit": Key("Tells those who listen at `/-/events`, once everything is committed.", ("order.created",)),
    "raise": Key("Ends with this code and the `message`, 409 unless `status` says otherwise.", ("out_of_stock",)),
    "return": Key("Ends with this result: an expression, or name -> expression.", ("order", {"id": "order.id"})),
    "key": Key("The key of the row: an expression.", ("product_id",)),
    "where": Key(
        "Conditions: an attribute, perhaps with an operator of lists -> expression.",
        ({"sku": "sku", "stock__gte": "quantity"},),
    ),
    "values": Key("Attribute -> expression.", ({"product_id": "product.id", "total": "total"},)),
    "with": Key("Parameter of the called method -> expression.", ({"amount": "total"},)),
    "data": Key("What the event tells: an expression, or name -> expression.", ({"id": "order.id"},)),
    "as": Key(_BINDS, ("product",)),
    "do": Key("The steps for each item, one after the other.", ([{"set": {"total": "total + item.price"}}],)),
    "sort": Key("Attributes, joined by commas, `-` for descending.", ("-created_at",)),
    "limit": Key("How many rows at most.", (10,)),
    "optional": Key("Whether a row that is not there is null, and no 404.", (True,)),
    "message": Key("What people are told; expressions in braces are filled in.", ("only {product.stock} left",)),
    "code": Key("What clients are told, for programs.", ("total_positive",)),
    "status": Key("The HTTP status, from 400 to 499.", (422,)),
    "pointer": Key("The place in the body that it is about.", ("#/quantity",)),
}

KEYS: Mapping[str, Mapping[str, Key]] = {
    "Model": {
        "domain": Key(
            "The model's name and its part of every address: lower-case words joined by `-`. It must be there.",
            ("order-management",),
            pattern=_DOMAIN,
        ),
        "title": Key("The model's name for people, in any language.", ("Order management",)),
        "renamed_from": Key(
            "The old domain, when it is changed: the stored data follows.", ("orders",), pattern=_DOMAIN
        ),
        "version": Key("The version of the model: always text, shown as written.", ("1.0.0",)),
        "description": Key(_DESCRIPTION, ("Orders and stock",)),
        "depends_on": Key(
            "Domains of models that this one refers to; those of references are found out.", (["user-management"],)
        ),
        "entities": Key(
            "What is stored: each entity is a table and a resource with all its operations.",
            ([{"name": "Product", "attributes": {"sku": "string"}}],),
        ),
        "services": Key(
            "Operations beside those of the entities, `POST /api/{model}/{service}/{method}`.",
            ([{"name": "OrderService", "methods": [{"name": "placeOrder"}]}],),
        ),
        "flows": Key(
            "Named flows of steps, which methods refer to.", ({"sell": {"steps": [{"id": "pay", "next": "End"}]}},)
        ),
        "rules": Key(
            "Named rules: a sentence is shown; a mapping with `assert` is enforced, at every write of the entity it is"
            " `on`, or for the parameters of each method that names it. Its keys: on, when, assert, message, code,"
            " description.",
            (
                {"in_stock": "What is sold has to be there."},
                {"total_positive": {"on": "Order", "assert": "self.total > 0", "message": "nothing to pay"}},
            ),
        ),
        "metadata": Key("Free form: shown as it is, and not interpreted.", ({"team": "orders"},)),
    },
    "Entity": {
        "examples": Key(_EXAMPLES, ([{"create": {"sku": "a1"}, "expect": {"status": 201}}],)),
        "name": Key(
            "In the singular; in ASCII it is PascalCase. Unique in the model.", ("OrderItem",), pattern=_ENTITY
        ),
        "plural": Key("Its part of addresses; without it, the English plural with dashes.", ("order-items",)),
        "description": Key(_DESCRIPTION, ("One line of an order",)),
        "renamed_from": Key("The old name, when it is changed: the stored rows follow.", ("OrderLine",)),
        "attributes": Key(
            "Name -> type, or name -> mapping. `id`, `created_at` and `updated_at` are there by themselves.",
            ({"sku": {"type": "string", "required": True, "unique": True}, "price": "decimal"},),
            names=_NAME,
        ),
        "constraints": Key(
            "What must hold for each row: sentences or mappings, enforced on every write.",
            (["price must be greater than 0", {"unique": ["orderId", "sku"]}],),
        ),
        "indexes": Key(
            "Attributes that are looked for often, alone or together.", (["email", ["lastName", "firstName"]],)
        ),
        "relationships": Key("How it relates to other entities: sentences or mappings.", (["belongs to Order"],)),
        "states": Key(
            "The attribute (an enum) that only methods with a `transition` change; or a mapping with more.",
            ("status", {"field": "status", "initial": "open", "transitions": {"open": ["cancelled"]}}),
        ),
    },
    "States": {
        "field": Key("The attribute, an enum, that says in which state a row is.", ("status",)),
        "initial": Key("In which states a row begins; without it, in the attribute's default.", ("open", ["open"])),
        "transitions": Key(
            "Changes that anybody may make, state -> states; all others are for methods.", ({"open": ["cancelled"]},)
        ),
    },
    "Attribute": {
        "name": Key("The attribute's name, where attributes are written as a list.", ("sku",), pattern=_NAME),
        "type": Key(
            "The type of its values, or a list of one: `string[]`, `List[string]`. Case does not matter.",
            ("string", "decimal", "string[]"),
            values=_TYPES,
            pattern=_TYPE,
        ),
        "required": Key("Whether a create without it is refused; never so where it has a default.", (True,)),
        "unique": Key("Whether no two rows may have the same value.", (True,)),
        "index": Key("Whether the database keeps an index, for filters and sorting.", (True,)),
        "default": Key("What is stored where a client does not send it; valid for the type.", ("open", 0, False)),
        "description": Key(_DESCRIPTION, ("What the customer pays, with tax",)),
        "example": Key("A value for the documentation; valid for the type.", ("A-1001", 12.5)),
        "enum": Key(_MEMBERS, (["open", "paid", "shipped"],)),
        "values": Key(f"{_MEMBERS} Another spelling of `enum`.", (["open", "paid"],)),
        "enum_values": Key(f"{_MEMBERS} Another spelling of `enum`.", (["open", "paid"],)),
        "min_length": Key("The fewest characters of a text.", (1,)),
        "max_length": Key("The most characters of a text.", (200,)),
        "pattern": Key("A regular expression that a text must match, without look-around.", ("^[A-Z]{2}[0-9]+$",)),
        "minimum": Key("The smallest number.", (0,)),
        "min": Key("The smallest number: another spelling of `minimum`.", (0,)),
        "maximum": Key("The largest number.", (100,)),
        "max": Key("The largest number: another spelling of `maximum`.", (100,)),
        "exclusive_minimum": Key("A number that all values are greater than.", (0,)),
        "exclusive_maximum": Key("A number that all values are less than.", (1000,)),
        "precision": Key("How many digits a decimal has in all, 1 to 18.", (10,)),
        "scale": Key("How many of them stand after the point.", (2,)),
        "multiple_of": Key("A step: all values are multiples of it.", (0.5,)),
        "primary_key": Key("Whether it is the key of the entity, in place of the generated `id`.", (True,)),
        "auto_increment": Key("Whether the server counts an integer primary key up.", (True,)),
        "auto_now_add": Key("Whether the server sets it when the row is created.", (True,)),
        "auto_now": Key("Whether the server sets it at every write.", (True,)),
        "reference": Key(_REFERENCE, ("Customer", "user-management.User")),
        "reference_entity": Key(f"{_REFERENCE} Another spelling of `reference`.", ("Customer",)),
        "on_delete": Key(
            "What deleting the row that it refers to does: refuse, delete this one too, or empty the reference, "
            "which is a write of this row and held to its rules.",
            ("cascade",),
            values=tuple(OnDelete),
            pattern=_loose(OnDelete),
        ),
        "read_only": Key("Whether clients cannot set it; equal values are accepted.", (True,)),
        "write_only": Key("Whether it is never shown, as a password; a PUT without it leaves it as it is.", (True,)),
        "renamed_from": Key("The old name, when it is changed: the stored data follows.", ("mail",), pattern=_NAME),
        "using": Key(
            "When the type changes: an expression over the row as it was, for the value as it is to be. "
            "Means nothing once the change is made, and is not for new attributes nor the primary key.",
            ("int(size)",),
        ),
        "id": Key("An identity that survives renames.", ("customer-email",)),
    },
    "Constraint": {
        "unique": Key("Attributes that are unique together.", (["orderId", "sku"],)),
        "check": Key("An expression that must be true for each row.", ("price >= cost",)),
        "name": Key("The name under which errors tell of it.", ("price_covers_cost",)),
        "message": Key("What errors say.", ("The price does not cover the cost.",)),
    },
    "Index": {
        "fields": Key("The attributes, in the order in which they are sorted.", ("email", ["lastName", "firstName"])),
        "unique": Key("Whether no two rows may have the same values.", (True,)),
        "name": Key("A name for people.", ("by_name",)),
    },
    "Relationship": {
        "belongs_to": Key("The entity that this one belongs to; an attribute holds its key.", ("Order",)),
        "references": Key("The same, for a looser bond.", ("Product",)),
        "has_many": Key("The entity whose rows belong to this one: `expand=` and nested lists.", ("OrderItem",)),
        "has_one": Key("The same, where there is one at most.", ("Profile",)),
        "via": Key("The attribute that holds the key, where it cannot be told from its name.", ("orderId",)),
        "name": Key("The name under which related rows are shown.", ("items",)),
        "description": Key(_DESCRIPTION, ("The lines of the order",)),
    },
    "Service": {
        "name": Key("Its part of addresses, with dashes: `OrderService` is `order-service`.", ("OrderService",)),
        "description": Key(_DESCRIPTION, ("What can be done with orders",)),
        "methods": Key("Its operations.", ([{"name": "placeOrder", "returns": "Order"}],)),
    },
    "Method": {
        "examples": Key(_EXAMPLES, ([{"call": {"sku": "a1"}, "expect": {"code": "out_of_stock"}}],)),
        "name": Key("Its part of the address, with dashes: `placeOrder` is `place-order`.", ("placeOrder",)),
        "description": Key(_DESCRIPTION, ("Checks the stock and places the order",)),
        "parameters": Key(
            "What the body holds: name -> type, or name -> mapping; also as a list of mappings.",
            ({"order": "Order", "items": "OrderItem[]", "note": {"type": "string", "optional": True}},),
            names=_NAME,
        ),
        "returns": Key("What it answers: an entity, a type, or a list of one.", ("Order", "Order[]", "boolean")),
        "return_type": Key("Another spelling of `returns`.", ("Order",)),
        "flow": Key("The flow that it follows, by name.", ("OrderService.placeOrder",)),
        "rules": Key("The rules that it follows, by name.", (["in_stock"],)),
        "handler": Key(
            "The Python function that runs it: a file beside the model or below it, and a name in it. Handlers are code"
            " that the operator trusts, and run only where the daemon is set to run them.",
            ("orders.py:place_order",),
            pattern=r"^\s*[^/.:][^:]*\.py:[^:]+$",
        ),
        "transition": Key(
            "What it does to the state of a row: 409 where the row is in another state.",
            ({"entity": "Order", "field": "status", "from": ["open"], "to": "paid"},),
        ),
    },
    "Transition": {
        "entity": Key("The entity whose row changes.", ("Order",)),
        "field": Key("The attribute, an enum; without it, that of the entity's `states`.", ("status",)),
        "from": Key("The states in which the row may be.", (["open", "paid"], "open")),
        "to": Key("The state in which it is then.", ("shipped",)),
        "key": Key("The parameter with the key of the row; `orderId`, `order_id` and `id` go without.", ("order",)),
    },
    "Parameter": {
        "name": Key("The parameter's name, where parameters are written as a list.", ("order",), pattern=_NAME),
        "type": Key("A type, an entity, or a list of one.", ("Order", "OrderItem[]", "string")),
        "required": Key("Whether a call without it is refused; so it is without a default.", (False,)),
        "optional": Key("The opposite of `required`.", (True,)),
        "default": Key("What it is where a client does not send it; valid for the type.", (10,)),
        "description": Key(_DESCRIPTION, ("How many to order",)),
        "enum": Key(_MEMBERS, (["fast", "cheap"],)),
        "values": Key(f"{_MEMBERS} Another spelling of `enum`.", (["fast", "cheap"],)),
        "enum_values": Key(f"{_MEMBERS} Another spelling of `enum`.", (["fast", "cheap"],)),
        "exclude": Key("Attributes of an entity that are not expected.", (["id"],)),
        "partial": Key("Whether all attributes of an entity are optional, as in a PATCH.", (True,)),
    },
    "Flow": {
        "description": Key(_DESCRIPTION, ("From the basket to the parcel",)),
        "diagram": Key("A flow chart in Mermaid's notation, for people.", ("graph TD\n  pay --> pack",)),
        "steps": Key("What happens, step by step; the first is where it begins.", ([{"id": "pay", "next": "End"}],)),
    },
    "Example": {
        "name": Key("What it shows.", ("sells what is there",)),
        "given": Key("The rows that are there: entity -> rows.", ({"Product": [{"sku": "a1", "stock": 3}]},)),
        "call": Key("The body of the call, in an example of a method.", ({"sku": "a1", "quantity": 2},)),
        "create": Key("The body of the row that is created, in an example of an entity.", ({"sku": "a1"},)),
        "expect": Key("What comes of it; without it, success.", ({"status": 409, "code": "out_of_stock"},)),
    },
    "Expect": {
        "status": Key("The HTTP status.", (409,)),
        "code": Key("The code of the refusal or of a finding, or the type of the problem.", ("out_of_stock",)),
        "body": Key(
            "A part of the answer: of objects the named members, of lists every item. Numbers are the same by what "
            "they are; decimals and times are text.",
            ({"total": "5.00"},),
        ),
    },
    "Action": {"id": Key("Its name, for traces and logs.", ("pay",)), **_ACTION},
    "Step": {
        "id": Key("Its name in the flow.", ("pay",)),
        **_ACTION,
        "type": Key("What kind of step it is.", ("decision",), values=STEP_TYPES, pattern=_loose(STEP_TYPES)),
        "next": Key(
            "The step after it, several, or one for each outcome.", ("pack", ["pack", "bill"], {"paid": "pack"})
        ),
    },
}
"""What is said of each key, by the part of the format that it belongs to."""
