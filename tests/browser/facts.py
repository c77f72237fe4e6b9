"""Every page with facts as the services tell them: the long names, the empty lists and the failures included."""

# ruff: noqa: E501  # one page, one line: so two of them can be compared
from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.headers import Policy
from gateway.sessions import Session
from shared.errors import FieldError, Forbidden, Invalid, NotFound, Problem, Unauthenticated, Unavailable

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ADMIN_ID = UUID("01979d0a-8c3e-7a11-9b21-0242ac120001")
GIB = 1 << 30
ID = "01979d0a-8c3e-7a11-9b21-0242ac12%04x"


def at(**before: float) -> str:
    """An ISO time, so long before NOW."""
    return (NOW - timedelta(**before)).isoformat().replace("+00:00", "Z")


def lira(major: int) -> dict[str, Any]:
    """So many lira."""
    return {"minor": major * 100, "currency": "TRY"}


def page(*items: Any, following: str | None = None) -> dict[str, Any]:
    """A list as services answer it."""
    return {"items": list(items), "next": following}


def session(*, role: str = "admin", staff: bool = False, language: str = "en") -> Session:
    """Somebody who is logged in."""
    return Session(
        session_id=UUID(ID % 99), user_id=ADMIN_ID, company_id=UUID(ID % 98), role=role, staff=staff, verified=True,
        email="isil.guclu@ornekyazilim.com.tr", name="Işıl Güçlü", language=language,
        company_name="Örnek Yazılım ve Danışmanlık A.Ş.", timezone="Europe/Istanbul", expires_at=NOW + timedelta(days=7),
    )  # fmt: skip


def plan(code: str, name: str, minor: int, dollars: int, workspaces: int | None, giga: int) -> dict[str, Any]:
    """One line of the price table."""
    return {
        "code": code, "name": name, "prices": {"TRY": {"minor": minor, "currency": "TRY"}, "USD": {"minor": dollars, "currency": "USD"}},
        "workspaces": workspaces, "storage_bytes": giga << 30, "cpu_millicores": 1500 if code == "starter" else 2000,
        "memory_bytes": 4 << 30, "processes": 512,
    }  # fmt: skip


PLANS = [
    plan("starter", "Starter", 87000, 2900, 5, 10),
    plan("team", "Team", 297000, 9900, 20, 50),
    plan("enterprise", "Enterprise", 897000, 29900, None, 250),
]
STAGES = ("queued", "created", "started", "editor_answers", "route_answers")


def workspace(number: int, name: str, state: str, reached: int = 0, **others: Any) -> dict[str, Any]:
    """A workspace that has come `reached` stages far."""
    times = (4, 212, 431, 1390, 1502)
    return {
        "id": ID % number, "name": name, "owner_id": str(ADMIN_ID), "owner_name": "Işıl Güçlü", "template": "plain",
        "host": f"{name}-k3f9x2", "url": f"https://{name}-k3f9x2.workspaces.youarecoder.example", "state": state,
        "stages": [{"name": s, "at": at(minutes=2), "ms": times[i]} for i, s in enumerate(STAGES[:reached])],
        "cause": None, "created_at": at(days=3), "started_at": at(hours=2) if state == "running" else None, "mine": True,
        "deleted_at": None, "restorable_until": None, "storage_bytes": None, "storage_at": None,
        **others,
    }  # fmt: skip


MEMORY = {"code": "out-of-memory", "message": "It used all the memory.", "next_step": "Start it again."}
TAKES = {"storage_bytes": 1_503_238_553, "storage_at": at(minutes=1)}
STOPPED_FULL = {"code": "storage-full", "message": "It was stopped.", "next_step": "Start it to clean up."}
WORKSPACES = page(
    workspace(1, "calm-otter", "running", 5, **TAKES),
    workspace(2, "mavi-turna", "starting", 2),
    workspace(
        3, "odeme-servisi-deneme-ortami-cok-uzun-bir-ad", "stopped", **TAKES, mine=False, owner_name="Çağrı Öztürk"
    ),
    workspace(4, "bright-falcon", "failed", 3, cause=MEMORY),
    workspace(5, "quiet-river", "stopping"),
)
QUOTA = {
    "used": 4,
    "limit": 5,
    "storage_used": int(3.2 * GIB),
    "storage_limit": 10 * GIB,
    "active": True,
    "plan": "starter",
    "restore_days": 7,
}
NEARLY_FULL = {**QUOTA, "storage_used": int(8.4 * GIB)}
FULL = {**QUOTA, "storage_used": int(10.3 * GIB)}


