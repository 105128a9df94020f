//! `qnib/bench`: one name, four variants, each of which says what it is.

use crate::{
    elf::prints,
    image::{Format, Image, Variants},
};

/// The repository.
pub const REPOSITORY: &str = "qnib/bench";

/// The features that each variant needs, in the order of the index.
pub const NEEDS: [&[&str]; 4] = [
    &[],
    &["cpu:skylake"],
    &["cpu:broadwell"],
    &["cpu:broadwell", "nvcap:5.2"],
];

/// What the variant that needs `features` prints when it is run.
pub fn says(features: &[&str]) -> String {
    let features = match features {
        [] => "generic".into(),
        some => some.join(", "),
    };
    format!(">> This container is optimised for: {features}\n")
}

/// The image.
pub fn variants(format: Format) -> Variants {
    let build = |needs: &&'static [&'static str]| {
        let program = prints(&says(needs));
        (Image::build(format, &[("bench", &program)]), *needs)
    };
    Variants::join(format, NEEDS.iter().map(build).collect())
}
