#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Identity, Member};
use pontoon_world::manual;
use std::{fs, os::unix::fs::PermissionsExt as _};

fn start() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn opened(directory: &Path) -> Authorities {
    Authorities::open(directory, &manual::world(start(), 1).0).unwrap()
}

#[test]
fn an_authority_is_made_once_and_read_back_after_that() {
    let directory = tempfile::tempdir().unwrap();
    let pki = directory.path().join("pki");
    let first = opened(&pki);
    let second = opened(&pki);
    assert_eq!(first.cluster.certificate(), second.cluster.certificate());
    assert_eq!(first.peers.certificate(), second.peers.certificate());
    assert_ne!(first.cluster.certificate(), first.peers.certificate());
}

#[test]
fn keys_are_their_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let pki = directory.path().join("pki");
    opened(&pki);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&pki), 0o700);
    assert_eq!(mode(&pki.join("cluster-ca.key")), 0o600);
    assert_eq!(mode(&pki.join("peer-ca.key")), 0o600);
    assert_eq!(mode(&pki.join("cluster-ca.crt")), 0o644);
}

fn damaged(damage: impl FnOnce(&Path)) -> String {
    let directory = tempfile::tempdir().unwrap();
    opened(directory.path());
    damage(directory.path());
    let error = Authorities::open(directory.path(), &manual::world(start(), 1).0).unwrap_err();
    error
        .to_string()
        .replace(directory.path().to_str().unwrap(), "PKI")
}

#[test]
fn garbage_is_refused_by_the_name_of_its_file() {
    let write = |name: &'static str, text: &'static str| {
        damaged(move |pki| fs::write(pki.join(name), text).unwrap())
    };
    assert_eq!(
        write("cluster-ca.crt", "hello"),
        "PKI/cluster-ca.crt does not hold a PEM certificate"
    );
    assert_eq!(
        write("peer-ca.key", ""),
        "PKI/peer-ca.key does not hold a PEM private key"
    );
    let empty = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    assert_eq!(
        write("peer-ca.crt", empty),
        "PKI/peer-ca.crt does not hold a PEM certificate"
    );
    let empty = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    assert_eq!(
        write("peer-ca.key", empty),
        "PKI/peer-ca.key does not hold a PEM private key"
    );
}

#[test]
fn half_an_authority_is_not_replaced() {
    let error = damaged(|pki| fs::remove_file(pki.join("cluster-ca.key")).unwrap());
    assert_eq!(
        error,
        "PKI/cluster-ca.key is missing, but PKI/cluster-ca.crt exists: restore the key from a backup"
    );
    let error = damaged(|pki| {
        fs::copy(pki.join("peer-ca.key"), pki.join("cluster-ca.key")).unwrap();
    });
    assert_eq!(
        error,
        "PKI/cluster-ca.key does not belong to PKI/cluster-ca.crt"
    );
}

#[test]
fn a_key_that_never_signed_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("cluster-ca.key"), "half written").unwrap();
    opened(directory.path());
    opened(directory.path());
}

#[test]
fn an_expired_authority_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    opened(directory.path());
    let (world, clock) = manual::world(start(), 1);
    clock.advance(lifetime::AUTHORITY + Duration::from_secs(1));
    let error = Authorities::open(directory.path(), &world)
        .unwrap_err()
        .to_string();
    assert!(error.contains("cluster-ca.crt expired at 2036-"), "{error}");
}

#[test]
fn certificates_say_who_their_bearer_is_as_kubernetes_does() {
    let directory = tempfile::tempdir().unwrap();
    let authorities = opened(directory.path());
    let admin = authorities.cluster.administrator(start()).unwrap();
    let identity = Identity::of_certificate(&admin.chain()[0]).unwrap();
    assert_eq!(identity.user, "pontoon-admin");
    assert_eq!(identity.groups, ["system:masters", "system:authenticated"]);
    assert_eq!(identity.node(), None);

    let node = authorities
        .cluster
        .node(&NodeName::new("edge-1"), start())
        .unwrap();
    let identity = Identity::of_certificate(&node.chain()[0]).unwrap();
    assert_eq!(identity.user, "system:node:edge-1");
    assert_eq!(identity.groups, ["system:nodes", "system:authenticated"]);
    assert_eq!(identity.node(), Some(NodeName::new("edge-1")));
}

#[test]
fn a_members_certificate_names_its_cluster_and_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let authorities = opened(directory.path());
    let member = Member {
        cluster: "6f1c".to_owned(),
        id: 3,
    };
    let issued = authorities.peers.member(&member, start()).unwrap();
    assert_eq!(Member::of_certificate(&issued.chain()[0]).unwrap(), member);
    let node = authorities
        .cluster
        .node(&NodeName::new("edge-1"), start())
        .unwrap();
    assert!(Member::of_certificate(&node.chain()[0]).is_err());
}

#[test]
fn certificates_begin_before_their_issue_and_end_on_time() {
    let directory = tempfile::tempdir().unwrap();
    let issued = opened(directory.path())
        .cluster
        .administrator(start())
        .unwrap();
    assert_eq!(issued.validity().not_before, start() - lifetime::BACKDATE);
    assert_eq!(
        issued.validity().not_after,
        start() + lifetime::ADMINISTRATOR
    );
    assert!(!issued.validity().needs_rotation(start()));
}

#[test]
fn a_server_name_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let names = ServerNames::of_cluster("cluster.local")
        .with("10.0.0.1")
        .with("not a name");
    let error = opened(directory.path())
        .cluster
        .server(&names, start())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"not a name\" is neither a DNS name nor an IP address"
    );
}

#[test]
fn credentials_do_not_print_their_key() {
    let directory = tempfile::tempdir().unwrap();
    let issued = opened(directory.path())
        .cluster
        .administrator(start())
        .unwrap();
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}
