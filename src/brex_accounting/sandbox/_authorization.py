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
# A long run's log keeps the latest.
_REQUESTS_LOGGED: Final = 100_000
# RFC 8252 7.3: the port is the client's choice. localhost is no address (8.3) and has to be registered.
_LOOPBACK: Final = re.compile(
    r"http://(127\.0\.0\.1|\[::1\])(:\d{1,5})?(/[\w.~!$&'()*+,;=:@/%-]*)?(\?[\w.~!$&'()*+,;=:@/?%-]*)?", re.ASCII
)
_CHALLENGE: Final = re.compile(r"[\w-]{43}", re.ASCII)
_VERIFIER: Final = re.compile(r"[\w.~-]{43,128}", re.ASCII)


class AuthorizationServer:
    """Who may use the API, and for how long; also what tests ask about it.

    Attributes:
        options: its ways; another AuthorizationOptions takes effect at once, but for the client's name and secret.
        client_id: the client that is there from the start.
        scopes: all scopes there are.
        grants: all grants, the revoked ones too.
        requests: the latest 100,000 token requests, in the order of their arrival.
        access_tokens_issued: how many access tokens were issued.
        refresh_tokens_issued: how many refresh tokens were issued; a repeated one does not count again.
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
        self.scopes = frozenset(api_scopes) | _OPENID_SCOPES
        self.grants: list[Grant] = []
        self.requests: deque[TokenRequest] = deque(maxlen=_REQUESTS_LOGGED)
        self.access_tokens_issued = 0
        self.refresh_tokens_issued = 0
        self._clock = clock
        self._new_secret = new_secret
        self._clients: dict[str, str] = {}
        self._refresh_tokens: dict[str, RefreshToken] = {}
        self._access_tokens: dict[str, AccessToken] = {}
        self._codes: dict[str, Code] = {}
        self.client_id, _ = self.new_client(options.client_id, options.client_secret)

    @property
    def client_secret(self) -> str:
        """The secret of `client_id`."""
        return self._clients[self.client_id]

    @property
    def reuse_events(self) -> int:
        """How many times a rotated-away refresh token was used."""
        return sum(grant.reuse_events for grant in self.grants)

    # What a test or a customer does.

    def new_client(self, client_id: str | None = None, client_secret: str | None = None) -> tuple[str, str]:
        """Register a client, and return its name and secret; what is not given is random."""
        client_id = client_id or f"client_{self._new_secret()[:12]}"
        if client_id in self._clients:
            raise ValueError("there is a client of this name")
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
            scopes: what is granted; None: everything.
            client_id: to whom; None: the client that is there from the start.
            refresh_token: the token to use in place of a random one.
        """
        allowed = self.scopes if scopes is None else frozenset(scopes)
        if not allowed <= self.scopes:
            raise ValueError("there is no such scope")
        if client_id is not None and client_id not in self._clients:
            raise ValueError("there is no such client")
        if refresh_token is not None and (not refresh_token or self.grant_of(refresh_token) is not None):
            raise ValueError("refresh_token must not be empty, or the token of another grant")
        return self._new_refresh_token(self._new_grant(account, client_id or self.client_id, allowed), refresh_token)

    def revoke(self, account: str | None = None) -> None:
        """Revoke the account's grants, or all: no token of theirs is good any more."""
        for grant in self.grants:
            grant.revoked = grant.revoked or account in {None, grant.account}

    def expire_access_tokens(self, account: str | None = None) -> None:
        """Let the account's access tokens, or all, expire now; those issued later live as long as ever."""
        for token in self._access_tokens.values():
            if account in {None, token.grant.account}:
                token.expires_at = min(token.expires_at, self._clock())

    def grant_of(self, token: str) -> Grant | None:
        """Return the grant of an access token, a refresh token or a code, alive or not; None for an unknown one."""
        key = fingerprint(token)
        known = self._refresh_tokens.get(key) or self._access_tokens.get(key) or self._codes.get(key)
        return None if known is None else known.grant

    def is_live(self, token: str) -> bool:
        """Tell whether this access or refresh token would be accepted."""
        refresh_token = self._refresh_tokens.get(fingerprint(token))
        if refresh_token is None:
            return self.caller(token) is not None
        return refresh_token.successor is None and not refresh_token.grant.revoked and not self._expired(refresh_token)

    # What the endpoints ask.

    @contextmanager
    def answering(
        self, *, grant_type: str | None, client_auth: str | None, token: str | None, fault: str | None
    ) -> Iterator[TokenRequest]:
        """Log a token request, and count it as in flight while the context lasts; yield its line."""
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
        """Refuse a client that is not known, or not by this secret, or that may not authenticate like this."""
        if method not in self.options.auth_methods:
            raise OAuthError("invalid_client", f"The client may not use {method}.")
        expected = self._clients.get(client_id, "")
        if not hmac.compare_digest(expected.encode(), client_secret.encode()) or not expected:
            raise OAuthError("invalid_client", "The client is not known by this secret.")

    def refresh(self, client_id: str, refresh_token: str, scope: str | None = None) -> Issued:
        """Give an access token for a refresh token; a rotated-away one ends the grant."""
        token = self._refresh_tokens.get(fingerprint(refresh_token))
        if token is None or token.grant.client_id != client_id:
            raise OAuthError("invalid_grant", "The refresh token is not known.")
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
        """Give tokens for a code, once; whoever comes with it again ends the grant. Any attempt spends it."""
        if verifier is not None and not _VERIFIER.fullmatch(verifier):
            raise OAuthError("invalid_request", "The code_verifier is not 43 to 128 unreserved characters.")
        known = self._codes.get(fingerprint(code))
        if known is None or known.grant.client_id != client_id:
            raise OAuthError("invalid_grant", "The code is not known.")
        if known.spent:
            known.grant.revoked = True
            raise OAuthError("invalid_grant", "The code was used before; what it gave is revoked.")
        known.spent = True
        if known.grant.revoked or self._clock() >= known.expires_at:
            raise OAuthError("invalid_grant", "The code expired, or its grant was revoked.")
        if redirect_uri != known.redirect_uri:
            raise OAuthError("invalid_grant", "The redirect_uri is not the one that the code was sent to.")
        # RFC 9700 2.1.1: a verifier without a challenge is refused too, or an attacker could strip the challenge.
        if not hmac.compare_digest("" if verifier is None else _s256(verifier), known.challenge or ""):
            raise OAuthError("invalid_grant", "The code_verifier is not the one of the code_challenge.")
        offline = OFFLINE_ACCESS in known.grant.scopes
        return self._issue(known.grant, known.grant.scopes, self._new_refresh_token(known.grant) if offline else None)

    def trusts(self, client_id: str | None, redirect_uri: str | None) -> bool:
        """Tell whether a browser may be sent there on behalf of this client."""
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
        """Ask the customer, and return a code; `challenge` is for S256, the only method."""
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
        """Return who calls with this access token; None when it is not, or no longer, good."""
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
        raise OAuthError("invalid_grant", "The refresh token was rotated away; the grant is revoked.")

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
        raise OAuthError("invalid_scope", "The scope is missing, unknown, or beyond what was granted.")
    return scopes


def _s256(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
