"""The ASGI application: reads the whole request, asks the gateway and injects faults into the answer."""

import secrets
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ._controls import PREFIX as CONTROLS_PREFIX
from ._controls import Controls
from ._faults import Fault, FaultQueue
from ._gateway import Call, Gateway, find_route
from ._oauth import PREFIX, OAuthEndpoints, find_endpoint
from ._outage import OutageSwitch
from ._wire import Reply, gateway_error, success

TRACE_ID: Final = "X-Brex-Trace-Id"


class Connection(Protocol):
    """What a server can do with a connection, in scope["state"]["connection"]."""

    def reset(self) -> None:
        """Reset the connection at once; unsent data is lost."""

    def close(self) -> None:
        """Close the connection once everything is sent."""

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than the server runs."""

    def hold_back(self) -> None:
        """Hold data back until send_along, so that everything arrives together."""

    def send_along(self, data: bytes) -> None:
        """Send these bytes right behind the answer that is held back."""


@dataclass(slots=True)
class ReceivedRequest:
    """An entry of the request log. `status` is None until there is an answer, and after a reset.

    `query` is empty for the authorization server's endpoints, since a client may have put a secret there.
    """

    method: str
    path: str
    query: str
    idempotency_key: str | None
    status: int | None = None


class App:
    """The sandbox as an ASGI application."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        oauth: OAuthEndpoints,
        faults: FaultQueue,
        controls: Controls,
        outages: OutageSwitch,
        requests: deque[ReceivedRequest],
    ) -> None:
        self.faults = faults
        self.requests = requests
        self._gateway = gateway
        self._oauth = oauth
        self._controls = controls
        self._outages = outages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        call = Call(
            method=request.method,
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            body=body,
            content_type=request.headers.get("Content-Type"),
            idempotency_key=request.headers.get("Idempotency-Key"),
            authorization=request.headers.get("Authorization"),
        )
        if call.path.startswith(CONTROLS_PREFIX):
            await _Answer(scope, receive, send).reply(self._controls.answer(call))
            return
        is_oauth = call.path.startswith(PREFIX)
        received = ReceivedRequest(call.method, call.path, "" if is_oauth else call.query, call.idempotency_key)
        self.requests.append(received)
        answer = _Answer(scope, receive, send, received)
        outage = self._outages.current
        if outage is not None:
            await answer.reply(gateway_error(outage.status))
        elif is_oauth:
            await self._authorize(call, f"{scope.get('scheme', 'http')}://{request.headers.get('Host', '')}", answer)
        else:
            await self._exchange(call, answer)

    async def _authorize(self, call: Call, origin: str, answer: "_Answer") -> None:
        endpoint = find_endpoint(call)
        if isinstance(endpoint, Reply):
            await answer.reply(endpoint)
            return
        fault = self.faults.take(endpoint)
        with self._oauth.exchange(endpoint, call, origin, None if fault is None else fault.kind) as perform:
            await self._perform(nullcontext(perform), fault, answer)

    async def _exchange(self, call: Call, answer: "_Answer") -> None:
        route = find_route(call)
        if isinstance(route, Reply):
            await answer.reply(route)
            return
        caller = self._gateway.admit(call, route.operation.scopes)
        if isinstance(caller, Reply):
            await answer.reply(caller)
            return
        fault = self.faults.take(route.operation.id)
        await self._perform(self._gateway.once(route, call, caller), fault, answer)

    async def _perform(
        self, exchange: AbstractContextManager[Callable[[], Reply]], fault: Fault | None, answer: "_Answer"
    ) -> None:
        if fault is None:
            with exchange as perform:
                reply = perform()
            await answer.reply(reply)
            return
        reply = Reply(HTTPStatus.OK, b"")
        delays_the_change = fault.kind == "delay" and not fault.applied
        if fault.lets_through:
            with exchange as perform:
                if delays_the_change:
                    await answer.connection.pause(fault.seconds)
                reply = perform()
                if fault.seconds and not delays_the_change:
                    await answer.connection.pause(fault.seconds)
        elif fault.seconds:
            await answer.connection.pause(fault.seconds)
        reply = fault.alter(reply)
        match fault.effect.ending:
            case "reset":
                await answer.reset()
            case "cut":
                await answer.cut(reply)
            case "surplus":
                await answer.reply_twice(reply, reply if fault.json is None else success(fault.json))
            case _:
                await answer.reply(reply)


class _Answer:
    """The one answer to a request: a reply or a broken connection."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, received: ReceivedRequest | None = None) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._received = received

    @property
    def connection(self) -> Connection:
        connection: Connection = self._scope["state"]["connection"]
        return connection

    async def reply(self, reply: Reply) -> None:
        await self._response(reply)(self._scope, self._receive, self._send)

    async def reply_twice(self, reply: Reply, surplus: Reply) -> None:
        self.connection.hold_back()
        await self.reply(reply)
        self.connection.send_along(_raw(surplus))

    async def cut(self, reply: Reply) -> None:
        response = self._response(reply)
        await self._send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        half = reply.body[: len(reply.body) // 2]
        await self._send({"type": "http.response.body", "body": half, "more_body": True})
        self.connection.close()
        await self._gone()

    async def reset(self) -> None:
        self.connection.reset()
        await self._gone()

    def _response(self, reply: Reply) -> Response:
        headers = {**dict(reply.headers), TRACE_ID: secrets.token_hex(16)}
        response = Response(reply.body, int(reply.status), headers, reply.media_type)
        if self._received is not None:
            self._received.status = response.status_code
        return response

    async def _gone(self) -> None:
        # The next message can only be http.disconnect. If the application returned before it, uvicorn would complain
        # about a missing answer.
        await self._receive()


def _raw(reply: Reply) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {reply.media_type}\r\nContent-Length: {len(reply.body)}\r\n"
    return f"{head}{TRACE_ID}: {secrets.token_hex(16)}\r\n\r\n".encode() + reply.body
