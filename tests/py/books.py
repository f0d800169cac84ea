"""Clients, strategies and the account book as tests see them: over the management API, and in the configuration."""

import hashlib
import json
import threading

from pool import CHAT, ask, chat
from waiting import DEADLINE, eventually

ADMIN = "/admin/v1"


def hashed(key):
    """How a key stands in the configuration."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def client(name, key=None, **more):
    """An entry of `clients:`; its key is KEY-of-NAME unless one is given."""
    return {"id": name, "name": name, "key": hashed(key or f"key-of-{name}"), **more}


def limit(kind, value, window="minute"):
    return {"limit_type": kind, "value": value, "time_window": window}


def bearer(key):
    return [("Authorization", f"Bearer {key}")]


def ask_as(gateway, name, body=None, fields=()):
    """A completion with the key of client(name)."""
    return ask(gateway, body, [*bearer(f"key-of-{name}"), *fields])


class Admin:
    """The management API of a gateway."""

    def __init__(self, gateway, fields=()):
        self.gateway, self.fields = gateway, list(fields)

    def call(self, method, path, body=None, fields=()):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = [] if body is None else [("Content-Type", "application/json")]
        return self.gateway.request(method, ADMIN + path, [*self.fields, *kind, *fields], data, host="127.0.0.1")

    def get(self, path):
        response = self.call("GET", path)
        assert response.status == 200, response
        return response.json

    def create_client(self, name, **more):
        response = self.call("POST", "/clients", {"name": name, **more})
        assert response.status == 201, response
        return response.json

    def create_strategy(self, name, **more):
        response = self.call("POST", "/strategies", {"name": name, **more})
        assert response.status == 201, response
        return response.json

    def usage(self, scope="global", id=None, **more):
        query = "&".join(f"{key}={value}" for key, value in {"scope": scope, **({"id": id} if id else {}), "range": "hour", **more}.items())
        return self.get(f"/usage?{query}")

    def total(self, scope="global", id=None):
        return self.usage(scope, id)["total"]

    def requests(self, **filters):
        query = "&".join(f"{key}={value}" for key, value in {"limit": 1000, **filters}.items())
        return self.get(f"/requests?{query}")["data"]

    def wait_total(self, count, scope="global", id=None):
        return eventually(lambda: (total := self.total(scope, id))["requests"] >= count and total, f"{count} requests in the book")


def ask_model(gateway, model, fields=(), path=CHAT, **more):
    return ask(gateway, chat(model, **more), fields, path)


def at_once(count, call):
    """Starts call() `count` times, each in a thread of its own; → a function that waits for their results."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(call()), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()

    def wait():
        for thread in threads:
            thread.join(DEADLINE * 3)
        assert len(results) == count, f"{len(results)} of {count} have ended"
        return results

    return wait
