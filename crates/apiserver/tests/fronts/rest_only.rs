//! The REST front in process, without TLS: an identity is put into each request as the acceptor would.

use crate::suite::rest::Rest;
use crate::suite::{admin, server};
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn an_object_is_created_read_listed_changed_and_deleted() {
    let rest = Rest::new(server().await, admin());
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "b"}}, "data": {"k": "v"}});
    let created = rest
        .post("/api/v1/namespaces/default/configmaps", &body)
        .await;
    assert_eq!(created.code, 201, "{}", created.text);
    let version = created.json()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let got = rest.get("/api/v1/namespaces/default/configmaps/x").await;
    assert_eq!((got.code, got.json()), (200, created.json()));
    let listed = rest
        .get("/api/v1/configmaps?labelSelector=a%3Db")
        .await
        .json();
    assert_eq!(listed["kind"], "ConfigMapList");
    assert_eq!(listed["items"][0], got.json());
    assert_eq!(
        rest.get("/api/v1/configmaps?labelSelector=a%3Dc")
            .await
            .json()["items"],
        json!([])
    );

    let mut changed = got.json();
    changed["data"]["k"] = "w".into();
    let updated = rest
        .put("/api/v1/namespaces/default/configmaps/x", &changed)
        .await;
    assert_eq!(updated.code, 200, "{}", updated.text);
    assert_ne!(
        updated.json()["metadata"]["resourceVersion"],
        version.as_str()
    );
    let stale = rest
        .put("/api/v1/namespaces/default/configmaps/x", &changed)
        .await;
    assert_eq!(stale.code, 409);
    assert_eq!(
        stale.json()["message"],
        "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let patched = rest
        .patch(
            "/api/v1/namespaces/default/configmaps/x",
            "application/merge-patch+json",
            &json!({"data": {"k": null, "l": "m"}}),
        )
        .await;
    assert_eq!(
        patched.json()["data"],
        json!({"l": "m"}),
        "{}",
        patched.text
    );
    let deleted = rest.delete("/api/v1/namespaces/default/configmaps/x").await;
    assert_eq!(
        (deleted.code, deleted.json()["status"].clone()),
        (200, json!("Success")),
        "{}",
        deleted.text
    );
    assert_eq!(
        rest.get("/api/v1/namespaces/default/configmaps/x")
            .await
            .code,
        404
    );
}

#[tokio::test]
async fn nobody_sees_anything_but_health_without_a_certificate() {
    let rest = Rest::nobody(server().await);
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(rest.get(path).await.code, 200, "{path}");
    }
    for path in [
        "/",
        "/version",
        "/metrics",
        "/api",
        "/apis",
        "/openapi/v2",
        "/api/v1/pods",
        "/nope",
    ] {
        let answer = rest.get(path).await;
        assert_eq!(answer.code, 401, "{path}");
        assert_eq!(answer.json()["reason"], "Unauthorized");
    }
}

