//! A serde deserializer over a JSON value that behaves as Go's JSON decoder does for Kubernetes'
//! types: it notes the paths of fields that no type asked for, reads null as the zero value,
//! puts quantities in canonical form, and reports a wrong type in Go's words.

use crate::quantity::Quantity;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor, value::StrDeserializer};
use serde_json::Value;
use std::cell::RefCell;
use std::fmt;

/// Decodes `value`; the second part lists the paths of unknown fields.
pub(super) fn read<T: de::DeserializeOwned>(value: &Value) -> Result<(T, Vec<String>), String> {
    let unknown = RefCell::new(Vec::new());
    let reader = Reader {
        value,
        trail: Trail::Root,
        unknown: &unknown,
    };
    let decoded = T::deserialize(reader).map_err(|error| error.0)?;
    Ok((decoded, unknown.into_inner()))
}

/// How the reader came to where it is.
#[derive(Clone, Copy)]
enum Trail<'a> {
    Root,
    Field {
        parent: &'a Trail<'a>,
        owner: &'static str,
        name: &'a str,
    },
    Index {
        parent: &'a Trail<'a>,
        index: usize,
    },
    Key {
        parent: &'a Trail<'a>,
        key: &'a str,
    },
}

impl Trail<'_> {
    /// The path as strict decoding reports it, with indexes.
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field {
                parent, name: key, ..
            }
            | Self::Key { parent, key } => {
                let mut path = parent.path();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                path
            }
            Self::Index { parent, index } => format!("{}[{index}]", parent.path()),
        }
    }

    /// The fields alone: Go's decoder names no indexes and no keys.
    fn fields(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field { parent, name, .. } => format!("{}.{name}", parent.fields()),
            Self::Index { parent, .. } | Self::Key { parent, .. } => parent.fields(),
        }
    }

    fn owner(&self) -> Option<&'static str> {
        match self {
            Self::Root => None,
            Self::Field { owner, .. } => Some(owner),
            Self::Index { parent, .. } | Self::Key { parent, .. } => parent.owner(),
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'de, 'a> {
    value: &'de Value,
    trail: Trail<'a>,
    unknown: &'a RefCell<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct ReadError(String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        Self(base64_in_gos_words(&text).unwrap_or(text))
    }
}

/// The base64 decoder of k8s-openapi's byte strings tells the place of a bad symbol its own way.
fn base64_in_gos_words(text: &str) -> Option<String> {
    let found = text.starts_with("Invalid symbol ") || text.starts_with("Invalid last symbol ");
    let (_, offset) = text.rsplit_once("offset ").filter(|_| found)?;
    Some(format!(
        "illegal base64 data at input byte {}",
        offset.trim_end_matches('.')
    ))
}

/// Go's name for the items of a list or map, told from the name of the visitor that reads it. Names of types are
/// not stable, so this only ever words a message.
fn go_type<V>() -> String {
    let name = std::any::type_name::<V>();
    let inside = name.rsplit_once('<').map_or("", |(_, inside)| inside);
    let item = inside
        .trim_end_matches('>')
        .rsplit([',', ' '])
        .next()
        .unwrap_or("");
    match item.rsplit("::").next().unwrap_or("") {
        "" => "interface {}".to_owned(),
        "String" | "str" => "string".to_owned(),
        "i64" => "int64".to_owned(),
        "i32" => "int32".to_owned(),
        "ByteString" => "[]uint8".to_owned(),
        "Quantity" => "resource.Quantity".to_owned(),
        other => format!("v1.{other}"),
    }
}

