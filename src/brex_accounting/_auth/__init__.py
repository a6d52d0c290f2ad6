"""OAuth 2.0: tokens, their refresh, their stores, and consent."""
