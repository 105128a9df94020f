//! How records are printed: tables for people, JSON and YAML for programs.

use std::io::Write;

use anyhow::Context;
use comfy_table::{Table, presets::NOTHING};
use serde::{Deserialize, Serialize};

use crate::failure::Unprinted;

/// How to print records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// A table for people. Its form may change.
    #[default]
    #[value(alias = "text")]
    Table,
    /// JSON for programs.
    Json,
    /// YAML for programs and people.
    Yaml,
    /// A file for `apply`, from `type plan`; YAML, from other commands.
    Policy,
}

/// A record that is one row of a table.
pub(crate) trait Row: Serialize {
    /// The names of the columns.
    const COLUMNS: &'static [&'static str];

    /// The texts of the columns.
    fn cells(&self) -> Vec<String>;
}

/// Where a command prints.
pub(crate) struct Output<'a> {
    format: Format,
    out: &'a mut dyn Write,
    notes: &'a mut dyn Write,
}

impl<'a> Output<'a> {
    pub(crate) fn new(format: Format, out: &'a mut dyn Write, notes: &'a mut dyn Write) -> Self {
        Self { format, out, notes }
    }

    /// Whether the output is for programs.
    pub(crate) fn is_for_programs(&self) -> bool {
        self.format != Format::Table
    }

    /// Whether the output is a file for `apply`.
    pub(crate) fn is_policy(&self) -> bool {
        self.format == Format::Policy
    }

    /// Prints records as a table or a list.
    pub(crate) fn list<R: Row>(&mut self, records: &[R]) -> anyhow::Result<()> {
        match self.format {
            Format::Table => self.text(&table(records)),
            Format::Json | Format::Yaml | Format::Policy => self.value(&records),
        }
    }

    /// Prints one record: `text` for people, `record` for programs.
    pub(crate) fn record<R: Serialize>(&mut self, record: &R, text: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Table => self.text(text),
            Format::Json | Format::Yaml | Format::Policy => self.value(record),
        }
    }

    /// Says that something was done that leaves no record. Programs see the
    /// exit code.
    pub(crate) fn done(&mut self, text: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Table => self.text(text),
            Format::Json | Format::Yaml | Format::Policy => Ok(()),
        }
    }

    /// Tells people something that is not the result. Where it cannot be shown,
    /// the result is not lost with it.
    pub(crate) fn note(&mut self, text: &str) {
        let _ = writeln!(self.notes, "{text}");
    }

    /// Warns of what may be a mistake.
    pub(crate) fn warn(&mut self, warnings: &[String]) {
        for warning in warnings {
            self.note(&format!("warning: {warning}"));
        }
    }

    /// Prints a line, or several, at once: one whole write, flushed.
    pub(crate) fn text(&mut self, text: &str) -> anyhow::Result<()> {
        let written = writeln!(self.out, "{}", text.trim_end());
        let flushed = written.and_then(|()| self.out.flush());
        Ok(flushed.map_err(|source| Unprinted {
            to: "stdout",
            source,
        })?)
    }

    /// Prints one of many records as soon as it is there: `text` for people,
    /// one line of JSON for programs.
    pub(crate) fn line<R: Serialize>(&mut self, record: &R, text: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Table => self.text(text),
            Format::Json | Format::Yaml | Format::Policy => self.json_line(record),
        }
    }

    /// Prints one record as one line of JSON, whatever the format.
    pub(crate) fn json_line<R: Serialize>(&mut self, record: &R) -> anyhow::Result<()> {
        self.text(&serde_json::to_string(record).context("cannot write JSON")?)
    }

    fn value<T: Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Yaml | Format::Policy => {
                serde_saphyr::to_string(value).context("cannot write YAML")?
            }
            Format::Json | Format::Table => {
                serde_json::to_string_pretty(value).context("cannot write JSON")?
            }
        };
        self.text(&text)
    }
}

/// A table without lines, so that it can be cut into columns by programs too.
pub(crate) fn table<R: Row>(records: &[R]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(R::COLUMNS);
    for record in records {
        table.add_row(record.cells());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair(&'static str, &'static str);

    impl Row for Pair {
        const COLUMNS: &'static [&'static str] = &["KEY", "VALUE"];

        fn cells(&self) -> Vec<String> {
            vec![self.0.into(), self.1.into()]
        }
    }

    fn printed(format: Format) -> String {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        Output::new(format, &mut out, &mut notes)
            .list(&[Pair("one", "1"), Pair("three", "3")])
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_one_line_for_each_record_and_one_for_the_columns() {
        assert_eq!(printed(Format::Table), "KEY    VALUE\none    1\nthree  3\n");
    }

    #[test]
    fn json_is_a_list_of_the_records() {
        let value: serde_json::Value = serde_json::from_str(&printed(Format::Json)).unwrap();

        assert_eq!(value, serde_json::json!([["one", "1"], ["three", "3"]]));
    }
}