#[tokio::test]
async fn discovery_and_openapi_say_what_kubectl_needs() {
    let rest = Rest::new(server().await, admin());
    assert_eq!(rest.get("/version").await.json()["minor"], "36");
    let groups = rest.get("/apis").await.json();
    assert!(
        groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .any(|group| group["name"] == "apps"),
        "{groups}"
    );
    let list = rest.get("/apis/apps/v1").await.json();
    assert!(
        list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .any(|found| found["name"] == "deployments/scale")
    );
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = rest.accepting("/apis", accept).await;
    assert_eq!(
        aggregated.header("content-type"),
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let etag = aggregated.header("etag");
    let again = rest
        .send(
            Method::GET,
            "/apis",
            &[("accept", accept), ("if-none-match", &etag)],
            "",
        )
        .await;
    assert_eq!(again.code, 304);
    let index = rest.get("/openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let answer = rest.get(&url).await;
    assert!(answer.header("cache-control").contains("immutable"));
    let moved = rest.get("/openapi/v3/apis/apps/v1?hash=OLD").await;
    assert_eq!(moved.code, 301);
    assert_eq!(moved.header("location"), url);
    let document = answer.json();
    let patch =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"]["kind"],
        "Deployment"
    );
    assert!(
        patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .any(|parameter| parameter["name"] == "fieldValidation")
    );
    let protobuf = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    assert_eq!(rest.accepting("/openapi/v3", protobuf).await.code, 406);
}

#[tokio::test]
async fn tables_metadata_and_yaml_are_made_on_request() {
    let rest = Rest::new(server().await, admin());
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let answer = rest.accepting("/api/v1/namespaces", table).await.json();
    assert_eq!(answer["kind"], "Table");
    assert_eq!(answer["columnDefinitions"][0]["name"], "Name");
    assert_eq!(answer["rows"][0]["cells"][0], "default");
    assert_eq!(answer["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let answer = rest.accepting("/api/v1/namespaces", partial).await.json();
    assert_eq!(answer["kind"], "PartialObjectMetadataList");
    let yaml = rest
        .accepting("/api/v1/namespaces/default", "application/yaml")
        .await;
    assert!(yaml.text.contains("kind: Namespace"), "{}", yaml.text);
    let made = rest
        .send(
            Method::POST,
            "/api/v1/namespaces/default/configmaps",
            &[("content-type", "application/yaml")],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\ndata: {a: b}\n",
        )
        .await;
    assert_eq!(made.code, 201, "{}", made.text);
}

#[tokio::test]
async fn bad_bodies_get_a_precise_answer_and_change_nothing() {
    let rest = Rest::new(server().await, admin());
    let path = "/api/v1/namespaces/default/configmaps";
    let before = rest.get("/api/v1/configmaps").await.json()["metadata"]["resourceVersion"].clone();
    let bomb = (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        format!(
            "{text}a{level}: &a{level} [{}]\n",
            vec![format!("*a{}", level - 1); 9].join(",")
        )
    });
    let deep = format!(
        "{}{}",
        "{\"a\":".repeat(5_000),
        "1".to_owned() + &"}".repeat(5_000)
    );
    let json = "application/json";
    let yaml = "application/yaml";
    for (name, media, body, code, reason) in [
        ("not JSON", json, "{".to_owned(), 400, "BadRequest"),
        ("an array", json, "[]".to_owned(), 400, "BadRequest"),
        ("empty", json, String::new(), 400, "BadRequest"),
        ("nul bytes", json, "\0\u{1}".to_owned(), 400, "BadRequest"),
        ("deep nesting", json, deep, 400, "BadRequest"),
        (
            "another kind",
            json,
            r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}"#.into(),
            400,
            "BadRequest",
        ),
        (
            "another version",
            json,
            r#"{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"x"}}"#.into(),
            400,
            "BadRequest",
        ),
        (
            "wrong type",
            json,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":[]}"#.into(),
            400,
            "BadRequest",
        ),
        (
            "metadata of the wrong type",
            json,
            r#"{"metadata":7}"#.into(),
            400,
            "BadRequest",
        ),
        (
            "illegal name",
            json,
            r#"{"metadata":{"name":"A b"}}"#.into(),
            422,
            "Invalid",
        ),
        ("no name", json, r#"{"metadata":{}}"#.into(), 422, "Invalid"),
        (
            "another namespace",
            json,
            r#"{"metadata":{"name":"x","namespace":"other"}}"#.into(),
            400,
            "BadRequest",
        ),
        ("YAML alias bomb", yaml, bomb, 400, "BadRequest"),
        ("malformed YAML", yaml, "a: [".into(), 400, "BadRequest"),
        (
            "oversized body",
            json,
            "x".repeat(3 << 20 | 1),
            413,
            "RequestEntityTooLarge",
        ),
        (
            "unknown media type",
            "text/plain",
            "x".into(),
            415,
            "UnsupportedMediaType",
        ),
    ] {
        let answer = rest
            .send(Method::POST, path, &[("content-type", media)], &body)
            .await;
        assert_eq!(
            (answer.code, answer.json()["reason"].clone()),
            (code, json!(reason)),
            "{name}: {}",
            answer.text
        );
        assert_eq!(answer.json()["status"], "Failure", "{name}");
    }
    let big = json!({
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "c", "image": "host", "env": [{"name": "A", "value": "x".repeat(1_600_000)}]}]},
    });
    let answer = rest.post("/api/v1/namespaces/default/pods", &big).await;
    assert_eq!(
        (answer.code, answer.json()["reason"].clone()),
        (413, json!("RequestEntityTooLarge")),
        "{}",
        answer.text
    );
    let nowhere = rest
        .post(
            "/api/v1/namespaces/nowhere/configmaps",
            &json!({"metadata": {"name": "x"}}),
        )
        .await;
    assert_eq!(
        (nowhere.code, nowhere.json()["message"].clone()),
        (404, json!("namespaces \"nowhere\" not found"))
    );
    assert_eq!(
        rest.get("/api/v1/configmaps").await.json()["metadata"]["resourceVersion"],
        before
    );
}

