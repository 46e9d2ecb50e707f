#![allow(clippy::unwrap_used)]
use super::*;
use bytes::Bytes;
use serde_json::json;

struct Stage {
    directory: tempfile::TempDir,
    pod: Pod,
    references: References,
}

impl Stage {
    fn new(volumes: serde_json::Value) -> Self {
        let pod = json!({"metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"containers": [], "volumes": volumes}});
        Self {
            directory: tempfile::tempdir().unwrap(),
            pod: serde_json::from_value(pod).unwrap(),
            references: References::default(),
        }
    }

    fn refer(&mut self, objects: &[serde_json::Value]) {
        let objects: Vec<Bytes> = objects.iter().map(|o| o.to_string().into()).collect();
        self.references = References::parse(&objects).unwrap();
    }

    fn prepare(&self) -> Result<Vec<String>, VolumeError> {
        let facts = Facts {
            pod: &self.pod,
            references: &self.references,
            pod_ips: &[],
            host_ips: &[],
            node_cpu_millis: 0,
            node_memory_bytes: 0,
            services: &[],
        };
        prepare(self.directory.path(), &facts)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn settings(colour: &str) -> serde_json::Value {
    json!({"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": colour, "size": "9"}})
}

#[test]
fn a_config_map_is_shown_through_links_and_changes_as_a_whole() {
    let mut stage = Stage::new(json!([{"name": "v", "configMap": {"name": "settings"}}]));
    stage.refer(&[settings("blue")]);
    stage.prepare().unwrap();
    assert_eq!(stage.read("v/colour"), "blue");
    let first = fs::read_link(stage.path("v/..data")).unwrap();
    stage.prepare().unwrap();
    assert_eq!(fs::read_link(stage.path("v/..data")).unwrap(), first);
    stage.refer(&[
        json!({"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "red"}}),
    ]);
    stage.prepare().unwrap();
    assert_eq!(stage.read("v/colour"), "red");
    assert!(!stage.path("v/size").exists());
    assert!(!stage.path("v").join(first).exists());
}

#[test]
fn items_choose_keys_paths_and_modes() {
    let mut stage = Stage::new(
        json!([{"name": "v", "secret": {"secretName": "keys", "defaultMode": 0o400,
        "items": [{"key": "token", "path": "deep/down/t", "mode": 0o440}, {"key": "other", "path": "o"}]}}]),
    );
    stage.refer(&[json!({"kind": "Secret", "metadata": {"name": "keys"}, "data": {"token": "YQ==", "other": "Yg=="}})]);
    stage.prepare().unwrap();
    let mode = |name: &str| fs::metadata(stage.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (stage.read("v/deep/down/t").as_str(), mode("v/deep/down/t")),
        ("a", 0o440)
    );
    assert_eq!(mode("v/o"), 0o400);
}

#[test]
fn projected_volumes_gather_their_sources_and_refuse_tokens() {
    let mut stage = Stage::new(json!([{"name": "v", "projected": {"sources": [
        {"configMap": {"name": "settings"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"secret": {"name": "none", "optional": true}}]}}]));
    stage.refer(&[settings("blue")]);
    stage.prepare().unwrap();
    assert_eq!(stage.read("v/labels"), "app=\"web\"");
    assert_eq!(stage.read("v/colour"), "blue");
    let token = Stage::new(
        json!([{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
    );
    assert!(
        token
            .prepare()
            .unwrap_err()
            .message
            .contains("not issued yet")
    );
}

#[test]
fn what_is_missing_is_said_and_comes_up_later() {
    let mut stage = Stage::new(json!([{"name": "v", "configMap": {"name": "settings"}}]));
    let error = stage.prepare().unwrap_err();
    assert_eq!(
        (error.volume.as_str(), error.message.as_str()),
        ("v", "configmap \"settings\" not found")
    );
    stage.refer(&[settings("blue")]);
    stage.prepare().unwrap();
    assert_eq!(stage.read("v/colour"), "blue");
}

#[test]
fn paths_never_lead_outside_a_volume() {
    let mut stage = Stage::new(json!([{"name": "v", "configMap": {"name": "settings",
        "items": [{"key": "colour", "path": "../out"}]}}]));
    stage.refer(&[settings("blue")]);
    assert!(stage.prepare().is_err());
    let stage = Stage::new(json!([{"name": "v", "emptyDir": {}}]));
    stage.prepare().unwrap();
    std::os::unix::fs::symlink("/", stage.path("v/link")).unwrap();
    let mount = |sub: &str| {
        let container = json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": sub}]});
        let container = serde_json::from_value(container).unwrap();
        mounts(stage.directory.path(), &stage.pod, &container, &[])
    };
    assert!(mount("link/etc").is_err());
    assert!(mount("../x").is_err());
    let made = mount("a/b").unwrap().remove(0).host_path;
    assert!(made.is_dir() && made.ends_with("v/a/b"));
}

#[test]
fn an_empty_dir_is_open_to_all_and_keeps_what_is_in_it() {
    let stage = Stage::new(json!([{"name": "v", "emptyDir": {}}]));
    stage.prepare().unwrap();
    let mode = fs::metadata(stage.path("v")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o777);
    fs::write(stage.path("v/file"), "x").unwrap();
    stage.prepare().unwrap();
    assert_eq!(stage.read("v/file"), "x");
    remove(stage.directory.path()).unwrap();
    assert!(!stage.path("v").exists());
}

#[test]
fn inner_mounts_come_after_outer_ones() {
    let stage = Stage::new(json!([{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]));
    stage.prepare().unwrap();
    let container = json!({"name": "c", "volumeMounts": [
        {"name": "v", "mountPath": "/data/inner"}, {"name": "w", "mountPath": "/data", "readOnly": true}]});
    let container = serde_json::from_value(container).unwrap();
    let mounts = mounts(stage.directory.path(), &stage.pod, &container, &[]).unwrap();
    assert_eq!(mounts[0].container_path, Path::new("/data"));
    assert!(mounts[0].read_only && !mounts[1].read_only);
}
