"""A gcloud without Google, instead of the process that deploy.google starts."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Answer = Callable[..., Any]  # to a command's further words; it returns what JSON can hold
Json = Any  # whatever JSON can hold
NOTHING = object()  # no such resource


class Refusal(Exception):  # noqa: N818 - as gcloud calls it
    """gcloud's error message."""


class Gcloud:
    """The calls of gcloud, the answers to them, and the refusals."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.stdin: dict[tuple[str, ...], str | None] = {}
        self.answers: dict[str, Answer] = {}
        self.refusals: list[tuple[str, str]] = []  # words of a command, message; each is used once

    def run(self, command: list[str], **options: Json) -> subprocess.CompletedProcess[str]:
        """Answer a call as the process would."""
        call = tuple(word for word in command[1:] if word not in ("--quiet", "--format=json"))
        self.calls.append(call)
        self.stdin[call] = options.get("input")
        try:
            reply = self._answer(call)
        except Refusal as error:
            return subprocess.CompletedProcess(command, 1, "", f"ERROR: {error}")
        text = reply if isinstance(reply, str) else json.dumps(reply)
        return subprocess.CompletedProcess(command, 0, text, "")

    def _answer(self, call: tuple[str, ...]) -> Json:
        line = " ".join(call)
        for position, (words, message) in enumerate(self.refusals):
            if words in line:
                del self.refusals[position]
                raise Refusal(message)
        for words in sorted(self.answers, key=len, reverse=True):
            if f"{line} ".startswith(f"{words} "):
                reply = self.answers[words](*call[len(words.split()) :])
                if reply is NOTHING:
                    raise Refusal("NOT_FOUND: it was not found")
                return reply
        return ""

    def called(self, words: str) -> list[tuple[str, ...]]:
        """Return the calls that have these words."""
        return [call for call in self.calls if words in " ".join(call)]


def flag(words: tuple[str, ...], name: str) -> str:
    """Return a flag's value."""
    values = [word.partition("=")[2] for word in words if word.startswith(f"--{name}=")]
    return values[-1] if values else ""


class CloudRun:
    """A service of Cloud Run, which is at once in the state that it was asked for."""

    URL = "https://service.example"

    def __init__(self, gcloud: Gcloud) -> None:
        self.service: Json = NOTHING
        self.revisions: list[dict[str, Any]] = []
        self.splits: list[dict[str, int]] = []  # how the traffic was split, change by change
        self.key, self.key_version = "a-key", "1"
        gcloud.answers |= {
            "run services describe": lambda *_: self.service,
            "run services replace": self.replace,
            "run services update-traffic": self.update_traffic,
            "run revisions list": lambda *_: self.revisions,
            "secrets versions access latest": self.secret,
        }

    def secret(self, *_: str) -> Json:
        data = base64.urlsafe_b64encode(f"{self.key},another-key".encode()).decode()
        return {"name": f"versions/{self.key_version}", "payload": {"data": data}}

    def replace(self, path: str, *_: str) -> Json:
        spec = YAML(typ="safe").load(Path(path))["spec"]
        if not self.revisions or self.revisions[-1]["spec"] != spec["template"]:
            number = len(self.revisions) + 1
            stamp = f"2026-01-01T00:00:{number:02d}Z"
            metadata = {"name": f"revision-{number}", "creationTimestamp": stamp}
            self.revisions.append({"metadata": metadata, "spec": spec["template"]})
        newest = self.revisions[-1]["metadata"]["name"]
        status = {"latestReadyRevisionName": newest, "latestCreatedRevisionName": newest}
        self.service = {"spec": spec, "status": status | {"url": self.URL}}
        self._send([{"revisionName": newest} | each for each in spec["traffic"]])

    def update_traffic(self, _name: str, *words: str) -> Json:
        traffic = self.service["status"]["traffic"]
        if tag := flag(words, "update-tags"):
            name, revision = tag.split("=")
            traffic = [each for each in traffic if "tag" not in each]
            self._send([*traffic, {"revisionName": revision, "tag": name}])
        else:
            shares = dict(each.split("=") for each in flag(words, "to-revisions").split(","))
            split = [{"revisionName": name, "percent": int(p)} for name, p in shares.items()]
            self._send([*split, *({**each, "percent": 0} for each in traffic if "tag" in each)])

    def _send(self, traffic: list[dict[str, Any]]) -> None:
        for each in traffic:
            if "tag" in each:
                each["url"] = f"https://{each['revisionName']}.example"
        self.service["status"]["traffic"] = traffic
        shares = {each["revisionName"]: each["percent"] for each in traffic if each.get("percent")}
        self.splits.append(shares)


class Vertex:
    """Models and endpoints of Vertex AI."""

    def __init__(self, gcloud: Gcloud) -> None:
        self.models: list[dict[str, Any]] = []
        self.endpoints: list[dict[str, Any]] = []
        self.deployments = 0
        self.prediction: Json = None  # of the endpoint
        gcloud.answers |= {
            "ai models list": lambda *_: self.models,
            "ai models upload": lambda *words: self._add(self.models, words),
            "ai endpoints list": lambda *_: self.endpoints,
            "ai endpoints create": lambda *words: self._add(self.endpoints, words),
            "ai endpoints deploy-model": self.deploy,
            "ai endpoints undeploy-model": self.undeploy,
            "ai endpoints update": self.update,
            "ai endpoints predict": lambda *_: self.prediction,
        }

    def _add(self, items: list[dict[str, Any]], words: tuple[str, ...]) -> None:
        image = flag(words, "container-image-uri")
        name = f"{'models' if image else 'endpoints'}/{len(items) + 1}"
        items.append({"name": name, "displayName": flag(words, "display-name"), "image": image})

    def deploy(self, _endpoint: str, *words: str) -> None:
        (endpoint,) = self.endpoints
        models = endpoint.setdefault("deployedModels", [])
        self.deployments += 1
        key = str(self.deployments)
        models.append({"id": key, "displayName": flag(words, "display-name")})
        self._split(words, key)

    def update(self, _endpoint: str, *words: str) -> None:
        self._split(words)

    def _split(self, words: tuple[str, ...], new: str = "") -> None:
        shares = dict(each.split("=") for each in flag(words, "traffic-split").split(","))
        assert sum(map(int, shares.values())) == 100
        split = {new if key == "0" else key: int(share) for key, share in shares.items()}
        self.endpoints[0]["trafficSplit"] = split

    def undeploy(self, _endpoint: str, *words: str) -> None:
        (endpoint,) = self.endpoints
        key, models = flag(words, "deployed-model-id"), endpoint["deployedModels"]
        assert not endpoint["trafficSplit"].pop(key, 0) or len(models) == 1, "it has traffic"
        models[:] = [each for each in models if each["id"] != key]
