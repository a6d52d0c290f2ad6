"""Errors that the API functions raise."""


class UnexpectedStatus(Exception):
    """The API answered with a status that its description does not list.

    Raised unless the client was made with ``raise_on_unexpected_status=False``; the functions then return None.
    """

    def __init__(self, status_code: int, content: bytes):
        self.status_code = status_code
        self.content = content
        super().__init__(f"the API answered with the undocumented status {status_code} ({len(content)} bytes)")


class InvalidResponse(Exception):
    """The body of an answer is not what the API's description says: not JSON, cut short, or of another shape.

    ``reason`` says where and why (a JSON path and the types), never the values found there.
    """

    def __init__(self, status_code: int, content: bytes, reason: str):
        self.status_code = status_code
        self.content = content
        self.reason = reason
        super().__init__(f"the answer with status {status_code} ({len(content)} bytes) cannot be understood: {reason}")


__all__ = ["InvalidResponse", "UnexpectedStatus"]
