"""The data of the authorization server: options, grants, tokens, the log. No repr shows a secret."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, get_args

AuthMethod = Literal["client_secret_basic", "client_secret_post"]
Rotation = Literal["rotate", "omit", "repeat"]
_DAY: Final = 86_400.0
ACCOUNT: Final = "account"
"""The name of the account that exists from the start."""


def fingerprint(token: str) -> str:
    """Return what identifies a token in the log: its SHA-256 in hexadecimal."""
    return sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationOptions:
    """The behavior of the authorization server; ValueError when an option is invalid.

    Attributes:
        client_id: the id of the first client; None means a random one.
        client_secret: its secret; None means a random one.
        expires_in: how many seconds an access token lives.
        rotation: `rotate` issues a new refresh token each time, and the old one is invalid at once; `omit` keeps the
            old one and leaves it out of the answer; `repeat` keeps it and repeats it in the answer.
        grace: for how many seconds a rotated refresh token gets the same answer again, until its successor is used.
        refresh_token_lifetime: after how many seconds an unused refresh token expires; at Brex after 90 days.
        code_lifetime: for how many seconds an authorization code is valid.
        redirect_uris: where a consent may lead, besides http on any port of 127.0.0.1 and [::1].
        consents: whether the customer consents; otherwise the answer is access_denied.
        allowed_scopes: the scopes that the customer grants at most; None means all.
        offline_access_needs_prompt: whether offline_access requires prompt=consent, as in OpenID Connect Core,
            section 11.
        sends_iss: whether the callback names the issuer (RFC 9207); discovery says so too.
        auth_methods: how a client may authenticate: client_secret_basic, client_secret_post, or both.
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
    allowed_scopes: tuple[str, ...] | None = None
    offline_access_needs_prompt: bool = False
    sends_iss: bool = True
    auth_methods: tuple[AuthMethod, ...] = get_args(AuthMethod)

    def __post_init__(self) -> None:
        """Check the options."""
        methods = get_args(AuthMethod)
        for makes_sense, rule in (
            (self.client_id != "", "client_id must not be empty"),
            (self.client_secret != "", "client_secret must not be empty"),
            (self.rotation in get_args(Rotation), f"rotation must be one of {', '.join(get_args(Rotation))}"),
            (type(self.expires_in) is int and self.expires_in > 0, "expires_in must be a whole number, at least 1"),
            (
                all(map(_is_absolute, self.redirect_uris)),
                "redirect_uris must be absolute, ASCII and without a fragment",
            ),
            (
                self.auth_methods and set(self.auth_methods) <= set(methods),
                f"auth_methods must be one or both of {', '.join(methods)}",
            ),
            *(
                (getattr(self, name) >= 0, f"{name} must be a number of seconds, 0 or more")
                for name in ("grace", "refresh_token_lifetime", "code_lifetime")
            ),
            *(
                (type(getattr(self, name)) is bool, f"{name} must be true or false")
                for name in ("consents", "offline_access_needs_prompt", "sends_iss")
            ),
        ):
            if not makes_sense:
                raise ValueError(rule)


def _is_absolute(uri: str) -> bool:
    return uri.isascii() and uri.isprintable() and not {" ", "#"} & set(uri) and "://" in uri


@dataclass(slots=True, eq=False)
class Grant:
    """What one customer allowed one client to do, and its state.

    Attributes:
        id: identifies the grant.
        account: the customer's Brex account.
        client_id: the client.
        scopes: what the customer allowed.
        revoked: whether it was revoked, which is final.
        reuse_events: how many times a rotated refresh token was reused.
        in_flight: how many token requests are in progress.
        in_flight_max: the most that were in progress at the same time.
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
    """An entry of the log of token requests.

    Attributes:
        time: when it arrived, on the sandbox's clock.
        grant_type: as sent.
        client_auth: `basic` or `body`; None for neither, or both.
        fingerprint: the SHA-256 of the refresh token or code that was sent.
        grant: the grant that it belongs to, if any.
        fault: the kind of fault that was injected, if any.
        outcome: `issued`, `repeated` (within the grace period) or the OAuth error; None as long as it is not
            processed. A fault may still lose the answer.
        description: the error's description.
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
    """What the token endpoint issues."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int
    scopes: frozenset[str]
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller of the API: its name (for the rate limit and the Idempotency-Keys), scopes and account."""

    name: str = field(repr=False)
    scopes: frozenset[str]
    account: str


@dataclass(slots=True, eq=False)
class RefreshToken:
    """A refresh token, identified by its fingerprint; it was rotated if it has a successor."""

    grant: Grant
    used_at: float
    successor: Issued | None = None


@dataclass(slots=True, eq=False)
class AccessToken:
    """An access token, identified by its fingerprint."""

    grant: Grant
    scopes: frozenset[str]
    expires_at: float


@dataclass(slots=True, eq=False)
class Code:
    """An authorization code, identified by its fingerprint."""

    grant: Grant
    redirect_uri: str
    challenge: str | None
    expires_at: float
    spent: bool = False


class OAuthError(Exception):
    """An OAuth error: its code in RFC 6749 and a sentence in printable ASCII."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description
