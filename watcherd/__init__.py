"""watcherd serves a directory of YAML domain models as live, documented, persistent REST APIs.

The walk of a change, told from top to bottom by one function in `reload.py`::

    watch -> directory -> pim (parse, link) -> store (plan) -> compile -> store (expand)
          -> gateway (swap) -> drain -> store (loosen)

The walk of a request::

    gateway (one dict look-up by path segment, enter the revision)
          -> the revision's endpoint -> store -> response -> leave the revision

Reads that take microseconds are answered while their head is still being parsed: the same walk, in
one step, see `prompt`.

The layers, from the top; a module imports only from those below its line, which the contract in
`pyproject.toml` holds to (`make check`)::

    __main__      python -m watcherd
    cli           the commands, one module each
    daemon        one process, from its start to its exit
    workers       several processes behind one address, led by one
    composition   what every process that answers is made of
      standing, signals     how the daemon stands, in words; what it is asked to by signals
    stop          the stages of a stop and their bounds
    admin         the management API, dashboard, documentation, health, metrics pages
      server, watchdog      uvicorn's life; signs of life to the service manager
    connection    what a client may send before a request is one
      balance               connections spread over workers
    heartbeat     which revisions this process holds, told in the database
    reload        THE STORY
    build         one model of it: planned, tried, compiled, its tables widened
    intake        reading what a change set points at
      draft, waves, gate, behind, examples  a reload in the making, its order, what may hold it back
      progress                          how far a start is, and telling it
      plan, applied, drift, report      what it does to tables and API, and what is told of it
      elsewhere                         what other processes have done to the same database
      ahead                 the whole directory, read before the lock of a reload
    watch         from changes on disk to change sets
      gateway, drain        the route table and the swap; revisions that end
      compile               spec -> revision: endpoints, validators, OpenAPI
    prompt        requests that are answered while their head is read
    exchange      one request at the edge
      keys, cors            who may, and from where
      heads                 what the head of a request has to say, and must not
      sending               answers as they stand on the wire, and clients that do not read them
    services      methods that run: flows and handlers
    followers     processes that serve beside this one, as a reload sees them
    ledger        what every file says, and what serves now
    store         tables and rows, SQLite and PostgreSQL
      directory             the model files as they are
    revision      what a compiled model is
    wire          a call and an answer, free of any framework
    problems      the problem types
    metrics       what is counted
    holds         for how long the event loop keeps everybody waiting
      lasting               tasks that last as long as their process
    pim           the modelling language: bytes in, spec or diagnostics out
    expressions   CEL, typed and exact
    settings, events, logs, sdnotify, feeds, tally    the ground: values, logs, streams, counts
      pace, garbage         how work is parted, so that requests come in between
    errors        what everything raises from
"""

__version__ = "0.1.0"
