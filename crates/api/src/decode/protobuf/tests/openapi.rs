//! The schema against k8s-openapi's types: the same fields, of the same types, in every message.

use super::super::schema::SCHEMA;
use super::encoder::sample;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
    value::StrDeserializer,
};
use serde_json::{Error, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Fields of types that are in no protobuf message: the envelope carries them.
const TYPE_META: [&str; 2] = ["apiVersion", "kind"];

/// Reads a value and notes the fields that types have and the value has not, and the other way round.
#[derive(Clone, Copy)]
struct Compare<'de, 'r> {
    value: &'de Value,
    differences: &'r RefCell<BTreeSet<String>>,
}

impl<'de> Compare<'de, '_> {
    fn of(self, value: &'de Value) -> Self {
        Self { value, ..self }
    }
}

impl<'de> Deserializer<'de> for Compare<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.iter(),
                compare: self,
            }),
            Value::Object(fields) => visitor.visit_map(Fields {
                fields: fields.iter(),
                value: None,
                compare: self,
            }),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut differences = self.differences.borrow_mut();
        for field in fields
            .iter()
            .filter(|field| self.value[**field].is_null() && !TYPE_META.contains(field))
        {
            differences.insert(format!("{name}.{field} is missing in the schema"));
        }
        for field in self
            .value
            .as_object()
            .into_iter()
            .flat_map(|found| found.keys())
        {
            if !fields.contains(&field.as_str()) {
                differences.insert(format!("{name}.{field} is unknown"));
            }
        }
        drop(differences);
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

struct Items<'de, 'r> {
    items: std::slice::Iter<'de, Value>,
    compare: Compare<'de, 'r>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.items
            .next()
            .map(|item| seed.deserialize(self.compare.of(item)))
            .transpose()
    }
}

struct Fields<'de, 'r> {
    fields: serde_json::map::Iter<'de>,
    value: Option<&'de Value>,
    compare: Compare<'de, 'r>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.fields.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.compare.of(self.value.take().unwrap()))
    }
}

fn compare<T: DeserializeOwned>(
    version: &str,
    kind: &str,
    differences: &RefCell<BTreeSet<String>>,
) {
    let object = sample(version, kind, SCHEMA.root(version, kind).unwrap());
    let read = T::deserialize(Compare {
        value: &object,
        differences,
    });
    if let Err(error) = read {
        panic!("{kind}: {error}");
    }
}

#[test]
fn every_field_of_every_type_is_in_the_schema_under_its_name() {
    use k8s_openapi::api::{
        apps::v1 as apps, autoscaling::v1 as autoscaling, coordination::v1 as coordination,
        core::v1 as core, discovery::v1 as discovery, node::v1 as node, policy::v1 as policy,
    };
    let found = RefCell::default();
    compare::<core::Namespace>("v1", "Namespace", &found);
    compare::<core::Node>("v1", "Node", &found);
    compare::<core::Pod>("v1", "Pod", &found);
    compare::<core::Service>("v1", "Service", &found);
    compare::<core::Endpoints>("v1", "Endpoints", &found);
    compare::<core::ConfigMap>("v1", "ConfigMap", &found);
    compare::<core::Secret>("v1", "Secret", &found);
    compare::<core::ServiceAccount>("v1", "ServiceAccount", &found);
    compare::<core::Event>("v1", "Event", &found);
    compare::<core::Binding>("v1", "Binding", &found);
    compare::<apps::Deployment>("apps/v1", "Deployment", &found);
    compare::<apps::ReplicaSet>("apps/v1", "ReplicaSet", &found);
    compare::<discovery::EndpointSlice>("discovery.k8s.io/v1", "EndpointSlice", &found);
    compare::<node::RuntimeClass>("node.k8s.io/v1", "RuntimeClass", &found);
    compare::<coordination::Lease>("coordination.k8s.io/v1", "Lease", &found);
    compare::<autoscaling::Scale>("autoscaling/v1", "Scale", &found);
    compare::<policy::Eviction>("policy/v1", "Eviction", &found);
    compare::<k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions>(
        "v1",
        "DeleteOptions",
        &found,
    );
    assert_eq!(found.into_inner(), BTreeSet::new());
}
