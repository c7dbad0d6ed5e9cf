"""The text form of messages, read as Caffe's own parser reads it.

protobuf's Python parser takes and refuses other texts than the C++ one that Caffe has: it
lets an unknown escape pass, or a required field that is missing, and refuses ``01`` for a
bool or a comment that is not UTF-8. So prototxt is parsed here, by one rule for both.

Source: the text format's specification in the Protocol Buffers documentation; where that
leaves a choice, what BVLC's build does, which ``tests/test_parser.py`` asks.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

# No message of Caffe's holds one of its own type, so its nets are nested seven deep.
_DEEPEST = 64
_BYTE_ORDER_MARK = "\ufeff"

# Space and comments before a token, and then the token; what none of them matches is no text.
_SPACE = re.compile(r"(?:[ \t\r\n\v\f]+|#[^\x00\n]*(?:\n|\Z))*")
_TOKEN = re.compile(
    r"""(?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<float>(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[fF]?
          | (?:0|[1-9][0-9]*)(?:[eE][-+]?[0-9]+[fF]?|[fF]))(?![A-Za-z0-9_.])
      | (?P<integer>0[xX][0-9A-Fa-f]+|0[0-7]+|0|[1-9][0-9]*)(?![A-Za-z0-9_.])
      | (?P<string>"(?:[^"\\\n\x00]|\\[^\n\x00])*"|'(?:[^'\\\n\x00]|\\[^\n\x00])*')
      | (?P<symbol>[-{}<>\[\]:;,])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    rb"""\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})
      |(?:u|U0000)([dD][89abAB][0-9A-Fa-f]{2})\\u([dD][c-fC-F][0-9A-Fa-f]{2})
      |u([0-9A-Fa-f]{4})|U(00[01][0-9A-Fa-f]{5})|([abfnrtv\\?'"])|())""",
    re.VERBOSE,
)
_PLAIN_ESCAPES = dict(zip(b"abfnrtv\\?'\"", b"\a\b\f\n\r\t\v\\?'\"", strict=True))
_LAST_CODE_POINT = 0x10FFFF
_BOOLS = {
    "true": True, "True": True, "t": True,
    "false": False, "False": False, "f": False,
}  # fmt: skip
_INTEGER_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_CLOSERS = {"{": "}", "<": ">"}


