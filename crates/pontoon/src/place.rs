//! A server's place in a cluster, as it is kept on disk.
//!
//! Under `server/` of the data directory: `cluster-id`, `member-id`, `peers.json` (where the others were last), `settings.json`
//! (what every server must be set to alike), `pki/`, and `joining` while joining is under way. `member-id` is written last: with
//! it the server is a member, and joins or founds nothing any more. A server whose id is there and whose log is not has lost its
//! log.

use crate::config::Config;
use anyhow::{Context as _, anyhow, bail};
use pontoon_world::World;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The first member's id.
const FOUNDER: u64 = 1;

/// Who this server is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    directory: PathBuf,
    /// The cluster's id.
    pub(crate) cluster: String,
    /// The member's id.
    pub(crate) member: u64,
    /// Whether the cluster is yet to be founded, by this server.
    pub(crate) founding: bool,
    /// The members that were known last, with their addresses.
    pub(crate) peers: BTreeMap<u64, String>,
}

/// What every server must be set to alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    pub(crate) service_cidr: String,
    pub(crate) pod_cidr: String,
    pub(crate) cluster_domain: String,
}

/// What is on disk before anything is done.
#[derive(Debug)]
pub(crate) enum Found {
    /// A member's directory.
    Member(Place),
    /// One that began to join, with its attempt.
    Joining(String),
    /// Nothing yet.
    Nothing,
}

