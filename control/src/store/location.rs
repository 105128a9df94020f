//! Where the state is kept, as the operator writes it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// `sqlite:PATH`: one SQLite file.
    Sqlite(PathBuf),
    /// `memory`: nowhere. For the static mode and tests.
    Memory,
}

impl StoreLocation {
    /// Where the state is kept unless the operator says otherwise.
    pub(crate) fn within(data_dir: &Path) -> Self {
        Self::Sqlite(data_dir.join("metahub.db"))
    }
}

impl FromStr for StoreLocation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err("use `sqlite:PATH` or `memory`"),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Memory => f.write_str("memory"),
        }
    }
}
