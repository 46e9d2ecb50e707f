//! The merge patch (RFC 7396) that makes one document another.

use serde_json::{Map, Value};

/// What differs; none when nothing does. A `null` in the wished document reads as absent: a merge patch cannot say it.
pub fn difference(from: &Value, to: &Value) -> Option<Value> {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return (from != to).then(|| to.clone());
    };
    let mut patch = Map::new();
    for key in from
        .keys()
        .filter(|key| to.get(*key).is_none_or(Value::is_null))
    {
        if !from[key].is_null() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    for (key, wished) in to.iter().filter(|(_, wished)| !wished.is_null()) {
        let part = match from.get(key) {
            Some(present) => difference(present, wished),
            None => Some(wished.clone()),
        };
        if let Some(part) = part {
            patch.insert(key.clone(), part);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pontoon_api::patch::{PatchType, apply};
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_sent_and_nothing_else() {
        let before = json!({"a": 1, "b": {"c": 1, "d": [1]}, "gone": 1});
        let after = json!({"a": 1, "b": {"c": 2, "d": [1]}, "come": {"x": 1}});
        assert_eq!(
            difference(&before, &after),
            Some(json!({"b": {"c": 2}, "gone": null, "come": {"x": 1}}))
        );
        assert_eq!(difference(&before, &before), None);
    }

    /// Objects without null, which a merge patch cannot say.
    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3_i64).prop_map(Value::from)
        ];
        let value = leaf.prop_recursive(3, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-c]", value, 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn the_difference_makes_one_of_the_other(from in object(), to in object()) {
            let patched = match difference(&from, &to) {
                None => Ok(from.clone()),
                Some(patch) => apply("ConfigMap", &from, &patch, PatchType::Merge),
            };
            prop_assert_eq!(patched, Ok(to));
        }
    }
}
