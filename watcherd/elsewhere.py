"""What other processes on the same database have done and the next reload takes over.

Owns what was heard and is still to be done. What was heard may be out of date by then: the reload
reads the catalog again. With other files than the others have, nothing here follows theirs.
"""

from __future__ import annotations

from watcherd.ledger import World
from watcherd.pim import fingerprint
from watcherd.store import Heard


class Elsewhere:
    """Models by folded name.

    `behind`: others have applied anew what is served here as it was before. It is the same model, since
    its file is, but may have other columns by now: it is to be built again. `decided`: an administrator
    has loaded or unloaded it at another process.
    """

    def __init__(self) -> None:
        self.behind: set[str] = set()
        self.decided: set[str] = set()

    def heed(self, heard: Heard, world: World) -> bool:
        """Mark what there is to take over; whether any of it is new."""
        behind = {
            model
            for model, (revision, print_) in heard.applied.items()
            if model in world.live
            and (mine := world.live[model].revision).number < revision
            and fingerprint(mine.linked.spec, mine.linked.code) == print_
        }
        known = heard.applied.keys() & world.owners
        decided = {model for model in known if (model in heard.unloaded) != (model in world.unloaded)}
        news = not (behind <= self.behind and decided <= self.decided)
        self.behind |= behind
        self.decided |= decided
        return news
