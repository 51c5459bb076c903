"""The quarantine: what was refused on its way in, and its replay."""

from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import Field
from sqlmodel import Session

from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings
from serving.devices.schemas import DeviceId
from serving.http.fields import Text
from serving.http.pagination import PageQuery
from serving.pages.forms import body_of, with_known_id
from serving.pages.render import is_partial, show
from serving.pages.route import fields_of, form_of, pages
from serving.quarantine import routes as quarantine
from serving.quarantine.schemas import QuarantineQuery, ReplayRequest

router = pages()


class QuarantineFilters(PageQuery):
    """The page's filters; messages that a replay accepted are shown only if they are asked for."""

    device_id: DeviceId | None = None
    reason: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    replayed: bool = False


@router.get("/data/quarantine")
def quarantine_page(
    request: Request, session: DatabaseSession, query: Annotated[QuarantineFilters, Query()]
) -> Response:
    """What was refused, newest first; htmx asks for the list alone."""
    template = "partials/quarantine_list.html" if is_partial(request) else "data_quarantine.html"
    return show(request, template, _list(session, with_known_id(session, query)))


@router.post("/data/quarantine/replay")
def replay(
    request: Request,
    session: DatabaseSession,
    settings: PlatformSettings,
    query: Annotated[QuarantineFilters, Query()],
) -> Response:
    """Decode the chosen messages again, or all that the filters show, and show the list again."""
    ids = [int(row_id) if row_id.isdecimal() else row_id for row_id in fields_of(request, "ids")]
    of_all = form_of(request).get("of") == "all"
    filters = {name: value for name in ("device_id", "reason") if (value := getattr(query, name)) is not None}
    body = body_of(ReplayRequest, filters if of_all else {"ids": ids})
    replayed = quarantine.replay_quarantine(request, session, settings, body).data
    return show(request, "partials/quarantine_list.html", _list(session, query) | {"replayed": replayed})


def _list(session: Session, query: QuarantineFilters) -> dict[str, Any]:
    found = quarantine.list_quarantine(session, QuarantineQuery.model_validate(query.model_dump()))
    chosen = query.model_dump(mode="json", exclude_none=True)
    return {"found": found, "query": query, "chosen": chosen, "replayed": None, "tab": "quarantine"}
