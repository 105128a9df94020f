//! What differs between two values of one record, field by field.

use std::fmt;

use serde_json::{Map, Value};

/// Longest value that is shown whole, in characters.
const LONGEST: usize = 120;

/// What differs between a record before and after.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Difference {
    /// There was none.
    Added,
    /// There is none any more.
    Deleted,
    /// By field. Empty: what differs is a secret, which does not show.
    Changed(Vec<Field>),
}

/// A field that differs. `None`: it is not there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    name: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl Difference {
    /// Compares two values of a record.
    pub(crate) fn of(before: Option<&Value>, after: Option<&Value>) -> Self {
        match (before, after) {
            (None, _) => Self::Added,
            (_, None) => Self::Deleted,
            (Some(before), Some(after)) => {
                let mut fields = Vec::new();
                compare("", before, after, &mut fields);
                Self::Changed(fields)
            }
        }
    }
}

/// Goes into objects, not into lists: a list reads best whole.
fn compare(name: &str, before: &Value, after: &Value, fields: &mut Vec<Field>) {
    let absent = Map::new();
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => compare_all(name, old, new, fields),
        (Value::Null, Value::Object(new)) => compare_all(name, &absent, new, fields),
        (Value::Object(old), Value::Null) => compare_all(name, old, &absent, fields),
        _ if before == after => {}
        _ => fields.push(Field {
            name: name.to_owned(),
            before: Some(before.clone()).filter(|it| !it.is_null()),
            after: Some(after.clone()).filter(|it| !it.is_null()),
        }),
    }
}

fn compare_all(
    place: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    fields: &mut Vec<Field>,
) {
    let added = after.keys().filter(|name| !before.contains_key(*name));
    for name in before.keys().chain(added) {
        let value = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or_default();
        let path = match place {
            "" => name.clone(),
            place => format!("{place}.{name}"),
        };
        compare(&path, &value(before), &value(after), fields);
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added => f.write_str("added"),
            Self::Deleted => f.write_str("deleted"),
            Self::Changed(fields) if fields.is_empty() => f.write_str("secret replaced"),
            Self::Changed(fields) => {
                let fields: Vec<String> = fields.iter().map(Field::to_string).collect();
                f.write_str(&fields.join("; "))
            }
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (shown(self.before.as_ref()), shown(self.after.as_ref()));
        write!(f, "{}: {before} -> {after}", self.name)
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "none".to_owned(), Value::to_string);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(before: Value, after: Value) -> String {
        Difference::of(Some(&before), Some(&after)).to_string()
    }

    #[test]
    fn fields_that_differ_are_named_with_their_place() {
        let before = json!({"name": "a", "account": {"username": "x", "password": "***"}});
        let after = json!({"name": "a", "account": {"username": "y", "password": "***"}, "n": 1});

        assert_eq!(
            shown(before, after),
            "account.username: \"x\" -> \"y\"; n: none -> 1"
        );
    }

    #[test]
    fn a_part_that_is_new_is_shown_by_field() {
        let before = json!({"account": null});
        let after = json!({"account": {"username": "x"}});

        assert_eq!(shown(before, after), "account.username: none -> \"x\"");
    }

    #[test]
    fn what_does_not_show_is_a_secret() {
        let same = json!({"password_hash": "***"});

        assert_eq!(shown(same.clone(), same), "secret replaced");
    }
}
