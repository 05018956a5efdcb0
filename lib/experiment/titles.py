"""What people call an experiment and its networks, on the page, in Table 1, in figures and in the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

LONGEST = 40  # characters; Table 1 names two networks in 100 columns


def printable(text: str) -> str:
    """Return a title as it is. Raises ValueError if it has control characters, or spaces at an end."""
    if not text.isprintable() or text != text.strip():
        raise ValueError("a title is one line of printable characters, without spaces at its ends")
    return text


Title = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(printable)]


def shown_titles(titles: Mapping[str, str | None]) -> dict[str, str]:
    """Return what each network is called: its title, else its name. Raises ValueError if two are called the same."""
    shown = {name: title or name for name, title in titles.items()}
    twice = sorted(title for title, count in Counter(shown.values()).items() if count > 1)
    if twice:
        raise ValueError(f"networks: {twice} would name two of them: give each a title of its own")
    return shown
