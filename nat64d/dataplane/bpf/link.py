"""An object of BPF instructions -> instructions with the descriptors of maps and the numbers of a configuration."""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nat64d.dataplane.bpf.loops import closed_by_jumps

# ELF64 (System V ABI, generic part): offsets of what is read.
SECTIONS_AT, COUNTS_AT = 0x28, 0x3A
HEADER, SYMBOL, RELOCATION = "<IIQQQQIIQQ", "<IBBHQQ", "<QQ"
SECTION = "tc"  # that the program is in
INSTRUCTION = 8
PSEUDO_MAP_FD = 1  # of the source register: the number is a map's descriptor
CALL, CALL_HELPER = 0x85, 0  # opcode, and its source register where a helper of the kernel is called


class LinkError(Exception):
    """An object that is not one of this program."""


class Section(NamedTuple):
    """Where a section lies in the file."""

    offset: int
    size: int


def sections(elf: bytes) -> dict[str, Section]:
    """The sections of an object, by name. Raises LinkError."""
    if elf[:4] != b"\x7fELF":
        raise LinkError("no ELF file")
    (at,) = struct.unpack_from("<Q", elf, SECTIONS_AT)
    size, count, names = struct.unpack_from("<HHH", elf, COUNTS_AT)
    headers = [struct.unpack_from(HEADER, elf, at + k * size) for k in range(count)]
    base = headers[names][4]
    return {_name(elf, base + header[0]): Section(header[4], header[5]) for header in headers}


def _name(elf: bytes, at: int) -> str:
    return elf[at : elf.index(b"\0", at)].decode()


def relocations(elf: bytes, section: str) -> Iterator[tuple[int, str]]:
    """Offset in a section, and name of the symbol whose value belongs there."""
    found = sections(elf)
    if f".rel{section}" not in found:
        return
    table, symbols, names = found[f".rel{section}"], found[".symtab"], found[".strtab"]
    for at in range(table.offset, table.offset + table.size, struct.calcsize(RELOCATION)):
        where, info = struct.unpack_from(RELOCATION, elf, at)
        symbol = struct.unpack_from(SYMBOL, elf, symbols.offset + (info >> 32) * struct.calcsize(SYMBOL))
        yield where, _name(elf, names.offset + symbol[0])


def link(elf: bytes, section: str, maps: Mapping[str, int], parameters: Mapping[str, int]) -> bytes:
    """The instructions of a section, with the descriptors of `maps` and the numbers of `parameters`. Raises
    LinkError."""
    text = sections(elf)[section]
    code = bytearray(elf[text.offset : text.offset + text.size])
    for where, name in relocations(elf, section):
        if name in parameters:
            low, high = struct.unpack("<ii", struct.pack("<Q", parameters[name] & 0xFFFFFFFFFFFFFFFF))
            struct.pack_into("<i", code, where + INSTRUCTION + 4, high)
        elif name in maps:
            code[where + 1] = code[where + 1] & 0x0F | PSEUDO_MAP_FD << 4
            low = maps[name]
        else:
            raise LinkError(f"nobody says what {name} is")
        struct.pack_into("<i", code, where + 4, low)
    return closed_by_jumps(bytes(code))


def calls(code: bytes) -> list[int]:
    """The helpers that are called. Raises LinkError for a call of anything else."""
    found = []
    for at in range(0, len(code), INSTRUCTION):
        opcode, registers, _, number = struct.unpack_from("<BBhi", code, at)
        if opcode == CALL:
            if registers >> 4 != CALL_HELPER:
                raise LinkError(f"instruction {at // INSTRUCTION} calls another function")
            found.append(number)
    return found
