//! The types that options have.

use std::path::PathBuf;

use serde_json::json;

use super::options::{OptionValue, Schema};
use super::value::Value;

impl OptionValue for bool {
    fn expects() -> String {
        "true or false".into()
    }

    fn read(value: &Value) -> Option<Self> {
        if let Value::Boolean(v) = value { Some(*v) } else { None }
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn schema() -> Schema {
        json!({ "type": "boolean" })
    }
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl OptionValue for $int {
            fn expects() -> String {
                if <$int>::MIN == 0 { "a whole number".into() } else { "an integer".into() }
            }

            fn read(value: &Value) -> Option<Self> {
                if let Value::Integer(v) = value { (*v).try_into().ok() } else { None }
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn schema() -> Schema {
                if <$int>::MIN == 0 { json!({ "type": "integer", "minimum": 0 }) } else { json!({ "type": "integer" }) }
            }
        }
    )*};
}
integers!(u32, u64, usize, i64);

impl OptionValue for f64 {
    fn expects() -> String {
        "a number".into()
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Float(v) => Some(*v),
            Value::Integer(v) => Some(*v as f64),
            _ => None,
        }
    }

    fn show(&self) -> String {
        // `{:?}` keeps the point (`1.0`) and every digit, so that TOML reads a float back.
        format!("{self:?}")
    }

    fn schema() -> Schema {
        json!({ "type": "number" })
    }
}

impl OptionValue for String {
    fn expects() -> String {
        "a string".into()
    }

    fn read(value: &Value) -> Option<Self> {
        if let Value::String(v) = value { Some(v.clone()) } else { None }
    }

    fn show(&self) -> String {
        toml::Value::String(self.clone()).to_string()
    }

    fn schema() -> Schema {
        json!({ "type": "string" })
    }
}

impl OptionValue for PathBuf {
    fn expects() -> String {
        "a path".into()
    }

    fn read(value: &Value) -> Option<Self> {
        String::read(value).filter(|s| !s.is_empty()).map(Self::from)
    }

    fn show(&self) -> String {
        self.display().to_string().show()
    }

    fn schema() -> Schema {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// An option that may be left out; written as `""` or left away.
impl<T: OptionValue> OptionValue for Option<T> {
    fn expects() -> String {
        format!("{}, or nothing", T::expects())
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(v) if v.is_empty() => Some(None),
            other => T::read(other).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".into(), T::show)
    }

    fn schema() -> Schema {
        json!({ "anyOf": [T::schema(), { "const": "" }] })
    }
}

/// One value or a list of them.
impl<T: OptionValue> OptionValue for Vec<T> {
    fn expects() -> String {
        format!("{}, or a list of these", T::expects())
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Array(items) => items.iter().map(T::read).collect(),
            one => T::read(one).map(|v| vec![v]),
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }

    fn schema() -> Schema {
        json!({ "anyOf": [T::schema(), { "type": "array", "items": T::schema() }] })
    }
}
