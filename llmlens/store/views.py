"""What a user's SQL may name: views, and whose rows of them a principal sees."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """A view of schema `main`. `owner_column` holds the key id that a row belongs to; None: everyone sees all rows."""

    name: str
    owner_column: str | None = "key_id"


STANDARD_VIEWS = (View("calls"), View("attempts"), View("usage_daily"))