#[tokio::test]
async fn unknown_and_duplicate_fields_obey_field_validation() {
    let rest = Rest::new(server().await, admin());
    let path = "/api/v1/namespaces/default/configmaps";
    let body = r#"{"metadata":{"name":"x"},"datta":{},"data":{"a":"1","a":"2"}}"#;
    let strict = rest
        .send(
            Method::POST,
            &format!("{path}?fieldValidation=Strict"),
            &[],
            body,
        )
        .await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.json()["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"datta\", duplicate field \"data.a\""
    );
    let warned = rest.send(Method::POST, path, &[], body).await;
    assert_eq!(warned.code, 201, "{}", warned.text);
    assert_eq!(
        warned.headers("warning"),
        [
            "299 - \"unknown field \\\"datta\\\"\"",
            "299 - \"duplicate field \\\"data.a\\\"\""
        ]
    );
    let body = body.replace("\"x\"", "\"y\"");
    let ignored = rest
        .send(
            Method::POST,
            &format!("{path}?fieldValidation=Ignore"),
            &[],
            &body,
        )
        .await;
    assert_eq!((ignored.code, ignored.headers("warning").len()), (201, 0));
    let odd = rest
        .send(
            Method::POST,
            &format!("{path}?fieldValidation=Maybe"),
            &[],
            &body,
        )
        .await;
    assert_eq!(odd.code, 422, "{}", odd.text);
}

