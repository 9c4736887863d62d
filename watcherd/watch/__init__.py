"""From changes on disk to change sets: when to look at which files again.

    notify (inotify events) or polling -> settling (until a save is complete) -> a change set

Owns the timing: when a save is complete, when a missing file counts as deleted, when the whole
directory is due. Does not read models, except for their digests while polling: a change set is a
hint, and whoever takes it reads the directory.

- `settling.py` is the rules of reload.md as a state machine without files, clock or loop;
- `surveying.py` is the look at everything, beside all that;
- `notify.py` is the one module that knows watchfiles;
- `mounts.py` tells where inotify cannot be relied upon;
- `canary.py` finds out where else events do not come;
- `polling.py` compares digests instead;
- `watcher.py` puts them together, supervised.
"""

from watcherd.watch.health import Health, WatchState
from watcherd.watch.settling import ChangeSet, OvertakenError, Quiet, merged
from watcherd.watch.watcher import Waits, Watcher

__all__ = ["ChangeSet", "Health", "OvertakenError", "Quiet", "Waits", "WatchState", "Watcher", "merged"]