impl Reader<'_, '_> {
    fn mismatch(&self, wanted: &str) -> ReadError {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) if wanted.starts_with("int") || wanted.starts_with("uint") => {
                format!("number {number}")
            }
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        ReadError(match self.trail.owner() {
            Some(owner) => format!(
                "json: cannot unmarshal {found} into Go struct field {owner}{} of type {wanted}",
                self.trail.fields()
            ),
            None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
        })
    }

    fn integer(&self, wanted: &str) -> Result<i64, ReadError> {
        match self.value {
            Value::Null => Ok(0),
            Value::Number(number) => number.as_i64().ok_or_else(|| self.mismatch(wanted)),
            _ => Err(self.mismatch(wanted)),
        }
    }

    fn small<T: TryFrom<i64>>(&self, wanted: &str) -> Result<T, ReadError> {
        T::try_from(self.integer(wanted)?).map_err(|_| self.mismatch(wanted))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $wanted:literal),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            visitor.$visit(self.small($wanted)?)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Reader<'de, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_i64(number),
                (_, Some(number), _) => visitor.visit_u64(number),
                (_, _, Some(number)) => visitor.visit_f64(number),
                _ => Err(self.mismatch("number")),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            _ => Err(self.mismatch("bool")),
        }
    }

    integers! {
        deserialize_i8 visit_i8 "int8",
        deserialize_i16 visit_i16 "int16",
        deserialize_i32 visit_i32 "int32",
        deserialize_i64 visit_i64 "int64",
        deserialize_u8 visit_u8 "uint8",
        deserialize_u16 visit_u16 "uint16",
        deserialize_u32 visit_u32 "uint32",
        deserialize_u64 visit_u64 "uint64",
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_f64(
            self.value
                .as_f64()
                .ok_or_else(|| self.mismatch("float64"))?,
        )
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_borrowed_str(""),
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name != "Quantity" {
            return visitor.visit_newtype_struct(self);
        }
        let text = match self.value {
            Value::Null => "0".to_owned(),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return Err(self.mismatch("resource.Quantity")),
        };
        let canonical = text
            .parse::<Quantity>()
            .map_err(|error| ReadError(error.to_string()))?;
        visitor.visit_string(canonical.to_string())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Array(items) => visitor.visit_seq(Items {
                reader: self,
                items,
                next: 0,
            }),
            _ => Err(self.mismatch(&format!("[]{}", go_type::<V>()))),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Object(entries) => visitor.visit_map(Entries {
                reader: self,
                entries: entries.iter(),
                value: None,
                owner: None,
            }),
            _ => Err(self.mismatch(&format!("map[string]{}", go_type::<V>()))),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        static NOTHING: std::sync::LazyLock<serde_json::Map<String, Value>> =
            std::sync::LazyLock::new(serde_json::Map::new);
        let entries = match self.value {
            Value::Object(entries) => entries,
            Value::Null => &*NOTHING,
            _ => return Err(self.mismatch(&format!("v1.{name}"))),
        };
        visitor.visit_map(Entries {
            reader: self,
            entries: entries.iter(),
            value: None,
            owner: Some(name),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        Err(self.mismatch("enum"))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.unknown.borrow_mut().push(self.trail.path());
        visitor.visit_unit()
    }
}

struct Items<'de, 'a> {
    reader: Reader<'de, 'a>,
    items: &'de [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(value) = self.items.get(self.next) else {
            return Ok(None);
        };
        let trail = Trail::Index {
            parent: &self.reader.trail,
            index: self.next,
        };
        self.next += 1;
        seed.deserialize(Reader {
            value,
            trail,
            unknown: self.reader.unknown,
        })
        .map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Entries<'de, 'a> {
    reader: Reader<'de, 'a>,
    entries: serde_json::map::Iter<'de>,
    value: Option<(&'de str, &'de Value)>,
    /// The struct whose fields these are; none for a map.
    owner: Option<&'static str>,
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some((key, value));
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (name, value) = self
            .value
            .take()
            .expect("serde asks for a key before its value");
        let parent = &self.reader.trail;
        let trail = match self.owner {
            Some(owner) => Trail::Field {
                parent,
                owner,
                name,
            },
            None => Trail::Key { parent, key: name },
        };
        seed.deserialize(Reader {
            value,
            trail,
            unknown: self.reader.unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::read;
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use serde_json::json;

    #[test]
    fn unknown_fields_are_named_by_their_path() {
        let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"nme": "x"},
            "spec": {"containers": [{"name": "a"}, {"imag": null}]}});
        let (_, unknown) = read::<Pod>(&body).unwrap();
        assert_eq!(unknown, ["metadata.nme", "spec.containers[1].imag"]);
    }

    #[test]
    fn a_wrong_type_is_reported_in_the_words_of_gos_decoder() {
        let body =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "3"}});
        assert_eq!(
            read::<Deployment>(&body).unwrap_err(),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec":
            {"containers": [{"env": [{"name": "a", "value": 1}]}]}}}});
        assert_eq!(
            read::<Deployment>(&body).unwrap_err(),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string"
        );
    }

    #[test]
    fn lists_and_maps_are_named_as_go_names_them() {
        let pod = |spec| {
            read::<Pod>(&json!({"apiVersion": "v1", "kind": "Pod", "spec": spec})).unwrap_err()
        };
        assert_eq!(
            pod(json!({"containers": {}})),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
        );
        assert_eq!(
            pod(json!({"nodeSelector": []})),
            "json: cannot unmarshal array into Go struct field PodSpec.spec.nodeSelector of type map[string]string"
        );
        assert_eq!(
            pod(json!({"containers": [{"args": "x"}]})),
            "json: cannot unmarshal string into Go struct field Container.spec.containers.args of type []string"
        );
        assert_eq!(
            read::<Pod>(&json!([])).unwrap_err(),
            "json: cannot unmarshal array into Go value of type v1.Pod"
        );
        assert_eq!(
            pod(json!([])),
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"
        );
    }

    #[test]
    fn bytes_that_are_not_base64_are_refused_at_their_place() {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "binaryData": {"a": "***"}});
        assert_eq!(
            read::<ConfigMap>(&body).unwrap_err(),
            "illegal base64 data at input byte 0"
        );
    }

    #[test]
    fn null_is_the_zero_value() {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": null, "data": {"a": null}, "immutable": null});
        let (read, unknown) = read::<ConfigMap>(&body).unwrap();
        assert_eq!(unknown, Vec::<String>::new());
        assert_eq!(read.data.unwrap()["a"], "");
    }

    #[test]
    fn quantities_come_out_canonical() {
        let body = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a",
            "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}}]}});
        let (pod, _) = read::<Pod>(&body).unwrap();
        let limits = pod.spec.unwrap().containers[0]
            .resources
            .clone()
            .unwrap()
            .limits
            .unwrap();
        assert_eq!(
            (limits["cpu"].0.as_str(), limits["memory"].0.as_str()),
            ("500m", "1Gi")
        );
    }
}
