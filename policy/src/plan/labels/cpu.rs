//! Reads a node's CPU from the labels of node feature discovery.
//!
//! The labels are CPU flags under the names of Go's `klauspost/cpuid`. The
//! default configuration omits some common flags, older releases have fewer
//! labels, and some flags have no label. If labels do not distinguish a CPU
//! from an older one, the older one is the answer.

use std::collections::BTreeSet;

use super::{Labels, NFD};
use crate::{CpuTable, Processor};

/// The CPU facts in the labels of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Told {
    /// The architecture in Go's spelling.
    architecture: String,
    /// The vendor in the kernel's spelling. Empty: unknown.
    vendor: String,
    /// CPU flags in the kernel's spelling, sorted.
    flags: BTreeSet<String>,
    /// True if the release has the labels of [`LATER`].
    knows_later: bool,
}

/// Labels, with the flags of x86 CPUs in Linux's spelling.
const FLAGS: &[(&str, &str)] = &[
    ("ADX", "adx"),
    ("AESNI", "aes"),
    ("AMD3DNOW", "3dnow"),
    ("AMD3DNOWEXT", "3dnowext"),
    ("AMXBF16", "amx_bf16"),
    ("AMXCOMPLEX", "amx_complex"),
    ("AMXFP16", "amx_fp16"),
    ("AMXFP8", "amx_fp8"),
    ("AMXINT8", "amx_int8"),
    ("AMXTF32", "amx_tf32"),
    ("AMXTILE", "amx_tile"),
    ("AVX", "avx"),
    ("AVX2", "avx2"),
    ("AVX512BF16", "avx512_bf16"),
    ("AVX512BITALG", "avx512_bitalg"),
    ("AVX512BW", "avx512bw"),
    ("AVX512CD", "avx512cd"),
    ("AVX512DQ", "avx512dq"),
    ("AVX512ER", "avx512er"),
    ("AVX512F", "avx512f"),
    ("AVX512FP16", "avx512_fp16"),
    ("AVX512IFMA", "avx512ifma"),
    ("AVX512PF", "avx512pf"),
    ("AVX512VBMI", "avx512vbmi"),
    ("AVX512VBMI2", "avx512_vbmi2"),
    ("AVX512VL", "avx512vl"),
    ("AVX512VNNI", "avx512_vnni"),
    ("AVX512VP2INTERSECT", "avx512_vp2intersect"),
    ("AVX512VPOPCNTDQ", "avx512_vpopcntdq"),
    ("AVXIFMA", "avx_ifma"),
    ("AVXNECONVERT", "avx_ne_convert"),
    ("AVXVNNI", "avx_vnni"),
    ("AVXVNNIINT16", "avx_vnni_int16"),
    ("AVXVNNIINT8", "avx_vnni_int8"),
    ("CLDEMOTE", "cldemote"),
    ("CMPCCXADD", "cmpccxadd"),
    ("FLUSH_L1D", "flush_l1d"),
    ("FMA3", "fma"),
    ("FMA4", "fma4"),
    ("GFNI", "gfni"),
    ("MOVDIR64B", "movdir64b"),
    ("MOVDIRI", "movdiri"),
    ("SERIALIZE", "serialize"),
    ("SHA", "sha_ni"),
    ("SM3_X86", "sm3"),
    ("SM4_X86", "sm4"),
    ("SSE4A", "sse4a"),
    ("TBM", "tbm"),
    ("VAES", "vaes"),
    ("VPCLMULQDQ", "vpclmulqdq"),
    ("WAITPKG", "waitpkg"),
    ("XOP", "xop"),
];

/// Labels that older releases do not have. One release added them all.
const LATER: &[(&str, &str)] = &[
    ("CLZERO", "clzero"),
    ("CMPXCHG8", "cx8"),
    ("FXSR", "fxsr"),
    ("LAHF", "lahf_lm"),
    ("MOVBE", "movbe"),
    ("XSAVE", "xsave"),
    ("XSAVEC", "xsavec"),
    ("XSAVEOPT", "xsaveopt"),
];

