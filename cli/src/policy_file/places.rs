//! Where in a file a field is.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::{Counts, parse};

/// A field as the control plane names it: `users[0].types[3].features[1]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
}

/// What of a value is needed to find places in it.
#[derive(Debug)]
enum Value {
    Leaf,
    List(Vec<Spanned<Value>>),
    Mapping(Vec<(String, Spanned<Value>)>),
}

/// The line and the column of a field, counted from 1. When it is not there,
/// those of what it would be in.
pub(super) fn find(text: &str, field: &Field) -> Option<(u64, u64)> {
    let mut value: Spanned<Value> = parse(text).ok()?;
    for step in &field.0 {
        match value.value.take(step) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    Some((value.referenced.line(), value.referenced.column()))
}

/// The field whose value begins at a line and a column. `None`: there is none,
/// or the text is not even YAML.
pub(super) fn at(text: &str, place: (u64, u64)) -> Option<Field> {
    let root: Spanned<Value> = parse(text).ok()?;
    root.value.field_at(place, &mut Vec::new()).map(Field)
}

impl Field {
    /// Reads a field. `None`: it is not written as one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
            steps.push(Step::Name(name.to_owned()));
            for index in indexes.split_terminator(']') {
                let index = index.trim_start_matches('[').parse().ok()?;
                steps.push(Step::Index(index));
            }
        }
        Some(Self(steps))
    }

    /// The list that it is in, and which of the list's it is in.
    pub(super) fn first(&self) -> Option<(&str, usize)> {
        match self.0.as_slice() {
            [Step::Name(list), Step::Index(index), ..] => Some((list, *index)),
            _ => None,
        }
    }

    /// The same in another of the list's.
    pub(super) fn at(mut self, index: usize) -> Self {
        if let Some(step) = self.0.get_mut(1) {
            *step = Step::Index(index);
        }
        self
    }

    /// The same, once what it is in comes after others.
    pub(super) fn after(self, others: Counts) -> Self {
        let first = self.first();
        let moved = first.and_then(|(list, index)| Some(others.of_kind(list)? + index));
        match moved {
            Some(index) => self.at(index),
            None => self,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Name(name) if i == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

impl Value {
    /// The way to the outermost value that begins there; `way` leads to this
    /// one.
    fn field_at(&self, place: (u64, u64), way: &mut Vec<Step>) -> Option<Vec<Step>> {
        let inner: Vec<(Step, &Spanned<Self>)> = match self {
            Self::Leaf => Vec::new(),
            Self::List(values) => {
                let numbered = values.iter().enumerate();
                numbered.map(|(i, it)| (Step::Index(i), it)).collect()
            }
            Self::Mapping(values) => {
                let named = values.iter();
                named
                    .map(|(name, it)| (Step::Name(name.clone()), it))
                    .collect()
            }
        };
        inner.into_iter().find_map(|(step, value)| {
            way.push(step);
            let begins = (value.referenced.line(), value.referenced.column());
            let found = match begins == place {
                true => Some(way.clone()),
                false => value.value.field_at(place, way),
            };
            way.pop();
            found
        })
    }

    fn take(self, step: &Step) -> Option<Spanned<Self>> {
        match (self, step) {
            (Self::List(values), Step::Index(index)) => values.into_iter().nth(*index),
            (Self::Mapping(values), Step::Name(name)) => {
                let mut values = values.into_iter();
                values.find(|(key, _)| key == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(entry) = map.next_entry()? {
            values.push(entry);
        }
        Ok(Value::Mapping(values))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
users:
  - name: qnib
    types:
      - {name: one, features: [avx, avx2]}
      - name: two
";

    fn place(field: &str) -> Option<(u64, u64)> {
        find(TEXT, &Field::parse(field).unwrap())
    }

    #[test]
    fn a_field_is_found_where_its_value_is() {
        assert_eq!(place("users[0].name"), Some((3, 11)));
        assert_eq!(place("users[0].types[0].features[1]"), Some((5, 37)));
    }

    #[test]
    fn a_field_that_is_missing_is_found_where_it_would_be() {
        assert_eq!(place("users[0].types[1].secret"), Some((6, 9)));
        assert_eq!(place("users[0].types[7]"), place("users[0].types"));
    }

    #[test]
    fn a_field_is_written_as_it_was_read() {
        let field = "users[0].types[3].features[1]";

        assert_eq!(Field::parse(field).unwrap().to_string(), field);
    }
}
