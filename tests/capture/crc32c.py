"""CRC32C (RFC 3720) in plain Python, eight bytes a step (slicing by 8)."""

import struct

POLYNOMIAL = 0x82F63B78
EIGHT = struct.Struct("<Q")


def make_tables():
    """tables[n][byte]: what a byte leaves in the register after n more bytes."""
    tables = [[]]
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        tables[0].append(value)
    for _ in range(7):
        tables.append([value >> 8 ^ tables[0][value & 255] for value in tables[-1]])
    return tables


TABLES = make_tables()


def crc32c(data, before=0):
    """The CRC32C of `data`; with the CRC32C of the bytes `before` it, that of both together."""
    t0, t1, t2, t3, t4, t5, t6, t7 = TABLES
    register = before ^ 0xFFFFFFFF
    view = memoryview(data)
    whole = len(view) // 8 * 8
    for (step,) in EIGHT.iter_unpack(view[:whole]):
        step ^= register
        register = (t7[step & 255] ^ t6[step >> 8 & 255] ^ t5[step >> 16 & 255]
                    ^ t4[step >> 24 & 255] ^ t3[step >> 32 & 255] ^ t2[step >> 40 & 255]
                    ^ t1[step >> 48 & 255] ^ t0[step >> 56])
    for byte in view[whole:]:
        register = register >> 8 ^ t0[(register ^ byte) & 255]
    return register ^ 0xFFFFFFFF