def deleted(number: int, name: str, hours: float, **others: Any) -> dict[str, Any]:
    """A workspace that was deleted so many hours ago."""
    return workspace(
        number, name, "deleted", 5, deleted_at=at(hours=hours), restorable_until=at(hours=hours - 168), **others
    )


DELETED = page(
    deleted(6, "silinen-deneme", 0.1),
    deleted(7, "odeme-servisi-deneme-ortami-cok-uzun-bir-ad", 30, mine=False, owner_name="Çağrı Öztürk"),
    deleted(8, "last-hours", 160, stages=[]),
)


def subscription(status: str = "trialing", **others: Any) -> dict[str, Any]:
    """Where the company stands."""
    return {
        "status": status, "plan": "team", "plan_name": "Team", "trial_ends_at": at(days=-9, hours=3), "period_start": None, "period_end": None,
        "cancel_at_period_end": False, "grace_ends_at": None, "data_kept_until": None, "price": lira(2970), "next_charge": None,
        "entitlements": {"active": True, "workspaces": 20, "storage_bytes": 50 << 30, "cpu_millicores": 2000, "memory_bytes": 4 << 30, "processes": 512},
        **others,
    }  # fmt: skip


ACTIVE = subscription("active", period_end=at(days=-21), next_charge={"amount": lira(2970), "at": at(days=-21)})
MEMBERS = page(
    {"user_id": str(ADMIN_ID), "email": "isil.guclu@ornekyazilim.com.tr", "name": "Işıl Güçlü", "role": "admin", "joined_at": at(days=40), "verified": True},
    {"user_id": ID % 12, "email": "cagri.ozturk@ornekyazilim.com.tr", "name": "Çağrı Öztürk", "role": "member", "joined_at": at(days=2), "verified": False},
)  # fmt: skip
INVITATIONS = page(
    {
        "id": ID % 20,
        "email": "ayse@ornekyazilim.com.tr",
        "role": "member",
        "expires_at": at(days=-6),
        "invited_by": "Işıl Güçlü",
        "created_at": at(days=1),
    }
)
INVOICES = page(
    *({"id": ID % n, "number": f"2026-{n:06}", "issued_at": at(days=30 * (n - 30)), "plan": "Team", "net": lira(2475), "tax": lira(495), "total": lira(2970), "period_start": at(days=9), "period_end": at(days=-21)} for n in (30, 31)),
    following="abc",
)  # fmt: skip


def payment(status: str, reason: str | None = None) -> dict[str, Any]:
    """A payment as billing knows it."""
    return {
        "id": ID % 40,
        "status": status,
        "plan": "team",
        "amount": lira(2970),
        "reason": reason,
        "invoice_id": ID % 30 if status == "paid" else None,
    }


