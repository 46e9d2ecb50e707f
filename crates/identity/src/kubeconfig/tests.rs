#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Authorities, Identity};
use std::{fs, os::unix::fs::PermissionsExt as _};

/// A directory with a kubeconfig in it, and that file's path.
fn written() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let world = World::real();
    let cluster = Authorities::open(&directory.path().join("pki"), &world)
        .unwrap()
        .cluster;
    let admin = cluster.administrator(world.now()).unwrap();
    let path = directory.path().join("admin.kubeconfig");
    Kubeconfig::write(
        &path,
        "https://127.0.0.1:6443",
        &["https://10.0.0.2:6443".into(), "https://[::1]:7443".into()],
        cluster.certificate_pem(),
        "pontoon-admin",
        &admin,
    )
    .unwrap();
    (directory, path)
}

#[test]
fn what_was_written_is_read_back() {
    let (_directory, path) = written();
    let read = Kubeconfig::read(&path, None).unwrap();
    assert_eq!(read.server, "https://127.0.0.1:6443");
    assert_eq!(read.others, ["https://10.0.0.2:6443", "https://[::1]:7443"]);
    assert_eq!(read.namespace, "default");
    let credentials = read.credentials.as_ref().unwrap();
    assert_eq!(
        Identity::of_certificate(&credentials.chain()[0])
            .unwrap()
            .user,
        "pontoon-admin"
    );
    read.client_config(tls::GRPC_PROTOCOLS).unwrap();
}

#[test]
fn a_written_kubeconfig_is_its_owners_alone() {
    let (_directory, path) = written();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

/// The error for the written file after `edit`.
fn error_after(edit: impl FnOnce(String) -> String) -> String {
    let (directory, path) = written();
    let text = edit(fs::read_to_string(&path).unwrap());
    let error = Kubeconfig::parse(&path, text.as_bytes(), None)
        .unwrap_err()
        .to_string();
    error.replace(directory.path().to_str().unwrap(), "DIR")
}

#[test]
fn mistakes_are_told_with_the_file_and_the_field() {
    let cases = [
        (
            "current-context: pontoon",
            "current-context: other",
            "DIR/admin.kubeconfig has no context \"other\"",
        ),
        (
            "cluster: pontoon",
            "cluster: other",
            "DIR/admin.kubeconfig has no cluster \"other\"",
        ),
        (
            "client-key-data: ",
            "token: abc\n    x: ",
            "DIR/admin.kubeconfig uses token, which Pontoon's client does not support",
        ),
        (
            "    certificate-authority-data",
            "    insecure-skip-tls-verify: true\n    certificate-authority-data",
            "DIR/admin.kubeconfig uses insecure-skip-tls-verify, which Pontoon's client does not support",
        ),
        (
            "client-key-data: ",
            "x: ",
            "DIR/admin.kubeconfig is not a kubeconfig: its user has a client-certificate and no client-key",
        ),
        (
            "client-key-data: ",
            "client-key: missing.key\n    x: ",
            "DIR/missing.key does not exist",
        ),
        (
            "client-key-data: ",
            "client-key-data: aGVsbG8=\n    x: ",
            "client-key-data of DIR/admin.kubeconfig does not hold a PEM private key",
        ),
    ];
    for (from, to, want) in cases {
        assert_eq!(error_after(|text| text.replacen(from, to, 1)), want);
    }
}

#[test]
fn what_is_not_a_kubeconfig_is_refused_by_name() {
    for text in ["[1, 2", "hello", "clusters: 7", "\u{0}"] {
        let error = error_after(|_| text.to_owned());
        assert!(
            error.starts_with("DIR/admin.kubeconfig "),
            "{text:?}: {error}"
        );
    }
    let error = Kubeconfig::read(Path::new("/nonexistent/kubeconfig"), None)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "/nonexistent/kubeconfig does not exist");
}

#[test]
fn files_named_by_a_kubeconfig_are_relative_to_it() {
    let (directory, path) = written();
    let read = Kubeconfig::read(&path, None).unwrap();
    let credentials = read.credentials.unwrap();
    fs::write(
        directory.path().join("a.crt"),
        credentials.certificate_pem(),
    )
    .unwrap();
    fs::write(directory.path().join("a.key"), credentials.key_pem()).unwrap();
    let text = "current-context: c\n\
        clusters: [{name: k, cluster: {server: 'https://h:1', certificate-authority: pki/cluster-ca.crt}}]\n\
        contexts: [{name: c, context: {cluster: k, user: u, namespace: web}}]\n\
        users: [{name: u, user: {client-certificate: a.crt, client-key: a.key}}]\n";
    let read = Kubeconfig::parse(&path, text.as_bytes(), None).unwrap();
    assert_eq!(read.namespace, "web");
    assert_eq!(read.credentials.unwrap().chain(), credentials.chain());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in "\\PC*") {
        let _ = Kubeconfig::parse(Path::new("any"), text.as_bytes(), None);
        let _ = pem::certificates("any", text.as_bytes());
        let _ = pem::private_key("any", text.as_bytes());
    }

    #[test]
    fn a_kubeconfig_with_any_line_changed_is_read_or_refused(line in 0_usize..20, text in "[ a-z:\\-&*{}\\[\\]'\"|>!%@]{0,20}") {
        let written = "current-context: c\n\
            clusters:\n- name: k\n  cluster:\n    server: https://h:1\n    certificate-authority-data: aGVsbG8=\n\
            contexts:\n- name: c\n  context:\n    cluster: k\n    user: u\n\
            users:\n- name: u\n  user:\n    client-key-data: aGVsbG8=\n";
        let changed: Vec<_> =
            written.lines().enumerate().map(|(number, old)| if number == line { &text } else { old }).collect();
        let _ = Kubeconfig::parse(Path::new("any"), changed.join("\n").as_bytes(), None);
    }
}

#[test]
fn extensions_of_others_are_let_be() {
    let (_directory, path) = written();
    let text = fs::read_to_string(&path).unwrap();
    let of_others = text.replace(
        "name: pontoon\n      extension",
        "name: minikube\n      extension",
    );
    assert_ne!(of_others, text);
    let odd = text.replace("        servers:\n", "        provider:\n");
    for text in [of_others, odd] {
        let read = Kubeconfig::parse(&path, text.as_bytes(), None).unwrap();
        assert!(read.others.is_empty());
    }
}
