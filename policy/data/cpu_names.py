"""What make_cpus.py is told: names, vendors, spellings of flags."""

import re


class Family:
    """CPUs that have a common baseline, and how LLVM writes of them."""

    def __init__(self, root, llvm_arch, *, generics=(), renamed=(), skipped="", vendors=(),
                 order=(), flags=None, bits64=()):
        self.root, self.llvm_arch = root, llvm_arch
        self.generics, self.renamed = dict(generics), dict(renamed)
        self.skipped, self.vendors = re.compile(skipped or "$^"), vendors
        self.ordering, self.spelling = frozenset(order), flags
        self.bits64 = frozenset(bits64)

    def llvm_of(self, name):
        return self.generics.get(name) or self.renamed.get(name, name)

    def name_of(self, llvm):
        back = {other: name for name, other in {**self.renamed, **self.generics}.items()}
        return back.get(llvm, llvm.lower())

    def takes(self, llvm):
        return not self.skipped.fullmatch(llvm)

    def vendor_of(self, llvm):
        return next((vendor for vendor, pattern in self.vendors if re.match(pattern, llvm)), llvm)

    def read(self, features):
        """(what orders CPUs, flags as Linux spells them) of LLVM's features."""
        order = frozenset(features & self.ordering if self.ordering else features)
        flags = set()
        for feature in features:
            spelt = self.spelling.get(feature, ()) if self.spelling else ()
            flags.update([spelt] if isinstance(spelt, str) else spelt)
        return order, flags

    def level_of(self, macros):
        """The generic CPU that these macros of clang amount to."""
        if self.llvm_arch == "x86_64":
            needs = (("x86_64_v4", "AVX512F AVX512BW AVX512CD AVX512DQ AVX512VL AVX2 BMI2"),
                     ("x86_64_v3", "AVX2 BMI BMI2 F16C FMA LZCNT MOVBE"),
                     ("x86_64_v2", "SSE4_2 SSSE3 POPCNT GCC_HAVE_SYNC_COMPARE_AND_SWAP_16"))
            has = lambda words: all(f"__{word}__" in macros or f"__{word}" in macros for word in words.split())
            return next((level for level, words in needs if has(words)), "x86_64")
        version = int(macros.get("__ARM_ARCH", "8"))
        major, minor = divmod(version, 100) if version > 99 else (version, 0)
        return "aarch64" if (major, minor) == (8, 0) else f"armv{major}.{minor}a"


X86_FLAGS = {flag: flag for flag in """
    3dnow adx aes amx_avx512 amx_bf16 amx_complex amx_fp16 amx_fp8 amx_int8 amx_movrs amx_tf32
    amx_tile avx avx10_1 avx10_2 avx2 avx512bw avx512cd avx512dq avx512er avx512f avx512ifma
    avx512pf avx512vbmi avx512vl bmi2 cldemote clflushopt clwb clzero cmov cmpccxadd cx16 cx8
    f16c fma fma4 fsgsbase fxsr gfni mmx movbe movdir64b movdiri movrs popcnt rdpid rdseed
    serialize sha512 sm3 sm4 sse sse2 sse3 sse4_1 sse4_2 sse4a ssse3 tbm vaes vpclmulqdq
    waitpkg xop xsave xsavec xsaveopt
    """.split()} | {
    "3dnowa": "3dnowext", "avx512bf16": "avx512_bf16", "avx512bitalg": "avx512_bitalg",
    "avx512fp16": "avx512_fp16", "avx512vbmi2": "avx512_vbmi2", "avx512vnni": "avx512_vnni",
    "avx512vp2intersect": "avx512_vp2intersect", "avx512vpopcntdq": "avx512_vpopcntdq",
    "avxifma": "avx_ifma", "avxneconvert": "avx_ne_convert", "avxvnni": "avx_vnni",
    "avxvnniint16": "avx_vnni_int16", "avxvnniint8": "avx_vnni_int8", "bmi": "bmi1",
    "egpr": "apx", "lzcnt": "abm", "pclmul": "pclmulqdq", "rdrnd": "rdrand",
    "sahf": "lahf_lm", "sha": "sha_ni",
}

