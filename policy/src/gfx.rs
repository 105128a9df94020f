//! AMD GPU targets: which GPU runs which build.
//!
//! Facts of LLVM's AMDGPU usage guide: a target name, or a generic group of
//! them, with settings such as `:xnack+` that must be the GPU's when spelt.

use crate::cpu::gfx_group;

/// A target, or a group of targets, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    base: &'a str,
    settings: &'a str,
}

/// How good a build is among those that run: one for the target itself comes
/// before one for its group, one with more settings before one with fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GfxRank {
    exact: bool,
    settings: usize,
}

impl<'a> Target<'a> {
    /// Reads a lower-case target.
    pub(crate) fn parse(value: &'a str) -> Self {
        let (base, settings) = value.split_once(':').unwrap_or((value, ""));
        Self { base, settings }
    }

    /// Whether it is written as a target: `gfx…`, settings with `+` or `-`.
    pub(crate) fn is_known(self) -> bool {
        let setting = |setting: &str| setting.len() > 1 && setting.ends_with(['+', '-']);
        self.base.len() > 3 && self.base.starts_with("gfx") && self.settings().all(setting)
    }

    /// How well a GPU that is this target runs `build`. `None`: not at all.
    pub(crate) fn runs(self, build: Target<'_>) -> Option<GfxRank> {
        let exact = self.base == build.base;
        let grouped =
            || gfx_group(build.base).is_some_and(|group| group.iter().any(|m| m == self.base));
        let agrees = |spelt: &str| self.settings().any(|own| own == spelt);
        let fits = (exact || grouped()) && build.settings().all(agrees);
        fits.then(|| GfxRank {
            exact,
            settings: build.settings().count(),
        })
    }

    fn settings(self) -> impl Iterator<Item = &'a str> {
        self.settings
            .split(':')
            .filter(|setting| !setting.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(gpu: &str, build: &str) -> Option<GfxRank> {
        Target::parse(gpu).runs(Target::parse(build))
    }

    #[test]
    fn a_build_runs_on_its_target_and_on_its_group() {
        assert!(runs("gfx90a", "gfx90a").is_some());
        assert!(runs("gfx1030", "gfx10-3-generic").is_some());
        assert!(runs("gfx942", "gfx9-4-generic").is_some());
        assert!(runs("gfx90a", "gfx942").is_none());
        assert!(runs("gfx90a", "gfx9-generic").is_none());
        assert!(runs("gfx1030", "gfx11-generic").is_none());
    }

    #[test]
    fn every_spelt_setting_must_be_the_gpus() {
        assert!(runs("gfx90a:sramecc+:xnack-", "gfx90a").is_some());
        assert!(runs("gfx90a:sramecc+:xnack-", "gfx90a:xnack-").is_some());
        assert!(runs("gfx90a:sramecc+:xnack-", "gfx90a:xnack-:sramecc+").is_some());
        assert!(runs("gfx90a:sramecc+:xnack-", "gfx90a:xnack+").is_none());
        assert!(runs("gfx90a", "gfx90a:xnack-").is_none());
        assert!(runs("gfx906:xnack+", "gfx9-generic:xnack-").is_none());
    }

    #[test]
    fn the_target_itself_ranks_before_its_group() {
        assert!(runs("gfx1030", "gfx1030") > runs("gfx1030", "gfx10-3-generic"));
        assert!(runs("gfx90a:xnack+", "gfx90a:xnack+") > runs("gfx90a:xnack+", "gfx90a"));
    }

    #[test]
    fn a_target_is_known_by_its_form() {
        assert!(Target::parse("gfx90a:xnack+").is_known());
        assert!(!Target::parse("mi250").is_known());
        assert!(!Target::parse("gfx90a:xnack").is_known());
    }
}
