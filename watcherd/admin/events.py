"""`GET /admin/events`: what the log says about models, as server-sent events.

Owns which events are told and how a host's answer becomes a stream that knows how to go. The ring
and the readers are `feeds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from watcherd import events, problems
from watcherd.admin.guard import guard
from watcherd.exchange import IN_FLIGHT
from watcherd.feeds import HEADERS, MEDIA, Feed, TooManyReadersError
from watcherd.problems import Problem
from watcherd.settings import Settings
from watcherd.wire import Answer, send_answer


def tell(feed: Feed, event: events.Event) -> None:
    """Put an event into the feed: its name, and the fields that the log line has."""
    tell_of(feed, event.name, event.as_fields())


def tell_of(feed: Feed, name: str, fields: Mapping[str, Any]) -> None:
    """The same for an event of another process."""
    feed.publish(name, to_json(fields, fallback=str))


def event_routes(settings: Settings, feed: Feed) -> APIRouter:
    """The route, guarded like all of the admin API."""
    router = APIRouter(prefix="/admin", tags=["admin"], dependencies=[Depends(guard(settings.admin_token))])

    @router.get(
        "/events",
        operation_id="admin_events",
        summary="Hear of what happens to models, as it happens",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def listen(last_event_id: Annotated[str | None, Header()] = None) -> Response:
        try:
            reader = feed.subscribe(last_event_id)
        except TooManyReadersError as error:
            raise Problem(problems.UNAVAILABLE, str(error), headers={"retry-after": "5"}) from error
        return Stream(Answer(200, media=MEDIA, headers=HEADERS, stream=reader, leave=reader.leave))

    return router


class Stream(Response):
    """An answer that streams until it is asked to leave."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(status_code=answer.status)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it as a model's stream is sent."""
        if self._answer.leave is not None:
            scope[IN_FLIGHT].on_leave(self._answer.leave)
        await send_answer(send, self._answer, head=scope["method"] == "HEAD", receive=receive)
