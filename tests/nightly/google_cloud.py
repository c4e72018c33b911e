"""Google Cloud's APIs on 127.0.0.1, for the real gcloud: it keeps what it is given and records it.

gcloud reaches them as it would through a company's proxy that opens TLS, so every host that it asks
for is met here, and nothing gets out.
"""

import base64
import datetime
import hashlib
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


class RefusedError(Exception):
    """An API's error."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass
class GoogleCloud:
    """What the APIs hold, were asked, and shall refuse."""

    environment: dict[str, str] = field(default_factory=dict)
    held: dict[str, Json] = field(default_factory=dict)  # by host and path
    policies: dict[str, Json] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)  # the enabled ones
    requests: list[tuple[str, str, Json]] = field(default_factory=list)  # method, URL, body
    # Messages by method and a part of the URL.
    refusals: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    refuse_times: int = 1000
    objects: dict[str, bytes] = field(default_factory=dict)  # by bucket and name
    service_url: str = "https://disaster-tweets.example"  # of Cloud Run
    tag_url: str = "https://candidate.example"  # of its revisions that have a tag
    zones: tuple[str, ...] = ()  # that have T4s
    prints: list[str] = field(default_factory=list)  # what VMs print, look by look
    predicts: Json = field(default_factory=dict)  # what a Vertex AI endpoint answers

    def hold_secret(self, name: str, value: str, version: str = "1") -> None:
        data = {"data": base64.b64encode(value.encode()).decode()}
        folder = f"projects/my-project/secrets/{name}/versions"
        held = {"name": f"{folder}/{version}", "payload": data, "state": "ENABLED"}
        self.held[f"secretmanager/{folder}/latest"] = held

    def hold_object(self, bucket: str, name: str, content: bytes) -> None:
        self.objects[f"{bucket}/{name}"] = content

    def changes(self) -> list[str]:
        """Name what was asked to change: method and URL."""
        reads = ("GET", "HEAD")
        return [f"{m} {u}" for m, u, _ in self.requests if m not in reads and ":get" not in u]

    def answer(self, method: str, url: str, body: Json) -> Json | bytes:
        self.requests.append((method, url, body))
        for (of, part), (status, message) in self.refusals.items():
            if of == method and part in url and self.refuse_times > 0:
                self.refuse_times -= 1
                raise RefusedError(status, message)
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
        if path.endswith(f"/services/{path.rpartition('/')[2]}") and method in ("PUT", "PATCH"):
            self.held[path] = self.deployed(path, {**self.held[path], **body})
            return self.held[path]
        if found := re.fullmatch(r"storage/b/(.+)/o/(.+)", path):
            return self.of_objects(method, found[1], urllib.parse.unquote(found[2]), asked)
        if "/aggregated/" in path:
            return self.of_all_zones(path.rpartition("/")[2])
        if path.endswith("/serialPort"):
            return self.of_serial_port(path.removesuffix("/serialPort"))
        if host.endswith("-aiplatform.googleapis.com") and verb:
            return self.of_vertex(path, verb, body)
        if path.startswith("compute/") and path.count("/") <= 4 and method == "GET":
            return {"name": path.rpartition("/")[2], "selfLink": f"https://{address}"}
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
                raise RefusedError(404, f"{path} was not found")
            names = ("items", "accounts", path.rpartition("/")[2])
            return {**dict.fromkeys(names, under), "metadata": {}}
        if method in ("PATCH", "PUT") or verb == "undelete":
            if path not in self.held:
                raise RefusedError(404, f"{path} was not found")
            self.held[path] = merged(self.held[path], body)
            return self.done(path, self.held[path])
        if method == "DELETE":
            if path not in self.held:
                raise RefusedError(404, f"{path} was not found")
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
        if key in self.held:
            raise RefusedError(409, f"{key} already exists")
        inner = [v for v in body.values() if isinstance(v, dict)] if "accountId" in body else []
        inner += [body["role"]] if "role" in body and "roleId" in body else []
        thing = {**body, **(inner[0] if inner else {})}
        thing |= {"name": key.partition("/")[2], "selfLink": f"{link}/{name}", "email": name}
        if path.endswith("/versions"):  # of a secret
            thing |= {"state": "ENABLED", "clientSpecifiedPayloadChecksum": True}
        if body.get("kind") == "Service":
            thing = self.deployed(key, body)
        if body.get("kind") == "Job":  # of Cloud Run
            ready = [{"type": "Ready", "status": "True"}]
            stamps = {"generation": 1, "resourceVersion": "1"}
            thing = {**body, "metadata": {**metadata, **stamps}}
            thing["status"] = {"observedGeneration": 1, "conditions": ready}
        self.held[key] = thing
        return self.done(key, thing)

    def of_objects(
        self, method: str, bucket: str, name: str, asked: dict[str, str]
    ) -> Json | bytes:
        key = f"{bucket}/{name}"
        if key not in self.objects:
            raise RefusedError(404, f"{key} was not found")
        if method == "DELETE":
            del self.objects[key]
            return {}
        content = self.objects[key]
        if asked.get("alt") == "media":
            return content
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        size = str(len(content))
        link = f"https://storage.googleapis.com/download/storage/v1/b/{bucket}/o/"
        return {
            "bucket": bucket,
            "name": name,
            "size": size,
            "md5Hash": digest,
            "generation": "1",
            "mediaLink": f"{link}{urllib.parse.quote(name, safe='')}?alt=media",
        }

    def of_all_zones(self, kind: str) -> Json:
        if kind == "acceleratorTypes":
            found = [{"name": "nvidia-tesla-t4", "zone": f"zones/{zone}"} for zone in self.zones]
        else:
            here = [key for key in self.held if "/instances/" in key]
            found = [
                {"name": key.split("/")[-1], "zone": f"zones/{key.split('/')[-3]}"} for key in here
            ]
        return {"items": {"zones/all": {kind: found}}}

    def of_serial_port(self, instance: str) -> Json:
        """Say what a VM prints next; once it has nothing to say, it is gone."""
        if instance not in self.held:
            raise RefusedError(404, f"{instance} was not found")
        if not self.prints:
            del self.held[instance]
            raise RefusedError(404, f"{instance} was not found")
        return {"contents": self.prints.pop(0), "next": str(len(self.requests))}

    def of_vertex(self, path: str, verb: str, body: Json) -> Json:
        if verb == "upload":
            kinds = {"supportedDeploymentResourcesTypes": ["DEDICATED_RESOURCES"]}
            return self.create(path, {}, body["model"] | kinds, "")
        if verb in ("predict", "rawPredict"):
            return self.predicts
        endpoint = self.held[path]
        models = endpoint.setdefault("deployedModels", [])
        if verb == "deployModel":
            key = str(len(self.requests))
            models.append({**body["deployedModel"], "id": key})
            split = body.get("trafficSplit", {"0": 100})
            endpoint["trafficSplit"] = {key if k == "0" else k: v for k, v in split.items()}
        else:
            assert verb == "undeployModel"
            key = body["deployedModelId"]
            share = endpoint["trafficSplit"].pop(key, 0)
            assert not share or len(models) == 1, "it still has traffic"
            models[:] = [each for each in models if each["id"] != key]
        return self.done(path, endpoint)

    def deployed(self, key: str, service: Json) -> Json:
        """Bring a service of Cloud Run to the state that it asks for, at once."""
        folder, name = key.partition("/services/")[0], key.rpartition("/")[2]
        revisions = [k for k in self.held if k.startswith(f"{folder}/revisions/")]
        template = service["spec"]["template"]
        labels = {**template["metadata"].get("labels", {}), "serving.knative.dev/service": name}
        newest = self.held[revisions[-1]] if revisions else {}
        same = newest.get("spec") == template["spec"] and newest["metadata"]["labels"] == labels
        if not same:
            made = f"{name}-{len(revisions) + 1:05d}"
            stamp = f"2026-01-01T00:00:{len(revisions):02d}Z"
            metadata: Json = {"name": made, "namespace": "my-project", "creationTimestamp": stamp}
            metadata["labels"] = labels
            revisions.append(f"{folder}/revisions/{made}")
            revision = {"kind": "Revision", "metadata": metadata, "spec": template["spec"]}
            self.held[revisions[-1]] = revision
        last = revisions[-1].rpartition("/")[2]
        traffic = [
            {"revisionName": last, **t} | ({"url": self.tag_url} if "tag" in t else {})
            for t in service["spec"].get("traffic", [{"latestRevision": True, "percent": 100}])
        ]
        ready = ("Ready", "ConfigurationsReady", "RoutesReady")
        generation = service["metadata"].get("generation", 0) + 1
        stamps = {"generation": generation, "resourceVersion": str(generation)}
        status = {
            "observedGeneration": generation,
            "conditions": [{"type": kind, "status": "True"} for kind in ready],
            "latestCreatedRevisionName": last,
            "latestReadyRevisionName": last,
            "url": self.service_url,
            "traffic": traffic,
        }
        return {**service, "metadata": {**service["metadata"], **stamps}, "status": status}

    def done(self, path: str, thing: Json) -> Json:
        """Say that it is done, as an operation where the API has those."""
        api = path.partition("/")[0]
        if api == "compute":
            return {
                "kind": "compute#operation",
                "name": "operation",
                "status": "DONE",
                "progress": 100,
                "selfLink": f"https://compute.googleapis.com/compute/v1/{path.partition('/')[2]}",
                "targetLink": f"https://compute.googleapis.com/compute/v1/{path.partition('/')[2]}",
                "operationType": "insert",
                "zone": f"https://compute.googleapis.com/compute/v1/projects/{'/'.join(path.split('/')[2:5])}",
            }
        if api == "artifactregistry" or "workloadIdentityPools" in path:
            place = "/".join(path.split("/")[1:5])
            return {"name": f"{place}/operations/1", "done": True, "response": thing}
        if api.endswith("aiplatform") and "/customJobs" not in path:
            return {"name": f"{thing['name']}/operations/1", "done": True, "response": thing}
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
        except RefusedError as error:
            reason = {"code": error.status, "message": str(error), "status": error.reason}
            status, content = error.status, {"error": reason}
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
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
