"""A counter of visits, as somebody writes it for the Kinode OS in Python: built by componentize-py alone."""

import json
import time

import wit_world
from wit_world.imports import standard


class WitWorld(wit_world.WitWorld):
    def init(self, our: str) -> None:
        standard.print_to_terminal(0, f"begin as {our}")
        path = {"path": "/visits", "authenticated": False, "local_only": False, "cache": False}
        server = standard.Address("our", standard.ProcessId("http-server", "distro", "sys"))
        bind = standard.Request(False, 5, json.dumps({"Bind": path}).encode(), None, [])
        _, answer = standard.send_and_await_response(server, bind, None)
        assert json.loads(answer.value[0].body) == {"Ok": None}
        while True:
            source, message = standard.receive()
            if source.process.process_name == "http-server" and "Http" in json.loads(message.value.body):
                self.visit()

    def visit(self) -> None:
        blob = standard.get_blob()
        visits = int(standard.get_state() or b"0") + 1
        standard.set_state(str(visits).encode())
        content = {"visits": visits, "seconds": time.time(), "body": blob.bytes.decode()}
        head = json.dumps({"status": 200, "headers": {"Content-Type": "application/json"}}).encode()
        body = standard.LazyLoadBlob(None, json.dumps(content).encode())
        standard.send_response(standard.Response(False, head, None, []), body)
