r"""Several processes on one host (`--workers N`): one parent, and N workers that answer clients.

The parent has everything that there must be one of: it watches, plans, changes the schema, numbers
the generations, answers the admin API, `/metrics`, health, the documents and the pages, and talks
with the service manager. The workers take connections from one listening socket, whoever is idle
first, and answer requests to models from revisions of their own; whatever is not a model they relay
to the parent. All of it goes over one channel (a socket pair) a worker.

The walk of a change, beside the one that `reload` tells::

    parent: plan -> compile -> expand ............ swap -> all have followed -> the reload is answered
                        \ prepare (a build)      / swap (a generation)
    worker:              compile -> ready       swap -> drain -> released

- A *build* is what a worker needs for one revision: the linked spec, its tables, its number. Every
  worker has compiled it before the parent swaps. One that cannot, refuses the model for all
  (`PIM611`), like a failure in the parent; one that has gone or does not answer, is replaced.
- A *generation* is told to every worker, and has been followed when each that serves says so. A
  worker that begins, or begins again after a crash, gets the builds of the current one first, and
  takes no connection before it has swapped to it.
- A retired revision has drained when no worker holds it any more; only then is it loosened (`drain`).
- Row events are numbered by the parent and told to every worker that has readers, so that a reader
  hears of the writes of all, in one order, and may come back to another worker. When a worker
  crashes, what it had committed but not told is unknown: all feeds are reset.
- Figures are counted where they happen, and added up by the parent when somebody asks.
- A worker obeys its parent alone: signals are the parent's. When the channel ends, so does the
  worker, at once; a parent that is killed takes all of them with it.

What passes through a channel is JSON, and bytes beside it: of a body, of an event, of a build. Only
the parent sends builds; they are pickled values, read back by a reader that knows a closed list of
classes (`packing`), so that nothing in them is ever called.

Modules: `crew`, `member` and `survey` (the parent's side), `worker` (a worker's), `relay` and
`rows` (both sides), `channel` and `packing` (what passes between them).
"""
