"""The HTTP service: answers from a locked model, and from nothing else."""

import os

from common.commands import check_command

# Base images set these for other servers, and uvicorn, LitServe and prometheus_client read them.
FOREIGN = ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "UVICORN_", "LIT_", "LITSERVE_", "PROMETHEUS_")

for _name in [name for name in os.environ if name.upper().startswith(FOREIGN)]:
    del os.environ[_name]

check_command("serve", "serve")
