//! From OpenAPI 3.0 to Swagger 2.0: the same paths and schemas in the older version's form.

use pontoon_api::schema::REFERENCE;
use serde_json::{Map, Value, json};

const OLD_REFERENCE: &str = "#/definitions/";

/// The whole document.
pub(super) fn document(
    info: Value,
    mut paths: Map<String, Value>,
    mut definitions: Map<String, Value>,
) -> Value {
    for item in paths.values_mut().filter_map(Value::as_object_mut) {
        for (name, part) in item {
            if name == "parameters" {
                parameters(part);
            } else {
                operation(part);
            }
        }
    }
    definitions.values_mut().for_each(schema);
    json!({"swagger": "2.0", "info": info, "paths": paths, "definitions": definitions})
}

fn operation(operation: &mut Value) {
    parameters(&mut operation["parameters"]);
    let Some(operation) = operation.as_object_mut() else {
        return;
    };
    if let Some(mut request) = operation.remove("requestBody") {
        let required = request["required"].take();
        let (media, schema) = content(&mut request);
        operation.insert("consumes".into(), media);
        if let Some(Value::Array(parameters)) = operation.get_mut("parameters") {
            parameters.push(
                json!({"name": "body", "in": "body", "required": required, "schema": schema}),
            );
        }
    }
    let mut produces = json!([]);
    let responses = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut);
    for response in responses.into_iter().flat_map(Map::values_mut) {
        let (media, schema) = content(response);
        response["schema"] = schema;
        produces = media;
    }
    operation.insert("produces".into(), produces);
}

/// Takes `content` out: its media types and the one schema they share.
fn content(holder: &mut Value) -> (Value, Value) {
    let content = holder
        .as_object_mut()
        .and_then(|holder| holder.remove("content"));
    let Some(Value::Object(content)) = content else {
        return (json!([]), Value::Null);
    };
    let media = content.keys().cloned().collect();
    let mut shared = content
        .into_iter()
        .next()
        .map_or(Value::Null, |(_, mut first)| first["schema"].take());
    schema(&mut shared);
    (media, shared)
}

/// A parameter's type lies in it, not in a schema of its own.
fn parameters(parameters: &mut Value) {
    for parameter in parameters.as_array_mut().into_iter().flatten() {
        if let Some(parameter) = parameter.as_object_mut()
            && let Some(Value::Object(mut schema)) = parameter.remove("schema")
        {
            parameter.append(&mut schema);
        }
    }
}

/// A reference may have neighbours and needs no `allOf`; there is no `oneOf`.
fn schema(node: &mut Value) {
    match node {
        Value::Array(items) => items.iter_mut().for_each(schema),
        Value::Object(map) => {
            if let Some(Value::Array(all)) = map.remove("allOf")
                && let Some(Value::Object(mut only)) = all.into_iter().next()
            {
                map.append(&mut only);
            }
            if map.remove("oneOf").is_some_and(|kinds| kinds.is_array()) {
                map.insert("type".into(), "string".into());
            }
            if let Some(Value::String(reference)) = map.get_mut("$ref") {
                *reference = reference.replace(REFERENCE, OLD_REFERENCE);
            }
            map.values_mut().for_each(schema);
        }
        _ => {}
    }
}
