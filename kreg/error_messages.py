"""One line for the message of an error: the cause that it names."""

import re

# Keras and TensorFlow write the place of an error before its cause.
_PLACES = ("in user code:", "Exception encountered when calling")
# By which Keras makes parts of its messages bold.
_BOLD = re.compile(r"\x1b\[[01]m")
_LEFT_OUT = " [...] "


def one_line(error: BaseException) -> str:
    """The class of an error and the cause in its message, in one line."""
    return f"{type(error).__name__}: {cause_of(error)}".rstrip(": ")


def cause_of(error: BaseException, longest: int = 300) -> str:
    """The line of an error's message that names the cause.

    Args:
        error: any error.
        longest: how many characters the line may have. Of a longer line, the
            start and the end stay. Defaults to `300`.

    Returns:
        One printable line; empty if the error has no message.
    """
    line = _printable(_line(error))
    if len(line) <= longest:
        return line
    half = (longest - len(_LEFT_OUT)) // 2
    return f"{line[:half]}{_LEFT_OUT}{line[-half:]}"


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        if error.filename is None:
            return error.strerror
        return f"{error.filename}: {error.strerror}"
    text = _BOLD.sub("", str(error))
    # Keras may put a whole config before the cause.
    text = text.rpartition("Exception encountered:")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_PLACES)]
    if lines and lines[0].endswith(":"):
        return " ".join(lines[:2])
    return lines[0] if lines else ""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
