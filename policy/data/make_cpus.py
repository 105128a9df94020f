#!/usr/bin/env python3
"""Makes cpus.toml from the data of archspec and LLVM.

Needs the PyPI packages `archspec` and `ziglang` (whose zig is built with
LLVM) and no network. `make_cpus.py` writes cpus.toml; `make_cpus.py --check`
changes nothing and fails when cpus.toml is not what the data say, or when one
of the packages, asked in another way, disagrees with it.

archspec decides between the names that it has. LLVM adds names, orders them by
their feature sets within a vendor, and adds flags. A flag that only LLVM
states is left out where archspec's captures of /proc/cpuinfo do not show it.
A host is identified by archspec's vendors, parts, generations and flags alone.
"""

import functools
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import archspec
import ziglang

import cpu_names as names

HERE = pathlib.Path(__file__).parent
OUTPUT = HERE / "cpus.toml"
ARCHSPEC = pathlib.Path(archspec.__file__).parent / "json"
ZIG = pathlib.Path(ziglang.__file__).parent / "zig"

FACTS = json.loads((ARCHSPEC / "cpu/microarchitectures.json").read_text())
TARGETS = FACTS["microarchitectures"]


def zig(*args):
    """What zig prints."""
    run = subprocess.run([ZIG, *args], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"zig {' '.join(args)}: {run.stderr[:400]}")
    return run.stdout


@functools.cache
def llvm_features(arch, cpu):
    """The features that LLVM gives a CPU, implied ones included."""
    text = zig("build-obj", "--show-builtin", "-target", f"{arch}-linux", f"-mcpu={cpu}")
    listed = re.search(r"pub const cpu: .*?featureSet\(&\.\{(.*?)\}\)", text, re.S)[1]
    return frozenset(re.findall(r"\w+", listed))


def llvm_names(arch):
    """The CPU names that LLVM has for an architecture."""
    text = zig("targets")
    cpus = text[text.index("\n    .cpus = .{"):]
    block = re.search(rf"\n        \.{arch} = \.\{{\n(.*?)\n        \}},", cpus, re.S)[1]
    return re.findall(r"^            \.(\w+) = \.\{", block, re.M)


class Cpu:
    """One name of the table."""

    def __init__(self, family, vendor, llvm=None, own=None):
        self.family, self.vendor, self.own = family, vendor, own
        self.order, self.flags = None, set(own["features"] if own else ())
        if llvm:
            self.order, stated = family.read(llvm_features(family.llvm_arch, llvm))
            self.stated = stated
        else:
            self.stated = set()
        self.runs = set()

    @property
    def generic(self):
        return self.vendor == "generic"


def ancestors(name):
    """What archspec says that `name` runs besides itself."""
    found = set()
    for parent in TARGETS[name]["from"]:
        found |= {parent} | ancestors(parent)
    return found


def collect():
    """All CPUs by name: archspec's, then LLVM's."""
    cpus = {}
    for family in names.FAMILIES:
        members = [name for name in TARGETS if family.root in {name} | ancestors(name)]
        known = set(llvm_names(family.llvm_arch)) | set(family.generics.values())
        mapped = {name: family.llvm_of(name) for name in members}
        for name in members:
            llvm = mapped[name] if mapped[name] in known else None
            cpus[name] = Cpu(family, TARGETS[name]["vendor"], llvm, TARGETS[name])
        for name, llvm in family.generics.items():
            if name not in cpus:
                cpus[name] = Cpu(family, "generic", llvm)
        for llvm in sorted(known - set(mapped.values())):
            if llvm in family.generics.values() or not family.takes(llvm):
                continue
            name = family.name_of(llvm)
            if family.bits64 <= llvm_features(family.llvm_arch, llvm):
                cpus.setdefault(name, Cpu(family, family.vendor_of(llvm), llvm))
    cpus["power11"] = Cpu(names.OTHER, "IBM")
    cpus["power11"].runs = {"power10"} | ancestors("power10")
    others = [name for name in TARGETS if name not in cpus]
    for name in others:
        cpus[name] = Cpu(names.OTHER, TARGETS[name]["vendor"], None, TARGETS[name])
    return cpus


def captures():
    """The flags of real hosts by CPU name: one set for each capture."""
    found = {}
    for path in sorted((ARCHSPEC / "tests/targets").glob("linux-*")):
        line = re.search(r"^(?:flags|Features)\s*:(.*)$", path.read_text(), re.M)
        name = path.name.rsplit("-", 1)[1]
        if line and name in TARGETS and TARGETS[name]["vendor"] != "generic":
            flags = {names.PROC_SPELLING.get(flag, flag) for flag in line[1].split()}
            found.setdefault(name, []).append(flags)
    return found


