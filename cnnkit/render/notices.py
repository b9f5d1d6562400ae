"""The warnings that a command has shown: each is shown once, and all of them are in the JSON envelope."""

_shown: list[str] = []


def clear() -> None:
    """Forget the warnings of an earlier command in this process."""
    _shown.clear()


def add(text: str) -> bool:
    """Keep a warning; returns whether it is new, and to be shown."""
    if text in _shown:
        return False
    _shown.append(text)
    return True


def shown() -> tuple[str, ...]:
    """Return the warnings so far, in their order."""
    return tuple(_shown)
