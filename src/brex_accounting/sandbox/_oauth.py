"""The authorization server's HTTP endpoints."""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, unquote_plus, urlencode

from ._authorization import AuthorizationServer
from ._gateway import Call, not_routed
from ._grants import ACCOUNT, Issued, OAuthError, TokenRequest
from ._wire import JSON, Reply, error, to_json

PREFIX: Final = "/oauth2/"
ISSUER_PATH: Final = "/oauth2/default"
TOKEN_PATH: Final = f"{ISSUER_PATH}/v1/token"
_AUTHORIZE_PATH: Final = f"{ISSUER_PATH}/v1/authorize"
# The endpoints that a fault can name.
_ENDPOINTS: Final = {
    TOKEN_PATH: ("token", "POST"),
    _AUTHORIZE_PATH: ("authorize", "GET"),
    f"{ISSUER_PATH}/.well-known/openid-configuration": ("discovery", "GET"),
}
ENDPOINT_IDS: Final = tuple(endpoint for endpoint, _ in _ENDPOINTS.values())
_NO_STORE: Final = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
_CHALLENGE: Final = (("WWW-Authenticate", 'Basic realm="sandbox", charset="UTF-8"'),)
_MALFORMED_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")
# An issuer uses https, or http on loopback: any other Host is a page that rebinds DNS to reach our socket.
_ORIGIN: Final = re.compile(r"https://[\w.-]+(:\d+)?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.ASCII)
_ANY_ORIGIN: Final = re.compile(r"https?://([\w.-]+|\[[0-9a-f:.]+\])(:\d+)?", re.ASCII)
_PRESENTED: Final = {"refresh_token": "refresh_token", "authorization_code": "code"}

Parameters = dict[str, list[str]]


def find_endpoint(call: Call) -> str | Reply:
    """Return the endpoint of a request, or the answer if it has none."""
    endpoint, method = _ENDPOINTS.get(call.path, ("", ""))
    if not endpoint:
        return not_routed(set())
    return endpoint if call.method == method else not_routed({method})


class OAuthEndpoints:
    """Discovery, consent and tokens over HTTP."""

    def __init__(self, server: AuthorizationServer) -> None:
        self._server = server
        self.any_host = False
        """Whether any Host is accepted, since the sandbox is served beyond this machine."""

    @contextmanager
    def exchange(self, endpoint: str, call: Call, origin: str, fault: str | None) -> Iterator[Callable[[], Reply]]:
        """Yield the function that answers this call; a token request is in flight until the context ends."""
        match endpoint:
            case "discovery":
                yield lambda: self._discovery(origin)
            case "authorize":
                yield lambda: self._authorize(call, origin)
            case _:
                with self._token_exchange(call, fault) as perform:
                    yield perform

    def _is_ours(self, origin: str) -> bool:
        return (_ANY_ORIGIN if self.any_host else _ORIGIN).fullmatch(origin) is not None

    def _discovery(self, origin: str) -> Reply:
        if not self._is_ours(origin):
            return error(HTTPStatus.BAD_REQUEST, "INVALID_REQUEST", "The Host header does not name the sandbox.")
        document: dict[str, JSON] = {
            "issuer": f"{origin}{ISSUER_PATH}",
            "authorization_endpoint": f"{origin}{_AUTHORIZE_PATH}",
            "token_endpoint": f"{origin}{TOKEN_PATH}",
            "scopes_supported": sorted(self._server.scopes),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": list(self._server.options.auth_methods),
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self._server.options.sends_iss,
        }
        return Reply(HTTPStatus.OK, to_json(document).encode())

    def _authorize(self, call: Call, origin: str) -> Reply:
        """Answer with a redirect, or with a page if the redirect_uri cannot be trusted."""
        try:
            parameters = _parse(call.query)
            client_id = _one(parameters, "client_id") or ""
            redirect_uri = _one(parameters, "redirect_uri") or ""
        except OAuthError as refusal:
            return _page(refusal.description)
        if not self._is_ours(origin):
            return _page("The Host header does not name the sandbox.")
        if not self._server.trusts(client_id, redirect_uri):
            return _page("The client_id is unknown, or the redirect_uri is not registered for it.")
        answer = {"iss": f"{origin}{ISSUER_PATH}"} if self._server.options.sends_iss else {}
        if len(parameters.get("state", [])) == 1:
            answer["state"] = parameters["state"][0]
        try:
            answer["code"] = self._consent(parameters, client_id, redirect_uri)
        except OAuthError as refusal:
            answer |= {"error": refusal.code, "error_description": refusal.description}
        location = f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(answer)}"
        headers = (("Location", location), ("Referrer-Policy", "no-referrer"), *_NO_STORE)
        return Reply(HTTPStatus.FOUND, b"", headers, "text/html")

    def _consent(self, parameters: Parameters, client_id: str, redirect_uri: str) -> str:
        asked = {name: _one(parameters, name) for name in parameters}
        if asked.get("response_type") != "code":
            code = "unsupported_response_type" if asked.get("response_type") else "invalid_request"
            raise OAuthError(code, "The response_type must be code.")
        challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
        if method != (None if challenge is None else "S256"):
            raise OAuthError("invalid_request", "A code_challenge requires the code_challenge_method S256.")
        # Nobody logs in here: OpenID Connect's login_hint says which account consents.
        account = asked.get("login_hint") or ACCOUNT
        scope, prompt = asked.get("scope"), asked.get("prompt")
        return self._server.consent(client_id, redirect_uri, scope, challenge, account=account, prompt=prompt)

    @contextmanager
    def _token_exchange(self, call: Call, fault: str | None) -> Iterator[Callable[[], Reply]]:
        try:
            form, unreadable = _read_form(call), None
        except OAuthError as refusal:
            form, unreadable = {}, refusal
        grant_type = form.get("grant_type")
        in_header, in_body = call.authorization is not None, "client_secret" in form
        with self._server.answering(
            grant_type=grant_type,
            client_auth=("basic" if in_header else "body") if in_header != in_body else None,
            token=form.get(_PRESENTED.get(grant_type or "", "")),
            fault=fault,
        ) as line:
            yield lambda: self._token(call.authorization, form, unreadable, line)

    def _token(
        self, authorization: str | None, form: Mapping[str, str], unreadable: OAuthError | None, line: TokenRequest
    ) -> Reply:
        try:
            if unreadable is not None:
                raise unreadable
            client_id, client_secret = _credentials(authorization, form)
            method = "client_secret_post" if authorization is None else "client_secret_basic"
            self._server.authenticate(client_id, client_secret, method)
            issued = self._grant(client_id, form)
        except OAuthError as refusal:
            line.outcome, line.description = refusal.code, refusal.description
            body = to_json({"error": refusal.code, "error_description": refusal.description})
            if refusal.code == "invalid_client":
                return Reply(HTTPStatus.UNAUTHORIZED, body.encode(), (*_NO_STORE, *_CHALLENGE))
            return Reply(HTTPStatus.BAD_REQUEST, body.encode(), _NO_STORE)
        line.outcome = "repeated" if issued.repeated else "issued"
        answer: dict[str, JSON] = {
            "token_type": "Bearer",
            "access_token": issued.access_token,
            "expires_in": issued.expires_in,
            "scope": " ".join(sorted(issued.scopes)),
        }
        if issued.refresh_token is not None:
            answer["refresh_token"] = issued.refresh_token
        return Reply(HTTPStatus.OK, to_json(answer).encode(), _NO_STORE)

    def _grant(self, client_id: str, form: Mapping[str, str]) -> Issued:
        match form.get("grant_type"):
            case None:
                raise OAuthError("invalid_request", "The grant_type is missing.")
            case "refresh_token":
                return self._server.refresh(client_id, _required(form, "refresh_token"), form.get("scope"))
            case "authorization_code":
                code, redirect_uri = _required(form, "code"), _required(form, "redirect_uri")
                return self._server.redeem(client_id, code, redirect_uri, form.get("code_verifier"))
            case _:
                raise OAuthError(
                    "unsupported_grant_type", "The grant_type must be authorization_code or refresh_token."
                )