#[tokio::test]
async fn a_list_comes_in_pages_of_one_revision() {
    let rest = Rest::new(server().await, admin());
    for name in ["a", "b", "c", "d", "e"] {
        rest.post(
            "/api/v1/namespaces/default/configmaps",
            &json!({"metadata": {"name": name}}),
        )
        .await;
    }
    let first = rest.get("/api/v1/configmaps?limit=2").await.json();
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    rest.delete("/api/v1/namespaces/default/configmaps/d").await;
    let mut names: Vec<Value> = names_of(&first);
    let mut page = first.clone();
    while let Some(token) = page["metadata"]["continue"].as_str() {
        page = rest
            .get(&format!("/api/v1/configmaps?limit=2&continue={token}"))
            .await
            .json();
        assert_eq!(
            page["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        names.extend(names_of(&page));
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

fn names_of(list: &Value) -> Vec<Value> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].clone())
        .collect()
}

#[tokio::test]
async fn a_watch_speaks_tables_and_metadata_too() {
    use futures::StreamExt as _;
    let rest = Rest::new(server().await, admin());
    let mut first = Vec::new();
    for accept in [
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ] {
        let path = "/api/v1/namespaces?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Ddefault";
        let response = rest
            .open(Method::GET, path, &[("accept", accept)], "")
            .await;
        assert_eq!(response.status(), 200);
        let mut body = response.into_body().into_data_stream();
        for _ in 0..2 {
            first.push(
                serde_json::from_slice::<Value>(&body.next().await.unwrap().unwrap()).unwrap(),
            );
        }
    }
    assert_eq!(
        (&first[0]["type"], &first[0]["object"]["kind"]),
        (&json!("ADDED"), &json!("Table"))
    );
    assert_eq!(first[0]["object"]["rows"][0]["cells"][0], "default");
    assert!(
        first[0]["object"]["columnDefinitions"].is_array(),
        "the first event defines the columns"
    );
    assert_eq!(
        (&first[1]["type"], &first[1]["object"]["kind"]),
        (&json!("BOOKMARK"), &json!("Table"))
    );
    assert_eq!(first[1]["object"]["columnDefinitions"], Value::Null);
    assert_eq!(
        (&first[2]["type"], &first[2]["object"]["kind"]),
        (&json!("ADDED"), &json!("PartialObjectMetadata"))
    );
    assert_eq!(
        first[3]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
}

#[tokio::test]
async fn the_bytes_of_a_watch_are_lines_of_json_and_end_in_time() {
    let rest = Rest::new(server().await, admin());
    let answer = rest
        .get("/api/v1/namespaces?watch=1&resourceVersion=0&timeoutSeconds=1")
        .await;
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines
            .iter()
            .all(|event| event["type"] == "ADDED" && event["object"]["kind"] == "Namespace")
    );
    let none = rest.get("/api/v1/namespaces?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&timeoutSeconds=1").await;
    assert_eq!((none.code, none.text.as_str()), (200, ""));
}

#[tokio::test]
async fn revisions_that_make_no_sense_are_refused() {
    let rest = Rest::new(server().await, admin());
    for (query, code, reason) in [
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            422,
            "Invalid",
        ),
        (
            "resourceVersionMatch=Sometimes&resourceVersion=1",
            422,
            "Invalid",
        ),
        ("sendInitialEvents=true", 422, "Invalid"),
        ("watch=1&sendInitialEvents=true", 422, "Invalid"),
        (
            "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1",
            422,
            "Invalid",
        ),
        ("resourceVersion=abc", 400, "BadRequest"),
        ("limit=many", 400, "BadRequest"),
        ("continue=eyJ9", 400, "BadRequest"),
        ("labelSelector=%zz", 400, "BadRequest"),
    ] {
        let answer = rest.get(&format!("/api/v1/namespaces?{query}")).await;
        assert_eq!(
            (answer.code, answer.json()["reason"].clone()),
            (code, json!(reason)),
            "{query}: {}",
            answer.text
        );
    }
    assert_eq!(rest.get("/api/v1/namespaces?limit=-1").await.code, 200);
    assert_eq!(
        rest.get("/api/v1/namespaces?resourceVersion=1").await.code,
        200
    );
    assert_eq!(
        rest.get("/api/v1/namespaces/default?resourceVersion=1")
            .await
            .code,
        200
    );
}

#[tokio::test]
async fn methods_that_a_path_does_not_have_are_refused() {
    let rest = Rest::new(server().await, admin());
    let head = rest
        .send(Method::HEAD, "/api/v1/namespaces/default", &[], "")
        .await;
    assert_eq!((head.code, head.text.as_str()), (200, ""));
    for (method, path) in [
        (Method::OPTIONS, "/api/v1/namespaces"),
        (Method::POST, "/version"),
        (Method::POST, "/api/v1/configmaps"),
        (Method::DELETE, "/api/v1/namespaces"),
        (Method::PUT, "/api/v1/namespaces/default/configmaps"),
        (Method::PATCH, "/api/v1/namespaces/default/configmaps"),
        (Method::POST, "/livez"),
    ] {
        assert_eq!(
            rest.send(method.clone(), path, &[], "{}").await.code,
            405,
            "{method} {path}"
        );
    }
    let apply = rest
        .patch(
            "/api/v1/namespaces/default",
            "application/apply-patch+yaml",
            &json!({}),
        )
        .await;
    assert_eq!(apply.code, 415);
    assert!(
        apply.json()["message"]
            .as_str()
            .unwrap()
            .contains("Server-side apply is not served yet"),
        "{}",
        apply.text
    );
    assert_eq!(
        rest.accepting("/api/v1/namespaces", "application/vnd.kubernetes.protobuf")
            .await
            .code,
        406
    );
    assert_eq!(
        rest.accepting("/api/v1/namespaces", "text/html").await.code,
        406
    );
    assert_eq!(rest.get("/metrics").await.code, 200);
    assert!(
        rest.get("/").await.json()["paths"]
            .as_array()
            .unwrap()
            .len()
            > 5
    );
}

