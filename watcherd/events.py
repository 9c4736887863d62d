"""What happened to models, to the watcher and to the daemon, as frozen values.

The events feed the log, the metrics and the event stream. `name` is the name of the
event in the log; the dataclass fields are the log line's fields. Whoever publishes an event does
not know who listens, and a listener must neither block nor raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all events."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"

    def as_fields(self) -> dict[str, Any]:
        """The fields for a log line; None means that there is nothing to say and is left out."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {key: value for key, value in values.items() if value is not None}


Publish = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class DaemonStarting(Event):
    """The first scan goes on: so many models are `built`, `of` so many; none of none while files are read.

    So many of them are `serving` already.
    """

    name: ClassVar[str] = "daemon.starting"
    built: int
    of: int
    serving: int = 0


@dataclass(frozen=True, slots=True)
class DaemonStarted(Event):
    """The first scan is done and the socket is bound."""

    name: ClassVar[str] = "daemon.started"
    version: str
    address: str
    models_directory: str
    live: int
    rejected: int
    ms: float


@dataclass(frozen=True, slots=True)
class AdminUnguarded(Event):
    """The daemon listens to others too, and without an admin token the admin API answers to loopback peers alone."""

    name: ClassVar[str] = "admin.loopback_only"
    level: ClassVar[Level] = "warning"
    hint: str = "set WATCHERD_ADMIN_TOKEN to use the admin API from elsewhere"


@dataclass(frozen=True, slots=True)
class WatchStarted(Event):
    """The watcher sees changes. `mode` is `inotify` or `polling`."""

    name: ClassVar[str] = "watch.started"
    root: str
    mode: str


@dataclass(frozen=True, slots=True)
class WatchDegraded(Event):
    """The watcher works, but not as well as it should; `reason` says why and what to do."""

    name: ClassVar[str] = "watch.degraded"
    level: ClassVar[Level] = "warning"
    reason: str


@dataclass(frozen=True, slots=True)
class WatchRestarted(Event):
    """The watcher failed and starts again after `delay_seconds`, with a full scan."""

    name: ClassVar[str] = "watch.restarted"
    level: ClassVar[Level] = "warning"
    reason: str
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class WatchRecovered(Event):
    """What had degraded the watcher is over."""

    name: ClassVar[str] = "watch.recovered"
    mode: str


@dataclass(frozen=True, slots=True)
class DatabaseDegraded(Event):
    """The database does not answer, or what is written to it will be lost; `reason` says why and what to do."""

    name: ClassVar[str] = "database.degraded"
    level: ClassVar[Level] = "error"
    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseRecovered(Event):
    """The database is as it should be again."""

    name: ClassVar[str] = "database.recovered"


@dataclass(frozen=True, slots=True)
class ReloadStarted(Event):
    """A change set is about to be read. `reason` is that of the change set."""

    name: ClassVar[str] = "reload.started"
    level: ClassVar[Level] = "debug"
    reason: str
    files: int


@dataclass(frozen=True, slots=True)
class ReloadFinished(Event):
    """A change set is served or rejected; counts are models, `stages` says how long each stage took in ms."""

    name: ClassVar[str] = "reload.finished"
    reason: str
    generation: int
    swapped: int
    unloaded: int
    unchanged: int
    rejected: int
    ms: float
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReloadFailed(Event):
    """The database (or a bug) ended a reload; nothing has changed by it."""

    name: ClassVar[str] = "reload.failed"
    level: ClassVar[Level] = "error"
    reason: str
    error: str
    ms: float


@dataclass(frozen=True, slots=True)
class ModelLoaded(Event):
    """A model that nobody served is served now."""

    name: ClassVar[str] = "model.loaded"
    model: str
    revision: int
    generation: int
    file: str
    routes: int


@dataclass(frozen=True, slots=True)
class ModelSwapped(Event):
    """A model's new revision serves instead of its old one."""

    name: ClassVar[str] = "model.swapped"
    model: str
    revision: int
    generation: int
    file: str
    routes: int


@dataclass(frozen=True, slots=True)
class ModelUnchanged(Event):
    """A file was written, but means what it meant before."""

    name: ClassVar[str] = "model.unchanged"
    level: ClassVar[Level] = "debug"
    model: str
    file: str


@dataclass(frozen=True, slots=True)
class ModelRejected(Event):
    """A file's new content is refused; `serving` is the revision that serves on, if any."""

    name: ClassVar[str] = "model.rejected"
    level: ClassVar[Level] = "warning"
    model: str
    file: str
    serving: int | None
    errors: int
    first: str