def _read_form(call: Call) -> dict[str, str]:
    if (call.content_type or "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "The Content-Type must be application/x-www-form-urlencoded.")
    if call.query:
        raise OAuthError("invalid_request", "The parameters belong in the body, never in the URL.")
    parameters = _parse(call.body.decode("latin-1"))
    return {name: values[0] for name, values in parameters.items() if _one(parameters, name) is not None}


def _credentials(authorization: str | None, form: Mapping[str, str]) -> tuple[str, str]:
    """Return the client's credentials, from the header or from the body (RFC 6749 2.3.1)."""
    if authorization is None:
        return form.get("client_id", ""), form.get("client_secret", "")
    if "client_secret" in form:
        raise OAuthError("invalid_request", "The client must authenticate in the header or in the body, not in both.")
    scheme, _, encoded = authorization.partition(" ")
    try:
        pair = b64decode(encoded.strip(), validate=True).decode("ascii")
        client_id, client_secret = (_decode(part) for part in pair.split(":", 1))
    except ValueError:
        client_id = client_secret = ""
    if scheme.lower() != "basic" or not client_id:
        raise OAuthError("invalid_client", "The Authorization header must be Basic with form-encoded credentials.")
    if form.get("client_id", client_id) != client_id:
        raise OAuthError("invalid_request", "The client_id in the body differs from the one in the header.")
    return client_id, client_secret


def _decode(text: str) -> str:
    if _MALFORMED_ESCAPE.search(text):
        raise ValueError("a % without two hexadecimal digits")
    return unquote_plus(text, errors="strict")


def _parse(encoded: str) -> Parameters:
    """Parse form-encoded parameters; one without a value counts as absent (RFC 6749 3.1)."""
    if not encoded.isascii() or _MALFORMED_ESCAPE.search(encoded):
        raise OAuthError("invalid_request", "The parameters are not form-encoded.")
    try:
        return parse_qs(encoded, errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "The parameters are not UTF-8.") from None


def _one(parameters: Parameters, name: str) -> str | None:
    values = parameters.get(name, [])
    if len(values) > 1:
        raise OAuthError("invalid_request", "A parameter is repeated.")
    return values[0] if values else None


def _required(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise OAuthError("invalid_request", f"The {name} is missing.")
    return form[name]


def _page(text: str) -> Reply:
    page = f"<!DOCTYPE html><html><head><title>400</title></head><body><h1>{text}</h1></body></html>"
    return Reply(HTTPStatus.BAD_REQUEST, page.encode(), _NO_STORE, "text/html")