/// A field of bytes on the protobuf wire; `bytes` is shorter than 128.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [
        &[number << 3 | 2, u8::try_from(bytes.len()).unwrap()],
        bytes,
    ]
    .concat()
}

/// An object in Kubernetes' protobuf encoding.
fn protobuf(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &type_meta), field(2, raw)].concat()
}

#[tokio::test]
async fn bodies_in_protobuf_are_taken_for_objects_and_options_and_answered_in_json() {
    let rest = Rest::new(server().await, admin());
    let path = "/api/v1/namespaces/default/configmaps";
    let headers = [
        ("content-type", "application/vnd.kubernetes.protobuf"),
        (
            "accept",
            "application/vnd.kubernetes.protobuf,application/json",
        ),
    ];
    let named = field(1, &field(1, b"x"));
    let data = field(2, &[field(1, b"k"), field(2, b"v")].concat());
    let body = protobuf("v1", "ConfigMap", &[named.clone(), data].concat());
    let created = rest.send(Method::POST, path, &headers, body).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert_eq!(created.headers("content-type"), ["application/json"]);
    assert_eq!(created.json()["data"], json!({"k": "v"}));

    // Field 9 of a ConfigMap is one that this server does not know.
    let newer = protobuf("v1", "ConfigMap", &[named, field(9, b"v")].concat());
    let replaced = rest
        .send(Method::PUT, &format!("{path}/x"), &headers, newer.clone())
        .await;
    assert_eq!(replaced.code, 200, "{}", replaced.text);
    assert_eq!(
        replaced.headers("warning"),
        ["299 - \"unknown field \\\"protobuf field 9\\\"\""]
    );
    let strict = rest
        .send(
            Method::PUT,
            &format!("{path}/x?fieldValidation=Strict"),
            &headers,
            newer,
        )
        .await;
    assert_eq!(strict.code, 400, "{}", strict.text);

    let elsewhere = protobuf("v1", "Secret", b"");
    assert_eq!(
        rest.send(Method::POST, path, &headers, elsewhere)
            .await
            .code,
        400
    );
    assert_eq!(
        rest.send(Method::POST, path, &headers, b"{}".to_vec())
            .await
            .code,
        400
    );

    // Preconditions: of another uid.
    let options = protobuf("apps/v1", "DeleteOptions", &field(2, &field(1, b"other")));
    let kept = rest
        .send(Method::DELETE, &format!("{path}/x"), &headers, options)
        .await;
    assert_eq!(kept.code, 409, "{}", kept.text);
    let options = protobuf("v1", "DeleteOptions", &field(4, b"Background"));
    let deleted = rest
        .send(Method::DELETE, &format!("{path}/x"), &headers, options)
        .await;
    assert_eq!(deleted.code, 200, "{}", deleted.text);
}

#[tokio::test]
async fn who_takes_protobuf_only_is_told_what_there_is() {
    let rest = Rest::new(server().await, admin());
    let only = [("accept", "application/vnd.kubernetes.protobuf")];
    let answer = rest.send(Method::GET, "/api/v1/pods", &only, "").await;
    assert_eq!(
        (answer.code, answer.json()["reason"].clone()),
        (406, json!("NotAcceptable")),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_refusal_of_an_unserved_subresource_has_details_as_kubectl_debug_expects() {
    let rest = Rest::new(server().await, admin());
    let answer = rest.get("/api/v1/namespaces/default/pods/x/nonesuch").await;
    assert_eq!(
        (answer.code, answer.json()["details"].clone()),
        (404, json!({})),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn every_answer_about_endpoints_warns_once_that_they_are_deprecated() {
    let rest = Rest::new(server().await, admin());
    let expected =
        "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    let list = "/api/v1/namespaces/default/endpoints";
    assert_eq!(rest.get(list).await.headers("warning"), [expected]);
    let missing = rest.get(&format!("{list}/nope")).await;
    assert_eq!(missing.code, 404);
    assert_eq!(missing.headers("warning"), [expected]);
    let body = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "x"}});
    let made = rest.post(list, &body).await;
    assert_eq!((made.code, made.headers("warning")), (201, vec![expected]));
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert!(rest.get(slices).await.headers("warning").is_empty());
}
