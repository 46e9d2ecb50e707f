//! The certificates that a server shows, renewed before they expire: connections go on, and those that begin later show the new
//! one. A server signs them itself.

use crate::limits::ROTATION_PERIOD;
use crate::place::Place;
use pontoon_consensus::TlsParts;
use pontoon_identity::{Authorities, Credentials, Member, Presented, Roots, ServerNames, tls};
use pontoon_world::World;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Whose certificate it is.
#[derive(Debug, Clone)]
enum Subject {
    Server(ServerNames),
    Member(Member),
}

/// What a server shows.
pub(crate) struct Certificates {
    authorities: Arc<Authorities>,
    world: World,
    shown: Vec<(Subject, Arc<Presented>)>,
}

impl Certificates {
    pub(crate) const fn new(authorities: Arc<Authorities>, world: World) -> Self {
        Self {
            authorities,
            world,
            shown: Vec::new(),
        }
    }

    /// The API's side of TLS, under these names.
    pub(crate) fn of_server(
        &mut self,
        names: ServerNames,
    ) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let presented = self.show(Subject::Server(names))?;
        Ok(tls::server(
            presented,
            &Roots::new([self.authorities.cluster.certificate()])?,
            tls::ClientCertificate::Optional,
            tls::API_PROTOCOLS,
            &self.world,
        )?)
    }

    /// Both sides of TLS between servers.
    pub(crate) fn of_member(&mut self, place: &Place) -> anyhow::Result<TlsParts> {
        let presented = self.show(Subject::Member(Member {
            cluster: place.cluster.clone(),
            id: place.member,
        }))?;
        let roots = Roots::new([self.authorities.peers.certificate()])?;
        Ok(TlsParts::new(&presented, &roots, &self.world)?)
    }

    fn show(&mut self, subject: Subject) -> anyhow::Result<Arc<Presented>> {
        let presented = Presented::new(&self.issue(&subject)?)?;
        self.shown.push((subject, presented.clone()));
        Ok(presented)
    }

    fn issue(&self, subject: &Subject) -> anyhow::Result<Credentials> {
        let now = self.world.now();
        Ok(match subject {
            Subject::Server(names) => self.authorities.cluster.server(names, now)?,
            Subject::Member(member) => self.authorities.peers.member(member, now)?,
        })
    }

    /// Renews what is due.
    fn renew(&self) {
        for (subject, presented) in &self.shown {
            if !presented.validity().needs_rotation(self.world.now()) {
                continue;
            }
            let renewed = self.issue(subject);
            match renewed.and_then(|credentials| Ok(presented.replace(&credentials)?)) {
                Ok(()) => tracing::info!(?subject, "a certificate of this server is renewed"),
                Err(error) => tracing::error!(?subject, %error, "a certificate cannot be renewed"),
            }
        }
    }

    /// Renews what is due, until `stop`.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROTATION_PERIOD) => self.renew(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pontoon_identity::lifetime::MACHINE;

    #[test]
    fn certificates_are_renewed_before_they_expire_and_not_before_they_are_due() {
        let root = tempfile::tempdir().unwrap();
        let start = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        let (world, clock) = pontoon_world::manual::world(start, 1);
        let authorities = Arc::new(Authorities::open(root.path(), &world).unwrap());
        let mut certificates = Certificates::new(authorities, world.clone());
        certificates
            .of_server(ServerNames::of_cluster("c.local"))
            .unwrap();
        let shown = certificates.shown[0].1.clone();
        let first = shown.validity();
        clock.advance(MACHINE / 2);
        certificates.renew();
        assert_eq!(shown.validity(), first);
        clock.advance(MACHINE / 3);
        certificates.renew();
        assert!(shown.validity().not_after > first.not_after);
        assert!(!shown.validity().needs_rotation(world.now()));
    }
}
