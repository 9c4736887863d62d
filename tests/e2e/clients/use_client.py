"""Create, list, change and delete authors with the client that was generated; `python use_client.py ADDRESS`.

Runs in the generator's own environment, with the package `library_client` beside it. Prints one line
a step, and fails at the first that is not as it should be.
"""

# ruff: noqa: T201 - what is printed here is what the test reads

from __future__ import annotations

import datetime as dt
import importlib
import pkgutil
import sys

import library_client
from library_client import Client
from library_client.api.library_author import (
    library_author_create,
    library_author_delete,
    library_author_list,
    library_author_patch,
    library_author_read,
)
from library_client.models import (
    LibraryAuthor,
    LibraryAuthorCreate,
    LibraryAuthorListCount,
    LibraryAuthorPatch,
    Problem,
)

for module in pkgutil.walk_packages(library_client.__path__, "library_client."):
    importlib.import_module(module.name)
print("every module can be imported")

client = Client(base_url=sys.argv[1])

lem = library_author_create.sync(
    client=client, body=LibraryAuthorCreate(name="Stanisław Lem", born=dt.date(1921, 9, 12))
)
assert isinstance(lem, LibraryAuthor), lem
assert lem.born == dt.date(1921, 9, 12)
print("created")

listed = library_author_list.sync(client=client, name_startswith="Stan", count=LibraryAuthorListCount.EXACT)
assert listed is not None
assert not isinstance(listed, Problem), listed
assert listed.total == 1
assert [row.id for row in listed.items] == [lem.id]
print("listed")

changed = library_author_patch.sync(lem.id, client=client, body=LibraryAuthorPatch(website="https://lem.example/"))
assert isinstance(changed, LibraryAuthor), changed
assert (changed.name, changed.website) == ("Stanisław Lem", "https://lem.example/")
print("patched")

refused = library_author_create.sync(client=client, body=LibraryAuthorCreate(name="Lem", website="no address"))
assert isinstance(refused, Problem), refused
assert refused.status == 422
print("refused with a problem")

assert library_author_delete.sync_detailed(lem.id, client=client).status_code == 204
gone = library_author_read.sync(lem.id, client=client)
assert isinstance(gone, Problem), gone
assert gone.status == 404
print("deleted")
