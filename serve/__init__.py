"""The HTTP service: answers from a locked model, and from nothing else."""

import os
import sys

# Base images set these for other servers, and uvicorn, LitServe and prometheus_client read them.
FOREIGN = ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "UVICORN_", "LIT_", "LITSERVE_", "PROMETHEUS_")

for _name in [name for name in os.environ if name.upper().startswith(FOREIGN)]:
    del os.environ[_name]

if sys.argv[:1] == ["-m"] and any(arg.startswith("serve.") for arg in sys.orig_argv[1:4]):
    print("error: this module is a part of the server: python -m serve", file=sys.stderr)
    sys.exit(2)
