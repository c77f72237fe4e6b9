"""Each process is told what is its own: whoever breaks into one service holds the keys of that one."""

from deploy.local.embedded import ORDER
from deploy.local.separate import of_service

ALL = {
    "PUBLIC_URL": "http://x",
    "TOKEN_PUBLIC_KEY": "k",
    "PAYTR_URL": "u",
    "PAYTR_BROWSER_URL": "b",
    "PAYTR_MERCHANT_KEY": "s",
    "PAYTR_MERCHANT_SALT": "s",
    "GATEWAY_SIGNING_KEY": "s",
    "GATEWAY_COOKIE_KEY": "s",
    "BILLING_DOCUMENT_KEY": "s",
    "PROVISIONER_PROBE_SECRET": "s",
    **{f"{name.upper()}_DATABASE_URL": f"postgresql://{name}" for name in ORDER},
}


def test_a_process_gets_its_own_secrets_and_no_other() -> None:
    common = {"PUBLIC_URL", "TOKEN_PUBLIC_KEY", "PAYTR_URL", "PAYTR_BROWSER_URL"}
    own = {
        "billing": {"BILLING_DOCUMENT_KEY", "PAYTR_MERCHANT_KEY", "PAYTR_MERCHANT_SALT"},
        "gateway": {"GATEWAY_SIGNING_KEY", "GATEWAY_COOKIE_KEY"},
        "provisioner": {"PROVISIONER_PROBE_SECRET"},
    }
    for name in ORDER:
        given = set(of_service(name, ALL))
        assert given == common | {f"{name.upper()}_DATABASE_URL"} | own.get(name, set()), name
