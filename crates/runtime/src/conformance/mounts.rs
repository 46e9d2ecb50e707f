//! Volumes and the files of the pod's network, for runtimes with mount namespaces.

use std::path::PathBuf;

use super::case::{Case, Subject};
use super::program::Program;
use crate::contract::capabilities::Capability;
use crate::contract::spec::Mount;

/// A volume appears at any path, existing or not, and what is written there is in the volume.
pub async fn a_volume_appears_at_any_path<S: Subject>(case: Case<S>) {
    if case
        .runtime()
        .capabilities()
        .has(Capability::MountNamespace)
    {
        for (attempt, path) in [
            "/pontoon-conformance/deep/data",
            "/usr/share/pontoon-conformance",
            "/srv",
        ]
        .iter()
        .enumerate()
        {
            let host_path = case.subject.directory().join(format!("volume-{attempt}"));
            std::fs::create_dir(&host_path).expect("a directory");
            let container_path = PathBuf::from(path);
            let write = Program::WriteFile {
                path: container_path.join("file"),
                text: "kept".to_owned(),
            };
            let mut spec = case.container(&write);
            spec.attempt = attempt as u32;
            spec.mounts.push(Mount {
                host_path: host_path.clone(),
                container_path,
                read_only: false,
            });
            assert_eq!(case.run_to_end(&spec).await.exit_code, 0, "{path}");
            assert_eq!(
                std::fs::read_to_string(host_path.join("file")).expect("the file"),
                "kept"
            );
        }
        assert!(
            !PathBuf::from("/pontoon-conformance").exists(),
            "the node's own file system was changed"
        );
        assert!(
            !PathBuf::from("/usr/share/pontoon-conformance").exists(),
            "the node's own file system was changed"
        );
    }
    case.finish().await;
}

/// A read-only volume can be read and not written.
pub async fn a_read_only_volume_refuses_writes<S: Subject>(case: Case<S>) {
    if case
        .runtime()
        .capabilities()
        .has(Capability::MountNamespace)
    {
        let host_path = case.subject.directory().join("volume");
        std::fs::create_dir(&host_path).expect("a directory");
        std::fs::write(host_path.join("file"), "fixed\n").expect("a file");
        let mount = Mount {
            host_path: host_path.clone(),
            container_path: PathBuf::from("/pontoon-volume"),
            read_only: true,
        };
        let file = PathBuf::from("/pontoon-volume/file");
        let mut spec = case.container(&Program::WriteFile {
            path: file.clone(),
            text: "changed".to_owned(),
        });
        spec.mounts.push(mount);
        assert_ne!(case.run_to_end(&spec).await.exit_code, 0);
        spec.attempt = 1;
        spec.log_path.set_file_name("read.log");
        spec.command = case.subject.command(&Program::PrintFile { path: file });
        assert_eq!(case.output_of(&spec).await.0, "fixed\n");
    }
    case.finish().await;
}

/// The pod's own resolv.conf and hosts are what a program reads.
pub async fn network_files_are_the_pods_own<S: Subject>(case: Case<S>) {
    if case
        .runtime()
        .capabilities()
        .has(Capability::MountNamespace)
    {
        let mut spec = case.container(&Program::PrintFile {
            path: PathBuf::from("/etc/resolv.conf"),
        });
        assert_eq!(case.output_of(&spec).await.0, "nameserver 192.0.2.53\n");
        spec.attempt = 1;
        spec.log_path.set_file_name("hosts.log");
        spec.command = case.subject.command(&Program::PrintFile {
            path: PathBuf::from("/etc/hosts"),
        });
        assert_eq!(case.output_of(&spec).await.0, "192.0.2.1 conformance\n");
    }
    case.finish().await;
}