def add_flags(cpus):
    seen = captures()
    for name, cpu in cpus.items():
        vocabulary = {flag for other in cpus.values() if other.family is cpu.family
                      for flag in other.flags | other.stated}
        shown = seen.get(name)
        stated = cpu.stated & set.union(*shown) if shown else cpu.stated
        reported = set.intersection(*shown) & vocabulary if shown else set()
        cpu.flags |= stated | reported


def add_order(cpus):
    def runs(host, build):
        ours, theirs = cpus[host], cpus[build]
        if host == build or ours.family is not theirs.family:
            return False
        if ours.own and theirs.own:
            return build in ancestors(host)
        if (host, build) in names.NEWER:
            return False
        same = theirs.generic or theirs.vendor == ours.vendor and not ours.generic
        return same and None not in (ours.order, theirs.order) and theirs.order <= ours.order

    for host, cpu in cpus.items():
        cpu.runs |= {build for build in cpus if runs(host, build)}
    changed = True
    while changed:
        changed = False
        for host, cpu in cpus.items():
            more = set().union(*(cpus[build].runs for build in cpu.runs if cpus[build].own or not cpu.own))
            if cpu.own:
                more = {build for build in more if not cpus[build].own}
            more -= cpu.runs | {host}
            changed |= bool(more)
            cpu.runs |= more


def merge_equal(cpus):
    """Names that run the same builds become aliases of one of them."""
    aliases = {}
    for name in sorted(cpus, key=lambda name: names.PREFERRED.get(name, 0)):
        cpu = cpus[name]
        if cpu.own or cpu.generic or cpu.family is names.POWER:
            continue
        for other in sorted(cpu.runs, key=lambda other: (cpus[other].own is None, other)):
            twin = cpus[other]
            equal = name in twin.runs and cpu.runs - {other} == twin.runs - {name}
            if equal and (cpu.stated <= twin.flags if twin.own else cpu.stated == twin.stated):
                aliases[name] = other
                break
        if name in aliases:
            del cpus[name]
            for rest in cpus.values():
                rest.runs.discard(name)
    for name, target in aliases.items():
        while aliases.get(target):
            target = aliases[target]
        aliases[name] = target
    return aliases


def reduce_edges(cpus):
    """(order, parents, also): `parents` pass on what they run."""
    parents = {}
    for name, cpu in cpus.items():
        whole = [build for build in cpu.runs
                 if cpus[build].runs - {name} <= cpu.runs
                 and (name not in cpus[build].runs or cpus[build].own)]
        own = cpu.own["from"] if cpu.own else []
        covered = set(own).union(*(cpus[parent].runs for parent in own))
        for build in sorted(whole, key=lambda build: (-len(cpus[build].runs), not cpus[build].own, build)):
            if build not in covered:
                own = [*own, build]
                covered |= {build} | cpus[build].runs
        parents[name] = own
    order, reach = [], {}

    def place(name):
        if name not in reach:
            for parent in parents[name]:
                place(parent)
            reach[name] = set(parents[name]).union(*(reach[parent] for parent in parents[name]))
            order.append(name)

    for name in cpus:
        place(name)
    for name, cpu in cpus.items():
        extra = reach[name] - cpu.runs - {name}
        if extra:
            sys.exit(f"{name} would run {sorted(extra)}")
    return order, parents, {name: sorted(cpu.runs - reach[name]) for name, cpu in cpus.items()}


def quoted(words):
    return "[" + ", ".join(json.dumps(word) for word in words) + "]"


def added_flags(cpus, name, below):
    """(those by which archspec identifies the CPU, over its ancestors there; those that others state)."""
    cpu = cpus[name]
    if not cpu.own:
        return sorted(cpu.flags - below), []
    stated = archspec_flags(name).difference(*(archspec_flags(parent) for parent in ancestors(name)))
    return sorted(stated), sorted(cpu.flags - below - stated)


def archspec_flags(name):
    """What archspec, where it reads the file, makes of the features that the file states."""
    features = set(TARGETS[name]["features"])
    return features | ({"sse3"} if "ssse3" in features else set())


def identity(cpu):
    """What a CPU says of itself, besides its flags."""
    if cpu.generic:
        return ["generic = true"] + ([] if cpu.own else ['from = "llvm"'])
    if cpu.own is None:
        return ['from = "llvm"']
    own = [f"vendor = {json.dumps(cpu.own['vendor'])}"]
    if cpu.own.get("cpupart", "Unknown") != "Unknown":
        own.append(f"part = {json.dumps(cpu.own['cpupart'])}")
    if "generation" in cpu.own:
        own.append(f"generation = {cpu.own['generation']}")
    return own