@dataclass(frozen=True, slots=True)
class ModelUnloaded(Event):
    """A model is out of service; its data stays.

    `reason` is `file removed`, `its file declares ...`, `admin` or `renamed to ...`.
    """

    name: ClassVar[str] = "model.unloaded"
    model: str
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class ModelRolledBack(Event):
    """An older source of a model serves again, as a new revision, until its file changes."""

    name: ClassVar[str] = "model.rolled_back"
    level: ClassVar[Level] = "warning"
    model: str
    revision: int
    generation: int
    file: str


@dataclass(frozen=True, slots=True)
class ModelDrained(Event):
    """A retired revision has no request in flight any more."""

    name: ClassVar[str] = "model.drained"
    level: ClassVar[Level] = "debug"
    model: str
    revision: int
    ms: float


@dataclass(frozen=True, slots=True)
class ModelDrainTimeout(Event):
    """Requests on a retired revision were cancelled; `holders` are "METHOD path age"."""

    name: ClassVar[str] = "model.drain_timeout"
    level: ClassVar[Level] = "warning"
    model: str
    revision: int
    reason: str
    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaApplied(Event):
    """Tables were made or widened for a revision; `steps` says how, one line each.

    `plan` is the hash of the plan that was followed; `breaking` names the operations and attributes
    whose clients may fail from now on.
    """

    name: ClassVar[str] = "schema.applied"
    model: str
    revision: int
    steps: tuple[str, ...]
    plan: str
    breaking: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SchemaRowsLeft(Event):
    """Requests on older revisions wrote rows, while they drained, that the new revision would have refused.

    `found` says which, one line a demand, with their number and the first ids; they stay until they are written.
    """

    name: ClassVar[str] = "schema.rows_left"
    level: ClassVar[Level] = "warning"
    model: str
    revision: int
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaParked(Event):
    """Attributes, entities or a model left service; what they stored is kept."""

    name: ClassVar[str] = "schema.parked"
    model: str
    parked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaDrifted(Event):
    """Somebody else changed tables of a model: the first `differences`, and how many `more` there are, if any."""

    name: ClassVar[str] = "schema.drifted"
    level: ClassVar[Level] = "warning"
    model: str
    differences: tuple[str, ...]
    more: int | None = None


@dataclass(frozen=True, slots=True)
class SchemaRestored(Event):
    """The tables of a model that had drifted are again as they were made."""

    name: ClassVar[str] = "schema.restored"
    model: str


@dataclass(frozen=True, slots=True)
class DriftUnknown(Event):
    """The database did not let its tables be compared with the catalog; what was known of drift stays."""

    name: ClassVar[str] = "schema.drift_unknown"
    level: ClassVar[Level] = "warning"
    error: str


@dataclass(frozen=True, slots=True)
class TaskFailed(Event):
    """What goes on as long as the process has ended by a fault, told above; it begins again in so many seconds."""

    name: ClassVar[str] = "task.failed"
    level: ClassVar[Level] = "error"
    task: str
    reason: str
    again_in: float


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    """A worker process serves; `ms` since it was started."""

    name: ClassVar[str] = "worker.started"
    worker: int
    pid: int
    generation: int
    ms: float


@dataclass(frozen=True, slots=True)
class WorkerEnded(Event):
    """A worker process ended without having been told to, or none could be started (`pid` None); another one is."""

    name: ClassVar[str] = "worker.ended"
    level: ClassVar[Level] = "error"
    worker: int
    pid: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class ShutdownStarted(Event):
    """A signal asked the daemon to stop."""

    name: ClassVar[str] = "shutdown.started"
    signal: str
    in_flight: int


@dataclass(frozen=True, slots=True)
class ShutdownStage(Event):
    """A stage of the shutdown ended; `held_by` says what held it over its time, or how it failed, if anything."""

    name: ClassVar[str] = "shutdown.stage"
    stage: str
    ms: float
    held_by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ShutdownFinished(Event):
    """The daemon ends."""

    name: ClassVar[str] = "shutdown.finished"
    ms: float
    exit_code: int


@dataclass(frozen=True, slots=True)
class ShutdownAbandoned(Event):
    """The stop hung, and the process ends as it is; `held_by` are the threads that still ran."""

    name: ClassVar[str] = "shutdown.abandoned"
    level: ClassVar[Level] = "error"
    held_by: tuple[str, ...]