/// Labels that the default configuration omits (`attributeBlacklist`).
const DENIED: &[(&str, &str)] = &[
    ("BMI1", "bmi1"),
    ("BMI2", "bmi2"),
    ("CLMUL", "pclmulqdq"),
    ("CMOV", "cmov"),
    ("CX16", "cx16"),
    ("F16C", "f16c"),
    ("LZCNT", "abm"),
    ("MMX", "mmx"),
    ("POPCNT", "popcnt"),
    ("RDRAND", "rdrand"),
    ("RDSEED", "rdseed"),
    ("SSE", "sse"),
    ("SSE2", "sse2"),
    ("SSE3", "sse3"),
    ("SSE4", "sse4_1"),
    ("SSE42", "sse4_2"),
    ("SSSE3", "ssse3"),
];

/// Labels that imply flags without a label: AMD's CPUs with `WBNOINVD` have the
/// flags that distinguish Zen 2 from Zen.
const WITH_ZEN2: (&str, [&str; 2]) = ("WBNOINVD", ["clwb", "rdpid"]);

/// Labels of one vendor's CPUs only, for releases without a vendor label.
const VENDORS: &[(&str, &[&str])] = &[
    (
        "AuthenticAMD",
        &["SVM", "SSE4A", "CLZERO", "XOP", "TBM", "FMA4"],
    ),
    (
        "GenuineIntel",
        &["VMX", "MPX", "HLE", "RTM", "TSXLDTRK", "MD_CLEAR"],
    ),
];

impl Told {
    /// Reads the labels of a node of `architecture`, in Go's spelling.
    pub(super) fn of(labels: &Labels, architecture: &str) -> Self {
        let prefix = format!("{NFD}cpu-cpuid.");
        let has = |label: &str| {
            let value = labels.get(&format!("{prefix}{label}"));
            value.is_some_and(|value| value == "true")
        };
        let vendor = vendor(labels, &has);
        let mut flags = BTreeSet::new();
        let mut knows_later = false;
        if architecture == "arm64" {
            // The kernel's names, in capitals.
            let cpuid = labels.keys().filter_map(|key| key.strip_prefix(&prefix));
            flags.extend(cpuid.filter(|it| has(it)).map(str::to_ascii_lowercase));
        } else {
            let told = |labels: &[(&str, &str)]| -> Vec<String> {
                let told = labels.iter().filter(|(label, _)| has(label));
                told.map(|(_, flag)| flag.to_string()).collect()
            };
            let later = told(LATER);
            knows_later = !later.is_empty();
            flags.extend([told(FLAGS), told(DENIED), later].concat());
            if vendor == "AuthenticAMD" && has(WITH_ZEN2.0) {
                flags.extend(WITH_ZEN2.1.map(String::from));
            }
        }
        Self {
            architecture: architecture.to_owned(),
            vendor,
            flags,
            knows_later,
        }
    }

    /// The CPU's name in `cpus`.
    pub(super) fn identify(&self, cpus: &CpuTable) -> Option<String> {
        let family = match self.architecture.as_str() {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            _ => return None,
        };
        if self.flags.is_empty() {
            return None;
        }
        let processor = Processor {
            family: family.into(),
            vendor: self.vendor.clone(),
            flags: self.flags.clone(),
            ..Processor::default()
        };
        let is_told = |flag: &str| {
            let among = |labels: &[(&str, &str)]| labels.iter().any(|(_, it)| *it == flag);
            family == "aarch64"
                || among(FLAGS)
                || (self.knows_later && among(LATER))
                || self.flags.contains(flag)
        };
        cpus.identify_partly(&processor, &is_told)
    }
}

fn vendor(labels: &Labels, has: &dyn Fn(&str) -> bool) -> String {
    let told = labels.get(&format!("{NFD}cpu-model.vendor_id"));
    let own = match told.map(String::as_str) {
        Some("Intel") => "GenuineIntel",
        Some("AMD") => "AuthenticAMD",
        Some("Hygon") => "HygonGenuine",
        Some(other) => other,
        None => {
            let mut vendors = VENDORS.iter();
            let found = vendors.find(|(_, labels)| labels.iter().any(|label| has(label)));
            found.map_or("", |(vendor, _)| vendor)
        }
    };
    own.to_owned()
}