/// Looks what the directory is.
pub(crate) fn look(directory: &Path) -> anyhow::Result<Found> {
    let (cluster, member) = (
        read(directory, "cluster-id")?,
        read(directory, "member-id")?,
    );
    let peers = match read(directory, "peers.json")? {
        Some(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", directory.join("peers.json").display()))?,
        None => BTreeMap::new(),
    };
    let place = |cluster, member, founding| Place {
        directory: directory.to_owned(),
        cluster,
        member,
        founding,
        peers,
    };
    match (cluster, member) {
        (Some(cluster), Some(member)) => {
            let path = directory.join("member-id");
            let member = member
                .parse()
                .with_context(|| format!("{} holds no number: restore it", path.display()))?;
            Ok(Found::Member(place(cluster, member, false)))
        }
        (None, Some(_)) => bail!(
            "{} is missing, but member-id beside it is not: restore it from a backup",
            directory.join("cluster-id").display()
        ),
        (cluster, None) => match (read(directory, "joining")?, cluster) {
            (Some(attempt), _) => Ok(Found::Joining(attempt)),
            // Founding was interrupted, or an earlier version wrote no member's id.
            (None, Some(cluster)) => Ok(Found::Member(place(cluster, FOUNDER, true))),
            (None, None) => Ok(Found::Nothing),
        },
    }
}

/// A new cluster's id, durable before it is used.
pub(crate) fn found(directory: &Path, world: &World) -> anyhow::Result<Place> {
    let cluster = world.entropy().uuid().to_string();
    write(directory, "cluster-id", &cluster)?;
    Ok(Place {
        directory: directory.to_owned(),
        cluster,
        member: FOUNDER,
        founding: true,
        peers: BTreeMap::new(),
    })
}

/// The place in the directory; a cluster is founded where there is nothing.
pub(crate) fn found_or_open(directory: &Path, world: &World) -> anyhow::Result<Place> {
    match look(directory)? {
        Found::Member(place) => Ok(place),
        Found::Nothing => found(directory, world),
        Found::Joining(_) => Err(anyhow!(
            "{} has begun to join a cluster: give --join and --token again, or remove it to begin anew",
            directory.display()
        )),
    }
}

/// Begins to join: what makes all attempts one.
pub(crate) fn begin(directory: &Path, world: &World) -> anyhow::Result<String> {
    let attempt = world.entropy().uuid().to_string();
    write(directory, "joining", &attempt)?;
    Ok(attempt)
}

impl Place {
    /// A place that was given to this server.
    pub(crate) fn given(
        directory: &Path,
        cluster: &str,
        member: u64,
        peers: BTreeMap<u64, String>,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let place = Self {
            directory: directory.to_owned(),
            cluster: cluster.to_owned(),
            member,
            founding: false,
            peers: BTreeMap::new(),
        };
        write(
            directory,
            "settings.json",
            &serde_json::to_string(settings)?,
        )?;
        let place = place.remember(peers)?;
        write(directory, "cluster-id", cluster)?;
        place.confirm()?;
        fs::remove_file(directory.join("joining")).with_context(|| {
            format!("{} cannot be removed", directory.join("joining").display())
        })?;
        Ok(place)
    }

    /// Makes this server a member for good: its cluster exists.
    pub(crate) fn confirm(&self) -> anyhow::Result<()> {
        write(&self.directory, "member-id", &self.member.to_string())
    }

    /// Keeps where the others are, for a start without a log.
    pub(crate) fn remember(mut self, peers: BTreeMap<u64, String>) -> anyhow::Result<Self> {
        if self.peers != peers {
            write(
                &self.directory,
                "peers.json",
                &serde_json::to_string(&peers)?,
            )?;
            self.peers = peers;
        }
        Ok(self)
    }

    /// Has the server set as its cluster is: by the first start's settings.
    pub(crate) fn settle(&self, config: &mut Config) -> anyhow::Result<()> {
        let Some(text) = read(&self.directory, "settings.json")? else {
            let settings = Settings {
                service_cidr: config.service_cidr.clone(),
                pod_cidr: config.pod_cidr.clone(),
                cluster_domain: config.cluster_domain.clone(),
            };
            return write(
                &self.directory,
                "settings.json",
                &serde_json::to_string(&settings)?,
            );
        };
        let path = self.directory.join("settings.json");
        let kept: Settings = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        config.adopt(&kept.service_cidr, &kept.pod_cidr, &kept.cluster_domain)?;
        Ok(())
    }
}

/// A small file, without the white space around its content; `None` when there is none.
fn read(directory: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let path = directory.join(name);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Err(anyhow!(
            "{} is empty: restore it from a backup, or remove the data directory to begin anew",
            path.display()
        )),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Replaces a small file: after a crash the old or the new content is there, whole.
fn write(directory: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    let path = directory.join(name);
    let staged = directory.join(format!("{name}.new"));
    let write = || {
        make_durably(directory)?;
        let mut file = File::create(&staged)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, &path)?;
        File::open(directory)?.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// Makes a directory, and has its name and those above it survive a power cut: a server whose directory is gone founds another cluster.
///
/// The names are synced whether or not they are made here, as whoever made them may have been ended before. What lies on another file system
/// or may not be read was there before Pontoon.
fn make_durably(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let device = directory.metadata()?.dev();
    for above in directory.ancestors().skip(1) {
        if above.metadata()?.dev() != device {
            break;
        }
        match File::open(above) {
            Ok(above) => above.sync_all()?,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(found: Found) -> Place {
        match found {
            Found::Member(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_founder_is_a_member_once_its_cluster_exists() {
        let (root, world) = (tempfile::tempdir().unwrap(), World::real());
        let directory = root.path().join("server");
        assert!(matches!(look(&directory).unwrap(), Found::Nothing));
        let place = found_or_open(&directory, &world).unwrap();
        assert!(place.founding);
        let again = member(look(&directory).unwrap());
        assert!(
            again.founding && again.cluster == place.cluster,
            "a crash before the cluster existed"
        );
        place.confirm().unwrap();
        let opened = found_or_open(&directory, &world).unwrap();
        assert_eq!(
            (opened.founding, opened.member, opened.cluster),
            (false, 1, place.cluster)
        );
    }

    #[test]
    fn who_began_to_join_founds_nothing_and_goes_on_with_the_same_attempt() {
        let (root, world) = (tempfile::tempdir().unwrap(), World::real());
        let attempt = begin(root.path(), &world).unwrap();
        assert!(matches!(look(root.path()).unwrap(), Found::Joining(kept) if kept == attempt));
        let error = found_or_open(root.path(), &world).unwrap_err().to_string();
        assert!(error.contains("--join"), "{error}");
        let settings = Settings {
            service_cidr: "10.1.0.0/16".into(),
            pod_cidr: "10.2.0.0/16".into(),
            cluster_domain: "c.local".into(),
        };
        let peers = BTreeMap::from([(1, "10.0.0.1:6444".to_owned())]);
        Place::given(root.path(), "c", 3, peers.clone(), &settings).unwrap();
        let place = member(look(root.path()).unwrap());
        assert_eq!(
            (place.cluster.as_str(), place.member, place.founding),
            ("c", 3, false)
        );
        assert_eq!(place.peers, peers);
    }
}
