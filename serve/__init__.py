"""The HTTP server: answers requests with a locked model."""

import os

from common.commands import check_command

# Base images set these for other servers; uvicorn, LitServe and prometheus_client would read them.
FOREIGN_PREFIXES = (
    "WEB_CONCURRENCY",
    "FORWARDED_ALLOW_IPS",
    "UVICORN_",
    "LIT_",
    "LITSERVE_",
    "PROMETHEUS_",
)

for _name in [name for name in os.environ if name.upper().startswith(FOREIGN_PREFIXES)]:
    del os.environ[_name]

check_command("serve", "serve")
