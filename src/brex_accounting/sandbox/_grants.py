"""What the authorization server knows and hands out: options, grants, answers, the log. No secret is in a repr."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, get_args

Rotation = Literal["rotate", "omit", "repeat"]
_DAY: Final = 86_400.0
ACCOUNT: Final = "account"
"""The name of the account that a sandbox has from the start."""


def fingerprint(token: str) -> str:
    """Return what stands for a token in the log: its SHA-256 in hexadecimal."""
    return sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationOptions:
    """The ways of the authorization server; ValueError when they make no sense.

    Attributes:
        client_id: the client's name; None makes a random one.
        client_secret: its secret; None makes a random one.
        expires_in: how many seconds an access token lives.
        rotation: `rotate` gives a new refresh token each time and the old one is dead at once; `omit` keeps the
            old one and answers without a refresh_token; `repeat` keeps it and answers with it.
        grace: for how many seconds a rotated-away refresh token gets the same answer again, as long as the refresh
            token in that answer was not used.
        refresh_token_lifetime: after how many seconds without use a refresh token expires; Brex says 90 days.
        code_lifetime: for how many seconds an authorization code can be redeemed.
        redirect_uris: where consent may lead, exactly; beside these, http on any port of 127.0.0.1 and [::1].
        consents: whether the customer consents; else the answer is access_denied.
    """

    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    expires_in: int = 3600
    rotation: Rotation = "rotate"
    grace: float = 0.0
    refresh_token_lifetime: float = 90 * _DAY
    code_lifetime: float = 60.0
    redirect_uris: tuple[str, ...] = ()
    consents: bool = True

    def __post_init__(self) -> None:
        """Check what would otherwise go wrong later."""
        if self.client_id == "" or self.client_secret == "":
            raise ValueError("client_id and client_secret must not be empty")
        if self.rotation not in get_args(Rotation):
            raise ValueError(f"rotation must be one of {', '.join(get_args(Rotation))}")
        if self.expires_in < 1:
            raise ValueError("expires_in must be at least 1 second")
        if not self.grace >= 0:
            raise ValueError("grace must not be negative")
        for uri in self.redirect_uris:
            if not uri.isascii() or not uri.isprintable() or " " in uri or "#" in uri or "://" not in uri:
                raise ValueError("redirect_uris must be absolute, in ASCII and without a fragment")


@dataclass(slots=True, eq=False)
class Grant:
    """What one customer allowed one client, and what became of it.

    Attributes:
        id: its name.
        account: the customer's Brex account.
        client_id: the client.
        scopes: what was allowed.
        revoked: whether it is over; it never comes back.
        reuse_events: how many times a rotated-away refresh token was used.
        in_flight: how many token requests for it are being answered.
        in_flight_max: how many were being answered at the same time, at most.
    """

    id: str
    account: str
    client_id: str
    scopes: frozenset[str]
    revoked: bool = False
    reuse_events: int = 0
    in_flight: int = 0
    in_flight_max: int = 0


@dataclass(slots=True, eq=False)
class TokenRequest:
    """A line of the log of token requests.

    Attributes:
        time: when it arrived, on the sandbox's clock.
        grant_type: as sent.
        client_auth: `basic` or `body`; None for neither, or both.
        fingerprint: the SHA-256 of the refresh token or the code that was sent.
        grant: the grant that it belongs to, where there is one.
        fault: the kind of the fault that befell it.
        outcome: `issued`, `repeated` (within the grace), or the OAuth error; None while, or because, it was not
            processed. The answer may have been lost all the same: see `fault`.
        description: why it was refused.
    """

    time: float
    grant_type: str | None
    client_auth: str | None
    fingerprint: str | None
    grant: Grant | None
    fault: str | None
    outcome: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """What the token endpoint gives."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int
    scopes: frozenset[str]
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the API: the holder of the rate limit and the Idempotency-Keys, its scopes, its account."""

    name: str = field(repr=False)
    scopes: frozenset[str]
    account: str


@dataclass(slots=True, eq=False)
class RefreshToken:
    """A refresh token, known by its fingerprint; it was rotated away when it has a successor."""

    grant: Grant
    used_at: float
    successor: Issued | None = None


@dataclass(slots=True, eq=False)
class AccessToken:
    """An access token, known by its fingerprint."""

    grant: Grant
    scopes: frozenset[str]
    expires_at: float


@dataclass(slots=True, eq=False)
class Code:
    """An authorization code, known by its fingerprint."""

    grant: Grant
    redirect_uri: str
    challenge: str | None
    expires_at: float
    spent: bool = False


class OAuthError(Exception):
    """A refusal, by its code in RFC 6749 and a sentence of printable ASCII."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description
