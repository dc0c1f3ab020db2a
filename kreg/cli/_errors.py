"""What the command says where it cannot do its work."""


class CommandError(Exception):
    """The work failed; the message is one line for people."""


class UsageError(CommandError):
    """The words after `kreg` do not go together."""


def in_one_line(error: BaseException) -> str:
    """What an error says, fit for a terminal whatever a file brought in.

    Args:
        error: of any kind. Ours speak for themselves; others are named.
    """
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
        if error.filename is not None:
            text = f"{error.filename}: {text}"
    else:
        text = _telling_line(str(error)) or type(error).__name__
        if not isinstance(error, (CommandError, ValueError, ImportError)):
            text = f"{type(error).__name__}: {text}"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _telling_line(text: str) -> str:
    """Keras prints whole configs before the error that it has met."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(_MET):
            return line.removeprefix(_MET)
    if lines and lines[0].endswith(":"):
        return " ".join(lines[:2])
    return lines[0] if lines else ""


_MET = "Exception encountered: "
_LONGEST = 600
