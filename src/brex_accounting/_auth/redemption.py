"""Where a customer's consent ends: the callback is checked, and its code redeemed (RFC 6749 4.1.2, RFC 9207)."""

from __future__ import annotations

import asyncio
import copy
import hmac
import logging
import ssl
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs, urlsplit

from brex_accounting._arguments import check_text
from brex_accounting._clock import Clock, check_asyncio
from brex_accounting._engine.failure import advise
from brex_accounting._engine.refusals import Advice
from brex_accounting._http.addresses import check_base_url
from brex_accounting._http.connector import Transport
from brex_accounting._text import Secret, printable, veil
from brex_accounting.errors import BrexError, ConfigurationError, ReauthorizationRequiredError, TokenRefreshError

from .consent import OFFLINE_ACCESS, Consent, server_of
from .grant_store import GrantStore, StoreFailure
from .secret import Given, check_client_secret
from .tasks import ShieldedTask
from .token_endpoint import Route, TokenEndpoint, persist
from .token_messages import ClientAuth, Reply, check_client_auth
from .tokens import StoredToken, Token, TokenStore, _Veiled, check_store, store_key, with_new_consent

_REFUSALS = {"access_denied", "consent_required", "interaction_required", "login_required"}
_clock = Clock()
_under_way = set[ShieldedTask]()
"""Redemptions, which go on when nobody waits for them any more."""

logger = logging.getLogger("brex_accounting")


class _Callback(_Veiled, frozen=True):
    """What the browser came back with."""

    state: str | None = None
    code: str | None = None
    error: str | None = None
    error_description: str | None = None
    iss: str | None = None


async def finish_consent(
    consent: Consent,
    callback_url: str,
    *,
    client_id: str,
    client_secret: str,
    account: str,
    store: TokenStore,
    client_auth: ClientAuth | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: str | None = None,
    transport: Transport = None,
) -> None:
    """Finish a consent: redeem what the browser came back with, and put the tokens into the store.

    They replace what the store holds for the account. An `OAuth2` with the same client id, account and store uses them;
    a refresh token that it is given as a seed, and that was in the store before, does not replace them. Cancelling this
    does not end a redemption that is under way, since its code works only once. If the customer granted fewer scopes
    than were asked for, a warning is logged.

    Args:
        consent: What `begin_consent` returned for this customer.
        callback_url: The address that the browser came back to, with its query; its host does not matter.
        client_id: The partner's client id.
        client_secret: Its secret; it goes to the token endpoint that the consent was begun with.
        account: Your name for the customer.
        store: Where the tokens are kept.
        client_auth: Whether the client's credentials go as HTTP Basic or in the body (RFC 6749 2.3.1). Without it, the
            way that the discovery document names, Basic if it names both or none.
        ssl_context: As for `OAuth2`.
        proxy: As for `OAuth2`.
        transport: As for `OAuth2`.

    Raises:
        ConfigurationError: An argument cannot be right, or the callback does not belong to this consent (another
            state, another server): nothing was sent.
        ReauthorizationRequiredError: The customer refused.
        TokenRefreshError: The authorization server refused, or could not be asked; or the tokens could not be saved.
    """
    is_text = isinstance(callback_url, str)
    callback, secret = _read(callback_url) if is_text else None, Given(client_secret)
    del callback_url, client_secret  # or they would stand in tracebacks that show locals
    proxy = veil(proxy)
    check_asyncio()
    route = Route(transport, ssl_context, proxy)
    if not isinstance(consent, Consent):
        raise ConfigurationError("consent must be what begin_consent returned.")
    if not is_text:
        raise ConfigurationError("callback_url must be a string, such as str(request.url).")
    check_text(client_id, "client_id")
    check_text(account, "account")
    check_store(store)
    if client_auth is not None:
        check_client_auth(client_auth)
    server = server_of(consent)
    url = check_base_url(server.token_endpoint)
    endpoint = TokenEndpoint(url, client_id, check_client_secret(secret), client_auth or server.client_auth, route)
    grant = GrantStore(store, store_key(server.token_endpoint, client_id, account), _clock)
    redemption = _Redemption(consent, _checked(consent, callback, account), account, endpoint, grant)
    task = ShieldedTask(redemption.run(), loop=asyncio.get_running_loop(), name="brex-accounting-consent")
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    await asyncio.wait([task])
    if (error := task.result()) is not None:
        raise error


def _read(callback_url: str) -> _Callback | None:
    """Read the query of an address; None: it cannot be an authorization server's answer."""
    try:
        fields = parse_qs(urlsplit(callback_url).query, errors="strict", max_num_fields=100)
    except ValueError:
        return None
    known = {name: values for name, values in fields.items() if name in _Callback.__struct_fields__}
    if any(len(values) > 1 for values in known.values()):
        return None
    return _Callback(**{name: values[0] for name, values in known.items()})


