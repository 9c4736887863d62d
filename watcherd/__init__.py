"""watcherd serves a directory of YAML domain models as live, documented, persistent REST APIs.

The walk of a change, told from top to bottom by one function in `reload.py`::

    watch -> directory -> pim (parse, link) -> store (plan) -> compile -> store (expand)
          -> gateway (swap) -> drain -> store (loosen)

The walk of a request::

    gateway (one dict look-up by path segment, enter the revision)
          -> the revision's endpoint -> store -> response -> leave the revision

Reads that take microseconds are answered while their head is still being parsed: the same walk, in
one step, see `prompt`.
"""

__version__ = "0.1.0"
