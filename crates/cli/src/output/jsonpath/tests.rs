#![allow(clippy::unwrap_used)]
use super::Template;
use proptest::prelude::*;
use serde_json::{Value, json};

fn pods() -> Value {
    json!({"kind": "List", "items": [
        {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "web", "x": "1"}},
         "spec": {"n": 1, "tags": ["p", "q", "r"]}},
        {"metadata": {"name": "b", "labels": {}}, "spec": {"n": 2, "ready": true}},
    ]})
}

fn rendered(template: &str) -> String {
    Template::parse(template).unwrap().render(&pods()).unwrap()
}

#[test]
fn templates_render_as_kubernetes_documents_them() {
    for (template, text) in [
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ("{$.kind}", "List"),
        ("{.items[0].spec.tags}", r#"["p","q","r"]"#),
        ("{.items[0].spec.tags[0:2]}", "p q"),
        ("{.items[0].spec.tags[:2]}", "p q"),
        ("{.items[0].spec.tags[1:]}", "q r"),
        ("{.items[0].spec.tags[-2:]}", "q r"),
        ("{.items[0].spec.tags[0:3:2]}", "p r"),
        ("{.items[0].spec.tags[0,2]}", "p r"),
        ("{.items[0].metadata['name','labels']['x']}", "1"),
        (
            "{.items[0].metadata.labels.app\\.kubernetes\\.io/name}",
            "web",
        ),
        (
            "{.items[0].metadata.labels['app.kubernetes.io/name']}",
            "web",
        ),
        ("{..metadata.name}", "a b"),
        ("{.items[?(@.spec.n==2)].metadata.name}", "b"),
        ("{.items[?(@.spec.n>=1)].metadata.name}", "a b"),
        ("{.items[?(@.metadata.name==\"a\")].spec.n}", "1"),
        ("{.items[?(@.metadata.name!='a')].spec.n}", "2"),
        ("{.items[?(@.spec.ready)].metadata.name}", "b"),
        ("{.items[?(@.spec.ready==true)].metadata.name}", "b"),
        (
            "{range .items[*]}{.metadata.name}={.spec.n}{\"\\n\"}{end}",
            "a=1\nb=2\n",
        ),
        (
            "{range .items[*]}[{.metadata.name}, {.spec.n}] {end}",
            "[a, 1] [b, 2] ",
        ),
        ("{.missing.deeper}", ""),
        ("name: {.items[0].metadata.name}{'\\t'}end", "name: a\tend"),
        (".metadata.name", ".metadata.name"),
        ("{.items[*]['metadata.name']}", ""),
    ] {
        assert_eq!(rendered(template), text, "{template}");
    }
}

#[test]
fn a_wrong_template_is_refused() {
    for wrong in [
        "{",
        "{.a",
        "{.a[}",
        "{.a[0}",
        "{end}",
        "{range .a}",
        "{foo}",
        "{.a[?(]}",
        "{.a[?(@.b==)]}",
        "{\"a}",
        "{.a[x]}",
        "{.a[1:2:0]}",
        "{.a[99999999999999999999]}",
    ] {
        assert!(Template::parse(wrong).is_err(), "{wrong:?}");
    }
    assert!(
        Template::parse("{.items[7]}")
            .unwrap()
            .render(&pods())
            .is_err()
    );
}

#[test]
fn a_path_may_come_without_braces_and_dot() {
    for path in ["items[0].spec.n", ".items[0].spec.n", "{.items[0].spec.n}"] {
        assert_eq!(
            Template::relaxed(path).unwrap().render(&pods()).unwrap(),
            "1"
        );
    }
}

#[test]
fn results_can_be_one_json_list() {
    let template = Template::parse("{.items[*].spec.n}").unwrap().as_json();
    assert_eq!(template.render(&pods()).unwrap(), "[\n    1,\n    2\n]\n");
}

#[test]
fn a_template_that_multiplies_ends() {
    let template = format!("{{{}}}", "..*".repeat(60));
    let _ = Template::parse(&template).unwrap().render(&pods());
    assert!(Template::parse(&"{range .a}".repeat(10_000)).is_err());
    assert!(Template::parse(&format!("{{{}", ".a[?(@".repeat(10_000))).is_err());
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in r#"[{}.\[\]*?@$()"'=<>,:a-c0-9 \\-]{0,40}|\PC{0,20}"#) {
        for template in [Template::parse(&text), Template::relaxed(&text)].into_iter().flatten() {
            let _ = template.render(&pods());
        }
    }
}