ARM_FLAGS = {flag: flag for flag in """
    bf16 bti cssc dit ecv faminmax flagm i8mm lut mops sb sme sme2 sme2p1 sve sve2 wfxt
    """.split()} | {
    "aes": ("aes", "pmull"), "altnzcv": "flagm2", "ccdp": "dcpodp", "ccpp": "dcpop",
    "complxnum": "fcma", "crc": "crc32", "dotprod": "asimddp", "fp16fml": "asimdfhm",
    "fp8": "f8cvt", "fp8dot2": "f8dp2", "fp8dot4": "f8dp4", "fp8fma": "f8fma", "fp_armv8": "fp",
    "fptoint": "frint", "fullfp16": ("fphp", "asimdhp"), "jsconv": "jscvt", "lse": "atomics",
    "lse2": "uscat", "neon": "asimd", "pauth": ("paca", "pacg"), "rand": "rng", "rcpc": "lrcpc",
    "rcpc3": "lrcpc3", "rcpc_immo": "ilrcpc", "rdm": "asimdrdm", "sha2": ("sha1", "sha2"),
    "sha3": ("sha3", "sha512"), "sm4": ("sm3", "sm4"), "sve_aes": ("sveaes", "svepmull"),
    "sve_bitperm": "svebitperm", "sve_sha3": "svesha3", "sve_sm4": "svesm4",
}

S390_FLAGS = {
    "deflate_conversion": "dflt", "enhanced_sort": "sort", "guarded_storage": "gs",
    "nnp_assist": "nnpa", "vector": "vx", "vector_enhancements_1": "vxe",
    "vector_enhancements_2": "vxe2", "vector_packed_decimal": "vxd", "transactional_execution": "te",
}

# The cryptographic extensions are options of a design: real hosts of one name
# have them or not, so they order nothing.
ARM_CRYPTO = {"aes", "sha2", "sha3", "sm4", "sve_aes", "sve_sha3", "sve_sm4"}
ARM_LEVELS = {f"v8_{minor}a" for minor in range(1, 10)} | {f"v9_{minor}a" for minor in range(1, 8)} | {"v9a"}

X86 = Family(
    "x86_64", "x86_64",
    generics={name: name for name in ("x86_64", "x86_64_v2", "x86_64_v3", "x86_64_v4")},
    renamed={"icelake": "icelake_server", "zen": "znver1", "zen2": "znver2", "zen3": "znver3",
             "zen4": "znver4", "zen5": "znver5", "bulldozer": "bdver1", "piledriver": "bdver2",
             "steamroller": "bdver3", "excavator": "bdver4", "k10": "amdfam10", "mic_knl": "knl",
             "mic_knm": "knm"},
    skipped="generic|atom_sse4_2_movbe", bits64=["64bit"],
    vendors=(("AuthenticAMD", "amdfam|athlon|barcelona|bdver|btver|k8|opteron|znver"), ("GenuineIntel", "")),
    order=[*X86_FLAGS, "ccmp", "ndd", "nf", "ppx", "push2pop2", "zu"], flags=X86_FLAGS)

