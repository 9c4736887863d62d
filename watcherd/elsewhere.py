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
    has loaded or unloaded it at another process. `turned`: he has taken it back to an older source there,
    or forward again to what the file says.
    """

    def __init__(self) -> None:
        self.behind: set[str] = set()
        self.decided: set[str] = set()
        self.turned: set[str] = set()
        self._heard: dict[str, tuple[int, str | None]] = {}

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
        turns = _turns(heard, world)
        turned = {model for model, turn in turns.items() if self._heard.get(model) != turn}
        news = bool(turned) or not (behind <= self.behind and decided <= self.decided)
        self.behind |= behind
        self.decided |= decided
        self.turned |= turned
        # Once is enough: what could not be followed then is not tried again with each heartbeat.
        self._heard = turns
        return news


def _turns(heard: Heard, world: World) -> dict[str, tuple[int, str | None]]:
    """What serves at others of models that were taken back there, or are here: its revision, and what it overrides.

    Only of the file that is here as well: that one is what the administrator has decided about.
    """
    turns = {}
    for model in heard.overrides.keys() | world.rolled_back.keys():
        file = world.files.get(world.owners.get(model, ""))
        if file is None or model not in heard.applied or model in world.unloaded:
            continue
        revision, _ = heard.applied[model]
        live, overrides = world.live.get(model), heard.overrides.get(model)
        is_older = live is not None and live.revision.number >= revision
        if not is_older and overrides in {None, file.source.digest}:
            turns[model] = revision, overrides
    return turns
