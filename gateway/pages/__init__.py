"""The browser's routes: read the form, ask a service as the visitor, hand the facts to one template."""

from fastapi import APIRouter

from gateway.pages import account, accounts, admin, billing, front, payments, team, workspaces

ROUTERS: tuple[APIRouter, ...] = (
    front.routes,
    accounts.routes,
    workspaces.routes,
    team.routes,
    billing.routes,
    payments.routes,
    account.routes,
    admin.routes,
)
