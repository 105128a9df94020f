//! What is wrong with a file's form, in words for whoever wrote the file.

use std::borrow::Cow;

use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter};

/// Says what a file should hold, where the parser says what it looked for.
pub(super) struct Words;

impl MessageFormatter for Words {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        match error {
            Error::Unexpected { expected, .. } => match *expected {
                "mapping start" => "names with values are expected here: `name: value`".into(),
                "sequence start" => {
                    "a list is expected here: `[a, b]`, or a line with `- ` for each".into()
                }
                "string scalar" => {
                    "a text is expected here; quote it if it holds `:`, `[` or `{`".into()
                }
                _ => DefaultMessageFormatter.format_message(error),
            },
            Error::NullIntoString { .. } => "a text is expected here, and there is none".into(),
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("`{key}` is there twice: leave one").into()
            }
            Error::MultipleDocuments { .. } => {
                "a second document begins here: give each a file of its own".into()
            }
            _ => DefaultMessageFormatter.format_message(error),
        }
    }
}
