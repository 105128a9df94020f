//! NVIDIA compute capabilities: which GPU runs which build.
//!
//! Facts of the CUDA documentation: a cubin runs on GPUs of its own major
//! version and the same or a higher minor one, architecture-specific code
//! (`a`) on that GPU only, family-specific code (`f`) within its family, PTX on
//! that GPU and all later ones.

/// A GPU's compute capability, for example 8.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Capability {
    major: u32,
    minor: u32,
}

/// A GPU of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gpu {
    text: String,
    capability: Option<Capability>,
}

/// What a build is for. Ordered by how good a build is among those that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Ptx(Capability),
    Cubin(Capability),
    Family(Capability),
    Exact(Capability),
}

impl Capability {
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        let (major, minor) = text.split_once('.')?;
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

impl Gpu {
    /// Reads a lower-case capability; a text that is none equals itself only.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            capability: Capability::parse(text.trim_end_matches(['a', 'f'])),
        }
    }

    /// Whether it is written as a capability, `X.Y`.
    pub(crate) fn is_plain(&self) -> bool {
        Capability::parse(&self.text).is_some()
    }

    /// Whether it can be read as a capability.
    pub(crate) fn is_known(&self) -> bool {
        self.capability.is_some()
    }

    /// Whether it runs a build for the lower-case `value`.
    pub(crate) fn runs(&self, value: &str) -> bool {
        match (Target::parse(value), self.capability) {
            (Some(target), Some(capability)) => target.fits(capability),
            _ => value == self.text,
        }
    }
}

impl Target {
    /// Reads `X.Y`, `X.Ya`, `X.Yf` or `ptxX.Y`.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        if let Some(version) = value.strip_prefix("ptx") {
            return Capability::parse(version).map(Self::Ptx);
        }
        if let Some(version) = value.strip_suffix('a') {
            return Capability::parse(version).map(Self::Exact);
        }
        match value.strip_suffix('f') {
            Some(version) => Capability::parse(version).map(Self::Family),
            None => Capability::parse(value).map(Self::Cubin),
        }
    }

    fn fits(self, gpu: Capability) -> bool {
        match self {
            Self::Cubin(built) | Self::Family(built) => {
                built.major == gpu.major && built.minor <= gpu.minor
            }
            Self::Exact(built) => built == gpu,
            Self::Ptx(built) => built <= gpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(gpu: &str, value: &str) -> bool {
        Gpu::new(gpu).runs(value)
    }

    #[test]
    fn a_cubin_runs_on_the_same_major_and_no_lower_minor() {
        assert!(runs("8.6", "8.0"));
        assert!(runs("8.6", "8.6"));
        assert!(!runs("8.0", "8.6"));
        assert!(!runs("9.0", "8.6"));
        assert!(runs("12.1", "12.0"));
    }

    #[test]
    fn architecture_specific_code_runs_on_that_gpu_only() {
        assert!(runs("9.0", "9.0a"));
        assert!(!runs("10.3", "10.0a"));
        assert!(!runs("10.0", "9.0a"));
    }

    #[test]
    fn family_specific_code_runs_within_its_family() {
        assert!(runs("10.3", "10.0f"));
        assert!(!runs("10.0", "10.3f"));
        assert!(!runs("12.0", "10.0f"));
    }

    #[test]
    fn ptx_runs_on_all_later_gpus() {
        assert!(runs("9.0", "ptx8.6"));
        assert!(runs("10.0", "ptx9.0"));
        assert!(!runs("8.0", "ptx8.6"));
    }

    #[test]
    fn what_is_no_capability_equals_itself_only() {
        assert!(runs("hopper", "hopper"));
        assert!(!runs("9.0", "hopper"));
        assert!(!runs("9.0", "9"));
        assert!(!runs("9.0", "+9.0"));
    }

    #[test]
    fn the_more_specific_build_ranks_higher_and_then_the_higher_version() {
        let order = ["ptx8.0", "ptx9.0", "8.0", "9.0", "9.0f", "9.0a"];
        let targets: Vec<_> = order
            .iter()
            .map(|value| Target::parse(value).unwrap())
            .collect();

        assert!(targets.is_sorted());
    }
}
