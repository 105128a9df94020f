//! Reads an x86-64 CPU by its `cpuid` instruction, for emulators that show the
//! `/proc/cpuinfo` of the physical machine.

use super::cpuinfo::CpuInfo;

/// The processor of this thread: no flags on other architectures.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn read() -> CpuInfo {
    let mut read = CpuInfo::default();
    read.processor.family = std::env::consts::ARCH.to_owned();
    read.differences.push("only x86-64 CPUs have it".to_owned());
    read
}

/// The processor of this thread.
#[cfg(target_arch = "x86_64")]
pub(super) fn read() -> CpuInfo {
    x86::read()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{
        arch::x86_64::{__cpuid, __cpuid_count},
        collections::BTreeSet,
        is_x86_feature_detected,
    };

    use super::CpuInfo;

    /// A leaf and subleaf, one of its registers (0 is EAX), and the flags of its
    /// bits as Linux spells them.
    type Word = (u32, u32, usize, &'static [(u32, &'static str)]);

    /// Bits from Linux's `cpufeatures.h`, for the flags that decide CPU names.
    #[rustfmt::skip]
    const WORDS: [Word; 8] = [
        (1, 0, 3, &[(8, "cx8"), (15, "cmov"), (23, "mmx"), (24, "fxsr"), (25, "sse"), (26, "sse2")]),
        (1, 0, 2, &[
            (0, "pni"), (1, "pclmulqdq"), (9, "ssse3"), (12, "fma"), (13, "cx16"), (19, "sse4_1"), (20, "sse4_2"),
            (22, "movbe"), (23, "popcnt"), (25, "aes"), (26, "xsave"), (28, "avx"), (29, "f16c"), (30, "rdrand"),
        ]),
        (7, 0, 1, &[
            (0, "fsgsbase"), (1, "tsc_adjust"), (3, "bmi1"), (5, "avx2"), (8, "bmi2"), (16, "avx512f"), (17, "avx512dq"),
            (18, "rdseed"), (19, "adx"), (21, "avx512ifma"), (23, "clflushopt"), (24, "clwb"), (26, "avx512pf"),
            (27, "avx512er"), (28, "avx512cd"), (29, "sha_ni"), (30, "avx512bw"), (31, "avx512vl"),
        ]),
        (7, 0, 2, &[
            (1, "avx512vbmi"), (3, "pku"), (5, "waitpkg"), (6, "avx512_vbmi2"), (8, "gfni"), (9, "vaes"),
            (10, "vpclmulqdq"), (11, "avx512_vnni"), (12, "avx512_bitalg"), (14, "avx512_vpopcntdq"), (22, "rdpid"),
            (25, "cldemote"), (27, "movdiri"), (28, "movdir64b"),
        ]),
        (7, 0, 3, &[
            (8, "avx512_vp2intersect"), (14, "serialize"), (22, "amx_bf16"), (23, "avx512_fp16"), (24, "amx_tile"),
            (25, "amx_int8"), (28, "flush_l1d"),
        ]),
        (7, 1, 0, &[
            (0, "sha512"), (1, "sm3"), (2, "sm4"), (4, "avx_vnni"), (5, "avx512_bf16"), (7, "cmpccxadd"),
            (21, "amx_fp16"), (23, "avx_ifma"),
        ]),
        (7, 1, 3, &[(4, "avx_vnni_int8"), (5, "avx_ne_convert"), (10, "avx_vnni_int16")]),
        (0xd, 1, 0, &[(0, "xsaveopt"), (1, "xsavec")]),
    ];

    #[rustfmt::skip]
    const EXTENDED: [Word; 3] = [
        (0x8000_0001, 0, 3, &[(29, "lm"), (30, "3dnowext"), (31, "3dnow")]),
        (0x8000_0001, 0, 2, &[
            (0, "lahf_lm"), (5, "abm"), (6, "sse4a"), (11, "xop"), (16, "fma4"), (21, "tbm"),
        ]),
        (0x8000_0008, 0, 1, &[(0, "clzero")]),
    ];

    pub(super) fn read() -> CpuInfo {
        let basic = __cpuid(0);
        let vendor = [basic.ebx, basic.edx, basic.ecx].map(u32::to_le_bytes);
        let extended = __cpuid(0x8000_0000).eax;
        let words = WORDS.iter().filter(|word| word.0 <= basic.eax);
        let words = words.chain(EXTENDED.iter().filter(|word| word.0 <= extended));
        let flags = words.flat_map(flags_of).filter(|flag| is_usable(flag));
        let flags: BTreeSet<String> = flags.map(str::to_owned).collect();
        let mut read = CpuInfo {
            raw: flags.iter().cloned().collect::<Vec<_>>().join(" "),
            ..CpuInfo::default()
        };
        read.processor.family = "x86_64".to_owned();
        read.processor.vendor = String::from_utf8_lossy(vendor.as_flattened()).into_owned();
        read.processor.flags = flags;
        read
    }

    fn flags_of(word: &Word) -> impl Iterator<Item = &'static str> {
        let (leaf, subleaf, register, bits) = *word;
        let read = __cpuid_count(leaf, subleaf);
        let value = [read.eax, read.ebx, read.ecx, read.edx][register];
        let set = bits.iter().filter(move |(bit, _)| value >> bit & 1 == 1);
        set.map(|(_, flag)| *flag)
    }

    /// Whether the kernel saves the registers for the instructions of `flag`:
    /// `cpuid` alone does not show this.
    fn is_usable(flag: &str) -> bool {
        let needs_512 = flag.starts_with("avx512");
        let needs_256 = flag.starts_with("avx") || ["fma", "f16c", "fma4", "xop"].contains(&flag);
        (!needs_512 || is_x86_feature_detected!("avx512f"))
            && (!needs_256 || is_x86_feature_detected!("avx"))
    }
}