def render():
    """The text of cpus.toml."""
    cpus = collect()
    for alias in names.ALIASES:
        cpus.pop(alias, None)
    add_flags(cpus)
    add_order(cpus)
    aliases = merge_equal(cpus)
    order, parents, also = reduce_edges(cpus)
    flags, lines = {}, []
    for name in order:
        below = set().union(*(flags[parent] for parent in parents[name])) if parents[name] else set()
        flags[name] = below | cpus[name].flags
        features, extra = added_flags(cpus, name, below)
        lists = (("parents", parents[name]), ("also", also[name]), ("features", features), ("extra", extra))
        fields = identity(cpus[name])
        fields += [f"{key} = {quoted(words)}" for key, words in lists if words]
        key = name if re.fullmatch(r"\w+", name) else json.dumps(name)
        lines.append(f"{key} = {{ {', '.join(fields)} }}")
    for alias, target in names.ALIASES.items():
        aliases.setdefault(alias, aliases.get(target, target))
    for name in [*cpus, *aliases]:
        spaced = re.fullmatch(r"([a-z]{3,})(lake|rapids|bridge|forest|ridge)((?:_\w+)?)", name)
        if spaced:
            spelt = f"{spaced[1]}_{spaced[2]}{spaced[3]}"
            aliases.setdefault(spelt, aliases.get(name, name))
    body = names.HEADER + "\n[cpu]\n" + "\n".join(lines)
    body += "\n\n# Other names for the same thing: compilers, products, cloud instances.\n[alias]\n"
    body += "\n".join(f"{alias} = {json.dumps(aliases[alias])}" for alias in sorted(aliases))
    body += "\n\n# Vendors of arm64 CPUs by the number that /proc/cpuinfo has.\n[arm_vendor]\n"
    body += "\n".join(f'{code} = {json.dumps(vendor)}' for code, vendor in FACTS["conversions"]["arm_vendors"].items())
    return body + "\n\n" + names.FLAGS_AND_GPUS


def agrees_with_archspec(table):
    """archspec's own comparison, for all pairs of its names."""
    from archspec.cpu import TARGETS as known
    wrong = []
    for host in known:
        for build in known:
            says = known[host] >= known[build] and known[host].family == known[build].family
            if says != (host == build or build in table.runs[host]):
                wrong.append(f"{host} runs {build}: archspec says {says}")
        missing = set(known[host].features) ^ table.identifying[host]
        if missing:
            wrong.append(f"{host} is not identified by {sorted(missing)} alike")
        alike = (known[host].vendor, known[host].cpu_part.replace("Unknown", ""), known[host].generation)
        if alike != table.identity[host]:
            wrong.append(f"{host} is {table.identity[host]}: archspec says {alike}")
    return wrong


def agrees_with_clang(table):
    """The x86-64 level and the arm64 version by clang's own macros."""
    wrong = []
    for family in (names.X86, names.ARM):
        for llvm in llvm_names(family.llvm_arch):
            name = table.names.get(family.name_of(llvm))
            if name is None or llvm == "generic" or not family.bits64 <= llvm_features(family.llvm_arch, llvm):
                continue
            text = zig("cc", "-target", f"{family.llvm_arch}-linux-musl", f"-mcpu={llvm}",
                       "-dM", "-E", "-x", "c", "/dev/null")
            macros = dict(re.findall(r"^#define (\w+) ?(.*)$", text, re.M))
            level = family.level_of(macros)
            if level not in {name} | table.runs[name] and name not in names.ARCHSPEC_DECIDES:
                wrong.append(f"{name}: clang says {level}")
    return wrong


class Table:
    """cpus.toml as MetaHub reads it."""

    def __init__(self, text):
        read = tomllib.loads(text)
        self.runs, self.flags, self.identifying, self.identity = {}, {}, {}, {}
        for name, cpu in read["cpu"].items():
            parents, features = cpu.get("parents", []), set(cpu.get("features", []))
            inherited = [self.flags[parent] for parent in parents]
            self.flags[name] = features.union(cpu.get("extra", []), *inherited)
            known = [self.identifying[parent] for parent in parents if "from" not in read["cpu"][parent]]
            self.identifying[name] = features.union(*known)
            vendor = "generic" if "generic" in cpu else cpu.get("vendor")
            self.identity[name] = (vendor, cpu.get("part", ""), cpu.get("generation", 0))
            self.runs[name] = set(parents).union(*(self.runs[parent] for parent in parents))
        for name, cpu in read["cpu"].items():
            self.runs[name] = self.runs[name] | set(cpu.get("also", []))
        self.names = {**{name: name for name in self.runs}, **read["alias"]}


def main():
    text = render()
    if sys.argv[1:] != ["--check"]:
        OUTPUT.write_text(text)
        return
    written = OUTPUT.read_text()
    table = Table(written)
    wrong = agrees_with_archspec(table) + agrees_with_clang(table)
    if written != text:
        wrong.append("cpus.toml is not what the data say: run make_cpus.py")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(table.runs)} names and {len(table.names)} spellings agree")


if __name__ == "__main__":
    main()