ARM = Family(
    "aarch64", "aarch64",
    generics={"aarch64": "generic"}
    | {f"armv8.{minor}a": f"generic+v8_{minor}a" for minor in range(1, 10)}
    | {"armv9.0a": "generic+v9a"} | {f"armv9.{minor}a": f"generic+v9_{minor}a" for minor in range(1, 8)},
    renamed={"m1": "apple_m1", "m2": "apple_m2", "m3": "apple_m3", "m4": "apple_m4", "m5": "apple_m5",
             "thunderx2": "thunderx2t99"},
    skipped=r"generic|apple_[as]\d+|cyclone|exynos_.*|cortex_r.*",
    vendors=(("ARM", "cortex|neoverse|c1_|grace|gb10|cobalt"), ("Apple", "apple"), ("Ampere", "ampere"),
             ("Cavium", "thunderx"), ("Fujitsu", "a64fx|fujitsu"), ("Qualcomm", "kryo|falkor|saphira|oryon")),
    order=(set(ARM_FLAGS) | ARM_LEVELS) - ARM_CRYPTO, flags=ARM_FLAGS)

POWER = Family(
    "ppc64le", "powerpc64le", generics={"ppc64le": "ppc64le"},
    renamed={f"power{n}le": f"pwr{n}" for n in (8, 9, 10, 11)}, skipped="(?!pwr11).*",
    vendors=(("IBM", ""),),
    order=[f"isa_v{n}_instructions" for n in (206, 207, 30, 31)])

RISCV = Family(
    "riscv64", "riscv64",
    generics={"riscv64": "baseline_rv64+rva20u64", "rva22u64": "baseline_rv64+rva22u64",
              "rva23u64": "baseline_rv64+rva23u64"},
    renamed={"u74mc": "sifive_u74", "x60": "spacemit_x60"}, skipped="(?!spacemit|sifive_p|tt_|veyron).*",
    order=[*"imafdcv", *"zba zbb zbs zicbom zicbop zicboz zfhmin zkt zvfhmin zvbb zvkt zicond zimop zcmop zcb zfa zawrs".split()],
    flags={flag: flag for flag in "v zba zbb zbc zbs zfh zfa zicond zvbb".split()})

S390 = Family(
    "s390x", "s390x",
    generics={"s390x": "generic"} | {f"z{n}": f"z{n}" for n in (13, 14, 15, 16, 17)},
    skipped="arch.*|generic|z10|z196|zEC12", flags=S390_FLAGS)

OTHER = Family("", "")
FAMILIES = (X86, ARM, POWER, RISCV, S390)

# Spellings of /proc/cpuinfo that archspec writes otherwise.
PROC_SPELLING = {"pni": "sse3"}

# Of several equal names, those that stay: the others become aliases.
PREFERRED = {name: 1 for name in """
    bonnell cortex_a710 cortex_x4 goldmont icelake_client k8 neoverse_v3 sierraforest silvermont thunderx
    """.split()}

# Builds that LLVM gives no feature over the host's, but a later architecture.
NEWER = {("power10le", "power11le")}

# Names whose level archspec puts lower than LLVM.
ARCHSPEC_DECIDES = {"m2"}

ALIASES = {
    # compilers
    "znver1": "zen", "znver2": "zen2", "znver3": "zen3", "znver4": "zen4", "znver5": "zen5", "znver6": "zen6",
    "bdver1": "bulldozer", "bdver2": "piledriver", "bdver3": "steamroller", "bdver4": "excavator",
    "amdfam10": "k10", "knl": "mic_knl", "knm": "mic_knm", "skx": "skylake_avx512", "icelake_server": "icelake",
    "apple_m1": "m1", "apple_m2": "m2", "apple_m3": "m3", "apple_m4": "m4", "apple_m5": "m5",
    "thunderx2t99": "thunderx2", "pwr8": "power8le", "pwr9": "power9le", "pwr10": "power10le",
    "pwr11": "power11le", "arch11": "z13", "arch12": "z14", "arch13": "z15", "arch14": "z16", "arch15": "z17",
    "rva20u64": "riscv64", "spacemit_x60": "x60", "sifive_u74": "u74mc",
    "emeraldrapids": "sapphirerapids", "grace": "neoverse_v2", "cobalt_100": "neoverse_n2",
    # products
    "naples": "zen", "rome": "zen2", "milan": "zen3", "genoa": "zen4", "bergamo": "zen4", "siena": "zen4",
    "turin": "zen5", "venice": "zen6",
    "coffeelake": "skylake", "kabylake": "skylake", "cometlake": "skylake", "whiskeylake": "skylake",
    "skylake_server": "skylake_avx512", "skylake_sp": "skylake_avx512",
    "graviton": "cortex_a72", "graviton2": "neoverse_n1", "graviton3": "neoverse_v1",
    "graviton4": "neoverse_v2", "graviton5": "neoverse_v3",
    "altra": "neoverse_n1", "ampereone": "ampere1", "axion": "neoverse_v2", "cobalt100": "neoverse_n2",
    "cobalt200": "neoverse_v3", "cobalt_200": "neoverse_v3", "yitian710": "neoverse_n2",
    "kunpeng920": "tsv110", "vera": "olympus",
}

