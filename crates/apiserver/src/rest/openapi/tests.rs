#![allow(clippy::unwrap_used)]
use super::*;

fn text(document: &Document) -> Value {
    serde_json::from_slice(&document.plain()).unwrap()
}

#[test]
fn each_group_version_is_in_the_index_under_the_hash_of_its_document() {
    let openapi = OpenApi::new();
    let index = text(openapi.v3_index());
    let paths = index["paths"].as_object().unwrap();
    assert_eq!(paths.len(), versions().len());
    for (path, entry) in paths {
        let document = openapi.v3(path).unwrap();
        let expected = format!("/openapi/v3/{path}?hash={}", document.digest);
        assert_eq!(entry["serverRelativeURL"], expected);
        assert_eq!(digest(&document.plain()), document.digest);
    }
}

#[test]
fn operations_say_which_kind_they_are_of_and_how_it_can_be_patched() {
    let openapi = OpenApi::new();
    let apps = text(openapi.v3("apis/apps/v1").unwrap());
    let one = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(
        one["patch"]["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let patch = &one["patch"]["requestBody"]["content"];
    assert!(patch["application/strategic-merge-patch+json"].is_object());
    let scale =
        &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"];
    let body = &scale["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/io.k8s.api.autoscaling.v1.Scale");
    let everywhere = &apps["paths"]["/apis/apps/v1/deployments"]["get"];
    assert_eq!(everywhere["x-kubernetes-action"], "list");
}

#[test]
fn no_document_refers_to_what_it_does_not_define() {
    let openapi = OpenApi::new();
    let mut documents = vec![(text(openapi.v2()), "#/definitions/", "/definitions")];
    for path in text(openapi.v3_index())["paths"]
        .as_object()
        .unwrap()
        .keys()
    {
        documents.push((
            text(openapi.v3(path).unwrap()),
            "#/components/schemas/",
            "/components/schemas",
        ));
    }
    for (document, reference, place) in documents {
        let defined = document.pointer(place).unwrap();
        let text = document.to_string();
        for name in text.split(&format!("\"$ref\":\"{reference}")).skip(1) {
            let name = name.split('"').next().unwrap();
            assert!(defined.get(name).is_some(), "{name}");
        }
        assert_eq!(
            text.matches("\"$ref\"").count(),
            text.matches(&format!("\"$ref\":\"{reference}")).count()
        );
    }
}

#[test]
fn version_2_has_references_with_neighbours_and_no_one_of() {
    let openapi = OpenApi::new();
    let document = text(openapi.v2());
    let strategy = document
        .pointer("/definitions/io.k8s.api.apps.v1.DeploymentSpec/properties/strategy")
        .unwrap();
    assert_eq!(
        strategy["$ref"],
        "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy"
    );
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    let quantity = &document["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"];
    assert_eq!(quantity["type"], "string");
    let text = document.to_string();
    assert!(!text.contains("\"oneOf\"") && !text.contains("\"allOf\""));
}

#[test]
fn protobuf_has_the_field_numbers_of_gnostics_messages() {
    let document = json!({"swagger": "2.0", "definitions": {"A": {"type": "object", "x-b": [1]}}});
    let type_ = b"\xb2\x01\x08\n\x06object".as_slice();
    let extension = b"\xfa\x01\x0c\n\x03x-b\x12\x05\x12\x03[1]".as_slice();
    let schema = [type_, extension].concat();
    let named = [b"\n\x01A\x12".as_slice(), &[schema.len() as u8], &schema].concat();
    let list = [b"\n".as_slice(), &[named.len() as u8], &named].concat();
    let whole = [b"\n\x032.0J".as_slice(), &[list.len() as u8], &list].concat();
    assert_eq!(protobuf::encode(&document), whole);
}
