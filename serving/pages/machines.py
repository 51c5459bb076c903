"""The machines: a page of them at a time, and the senders that are not registered."""

from typing import Annotated, Literal

from fastapi import Query, Request, Response
from pydantic import Field

from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import LimitSettings, PlatformSettings, Readings
from serving.devices import routes as devices
from serving.devices.schemas import DeviceCreate, Status
from serving.http.errors import Conflict
from serving.http.fields import Text
from serving.http.pagination import PageQuery
from serving.pages.figures import figures_of
from serving.pages.forms import body_of
from serving.pages.render import is_partial, show
from serving.pages.route import form_of, pages, to_page
from serving.telemetry.routes import list_unregistered
from serving.telemetry.schemas import UnregisteredQuery
from storage import attention
from storage.attention import AttentionOrder
from storage.devices import Device
from storage.known_ids import known_ids

router = pages()


class MachinesQuery(PageQuery):
    """A page of the machines; `view` is how they are shown."""

    page_size: Annotated[int, Field(ge=1, le=100)] = 24
    search: Annotated[Text, Field(max_length=100)] | None = None
    device_type: Annotated[Text, Field(max_length=100)] | None = None
    status: Status | Literal["removed"] | None = None
    sort: AttentionOrder = "attention"
    view: Literal["cards", "table"] = "cards"


@router.get("/machines")
def machines_page(request: Request, session: DatabaseSession, query: Annotated[MachinesQuery, Query()]) -> Response:
    """The machines that match; htmx gets the list alone."""
    rows, total = _rows(session, query)
    chosen = query.model_dump(exclude_none=True, exclude={"page"})
    context = {"rows": rows, "total": total, "query": query, "chosen": chosen, "figures": {}}
    if is_partial(request):
        return show(request, "partials/machines.html", context)
    unregistered = list_unregistered(session, UnregisteredQuery(page_size=20))
    more = {"types": attention.device_types(session), "unregistered": unregistered}
    return show(request, "machines.html", context | more)


@router.get("/machines-figures")
def machines_figures(
    request: Request,
    session: DatabaseSession,
    reader: Readings,
    settings: PlatformSettings,
    query: Annotated[MachinesQuery, Query()],
) -> Response:
    """The same list with what the readings say; it takes longer, so it comes after the page."""
    rows, total = _rows(session, query)
    figures = figures_of(request, session, reader, settings, rows)
    chosen = query.model_dump(exclude_none=True, exclude={"page"})
    context = {"rows": rows, "total": total, "query": query, "chosen": chosen, "figures": figures}
    return show(request, "partials/machines.html", context)


@router.post("/machines")
def register_machine(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    settings: PlatformSettings,
    limits: LimitSettings,
) -> Response:
    """Register a device, as POST /api/v1/devices does."""
    form = {name: value for name, value in form_of(request).items() if value.strip()}
    body = body_of(DeviceCreate, {"device_name": form.get("device_id"), "device_type": "machine", **form})
    if (known := session.get(Device, body.device_id)) is not None:
        request.state.problem_link = (f"machines/{body.device_id}", "Show the machine")
        detail = "is already registered" if known.deleted_at is None else "was removed; restore it on its page"
        raise Conflict(f"{body.device_id} {detail}", field="device_id")
    alike = known_ids(session, [body.device_id])[0]
    warning = "" if alike == body.device_id else f" Mind that {alike} differs from it in capitals only."
    response = to_page(request, f"machines/{body.device_id}", done=f"{body.device_id} is registered.{warning}")
    devices.create_device(session, principal, settings, limits, request, response=Response(), body=body)
    return response


def _rows(session: DatabaseSession, query: MachinesQuery) -> tuple[list[attention.MachineRow], int]:
    return attention.machines(
        session,
        search=query.search,
        device_type=query.device_type,
        status=query.status,
        order=query.sort,
        offset=query.offset,
        limit=query.page_size,
    )
