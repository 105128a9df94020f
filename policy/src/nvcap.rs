//! NVIDIA compute capabilities: which GPU runs which build.
//!
//! Facts of the CUDA documentation: a cubin and family-specific code (`f`) run
//! on GPUs of their own major version and the same or a higher minor one,
//! architecture-specific code (`a`) on that GPU only, PTX on that GPU and all
//! later ones. The GPUs of Tegra run and make cubins of their own only.

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

/// Capabilities of Tegra GPUs. Thor, the last, was 10.1 until CUDA 13.
const TEGRA: [(u32, u32); 6] = [(3, 2), (5, 3), (6, 2), (7, 2), (8, 7), (11, 0)];

impl Capability {
    /// The one number of a GPU that has two.
    fn renamed(self) -> Self {
        match (self.major, self.minor) {
            (10, 1) => Self {
                major: 11,
                minor: 0,
            },
            _ => self,
        }
    }

    /// Whether a GPU that is this runs a cubin for `built`.
    fn runs_cubin(self, built: Self) -> bool {
        let (own, built) = (self.renamed(), built.renamed());
        let is_tegra = |it: Self| TEGRA.contains(&(it.major, it.minor));
        own == built
            || own.major == built.major
                && built.minor <= own.minor
                && !is_tegra(own)
                && !is_tegra(built)
    }

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
            Self::Cubin(built) | Self::Family(built) => gpu.runs_cubin(built),
            Self::Exact(built) => built.renamed() == gpu.renamed(),
            Self::Ptx(built) => built <= gpu || built.renamed() == gpu.renamed(),
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
        assert!(runs("10.7", "10.3f") && runs("12.1", "12.0f"));
        assert!(!runs("12.0", "10.0f"));
    }

    #[test]
    fn tegra_gpus_run_and_make_cubins_of_their_own_only() {
        for tegra in ["5.3", "6.2", "7.2", "8.7", "11.0"] {
            assert!(runs(tegra, tegra), "{tegra}");
        }
        assert!(!runs("8.7", "8.0") && !runs("8.7", "8.6"));
        assert!(!runs("8.9", "8.7") && !runs("7.5", "7.2"));
        assert!(runs("8.7", "ptx8.0") && runs("8.9", "ptx8.7"));
    }

    #[test]
    fn thor_is_one_gpu_under_two_numbers() {
        for (host, build) in [("11.0", "10.1"), ("10.1", "11.0")] {
            for form in ["", "a", "f"] {
                assert!(runs(host, &format!("{build}{form}")), "{build}{form}");
            }
            assert!(runs(host, &format!("ptx{build}")));
            assert!(!runs(host, "10.0") && !runs(host, "10.0f"));
        }
        assert!(!runs("10.3", "10.1f") && !runs("10.3", "10.1"));
        assert!(runs("11.0", "ptx10.3") && !runs("10.1", "ptx10.3"));
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
