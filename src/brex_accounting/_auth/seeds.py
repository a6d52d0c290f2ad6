"""Refresh tokens that callers passed or customers consented to: which are new, and which must never come back."""

from __future__ import annotations

from .tokens import StoredToken, Token, fingerprint

SEEDS = 50
"""How many former ones are remembered, so that none of them is ever sent again."""


def is_known(refresh_token: str, stored: StoredToken | None) -> bool:
    """Return whether the store has had this one before."""
    return fingerprint(refresh_token) in _known(stored)


def with_new_consent(stored: StoredToken | None, token: Token) -> StoredToken:
    """Return what to store after a new consent.

    The seeds before it are remembered: one that is still in some environment must not replace the consent.
    """
    seed = fingerprint(token.refresh_token or "")
    former = tuple(known for known in _known(stored) if known != seed)
    return StoredToken(token, 0, seed_fingerprint=seed, former_seeds=former[:SEEDS])


def _known(stored: StoredToken | None) -> tuple[str, ...]:
    return () if stored is None else (*filter(None, [stored.seed_fingerprint]), *stored.former_seeds)