def _checked(consent: Consent, callback: _Callback | None, account: str) -> _Callback:
    """Refuse a callback that does not give a code for this consent."""
    if callback is None or callback.state is None:
        facts = "The browser came back with what is not an answer to a consent"
        raise advise(ConfigurationError(), facts, Advice.GIVE_THE_CALLBACK)
    if not hmac.compare_digest(_bytes(callback.state), _bytes(consent.state)):
        raise ConfigurationError(
            "The callback's state is not this consent's: it is forged, or belongs to another consent."
        )
    server = server_of(consent)
    if callback.iss != server.issuer and (callback.iss is not None or server.promises_iss):
        raise ConfigurationError(
            "The callback does not name the authorization server (iss) that this consent was begun with: it is forged, "
            "or belongs to another consent."
        )
    if callback.error is not None:
        what = ": ".join(printable(text) for text in (callback.error, callback.error_description) if text)
        if callback.error in _REFUSALS:
            raise ReauthorizationRequiredError(
                f"There is no consent for {account!r} ({what}). To go on, ask the customer to consent again."
            )
        facts = f"The authorization server did not ask for the consent of {account!r} ({what})"
        raise advise(TokenRefreshError(), facts, Advice.BEGIN_AGAIN)
    if callback.code is None:
        facts = "The browser came back with neither a code nor an error"
        raise advise(ConfigurationError(), facts, Advice.GIVE_THE_CALLBACK)
    return callback


@dataclass(frozen=True, slots=True)
class _Redemption:
    """A code that becomes tokens."""

    consent: Consent
    callback: _Callback
    account: str
    endpoint: TokenEndpoint
    grant: GrantStore

    async def run(self) -> BrexError | None:
        """Lock, reload, redeem, save. An error is returned, as a copy without the frames that it came through."""
        try:
            async with self.grant.locked():
                return await self._redeem(await self.grant.load())
        except StoreFailure as failure:
            return self._failure(f"was not redeemed: {failure}", Advice.FINISH_AGAIN)
        except BrexError as error:
            return copy.copy(error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it could hold a secret
            return self._failure(f"broke off ({type(error).__name__})", Advice.BEGIN_AGAIN)

    async def _redeem(self, stored: StoredToken | None) -> BrexError | None:
        code, verifier = Secret(self.callback.code or ""), Secret(self.consent.code_verifier)
        scopes = " ".join(_scopes_of(self.consent))
        ask = partial(self.endpoint.redeem, code, verifier, self.consent.redirect_uri, scopes, _clock)
        reply = await persist(ask, _clock)
        token, problem, advice = reply.token, reply.text, Advice.BEGIN_AGAIN
        if reply.reply is Reply.GRANTED and token is not None and token.refresh_token is None:
            problem, advice = _without_refresh_token(self.consent)
        if token is None or token.refresh_token is None:
            return self._failure(f"could not be redeemed, and its code works only once: {problem}", advice)

        def change(now: StoredToken | None) -> StoredToken | None:
            return None if now is not None and now.token == token else with_new_consent(now, token)

        try:
            await self.grant.swap(stored, change)
        except StoreFailure as failure:
            return self._failure(f"could not be saved, and is lost ({failure})", Advice.FIX_THE_STORE)
        if reply.reply is not Reply.GRANTED:
            return self._failure(f"is stored with its refresh token, but {problem}", Advice.BEGIN_IF_IT_FAILS)
        if missing := _missing_scopes(self.consent, token):
            logger.warning("the consent of %r does not grant all that was asked for: %s", self.account, missing)
        return None

    def _failure(self, what: str, advice: Advice) -> TokenRefreshError:
        return advise(TokenRefreshError(), f"The consent of {self.account!r} {what}", advice)


def _without_refresh_token(consent: Consent) -> tuple[str, Advice]:
    if OFFLINE_ACCESS in _scopes_of(consent):
        return f"it gave no refresh token, although {OFFLINE_ACCESS} was asked for", Advice.PROMPT_FOR_CONSENT
    return "it gave no refresh token", Advice.ASK_FOR_OFFLINE_ACCESS


def _missing_scopes(consent: Consent, token: Token) -> str:
    """Return the scopes that were asked for and not granted, separated by spaces."""
    granted = set(_scopes_of(consent) if token.scope is None else token.scope.split())
    if token.refresh_token is not None:
        granted.add(OFFLINE_ACCESS)  # a server need not name it
    return " ".join(scope for scope in _scopes_of(consent) if scope not in granted)


def _scopes_of(consent: Consent) -> list[str]:
    return parse_qs(urlsplit(consent.url).query).get("scope", [""])[-1].split()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
