"""Types of keys that are no addresses, for models.py.

The description of a type completes the sentence "expected ...": it is what a complaint says, unless a validator raises
an ExpectedError, whose text does.
"""

import re
from collections import Counter
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, Strict

from nat64d.config.errors import ExpectedError

Items = TypeVar("Items", bound=tuple[Any, ...])

UNIX_PATH_OCTETS = 107  # sun_path without its closing zero, unix(7)


def whole(low: int, high: int, because: str = "") -> Any:
    """What makes an int a whole number in low..high; `because` says where an unobvious bound comes from."""
    description = f"a whole number from {low} to {high}" + (f" ({because})" if because else "")
    return Field(strict=True, ge=low, le=high, description=description)


def listed(items: str, least: int = 0) -> Any:
    """What makes a tuple a list of at least `least` items; `items` says of what, in the plural."""
    return Field(min_length=least, description=f"a list of {items}" + (f", at least {least}" if least else ""))


def distinct(items: Items) -> Items:
    """A list without duplicates."""
    if twice := [item for item, count in Counter(items).items() if count > 1]:
        raise ExpectedError(f"a list without duplicates ({twice[0]} is listed twice)")
    return items


def interface_name(text: str) -> str:
    """A name that Linux takes for a network interface, and that is not a pattern."""
    if not re.fullmatch(r"(?!\.\.?$)[!-$&-.0-9;-~]{1,15}", text):
        raise ExpectedError(INTERFACE_NAME)
    return text


def _falling(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if list(numbers) != sorted(numbers, reverse=True):
        raise ExpectedError("a list with the largest number first")
    return numbers


def _absolute_path(path: str) -> str:
    if not re.fullmatch(r"/[^\0]*[^/\0]", path):
        raise ValueError
    return path


def _socket_file(path: str) -> str:
    if len(path.encode()) > UNIX_PATH_OCTETS:
        raise ExpectedError(f"a path of at most {UNIX_PATH_OCTETS} octets, as unix sockets need")
    return path


def _mode(text: str) -> str:
    if not re.fullmatch("0[67][0-7]{2}", text):
        raise ValueError
    return text


def _group(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,9}", text):
        raise ValueError
    return text


INTERFACE_NAME = "an interface name: 1 to 15 printable ASCII characters, none of them space, slash, colon or %"

Flag = Annotated[bool, Strict()]
Unique = AfterValidator(distinct)
Plateaus = Annotated[
    tuple[Annotated[int, whole(68, 65535)], ...], listed("numbers of octets", 1), Unique, AfterValidator(_falling)
]
InterfaceName = Annotated[str, AfterValidator(interface_name), Field(description=INTERFACE_NAME)]
AbsolutePath = Annotated[str, AfterValidator(_absolute_path), Field(description="the absolute path of a file")]
SocketFile = Annotated[AbsolutePath, AfterValidator(_socket_file)]
SocketMode = Annotated[
    str, AfterValidator(_mode), Field(description='a mode in octal that lets the owner read and write, such as "0660"')
]
GroupName = Annotated[str, AfterValidator(_group), Field(description="the name of a group")]
