"""A strict OAuth 2.0 authorization server as a state machine, without any I/O: RFC 6749, 7636 and 9700."""

import hmac
import re
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final

from ._grants import (
    ACCOUNT,
    AccessToken,
    AuthorizationOptions,
    Caller,
    Code,
    Grant,
    Issued,
    OAuthError,
    RefreshToken,
    TokenRequest,
    fingerprint,
)

OFFLINE_ACCESS: Final = "offline_access"
_OPENID_SCOPES: Final = frozenset({"openid", OFFLINE_ACCESS})
# The log of a long run keeps the latest.
_REQUESTS_LOGGED: Final = 100_000
# RFC 8252 7.3: the client chooses the port. localhost is not an address (8.3) and must be registered.
_LOOPBACK: Final = re.compile(
    r"http://(127\.0\.0\.1|\[::1\])(:\d{1,5})?(/[\w.~!$&'()*+,;=:@/%-]*)?(\?[\w.~!$&'()*+,;=:@/?%-]*)?", re.ASCII
)
_CHALLENGE: Final = re.compile(r"[\w-]{43}", re.ASCII)
_VERIFIER: Final = re.compile(r"[\w.~-]{43,128}", re.ASCII)


class AuthorizationServer:
    """Decides who may use the API, and for how long; tests look here for what happened.

    Attributes:
        options: its behavior; replacing them takes effect at once, except for client_id and client_secret.
        client_id: the client that exists from the start.
        scopes: all known scopes.
        grants: all grants, revoked ones included.
        requests: the latest 100,000 token requests, in order of arrival.
        access_tokens_issued: how many access tokens were issued.
        refresh_tokens_issued: how many refresh tokens were issued; a repeated one counts once.
    """

    def __init__(
        self,
        options: AuthorizationOptions,
        *,
        api_scopes: Iterable[str],
        clock: Callable[[], float],
        new_secret: Callable[[], str],
    ) -> None:
        self.options = options
        self.scopes: frozenset[str] = frozenset(api_scopes) | _OPENID_SCOPES
        self.grants: list[Grant] = []
        self.requests: deque[TokenRequest] = deque(maxlen=_REQUESTS_LOGGED)
        self.access_tokens_issued: int = 0
        self.refresh_tokens_issued: int = 0
        self._clock = clock
        self._new_secret = new_secret
        self._clients: dict[str, str] = {}
        self._refresh_tokens: dict[str, RefreshToken] = {}
        self._access_tokens: dict[str, AccessToken] = {}
        self._codes: dict[str, Code] = {}
        self.client_id: str = self.new_client(options.client_id, options.client_secret)[0]

    @property
    def client_secret(self) -> str:
        """The secret of `client_id`."""
        return self._clients[self.client_id]

    @property
    def reuse_events(self) -> int:
        """How many times a rotated refresh token was reused."""
        return sum(grant.reuse_events for grant in self.grants)

    # For tests, and on behalf of customers.

    def new_client(self, client_id: str | None = None, client_secret: str | None = None) -> tuple[str, str]:
        """Register a client and return its client_id and client_secret; whatever is not given is random."""
        client_id = client_id or f"client_{self._new_secret()[:12]}"
        if client_id in self._clients:
            raise ValueError("client_id must not be the id of another client")
        self._clients[client_id] = client_secret or f"secret_{self._new_secret()}"
        return client_id, self._clients[client_id]

    def new_grant(
        self,
        account: str = ACCOUNT,
        scopes: Iterable[str] | None = None,
        *,
        client_id: str | None = None,
        refresh_token: str | None = None,
    ) -> str:
        """Return a refresh token, as if the customer had consented.

        Args:
            account: the customer's account.
            scopes: the scopes to grant; None means all.
            client_id: the client to grant them to; None means the client that exists from the start.
            refresh_token: the token to use in place of a random one.
        """
        allowed = self.scopes if scopes is None else frozenset(scopes)
        if not allowed <= self.scopes:
            raise ValueError("scopes must be scopes of this server")
        if client_id is not None and client_id not in self._clients:
            raise ValueError("client_id must be the id of a registered client")
        if refresh_token is not None and (not refresh_token or self.grant_of(refresh_token) is not None):
            raise ValueError("refresh_token must not be empty or belong to another grant")
        return self._new_refresh_token(self._new_grant(account, client_id or self.client_id, allowed), refresh_token)

    def revoke(self, account: str | None = None) -> None:
        """Revoke the account's grants, or all grants: none of their tokens is valid any more."""
        for grant in self.grants:
            grant.revoked = grant.revoked or account in {None, grant.account}

    def expire_access_tokens(self, account: str | None = None) -> None:
        """Expire the account's access tokens, or all access tokens; later ones are not affected."""
        for token in self._access_tokens.values():
            if account in {None, token.grant.account}:
                token.expires_at = min(token.expires_at, self._clock())

    def grant_of(self, token: str) -> Grant | None:
        """Return the grant of an access token, refresh token or code, valid or not; None when it is unknown."""
        key = fingerprint(token)
        known = self._refresh_tokens.get(key) or self._access_tokens.get(key) or self._codes.get(key)
        return None if known is None else known.grant

    def is_live(self, token: str) -> bool:
        """Return whether this access or refresh token would be accepted."""
        refresh_token = self._refresh_tokens.get(fingerprint(token))
        if refresh_token is None:
            return self.caller(token) is not None
        return refresh_token.successor is None and not refresh_token.grant.revoked and not self._expired(refresh_token)

    # For the endpoints.

    @contextmanager
    def answering(
        self, *, grant_type: str | None, client_auth: str | None, token: str | None, fault: str | None
    ) -> Iterator[TokenRequest]:
        """Log a token request and count it as in flight while the context lasts; yield its log entry."""
        grant = None if token is None else self.grant_of(token)
        key = None if token is None else fingerprint(token)
        line = TokenRequest(self._clock(), grant_type, client_auth, key, grant, fault)
        self.requests.append(line)
        if grant is None:
            yield line
            return
        grant.in_flight += 1
        grant.in_flight_max = max(grant.in_flight_max, grant.in_flight)
        try:
            yield line
        finally:
            grant.in_flight -= 1

    def authenticate(self, client_id: str, client_secret: str, method: str = "client_secret_basic") -> None:
        """Raise for an unknown client, a wrong secret, or an authentication method that is not allowed."""
        if method not in self.options.auth_methods:
            raise OAuthError("invalid_client", f"The client may not use {method}.")
        expected = self._clients.get(client_id, "")
        if not hmac.compare_digest(expected.encode(), client_secret.encode()) or not expected:
            raise OAuthError("invalid_client", "The client_id or the client_secret is wrong.")

    def refresh(self, client_id: str, refresh_token: str, scope: str | None = None) -> Issued:
        """Issue an access token for a refresh token; reusing a rotated one revokes the grant."""
        token = self._refresh_tokens.get(fingerprint(refresh_token))
        if token is None or token.grant.client_id != client_id:
            raise OAuthError("invalid_grant", "The refresh token is unknown.")
        if token.successor is not None:
            return self._reuse(token, token.successor)
        if token.grant.revoked:
            raise OAuthError("invalid_grant", "The grant was revoked.")
        if self._expired(token):
            raise OAuthError("invalid_grant", "The refresh token expired.")
        scopes = token.grant.scopes if scope is None else _read_scope(scope, within=token.grant.scopes)
        token.used_at = self._clock()
        if self.options.rotation != "rotate":
            return self._issue(token.grant, scopes, refresh_token if self.options.rotation == "repeat" else None)
        token.successor = self._issue(token.grant, scopes, self._new_refresh_token(token.grant))
        return token.successor

    def redeem(self, client_id: str, code: str, redirect_uri: str, verifier: str | None) -> Issued:
        """Issue tokens for a code, once; reusing it revokes the grant. Any attempt uses it up."""
        if verifier is not None and not _VERIFIER.fullmatch(verifier):
            raise OAuthError("invalid_request", "The code_verifier is not 43 to 128 unreserved characters.")
        known = self._codes.get(fingerprint(code))
        if known is None or known.grant.client_id != client_id:
            raise OAuthError("invalid_grant", "The code is unknown.")
        if known.spent:
            known.grant.revoked = True
            raise OAuthError("invalid_grant", "The code was used before; the tokens issued for it are revoked.")
        known.spent = True
        if known.grant.revoked or self._clock() >= known.expires_at:
            raise OAuthError("invalid_grant", "The code expired, or its grant was revoked.")
        if redirect_uri != known.redirect_uri:
            raise OAuthError("invalid_grant", "The redirect_uri is not the one that received the code.")
        # RFC 9700 2.1.1: a verifier without a challenge is an error, or an attacker could strip the challenge.
        if not hmac.compare_digest("" if verifier is None else _s256(verifier), known.challenge or ""):
            raise OAuthError("invalid_grant", "The code_verifier does not match the code_challenge.")
        offline = OFFLINE_ACCESS in known.grant.scopes
        return self._issue(known.grant, known.grant.scopes, self._new_refresh_token(known.grant) if offline else None)

    def trusts(self, client_id: str | None, redirect_uri: str | None) -> bool:
        """Return whether a browser may be redirected there on behalf of this client."""
        if client_id not in self._clients or redirect_uri is None:
            return False
        return redirect_uri in self.options.redirect_uris or _LOOPBACK.fullmatch(redirect_uri) is not None

    def consent(
        self,
        client_id: str,
        redirect_uri: str,
        scope: str | None,
        challenge: str | None,
        *,
        account: str = ACCOUNT,
        prompt: str | None = None,
    ) -> str:
        """Ask the customer for consent and return a code; `challenge` is for S256, the only method."""
        if challenge is not None and not _CHALLENGE.fullmatch(challenge):
            raise OAuthError("invalid_request", "The code_challenge is not a SHA-256 in base64url.")
        scopes = _read_scope(scope or "", within=self.scopes)
        if not self.options.consents:
            raise OAuthError("access_denied", "The customer refused.")
        if self.options.allowed_scopes is not None:
            scopes &= frozenset(self.options.allowed_scopes)
        if self.options.offline_access_needs_prompt and "consent" not in (prompt or "").split(" "):
            scopes -= {OFFLINE_ACCESS}
        if not scopes:
            raise OAuthError("access_denied", "The customer allowed none of the scopes.")
        code = f"code_{self._new_secret()}"
        grant = self._new_grant(account, client_id, scopes)
        expires_at = self._clock() + self.options.code_lifetime
        self._codes[fingerprint(code)] = Code(grant, redirect_uri, challenge, expires_at)
        return code

    def caller(self, access_token: str) -> Caller | None:
        """Return the caller that this access token identifies; None when it is invalid or expired."""
        token = self._access_tokens.get(fingerprint(access_token))
        if token is None or token.grant.revoked or self._clock() >= token.expires_at:
            return None
        return Caller(f"{token.grant.client_id} {token.grant.account}", token.scopes, token.grant.account)

    def _reuse(self, token: RefreshToken, answer: Issued) -> Issued:
        successor = self._refresh_tokens[fingerprint(str(answer.refresh_token))]
        in_grace = self._clock() < token.used_at + self.options.grace
        if in_grace and successor.successor is None and not token.grant.revoked:
            return Issued(answer.access_token, answer.refresh_token, answer.expires_in, answer.scopes, repeated=True)
        token.grant.reuse_events += 1
        token.grant.revoked = True
        raise OAuthError("invalid_grant", "The refresh token was rotated and then reused; the grant is revoked.")

    def _expired(self, token: RefreshToken) -> bool:
        return self._clock() >= token.used_at + self.options.refresh_token_lifetime

    def _new_grant(self, account: str, client_id: str, scopes: frozenset[str]) -> Grant:
        grant = Grant(f"grant_{len(self.grants) + 1}", account, client_id, scopes)
        self.grants.append(grant)
        return grant

    def _new_refresh_token(self, grant: Grant, token: str | None = None) -> str:
        token = token or f"refresh_{self._new_secret()}"
        self._refresh_tokens[fingerprint(token)] = RefreshToken(grant, self._clock())
        self.refresh_tokens_issued += 1
        return token

    def _issue(self, grant: Grant, scopes: frozenset[str], refresh_token: str | None) -> Issued:
        token = f"access_{self._new_secret()}"
        expires_in = self.options.expires_in
        self._access_tokens[fingerprint(token)] = AccessToken(grant, scopes, self._clock() + expires_in)
        self.access_tokens_issued += 1
        return Issued(token, refresh_token, expires_in, scopes)


def _read_scope(scope: str, *, within: frozenset[str]) -> frozenset[str]:
    scopes = frozenset(scope.split(" "))
    if not scopes <= within:
        raise OAuthError("invalid_scope", "The scope is missing, unknown or beyond what was granted.")
    return scopes


def _s256(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