HEADER = """\
# CPU names, made by make_cpus.py: do not edit. `parents` run on a CPU with all that they run, `also` without; `features`
# are CPU flags as Linux writes them, over those of the parents; `extra` ones do not count where a host is identified.
# Facts of archspec (Apache-2.0 OR MIT) and of LLVM (Apache-2.0 WITH LLVM-exception), in a form of our own.
"""

FLAGS_AND_GPUS = """\
# CPU flags that follow from others (any, all) or that a whole family has.
[flag]
sse3 = { any_of = ["ssse3"] }
sse4 = { all_of = ["sse4_1", "sse4_2"] }
avx512 = { any_of = ["avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512cd"] }
altivec = { families = ["ppc64le", "ppc64"] }
vsx = { families = ["ppc64le", "ppc64"] }
fma = { families = ["ppc64le", "ppc64"] }
crypto = { all_of = ["aes", "pmull", "sha1", "sha2"] }
fp16 = { all_of = ["fphp", "asimdhp"] }

# Other spellings of CPU flags: compilers, specifications. `_`, `-` and `.` do not count.
[spelling]
3dnowa = "3dnowext"
altnzcv = "flagm2"
apxf = "apx"
bmi = "bmi1"
ccdp = "dcpodp"
ccpp = "dcpop"
cmpxchg16b = "cx16"
cmpxchg8b = "cx8"
complxnum = "fcma"
crc = "crc32"
dotprod = "asimddp"
fp16fml = "asimdfhm"
fparmv8 = "fp"
fptoint = "frint"
fullfp16 = "fp16"
jsconv = "jscvt"
lse = "atomics"
lse2 = "uscat"
lzcnt = "abm"
neon = "asimd"
pauth = "paca"
pclmul = "pclmulqdq"
pni = "sse3"
rand = "rng"
rcpc = "lrcpc"
rcpc2 = "ilrcpc"
rdm = "asimdrdm"
rdma = "asimdrdm"
rdrnd = "rdrand"
sahf = "lahf_lm"
sha = "sha_ni"
simd = "asimd"
sve2aes = "sveaes"
sve2bitperm = "svebitperm"
sve2sha3 = "svesha3"
sve2sm4 = "svesm4"

# AMD GPU generic groups (facts of LLVM's AMDGPU processor table).
[gfx_generic]
"gfx9-generic" = ["gfx900", "gfx902", "gfx904", "gfx906", "gfx909", "gfx90c"]
"gfx9-4-generic" = ["gfx942", "gfx950"]
"gfx10-1-generic" = ["gfx1010", "gfx1011", "gfx1012", "gfx1013"]
"gfx10-3-generic" = ["gfx1030", "gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036"]
"gfx11-generic" = ["gfx1100", "gfx1101", "gfx1102", "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153", "gfx1154"]
"gfx11-7-generic" = ["gfx1170", "gfx1171", "gfx1172"]
"gfx12-generic" = ["gfx1200", "gfx1201"]
"gfx12-5-generic" = ["gfx1250", "gfx1251"]
"gfx13-generic" = ["gfx1310"]
"""
