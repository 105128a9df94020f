"""What archspec says of CPUs.

`captures SEED`  of the Linux machines that archspec has captures of, as they are and with
                 flags taken away at random: a line of JSON each, [name, cpuinfo, answer]
`host`           of this machine, by /proc/cpuinfo
`cpuid`          of the CPU that this runs on, by its cpuid instruction
"""

import builtins
import io
import json
import pathlib
import platform
import random
import re
import sys

import archspec
import archspec.cpu.detect as detect

TARGETS = pathlib.Path(archspec.__file__).parent / "json/tests/targets"
FEWER = 25
MACHINES = {"power8le": "ppc64le", "power9": "ppc64le", "power10": "ppc64le", "u74mc": "riscv64", "x60": "riscv64"}


def machine(capture, text):
    """The architecture of a capture's machine."""
    if "CPU implementer" in text:
        return "aarch64"
    return MACHINES.get(capture.rsplit("-", 1)[1], "x86_64")


def answer(architecture, text):
    """What archspec makes of a /proc/cpuinfo."""
    opened = builtins.open
    platform.machine = lambda: architecture
    builtins.open = lambda path, *rest, **more: (
        io.StringIO(text) if path == "/proc/cpuinfo" else opened(path, *rest, **more))
    detect._machine.cache_clear()
    detect.host.cache_clear()
    try:
        return str(detect.host())
    finally:
        builtins.open = opened


def with_fewer_flags(text, chance):
    """The text without some of the flags, but with the one that tells 64 bits."""
    line = re.search(r"^((?:flags|Features)\s*: *)(.*)$", text, re.M)
    if not line:
        return text
    flags = line[2].split()
    gone = set(chance.sample(flags, chance.randint(1, 4))) - {"lm", "pni", "ssse3"}
    kept = " ".join(flag for flag in flags if flag not in gone)
    return text[:line.start()] + line[1] + kept + text[line.end():]


def captures(seed):
    chance = random.Random(seed)
    for path in sorted(TARGETS.glob("linux-*")):
        text = path.read_text()
        architecture = machine(path.name, text)
        for texts in [text] + [with_fewer_flags(text, chance) for _ in range(FEWER)]:
            print(json.dumps([path.name, texts, answer(architecture, texts)]))


if sys.argv[1] == "captures":
    captures(int(sys.argv[2]))
elif sys.argv[1] == "host":
    print(detect.host())
else:
    detect.detected_info = detect.cpuid_info
    print(detect.host())
