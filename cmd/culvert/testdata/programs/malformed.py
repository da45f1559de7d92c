"""Executes programs and scripts that are malformed each in one way, and says how the kernel answers. Left out is what Linux's
versions or capabilities differ in: segments beyond the end of the file, and at address 0."""
import errno, os, struct

CODE = bytes.fromhex('b83c00000031ff0f05')  # exit(0)
BASE, PAGE = 0x400000, 4096
HEADERS = 64 + 4 * 56  # an ELF header and four program headers
HEADER = dict(zip('type machine version entry phoff shoff flags ehsize phentsize phnum'.split(),
                  ((16, 'H'), (18, 'H'), (20, 'I'), (24, 'Q'), (32, 'Q'), (40, 'Q'), (48, 'I'), (52, 'H'), (54, 'H'), (56, 'H'))))
SEGMENT = dict(zip('type flags offset vaddr paddr filesz memsz align'.split(),
                   ((0, 'I'), (4, 'I'), (8, 'Q'), (16, 'Q'), (24, 'Q'), (32, 'Q'), (40, 'Q'), (48, 'Q'))))
TEXT, DATA, STACK, SPARE = range(4)


def put(b, at, field, value):
    struct.pack_into('<' + field[1], b, at + field[0], value)


def header(**fields):
    def change(b):
        for name, v in fields.items():
            put(b, 0, HEADER[name], v)
    return change


def segment(n, **fields):
    def change(b):
        for name, v in fields.items():
            put(b, 64 + 56 * n, SEGMENT[name], v)
    return change


def interp(path, size=None):
    def change(b):
        segment(SPARE, type=3, offset=len(b), filesz=len(path) if size is None else size)(b)
        b += path
    return change


def program(*changes):
    b = bytearray(2 * PAGE)
    b[:16] = b'\x7fELF\x02\x01\x01'.ljust(16, b'\0')
    header(type=2, machine=62, version=1, entry=BASE + HEADERS, phoff=64, ehsize=64, phentsize=56, phnum=4)(b)
    segment(TEXT, type=1, flags=5, vaddr=BASE, filesz=PAGE, memsz=PAGE, align=PAGE)(b)
    segment(DATA, type=1, flags=6, offset=PAGE, vaddr=BASE + PAGE, filesz=100, memsz=9999, align=PAGE)(b)
    segment(STACK, type=0x6474e551, flags=6, align=16)(b)
    b[HEADERS:HEADERS + len(CODE)] = CODE
    for change in changes:
        change(b)
    return bytes(b)


good, high, huge = program(), 0xffff800000000000, 1 << 62
files = {
    'good': good, 'bigendian': program(lambda b: b.__setitem__(5, 2)), 'class32': program(lambda b: b.__setitem__(4, 1)),
    'zeros': bytes(9999), 'text': b'exit 5\n', 'empty': b'',
    **{f'truncated{n}': good[:n] for n in (1, 4, 16, 52, 63, 64, 65, 200, HEADERS, PAGE + 50)},
    **{name + ''.join(str(v) for v in f.values()): program(header(**f)) for name, f in (
        ('type', {'type': 1}), ('type', {'type': 4}), ('machine', {'machine': 183}), ('phnum', {'phnum': 65535}), ('phnum', {'phnum': 0}),
        ('phentsize', {'phentsize': 1}), ('phoff', {'phoff': 1 << 63}), ('phoff', {'phoff': (1 << 64) - 16}), ('phoff', {'phoff': 2 * PAGE - 9}),
        ('entry', {'entry': 0}), ('entry', {'entry': high}))},
    **{f'{"text data".split()[n]}-' + '-'.join(f'{k}-{v:x}' for k, v in f.items()): program(segment(n, **f)) for n, f in (
        (DATA, {'vaddr': high}), (DATA, {'vaddr': (1 << 64) - PAGE}), (DATA, {'vaddr': 0x7fffffffe000}),
        (DATA, {'vaddr': BASE}), (DATA, {'vaddr': BASE + PAGE + 1}), (DATA, {'memsz': huge}), (DATA, {'memsz': (1 << 64) - 1}),
        (DATA, {'memsz': 1 << 44}), (DATA, {'memsz': 1}), (TEXT, {'filesz': 1 << 40, 'memsz': 1 << 40}), (TEXT, {'filesz': 0}), (TEXT, {'memsz': 0}),
        (DATA, {'offset': PAGE + 1}), (DATA, {'align': 12345}), (DATA, {'align': 1 << 63}),
        (TEXT, {'flags': 0}), (TEXT, {'flags': 7}), (TEXT, {'type': 0}))},
    'noload': program(segment(TEXT, type=0), segment(DATA, type=0)),
    **{f'interp{n}': program(change) for n, change in enumerate((
        interp(b''), interp(b'\0'), interp(b'x'), interp(b'/no/such\0'), interp(b'/usr\0'), interp(b'/etc/passwd\0'), interp(b'/' * 5000 + b'\0'),
        interp(b'/bin/sh', 1 << 40), interp(os.path.abspath('good').encode() + b'\0'),
        lambda b: segment(SPARE, type=3, offset=1 << 40, filesz=9)(b)))},
    **{f'script{n}': s for n, s in enumerate((
        b'#!', b'#!\n', b'#! \t \n', b'#!/' + b'x' * 5000 + b'\n', b'#!/bin/sh\0x\nexit 3\n', b'#!/bin/sh\r\nexit 3\n', b'#!/bin/true x',
        b'#!/usr\n', b'#!' + os.path.abspath('script8').encode() + b'\n', b'#!good\n', b'#!/bin/sh -e\nexit 3\n'))},
}
for name, contents in files.items():
    with open(name, 'wb') as f:
        f.write(contents)
    os.chmod(name, 0o755)
for name in files:
    try:
        pid = os.posix_spawn('./' + name, [name], {})
    except OSError as e:
        print(name, errno.errorcode[e.errno])
        continue
    print(name, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