SESSIONS = page(
    {"id": ID % 50, "created_at": at(days=1), "last_seen_at": at(minutes=1), "ip": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", "current": True},
    {"id": ID % 51, "created_at": at(days=9), "last_seen_at": at(days=2), "ip": "2001:db8::17", "user_agent": "", "current": False},
)  # fmt: skip
COMPANY = {"name": "Örnek Yazılım ve Danışmanlık A.Ş.", "country": "TR", "language": "tr", "timezone": "Europe/Istanbul", "address": "Bağdat Cad. 1\nKadıköy, İstanbul", "tax_id": "1234567890", "tax_office": "Göztepe"}  # fmt: skip
LETTER = {"id": ID % 60, "event_id": ID % 61, "type": "subscription.activated", "handler": "services.scheduler.handlers.plan_renewal", "error": "IntegrityError: duplicate key value violates unique constraint \"timers_rule_subject_key\"", "attempts": 7, "first_failed_at": at(hours=3), "last_failed_at": at(minutes=9)}  # fmt: skip
LISTS = ("companies", "users", "subscriptions", "payments", "workspaces", "mails", "timers")
RUN = {
    "id": ID % 70,
    "due_at": at(hours=1),
    "starts_at": at(hours=1),
    "state": "succeeded",
    "missed": 0,
    "announced_at": at(hours=1),
    "finished_at": at(minutes=59),
    "report": "12 trials looked at, 2 events",
}
JOB = {"name": "trials", "cron": "0 9 * * *", "next_run_at": at(hours=-3), "paused": False, "last_run": RUN}


class Named(Problem):
    """A service's refusal, with the code it was given."""

    def __init__(self, status: int, code: str, title: str, **more: Any) -> None:
        self.status, self.code, self.title = status, code, title  # type: ignore[misc]
        super().__init__(title, **more)


@dataclass(frozen=True)
class Case:
    """A page as one visitor sees it at one moment."""

    template: str
    path: str
    facts: dict[str, Any] = field(default_factory=dict)
    who: str = "admin"
    done: str = ""
    policy: Policy = Policy.PAGE


def refused(problem: Problem | None = None) -> dict[str, Any]:
    """The facts `problem` and `errors`, as gateway.pages.forms makes them."""
    errors: dict[str, list[dict[str, str]]] = {}
    for error in problem.errors if problem else []:
        errors.setdefault(error.field, []).append({"code": error.code, "message": error.message})
    return {"problem": problem, "errors": errors}


FINE = refused()
SHORT = refused(Invalid.field("password", "password-too-short", "Use at least 10 characters"))
SIGN_UP = {"company_name": "", "name": "", "email": "", "wanted_plan": "team", "timezone": "", "country": "TR"}
TYPED = {
    "company_name": "Örnek A.Ş.",
    "name": "Işıl Güçlü",
    "email": "isil@ornek.com.tr",
    "wanted_plan": "",
    "timezone": "Europe/Istanbul",
    "country": "TR",
}
DASHBOARD = {"workspaces": WORKSPACES, "quota": QUOTA, "subscription": subscription(), "members": MEMBERS}
BILLING = {"plans": PLANS, "subscription": ACTIVE, "quota": QUOTA, "invoices": INVOICES, "payments": page(payment("paid"), payment("failed", "declined")), "year": "", "key": ID % 80, **FINE}  # fmt: skip
OPENED = {"id": ID % 40, "plan": "team", "amount": lira(2970), "net": lira(2475), "tax": lira(495), "tax_rate": "20", "iframe_url": "/frame", "resizer_url": "/resizer", "expires_at": at(hours=-1), "test_mode": True}  # fmt: skip
HERE = "/billing/payment/success?payment=" + ID % 40


def result(found: dict[str, Any] | None) -> dict[str, Any]:
    """The page PayTR sends the buyer to."""
    return {"outcome": "success", "payment_id": ID % 40, "payment": found, "framed": found is None, "here": HERE}


WORKSPACE = "/workspaces/" + ID % 2
TAKEN = refused(Named(409, "name-taken", "Taken", errors=[FieldError("name", "taken", "Taken")]))


def one_workspace(found: dict[str, Any], **others: Any) -> dict[str, Any]:
    """The facts of a workspace's page."""
    undo = {"undo_days": 7, "undo_until": NOW + timedelta(days=7), "quota": QUOTA}
    return {"workspace": found, "name": found["name"], "asked": "", **undo, **FINE, **others}


CASES: dict[str, Case] = {
    "landing": Case("landing.html", "/", {"plans": PLANS}, who="nobody"),
    "landing-silent": Case("landing.html", "/", {"plans": []}),
    "sign-up": Case("sign_up.html", "/sign-up", {"fields": SIGN_UP, **FINE}, who="nobody"),
    "sign-up-faults": Case("sign_up.html", "/sign-up", {"fields": TYPED, **SHORT}, who="nobody"),
    "verify-written": Case(
        "verify.html",
        "/verify",
        {"token": "", "expired": False, "email": "isil@ornek.com.tr", **FINE},
        who="nobody",
        done="written",
    ),
    "verify-sandbox": Case(
        "verify.html",
        "/verify",
        {"token": "", "expired": False, "email": "isil@ornek.com.tr", "mailbox_url": "http://mail.localhost", **FINE},
        who="nobody",
    ),
    "verify-token": Case(
        "verify.html", "/verify", {"token": "abc", "expired": False, "email": "", **FINE}, who="nobody"
    ),
    "verify-expired": Case("verify.html", "/verify", {"token": "", "expired": True, "email": "", **FINE}, who="nobody"),
    "log-in": Case(
        "log_in.html", "/log-in", {"fields": {"email": ""}, "next": "/dashboard", "expired": True, **FINE}, who="nobody"
    ),
    "log-in-wrong": Case(
        "log_in.html",
        "/log-in",
        {
            "fields": {"email": "isil@ornek.com.tr"},
            "next": "/dashboard",
            "expired": False,
            **refused(Named(401, "wrong-credentials", "Wrong")),
        },
        who="nobody",
    ),
    "forgot": Case("forgot.html", "/forgot", {"fields": {"email": ""}, "sent": False, **FINE}, who="nobody"),
    "forgot-sent": Case(
        "forgot.html", "/forgot", {"fields": {"email": "isil@ornek.com.tr"}, "sent": True, **FINE}, who="nobody"
    ),
    "reset": Case("reset.html", "/reset", {"token": "abc", "expired": False, **FINE}, who="nobody"),
    "reset-expired": Case("reset.html", "/reset", {"token": "", "expired": True, **FINE}, who="nobody"),
    "invitation": Case(
        "invitation.html",
        "/invitation",
        {
            "token": "abc",
            "invitation": {
                "email": "ayse@ornek.com.tr",
                "company_name": "Örnek Yazılım A.Ş.",
                "invited_by": "Işıl Güçlü",
                "role": "member",
                "language": "tr",
            },
            "fields": {"name": ""},
            **FINE,
        },
        who="nobody",
    ),
    "invitation-over": Case(
        "invitation.html",
        "/invitation",
        {"token": "abc", "invitation": None, "fields": {"name": ""}, **FINE},
        who="nobody",
    ),
    "dashboard": Case("dashboard.html", "/dashboard", DASHBOARD, who="staff"),
    "dashboard-empty": Case(
        "dashboard.html",
        "/dashboard",
        {**DASHBOARD, "workspaces": page(), "quota": {**QUOTA, "used": 0}},
        done="verified",
    ),
    "dashboard-suspended": Case(
        "dashboard.html",
        "/dashboard",
        {**DASHBOARD, "subscription": subscription("suspended", data_kept_until=at(days=-30))},
        who="member",
    ),
    "dashboard-silent": Case(
        "dashboard.html", "/dashboard", {"workspaces": None, "quota": None, "subscription": None, "members": None}
    ),
    "dashboard-nearly-full": Case("dashboard.html", "/dashboard", {**DASHBOARD, "quota": NEARLY_FULL}),
    "dashboard-full": Case("dashboard.html", "/dashboard", {**DASHBOARD, "quota": FULL}, who="member"),
    "workspace-storage-full": Case(
        "workspace.html",
        WORKSPACE,
        one_workspace(workspace(2, "mavi-turna", "stopped", 5, **TAKES, cause=STOPPED_FULL), quota=FULL),
    ),
    "workspace-new-storage-full": Case(
        "workspace_new.html",
        "/workspaces/new",
        {
            "quota": FULL,
            "templates": ("plain",),
            "fields": {"name": "six", "template": "plain"},
            "key": ID % 81,
            **refused(Named(403, "storage-full", "Full")),
        },
    ),
    "workspace-new": Case(
        "workspace_new.html",
        "/workspaces/new",
        {"quota": QUOTA, "templates": ("plain",), "fields": {"name": "", "template": "plain"}, "key": ID % 81, **FINE},
    ),
    "workspace-new-full": Case(
        "workspace_new.html",
        "/workspaces/new",
        {
            "quota": {**QUOTA, "used": 5},
            "templates": ("plain",),
            "fields": {"name": "six", "template": "plain"},
            "key": ID % 81,
            **refused(Named(403, "limit-reached", "No more")),
        },
    ),
    "workspace-starting": Case(
        "workspace.html",
        WORKSPACE,
        one_workspace(workspace(2, "mavi-turna", "starting", 3)),
        done="workspace-requested",
    ),
    "workspace-running": Case(
        "workspace.html",
        WORKSPACE,
        one_workspace(workspace(2, "mavi-turna", "running", 5)),
        done="workspace-requested",
    ),
    "workspace-failed": Case(
        "workspace.html",
        WORKSPACE,
        one_workspace(workspace(2, "mavi-turna", "failed", 3, cause=MEMORY)),
    ),
    "workspace-delete": Case(
        "workspace.html", WORKSPACE, one_workspace(workspace(2, "mavi-turna", "stopped"), asked="delete")
    ),
    "workspace-rename": Case(
        "workspace.html",
        WORKSPACE,
        one_workspace(workspace(2, "mavi-turna", "stopped"), asked="rename", name="calm-otter", **TAKEN),
    ),
    "workspace-days-unknown": Case(
        "workspace.html",
        WORKSPACE,
        one_workspace(workspace(2, "mavi-turna", "running", 5, mine=False), undo_days=None, undo_until=None),
    ),
    "workspace-deleted": Case(
        "workspace.html", WORKSPACE, one_workspace(deleted(2, "mavi-turna", 0.001)), done="workspace-deleted"
    ),
    "workspace-restore-taken": Case(
        "workspace.html", WORKSPACE, one_workspace(deleted(2, "mavi-turna", 50), **TAKEN), who="member"
    ),
    "workspaces-deleted": Case("workspaces_deleted.html", "/workspaces/deleted", {"deleted": DELETED, "quota": QUOTA}),
    "workspaces-deleted-none": Case(
        "workspaces_deleted.html", "/workspaces/deleted", {"deleted": page(), "quota": QUOTA}
    ),
    "workspaces-deleted-silent": Case(
        "workspaces_deleted.html", "/workspaces/deleted", {"deleted": None, "quota": None}
    ),
    "team": Case(
        "team.html",
        "/team",
        {"members": MEMBERS, "invitations": INVITATIONS, "fields": {"email": "", "role": "member"}, **FINE},
        done="invited",
    ),
    "team-last-admin": Case(
        "team.html",
        "/team",
        {
            "members": MEMBERS,
            "invitations": page(),
            "fields": {"email": "", "role": "member"},
            **refused(Named(409, "last-admin", "Last")),
        },
    ),
    "team-member": Case(
        "team.html",
        "/team",
        {"members": MEMBERS, "invitations": None, "fields": {"email": "", "role": "member"}, **FINE},
        who="member",
    ),
    "billing": Case("billing.html", "/billing/", BILLING, policy=Policy.PAYMENT),
    "billing-trial": Case(
        "billing.html",
        "/billing/",
        {**BILLING, "subscription": subscription(), "invoices": page(), "payments": page()},
        policy=Policy.PAYMENT,
    ),
    "billing-ending": Case(
        "billing.html",
        "/billing/",
        {**BILLING, "subscription": subscription("active", period_end=at(days=-21), cancel_at_period_end=True)},
        policy=Policy.PAYMENT,
    ),
    "billing-member": Case(
        "billing.html",
        "/billing/",
        {**BILLING, "invoices": None, "payments": None},
        who="member",
        policy=Policy.PAYMENT,
    ),
    "billing-silent": Case(
        "billing.html",
        "/billing/",
        {**BILLING, "plans": [], "subscription": None, "invoices": None, **refused(Unavailable())},
        policy=Policy.PAYMENT,
    ),
    "payment": Case("payment.html", "/billing/subscribe/team", {"payment": OPENED}, policy=Policy.PAYMENT),
    "payment-pending": Case("payment_result.html", "/billing/payment/success", result(payment("pending"))),
    "payment-paid": Case("payment_result.html", "/billing/payment/success", result(payment("paid"))),
    "payment-failed": Case("payment_result.html", "/billing/payment/fail", result(payment("failed", "declined"))),
    "payment-review": Case("payment_result.html", "/billing/payment/success", result(payment("review"))),
    "payment-framed": Case(
        "payment_result.html", "/billing/payment/success", result(None), who="nobody", policy=Policy.PAYMENT_RESULT
    ),
    "account": Case(
        "account.html",
        "/account",
        {"me": None, "sessions": SESSIONS, "part": "", "fields": {"name": "Işıl Güçlü", "language": "tr"}, **FINE},
    ),
    "account-faults": Case(
        "account.html",
        "/account",
        {
            "me": None,
            "sessions": None,
            "part": "password",
            "fields": {"name": "Işıl Güçlü", "language": "tr"},
            **refused(Invalid(errors=[FieldError("current", "wrong-password", "Wrong")])),
        },
    ),
    "settings": Case("settings.html", "/settings", {"company": COMPANY, "fields": COMPANY, **FINE}),
    "settings-member": Case(
        "settings.html",
        "/settings",
        {"company": COMPANY, "fields": COMPANY, **FINE},
        who="member",
        done="settings-saved",
    ),
    "admin": Case(
        "admin.html",
        "/admin",
        {"dead": {"identity": page(), "billing": page(LETTER), "scheduler": None}, "lists": LISTS},
        who="staff",
    ),
    "admin-users": Case(
        "admin_list.html",
        "/admin/users",
        {
            "listed": "users",
            "found": page(
                {
                    "id": ID % 1,
                    "email": "isil.guclu@ornekyazilim.com.tr",
                    "name": "Işıl Güçlü",
                    "role": "admin",
                    "staff": False,
                    "verified": True,
                    "company_name": "Örnek Yazılım A.Ş.",
                    "created_at": at(days=3),
                },
                following="x",
            ),
            "q": "",
            "lists": LISTS,
            "disk": None,
        },
        who="staff",
    ),
    "admin-payments": Case(
        "admin_list.html",
        "/admin/payments",
        {
            "listed": "payments",
            "found": page({**payment("paid"), "company_id": ID % 98, "created_at": at(days=3)}),
            "q": "",
            "lists": LISTS,
            "disk": None,
        },
        who="staff",
    ),
    "admin-workspaces": Case(
        "admin_list.html",
        "/admin/workspaces",
        {
            "listed": "workspaces",
            "found": page(
                *({**one, "company_id": ID % 98} for one in WORKSPACES["items"]),
            ),
            "q": "",
            "lists": LISTS,
            "disk": {
                "total_bytes": 252 * GIB,
                "free_bytes": 9 * GIB,
                "reserve_bytes": 10 * GIB,
                "low": True,
                "read_at": at(minutes=1),
            },
        },
        who="staff",
    ),
    "admin-mails": Case(
        "admin_list.html",
        "/admin/mails",
        {
            "listed": "mails",
            "found": page(
                {
                    "id": ID % 3,
                    "kind": "payment_received",
                    "to": "isil.guclu@ornekyazilim.com.tr",
                    "language": "tr",
                    "status": "failed",
                    "attempts": 5,
                    "reason": "451 try again later",
                    "created_at": at(hours=3),
                    "sent_at": None,
                }
            ),
            "q": "",
            "lists": LISTS,
            "disk": None,
        },
        who="staff",
        done="mail-resent",
    ),
    "admin-empty": Case(
        "admin_list.html",
        "/admin/users",
        {"listed": "users", "found": page(), "q": "yok", "lists": LISTS, "disk": None},
        who="staff",
    ),
    "admin-jobs": Case(
        "admin_jobs.html",
        "/admin/jobs",
        {"jobs": [JOB, {**JOB, "name": "health", "paused": True, "last_run": None}]},
        who="staff",
    ),
    "admin-job": Case("admin_job.html", "/admin/jobs/trials", {"name": "trials", "runs": page(RUN)}, who="staff"),
    "admin-parked": Case(
        "admin_dead_letters.html",
        "/admin/dead-letters",
        {"dead": {"scheduler": page(LETTER), "billing": page(), "notifier": None}},
        who="staff",
    ),
    "error-missing": Case("error.html", "/nothing", {"problem": NotFound(), "retry_after": None}, who="nobody"),
    "error-forbidden": Case("error.html", "/admin", {"problem": Forbidden(), "retry_after": None}),
    "error-many": Case(
        "error.html",
        "/log-in",
        {"problem": Named(429, "too-many-requests", "Too many"), "retry_after": 42},
        who="nobody",
    ),
    "error-ours": Case("error.html", "/dashboard", {"problem": Problem(), "retry_after": None}),
    "error-log-in": Case("error.html", "/dashboard", {"problem": Unauthenticated(), "retry_after": None}, who="nobody"),
    "host-unknown": Case("workspace_host.html", "/", {"kind": "unknown", "link": "/dashboard"}, who="host"),
    "host-stopped": Case("workspace_host.html", "/", {"kind": "stopped", "link": WORKSPACE}, who="host"),
    "host-ticket": Case("workspace_host.html", "/", {"kind": "ticket", "link": WORKSPACE + "/open"}, who="host"),
}
