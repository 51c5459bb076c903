"""The rules: a list with state, last alert and how often, and what is done with a rule."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Request, Response
from sqlmodel import Session

from serving.alerts.summary import RuleCount
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import LimitSettings, PlatformSettings
from serving.http.fields import Text
from serving.http.pagination import PageQuery
from serving.pages.alerts import alert_summary
from serving.pages.forms import body_of
from serving.pages.render import is_partial, show
from serving.pages.route import form_of, pages, to_page
from serving.rules import routes as rules
from serving.rules.schemas import RulePublic, RuleQuery, RuleSort, RuleStatus, Status
from storage.rules import Severity
from storage.settings import Settings

router = pages()


class RulesQuery(PageQuery):
    """The page's filters; archived rules are shown only if they are asked for."""

    status: Status | Literal["all"] | None = None
    severity: Severity | None = None
    search: Annotated[Text, Query(max_length=100)] | None = None
    sort: RuleSort = "-last_triggered_at"
    page_size: Annotated[int, Query(ge=1, le=100)] = 50


@router.get("/rules")
def rules_page(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    settings: PlatformSettings,
    query: Annotated[RulesQuery, Query()],
) -> Response:
    """The list of rules; htmx asks for the list alone."""
    context = _list(session, query)
    context["counts"] = _counts(request, session, settings, principal.tenant_id)
    return show(request, "partials/rule_list.html" if is_partial(request) else "rules.html", context)


@router.post("/rules/{rule_id}/status")
def change_status(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    settings: PlatformSettings,
    limits: LimitSettings,
    *,
    rule_id: UUID,
) -> Response:
    """Pause, resume or archive a rule, and show its row again."""
    body = body_of(RuleStatus, {"status": form_of(request).get("status")})
    rule = rules.update_rule_status(session, limits, rule_id, body).data
    counts = _counts(request, session, settings, principal.tenant_id)
    return show(request, "partials/rule_row.html", {"rule": rule, "counts": counts})


@router.post("/rules/{rule_id}/delete")
def delete_rule(request: Request, session: DatabaseSession, rule_id: UUID) -> Response:
    """Delete a rule; its alerts stay."""
    rules.delete_rule(session, rule_id)
    return to_page(request, "rules")


def _list(session: Session, query: RulesQuery) -> dict[str, Any]:
    status = None if query.status == "all" else query.status
    found = rules.list_rules(session, RuleQuery.model_validate({**query.model_dump(), "status": status}))
    chosen = {name: value for name, value in query.model_dump(mode="json").items() if value is not None}
    shown: list[RulePublic] = found.data
    if query.status is None:
        shown = [rule for rule in shown if rule.status != "archived"]
    return {"found": found, "rules": shown, "query": query, "chosen": chosen}


def _counts(request: Request, session: Session, settings: Settings, tenant_id: str | None) -> dict[UUID, RuleCount]:
    return {rule.rule_id: rule for rule in alert_summary(request, session, settings, tenant_id).by_rule}
