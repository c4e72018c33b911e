"""Google Cloud's APIs on 127.0.0.1, for the real gcloud: it keeps what it is given and records it.

gcloud reaches them as it would through a company's proxy that opens TLS, so every host that it asks
for is met here, and nothing gets out.
"""

import datetime
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NUMBER = "123456789"  # of every project
HOSTS = ("*.googleapis.com",)
Json = dict[str, Any]
# How an API names what it is asked to make: by a query's key, or by a key of the body.
NAMES = (
    "repositoryId",
    "secretId",
    "workloadIdentityPoolId",
    "workloadIdentityPoolProviderId",
    "roleId",
    "accountId",
    "name",
)


class MissingError(Exception):
    """There is no such thing."""


@dataclass
class GoogleCloud:
    """What the APIs hold, and were asked."""

    environment: dict[str, str] = field(default_factory=dict)
    held: dict[str, Json] = field(default_factory=dict)  # by host and path
    policies: dict[str, Json] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)  # the enabled ones
    requests: list[tuple[str, str, Json]] = field(default_factory=list)  # method, URL, body

    def changes(self) -> list[str]:
        """Name what was asked to change: method and URL."""
        reads = ("GET", "HEAD")
        return [f"{m} {u}" for m, u, _ in self.requests if m not in reads and ":get" not in u]

    def answer(self, method: str, url: str, body: Json) -> Json:
        self.requests.append((method, url, body))
        address, _, query = url.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        address, _, verb = address.partition(":")
        host, _, path = address.partition("/")
        path = re.sub(
            r"^((?:up|down)load/)?(storage|compute|apis/(?:serving\.knative\.dev|run\.googleapis\.com))?/?v\d\w*/",
            "",
            path,
        )
        path = f"{host.split('.')[0]}/{path}".replace("/projects/-/", "/projects/my-project/")
        if path.startswith("serviceusage/"):
            return self.of_services(method, path, verb, body)
        if verb in ("getIamPolicy", "setIamPolicy", "testIamPermissions") or path.endswith("/iam"):
            return self.of_policies(path.removesuffix("/iam"), verb, method, body)
        if path.startswith("cloudresourcemanager/projects/"):
            name = path.rpartition("/")[2]
            return {"projectId": name, "projectNumber": NUMBER, "name": f"projects/{NUMBER}"}
        return self.of_things(method, path, verb, asked, body, f"https://{address}")

    def of_services(self, method: str, path: str, verb: str, body: Json) -> Json:
        if method == "GET":
            listed = [{"config": {"name": n}, "state": "ENABLED"} for n in sorted(self.services)]
            return {"services": listed}
        one = [path.rpartition("/")[2]] if verb == "enable" else []
        self.services |= {*body.get("serviceIds", []), *one}
        return {"name": "operations/done", "done": True, "response": {}}

    def of_policies(self, path: str, verb: str, method: str, body: Json) -> Json:
        if verb == "setIamPolicy" or method == "PUT":
            self.policies[path] = body.get("policy", body)
        return self.policies.get(path, {"etag": "AA==", "version": 1})

    def of_things(
        self, method: str, path: str, verb: str, asked: dict[str, str], body: Json, link: str
    ) -> Json:
        if method == "GET":
            if path in self.held:
                return self.held[path]
            under = [v for k, v in self.held.items() if k.rpartition("/")[0] == path]
            if path.count("/") % 2 == 0 and not under:
                raise MissingError(f"{path} was not found")
            names = ("items", "accounts", path.rpartition("/")[2])
            return {**dict.fromkeys(names, under), "metadata": {}}
        if method in ("PATCH", "PUT") or verb == "undelete":
            if path not in self.held:
                raise MissingError(f"{path} was not found")
            self.held[path] = merged(self.held[path], body)
            return self.done(path, self.held[path])
        if method == "DELETE":
            if path not in self.held:
                raise MissingError(f"{path} was not found")
            for key in [k for k in self.held if k == path or k.startswith(f"{path}/")]:
                del self.held[key]
            return self.done(path, {})
        if verb:
            path = f"{path}/{verb.removeprefix('add').lower()}s"  # addVersion makes one of versions
        return self.create(path, asked, body, link)

    def create(self, path: str, asked: dict[str, str], body: Json, link: str) -> Json:
        metadata = body.get("metadata", {})
        found = [asked.get(n) or body.get(n) or metadata.get(n) for n in NAMES]
        name = next(filter(None, found), str(len(self.requests)))
        if "accountId" in body:
            name = f"{name}@{path.split('/')[2]}.iam.gserviceaccount.com"
        key = f"{path}/{name.rpartition('/')[2]}"
        assert key not in self.held, "it exists already"
        inner = [v for v in body.values() if isinstance(v, dict)] if "accountId" in body else []
        inner += [body["role"]] if "role" in body and "roleId" in body else []
        thing = {**body, **(inner[0] if inner else {})}
        thing |= {"name": key.partition("/")[2], "selfLink": f"{link}/{name}", "email": name}
        if path.endswith("/versions"):  # of a secret
            thing |= {"state": "ENABLED", "clientSpecifiedPayloadChecksum": True}
        if body.get("kind") == "Job":  # of Cloud Run
            ready = [{"type": "Ready", "status": "True"}]
            stamps = {"generation": 1, "resourceVersion": "1"}
            thing = {**body, "metadata": {**metadata, **stamps}}
            thing["status"] = {"observedGeneration": 1, "conditions": ready}
        self.held[key] = thing
        return self.done(key, thing)

    def done(self, path: str, thing: Json) -> Json:
        """Say that it is done, as an operation where the API has those."""
        api = path.partition("/")[0]
        if api == "artifactregistry" or "workloadIdentityPools" in path:
            place = "/".join(path.split("/")[1:5])
            return {"name": f"{place}/operations/1", "done": True, "response": thing}
        return thing