class ParseError(ValueError):
    """What is wrong, and where: ``line`` and ``column`` count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line, self.column = line, column


def parse_into(text: str, message: Any) -> None:
    """Fill ``message``, empty so far, from ``text``.

    Bytes that are not UTF-8 stand in ``text`` as surrogates (``errors="surrogateescape"``).

    Raises:
        ParseError: the text is not one of this message.
    """
    parser = _Parser(text)
    parser.message(message, closer="")
    if missing := message.FindInitializationErrors():
        raise parser.error_at(
            len(text.rstrip()), f"required and not given in the file: {', '.join(missing)}"
        )


class _Parser:
    """A place in a text, with the token that starts there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = 0
        self.kind, self.token = "", ""
        self._end = 0
        self._depth = 0
        self.advance()

    # -- tokens -----------------------------------------------------------------------

    def advance(self) -> None:
        """Go to the next token; at the text's end its kind is ``end``."""
        found = _SPACE.match(self.text, self._end)
        self.start = found.end() if found else self._end
        if self.start == len(self.text):
            self.kind, self.token = "end", "the end of the file"
            return
        match = _TOKEN.match(self.text, self.start)
        if match is None:
            raise self.error(self._why_no_token())
        self.kind, self.token = str(match.lastgroup), match[0]
        self._end = match.end()

    def _why_no_token(self) -> str:
        first = self.text[self.start]
        if first in "\"'":
            return "a string without its closing quote on the same line"
        if first.isdecimal() or first == ".":
            word = re.compile(r"[\w.]+").match(self.text, self.start)
            return f"'{word[0] if word else first}' is not a number"
        if first == "#":
            return "a comment with a zero byte in it; is this a binary file?"
        if first == _BYTE_ORDER_MARK:
            return "a byte order mark; save the file as UTF-8 without one"
        if first < " " or "\udc80" <= first <= "\udcff":
            return f"the byte {ord(first) & 0xFF:#04x}, which is no text; is this a binary file?"
        if first == "/":
            return "'/' starts nothing here; comments start with '#'"
        return f"{first!r} starts nothing here"

    def error(self, message: str) -> ParseError:
        """An error at the token that stands here."""
        return self.error_at(self.start, message)

    def error_at(self, place: int, message: str) -> ParseError:
        line = self.text.count("\n", 0, place) + 1
        return ParseError(line, place - self.text.rfind("\n", 0, place), message)

    def expected(self, what: str) -> ParseError:
        token = self.token if self.kind == "end" else repr(_shortened(self.token))
        return self.error(f"expected {what}, found {token}")

    def taken(self, symbol: str) -> bool:
        """Whether ``symbol`` stood here; then it is behind us."""
        if self.kind != "symbol" or self.token != symbol:
            return False
        self.advance()
        return True

    # -- fields -----------------------------------------------------------------------

    def message(self, message: Any, closer: str) -> None:
        """The fields of ``message`` up to ``closer``, or to the text's end."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.error(f"messages nested more than {_DEEPEST} deep")
        while self.kind != "end" if not closer else not self.taken(closer):
            self._field(message, closer)
        self._depth -= 1

    def _field(self, message: Any, closer: str) -> None:
        descriptor = message.DESCRIPTOR
        if self.kind != "word":
            raise self.expected(
                f"a field of {descriptor.name}" + (f" or '{closer}'" * bool(closer))
            )
        field = descriptor.fields_by_name.get(self.token)
        if field is None:
            raise self.error(_no_such_field(self.token, descriptor))
        if not field.is_repeated and message.HasField(field.name):
            raise self.error(f"'{field.name}' is given twice; a {descriptor.name} has but one")
        self.advance()
        is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
        if not self.taken(":") and not is_message:
            raise self.expected(f"':' after '{field.name}'")
        read = self._submessage if is_message else self._scalar
        if field.is_repeated and self.taken("["):
            if not self.taken("]"):
                read(message, field)
                while not self.taken("]"):
                    if not self.taken(","):
                        raise self.expected("',' or ']'")
                    read(message, field)
        else:
            read(message, field)
        if not self.taken(";"):
            self.taken(",")

    def _submessage(self, message: Any, field: FieldDescriptor) -> None:
        closer = _CLOSERS.get(self.token) if self.kind == "symbol" else None
        if closer is None:
            raise self.expected(f"'{{' after '{field.name}'")
        self.advance()
        value = getattr(message, field.name)
        if field.is_repeated:
            value = value.add()
        else:
            value.SetInParent()
        self.message(value, closer)

    def _scalar(self, message: Any, field: FieldDescriptor) -> None:
        value = _READERS[field.cpp_type](self, field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)

    # -- values -----------------------------------------------------------------------

    def integer(self, field: FieldDescriptor) -> int:
        place = self.start
        least, most = _INTEGER_RANGES[field.cpp_type]
        negative = least < 0 and self.taken("-")
        if self.kind != "integer":
            raise self.expected(f"a whole number for '{field.name}'")
        value = -_integer(self.token) if negative else _integer(self.token)
        if not least <= value <= most:
            raise self.error_at(
                place, f"'{field.name}' is to be from {least} to {most}, found one outside"
            )
        self.advance()
        return value

    def number(self, field: FieldDescriptor) -> float:
        negative = self.taken("-")
        text = self.token.lower()
        if self.kind == "word" and text in ("inf", "infinity", "nan"):
            value = float(text)
        elif self.kind == "float":
            value = float(text.rstrip("f"))
        elif self.kind == "integer" and (text == "0" or text[0] != "0"):
            value = float(text)
        else:
            raise self.expected(f"a number for '{field.name}'")
        self.advance()
        return -value if negative else value

    def bool(self, field: FieldDescriptor) -> bool:
        value = _BOOLS.get(self.token) if self.kind == "word" else None
        if self.kind == "integer":
            value = {0: False, 1: True}.get(_integer(self.token))
        if value is None:
            raise self.expected(f"true or false for '{field.name}'")
        self.advance()
        return value

    def enum(self, field: FieldDescriptor) -> int:
        enum = field.enum_type
        assert enum is not None
        negative = self.taken("-")
        if self.kind == "word" and not negative:
            value = enum.values_by_name.get(self.token)
            wrong = f"{enum.name} has no value named '{self.token}'"
        elif self.kind == "integer":
            number = -_integer(self.token) if negative else _integer(self.token)
            value = enum.values_by_number.get(number)
            wrong = f"{enum.name} has no value {'-' * negative}{_shortened(self.token)}"
        else:
            raise self.expected(f"a value for '{field.name}'")
        if value is None:
            names = list(enum.values_by_name)
            raise self.error(f"{wrong}{_did_you_mean(self.token, names) or _choice(names)}")
        self.advance()
        return value.number

    def string(self, field: FieldDescriptor) -> str | bytes:
        if self.kind != "string":
            raise self.expected(f"a string in quotes for '{field.name}'")
        place, content = self.start, b""
        while self.kind == "string":
            content += self._unescaped()
            self.advance()
        if field.type == FieldDescriptor.TYPE_BYTES:
            return content
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise self.error_at(place, f"the string for '{field.name}' is not UTF-8") from None

    def _unescaped(self) -> bytes:
        raw = self.token[1:-1].encode("utf-8", "surrogateescape")
        return _ESCAPE.sub(self._replacement, raw) if b"\\" in raw else raw

    def _replacement(self, match: re.Match[bytes]) -> bytes:
        octal, byte, head, trail, short, long, plain, _ = match.groups()
        if octal or byte:
            # Caffe's parser keeps the low byte of \777.
            return bytes([(int(octal, 8) if octal else int(byte, 16)) & 0xFF])
        if plain:
            return bytes([_PLAIN_ESCAPES[plain[0]]])
        if head:
            # UTF-16's pair for what lies beyond four digits.
            return bytes.fromhex((head + trail).decode()).decode("utf-16-be").encode()
        code = int(short or long or b"-1", 16)
        if not 0 <= code <= _LAST_CODE_POINT:
            raise self.error(f"a string with an unknown escape: {_shortened(self.token)}")
        return chr(code).encode("utf-8", "surrogatepass")


_READERS: dict[int, Callable[[_Parser, FieldDescriptor], Any]] = {
    **dict.fromkeys(_INTEGER_RANGES, _Parser.integer),
    FieldDescriptor.CPPTYPE_FLOAT: _Parser.number,
    FieldDescriptor.CPPTYPE_DOUBLE: _Parser.number,
    FieldDescriptor.CPPTYPE_BOOL: _Parser.bool,
    FieldDescriptor.CPPTYPE_ENUM: _Parser.enum,
    FieldDescriptor.CPPTYPE_STRING: _Parser.string,
}


def _integer(token: str) -> int:
    """The value of an integer token; of too many digits to fit anything, a number too large."""
    if token[0] != "0" and len(token) > 64:
        return 2**65
    if token[:2] in ("0x", "0X"):
        return int(token, 16)
    return int(token, 8 if token[0] == "0" else 10)


def _shortened(token: str) -> str:
    return token if len(token) <= 40 else f"{token[:37]}..."


def _no_such_field(name: str, descriptor: Descriptor) -> str:
    suggestion = _did_you_mean(name, list(descriptor.fields_by_name))
    return f"{descriptor.name} has no field named '{_shortened(name)}'{suggestion}"


def _did_you_mean(name: str, names: list[str]) -> str:
    by_folded = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name[:64].lower(), by_folded, n=1)
    return f"; did you mean '{by_folded[close[0]]}'?" if close else ""


def _choice(names: list[str]) -> str:
    return f"; expected one of {', '.join(names)}" if len(names) <= 8 else ""
