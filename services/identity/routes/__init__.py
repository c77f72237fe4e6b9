"""Identity's HTTP: `doors` for the gateway itself, the rest for people through it."""

from services.identity.routes import account, doors, staff, team

ROUTERS = (doors.router, account.router, team.router, staff.router)
