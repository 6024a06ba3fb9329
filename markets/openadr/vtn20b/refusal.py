"""A message that is not served: one name, the OpenADR and HTTP codes that go with it."""

from __future__ import annotations

from typing import Final

OUT_OF_SEQUENCE: Final = 450
NOT_ALLOWED: Final = 451
INVALID_ID: Final = 452
INVALID_DATA: Final = 454
NOT_AUTHORIZED: Final = 463


class Refused(Exception):
    """Why a message is not served.

    ``code`` is the OpenADR response code that a VEN reads; ``status`` is the HTTP status: 200 where an
    OpenADR answer can carry the code, else the answer is plain text that begins with the name.
    """

    def __init__(self, name: str, detail: str, *, code: int = INVALID_DATA, status: int = 200) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
        self.code = code
        self.status = status


class ReregistrationWanted(Exception):
    """The VEN has no registration here: it is asked to register anew."""

    def __init__(self, ven_id: str) -> None:
        super().__init__(ven_id)
        self.ven_id = ven_id
