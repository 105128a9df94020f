//! Parses `/proc/cpuinfo` into the properties shared by all processors.

use std::collections::{BTreeMap, BTreeSet};

use metahub_policy::Processor;

/// The processors of a machine.
#[derive(Debug, Default)]
pub(super) struct CpuInfo {
    /// The properties shared by all processors.
    pub(super) processor: Processor,
    /// The most specific line, as evidence: the flags, or the design.
    pub(super) raw: String,
    /// Differences between the processors, as sentences. Empty: none.
    pub(super) differences: Vec<String>,
}

type Record<'a> = BTreeMap<&'a str, &'a str>;

impl CpuInfo {
    /// Parses the text of the file. `architecture` is this program's own, for
    /// texts that do not name one. `None`: the text lists no processor.
    pub(super) fn parse(text: &str, architecture: &str) -> Option<Self> {
        let records = records(text);
        let first = records.first()?;
        let family = family(first, architecture);
        let mut read = Self::default();
        match family.as_str() {
            "x86_64" => read.vendor_and_flags(&records, "vendor_id", "flags"),
            "aarch64" => read.vendor_and_flags(&records, "CPU implementer", "Features"),
            "ppc64le" | "ppc64" => read.power(&records),
            "riscv64" => read.riscv(first),
            _ => {}
        }
        read.processor.family = family;
        Some(read)
    }

    fn vendor_and_flags(&mut self, records: &[Record<'_>], vendor: &str, flags: &str) {
        self.processor.vendor = self.same(records, vendor);
        self.processor.part = self.same(records, "CPU part");
        let lists = records.iter().filter_map(|record| record.get(flags));
        let sets = lists.map(|list| list.split_whitespace().collect::<BTreeSet<_>>());
        let sets: Vec<_> = sets.collect();
        let Some(first) = sets.first() else { return };
        let common = (first.iter()).filter(|flag| sets.iter().all(|set| set.contains(*flag)));
        let common: BTreeSet<String> = common.map(|flag| (*flag).to_owned()).collect();
        let some = sets.iter().flatten().map(|flag| (*flag).to_owned());
        let partial: BTreeSet<String> = some.filter(|flag| !common.contains(flag)).collect();
        if !partial.is_empty() {
            let partial: Vec<_> = partial.into_iter().take(16).collect();
            let partial = partial.join(", ");
            self.differences.push(format!(
                "not all processors have {partial}: taken for missing"
            ));
        }
        let model = records.first().and_then(|record| record.get("model name"));
        let words = model.into_iter().copied();
        let words = words.chain(common.iter().map(String::as_str));
        self.raw = words.collect::<Vec<_>>().join(" ");
        self.processor.flags = common;
    }

    /// The value of `key` that all processors share. Empty: the values differ.
    fn same(&mut self, records: &[Record<'_>], key: &str) -> String {
        let values: BTreeSet<_> = records.iter().filter_map(|it| it.get(key)).collect();
        if values.len() > 1 {
            let values: Vec<_> = values.iter().take(8).map(|value| **value).collect();
            let values = values.join(", ");
            self.differences.push(format!(
                "the processors differ in `{key}` ({values}): taken for unknown"
            ));
            return String::new();
        }
        values.first().map_or("", |value| **value).to_owned()
    }

    fn power(&mut self, records: &[Record<'_>]) {
        let designs = records.iter().filter_map(|record| record.get("cpu"));
        let generation = |design: &&str| -> Option<u32> {
            let number = design.split_once("POWER")?.1;
            let end = number.find(|c: char| !c.is_ascii_digit());
            number[..end.unwrap_or(number.len())].parse().ok()
        };
        let weakest = designs.min_by_key(|design| generation(design).unwrap_or(0));
        if let Some(design) = weakest {
            self.processor.generation = generation(design).unwrap_or(0);
            self.raw = (*design).to_owned();
        }
    }

    fn riscv(&mut self, record: &Record<'_>) {
        let value = |key: &str| record.get(key).copied().unwrap_or_default();
        let (design, model) = (value("uarch"), value("model name"));
        let name = match (design, model) {
            ("sifive,u74-mc", _) => "u74mc",
            ("spacemit,x60", _) | (_, "Spacemit(R) X60") => "x60",
            (other, _) => other,
        };
        self.processor.design = name.to_owned();
        self.raw = [design, model, value("isa")].join(" ").trim().to_owned();
    }
}

/// The processors' records, separated by blank lines. Lines for the machine as
/// a whole, such as POWER's `platform`, may form a record of their own.
fn records(text: &str) -> Vec<Record<'_>> {
    let mut records = vec![Record::new()];
    for line in text.lines() {
        match line.split_once(':') {
            Some((key, value)) => {
                let last = records.last_mut();
                last.map(|record| record.insert(key.trim(), value.trim()));
            }
            None if line.trim().is_empty() => records.push(Record::new()),
            None => {}
        }
    }
    records.retain(|record| !record.is_empty());
    records
}

/// The name of the baseline of the CPU in `record`.
fn family(record: &Record<'_>, architecture: &str) -> String {
    let has = |key: &str| record.contains_key(key);
    let flags = record.get("flags").copied().unwrap_or_default();
    let is_long = flags.split_whitespace().any(|flag| flag == "lm");
    let isa = record.get("isa").copied().unwrap_or_default();
    let power = record.get("cpu").is_some_and(|cpu| cpu.contains("POWER"));
    let known = match () {
        () if has("flags") && is_long => "x86_64",
        () if has("flags") && has("vendor_id") => "i686",
        () if has("CPU implementer") && has("Features") => "aarch64",
        () if power && cfg!(all(target_arch = "powerpc64", target_endian = "big")) => "ppc64",
        () if power => "ppc64le",
        () if isa.starts_with("rv64") => "riscv64",
        () if record.get("vendor_id") == Some(&"IBM/S390") => "s390x",
        () if architecture == "powerpc64" => "ppc64le",
        () => architecture,
    };
    known.to_owned()
}
