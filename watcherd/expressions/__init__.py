"""The expression language of models: CEL, typed and exact. Text and a scope in, an expression out.

The walk, each stage a module::

    text -> syntax (parsed by the native CEL library -> nodes with offsets)
         -> checking (nodes + scope -> typed nodes, or the first fault with its offset;
            `operator_types` says which types an operator has)
         -> lowering (typed nodes -> a function over the values of a scope)

The grammar, the literals and the macros (`has`, `all`, `exists`, `exists_one`, `map`, `filter`)
are CEL's own, read by the parser of its C++ reference implementation. Its evaluator is not used,
for three reasons: it knows floats only, where money must stay exact; a null operand is an error in
it, where a row may have nulls everywhere; and the same typed tree has to become SQL (`store`).

Numbers
    `int` has 64 bits and never wraps. `decimal` is exact: it is what a literal with a point is
    (`0.1 + 0.2 == 0.3`), what `decimal` attributes are, and what an `int` becomes beside one. `+`,
    `-` and `*` never round; `/` of decimals rounds to 34 digits, half to even: say `round(x, 2)`.
    `float` attributes are floats; a literal beside one becomes a float, but a decimal that is
    not a literal and a float do not mix: that is a fault, never a loss.

Null and missing
    A name or attribute without a value is null. `==`, `!=` and `in` compare null like any value
    (it equals itself alone), `has(x.y)` asks whether there is one. Every other operator, every
    comparison and function of a null gives null: "unknown". `&&`, `||` and `!` are three-valued
    (`false && unknown` is false), as in SQL. What unknown means in the end is for who asks: a
    `check` passes, as a check of a database does; a `when` is not met, an `assert` fails.
    `?:` with an unknown condition is unknown.

Failures
    Division by zero, overflow, a conversion of text that says something else and the like raise
    `EvaluationError`; as in CEL, `false && failure` is false and `true || failure` is true.

Bounds
    The text has at most `MAX_LENGTH` characters, its nodes nest at most `MAX_DEPTH` deep, and one
    evaluation does at most `MAX_WORK` steps. Patterns of `matches` run in linear time. Nothing in
    here reads a clock: `now` is given.

Pure: knows no file, no model, no database.
"""

from watcherd.expressions.compiled import Expression, check_syntax, compile_expression, constant_of
from watcherd.expressions.evaluation import MAX_WORK
from watcherd.expressions.functions import pattern_fault, pattern_validator
from watcherd.expressions.syntax import MAX_DEPTH, MAX_LENGTH
from watcherd.expressions.typed import Typed
from watcherd.expressions.types import (
    ANY,
    BOOL,
    DATE,
    DECIMAL,
    DURATION,
    FLOAT,
    INT,
    NULL,
    STRING,
    TIME,
    TIMESTAMP,
    Scope,
    Type,
    enum_of,
    list_of,
    object_of,
)
from watcherd.expressions.types import wire as to_wire

__all__ = [
    "ANY",
    "BOOL",
    "DATE",
    "DECIMAL",
    "DURATION",
    "FLOAT",
    "INT",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_WORK",
    "NULL",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "Expression",
    "Scope",
    "Type",
    "Typed",
    "check_syntax",
    "compile_expression",
    "constant_of",
    "enum_of",
    "list_of",
    "object_of",
    "pattern_fault",
    "pattern_validator",
    "to_wire",
]