def merged(old: Json, new: Json) -> Json:
    """Merge nested values as a PATCH does."""
    both = {k: merged(old[k], v) for k, v in new.items() if isinstance(v, dict) and k in old}
    return {**old, **new, **both}


class Handler(BaseHTTPRequestHandler):
    """Opens the tunnel that a client asks its proxy for, and answers within it."""

    protocol_version = "HTTP/1.1"

    def __init__(self, cloud: GoogleCloud, context: ssl.SSLContext, *args: Any) -> None:  # noqa: ANN401
        self.cloud, self.context, self.host = cloud, context, ""
        super().__init__(*args)

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0]
        self.send_response(200)
        self.end_headers()
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            body = (
                json.loads(raw) if raw.startswith(b"{") else {"raw": raw.decode(errors="replace")}
            )
            status, content = 200, self.cloud.answer(self.command, self.host + self.path, body)
        except MissingError as error:
            reason = {"code": 404, "message": str(error), "status": "NOT_FOUND"}
            status, content = 404, {"error": reason}
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


def certificate(folder: Path) -> ssl.SSLContext:
    """Make a certificate for Google's hosts, to be trusted by those who are told to."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in HOSTS]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    (folder / "ca.pem").write_bytes(signed.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


@contextmanager
def running(folder: Path) -> Iterator[GoogleCloud]:
    """Serve an empty cloud; its `environment` makes gcloud ask here."""
    cloud = GoogleCloud()
    handler = partial(Handler, cloud, certificate(folder))
    (folder / "token").write_text("secret-token")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        cloud.environment = {
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(folder / "ca.pem"),
            "CLOUDSDK_CORE_PROJECT": "my-project",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "CLOUDSDK_PROXY_TYPE": "http",
            "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
            "CLOUDSDK_PROXY_PORT": str(listener.server_port),
            "NO_PROXY": "127.0.0.1",
        }
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        yield cloud
        listener.shutdown()
        thread.join()
