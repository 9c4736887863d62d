"""When Python looks for garbage: never for long, since nobody is answered meanwhile.

What requests and retired revisions leave behind goes when nobody holds it any more; a collection is there for
the few things that refer to each other, and takes half a microsecond for each object that it looks at.
A model is hundreds of objects. Python counts only how many more there are than before, so after the
reload of a thousand models, which replaces as many as it makes, one collection of the *young* objects
would look at all of them. Here they are looked at in pieces, while they are made, and then never again.

One thing that is kept so does go round in circles when it is not needed any more: the modules of handlers.
They are counted, and for many of them, all there is is looked at.

Owns the thresholds and the moments. Does not own what is made when.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG_OBJECTS: Final = 50_000
"""So many more objects than before are an occasion for Python to collect by itself."""

PIECE_OBJECTS: Final = 2_000
"""So many new objects are looked at together: it takes one or two milliseconds."""

SETTLED_OBJECTS: Final = 4_000
"""So many that have been looked at once are looked at once more, and then kept for good."""

MOST_LEFT_BEHIND: Final = 200
"""So many things that wait for a collection, of those that are kept for good, are worth a look at all there is.

It takes a quarter of a second with a thousand models. The modules of a copy of handlers are 16 kB or more.
"""

_left_behind: weakref.WeakSet[object] = weakref.WeakSet()


def keep_for_good(*, collected: bool = True) -> None:
    """Have no collection look again at what there is now: it stays, or is freed when nobody holds it any more.

    Without `collected` garbage stays as well: where there is none, not looking for it saves a long time.
    """
    if collected:
        gc.collect()
    gc.freeze()
    # A compilation makes more objects than the usual threshold, and none that only a collection frees.
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


@contextmanager
def without_collecting() -> Iterator[None]:
    """Look for no garbage while a start builds all models: it makes none that only a collection frees.

    Each collection would go through what is built so far, a tenth of the time with thousands of models.
    What is not kept for good before the end is looked at, all of it, right after.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def tidy() -> bool:
    """Between two pieces of work that make things to stay: look at the new objects, if they are enough for a piece.

    Those that have stayed for a while are looked at a second time and kept for good, so that what is
    looked at together is never more than a few pieces, however much is made. Answers whether it looked.
    """
    if not gc.isenabled():
        return False
    if len(_left_behind) >= MOST_LEFT_BEHIND:
        _look_at_all()
        return True
    if len(gc.get_objects(generation=0)) < PIECE_OBJECTS:
        return False
    gc.collect(0)
    older = len(gc.get_objects(generation=2))
    if len(gc.get_objects(generation=1)) + older < SETTLED_OBJECTS:
        return True
    # Of open connections there may be thousands; what is among them waits for a collection of Python's own.
    gc.collect(2 if older < SETTLED_OBJECTS else 1)
    gc.freeze()
    return True


def left_behind(thing: object) -> None:
    """Note what nobody needs any more, and only a collection can free; any thread, a collection as well.

    What is kept for good by then stays until there are `MOST_LEFT_BEHIND`.
    """
    _left_behind.add(thing)


def _look_at_all() -> None:
    gc.collect()  # most of it may have been made since anything was kept
    if len(_left_behind) < MOST_LEFT_BEHIND:
        return
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    _left_behind.clear()  # what is there yet is held by somebody: it is not asked after again
