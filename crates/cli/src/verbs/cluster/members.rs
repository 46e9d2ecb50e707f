//! How members are shown.

use crate::{console::Console, error::CliError, output::json, output::table};
use pontoon_client::messages::{Member, StatusResponse};
use serde_json::{Value, json};

/// Longer silence than this looks like a server that is down, in milliseconds: many heartbeats.
const SILENCE_MS: u64 = 2_000;

/// The members of a status.
pub struct Shown<'a> {
    members: &'a [Member],
    leader: u64,
    /// The leader's last log entry.
    last: u64,
}

impl<'a> Shown<'a> {
    pub fn of(status: &'a StatusResponse) -> Self {
        let last = status
            .members
            .iter()
            .map(|member| member.matched_index)
            .max();
        Self {
            members: &status.members,
            leader: status.leader_id,
            last: last.unwrap_or(0),
        }
    }

    fn role(&self, member: &Member) -> &'static str {
        match (member.id == self.leader, member.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        }
    }

    /// In a word, as the leader sees it.
    fn state(&self, member: &Member) -> &'static str {
        match member.heard_ms {
            _ if self.leader == 0 => "unknown",
            Some(heard) if heard <= SILENCE_MS => "up",
            None if !member.voter && member.matched_index == 0 => "joining",
            _ => "silent",
        }
    }

    fn lag(&self, member: &Member) -> Option<u64> {
        (self.leader != 0 && member.matched_index != 0)
            .then(|| self.last.saturating_sub(member.matched_index))
    }

    pub fn print_members(&self, console: &mut Console) -> Result<(), CliError> {
        let headings = [
            "ID",
            "ROLE",
            "STATE",
            "LAG",
            "API",
            "PEER-ADDRESS",
            "VERSION",
        ];
        let rows = self.members.iter().map(|member| {
            let lag = self
                .lag(member)
                .map_or_else(|| "<unknown>".to_owned(), |lag| lag.to_string());
            vec![
                member.id.to_string(),
                self.role(member).to_owned(),
                self.state(member).to_owned(),
                lag,
                or_none(&member.api),
                or_none(&member.address),
                or_none(&member.version),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        Ok(console.print(&table::plain(&headings, &rows, true))?)
    }

    pub fn print_status(
        &self,
        status: &StatusResponse,
        console: &mut Console,
    ) -> Result<(), CliError> {
        let voters = self.members.iter().filter(|member| member.voter);
        let up = voters
            .clone()
            .filter(|member| self.state(member) == "up")
            .count();
        let voters = voters.count();
        let leader = match status.leader_id {
            0 => "none: no majority of the servers answers".to_owned(),
            id => format!("member {id}, term {}", status.term),
        };
        let spare = up.saturating_sub(voters / 2 + 1);
        let health = match status.leader_id {
            0 => "writes wait until a majority is back".to_owned(),
            _ => format!("{up} of {voters} voters up; {spare} more may fail"),
        };
        for (name, text) in [
            ("Cluster", status.cluster_id.clone()),
            (
                "Version",
                format!(
                    "{} (Kubernetes {})",
                    status.version, status.kubernetes_version
                ),
            ),
            ("Answered by", format!("member {}", status.answered_by)),
            ("Leader", leader),
            ("Health", health),
            (
                "Revision",
                format!("{} (log entry {})", status.revision, status.applied_index),
            ),
        ] {
            console.line(&format!("{:<13} {text}", format!("{name}:")))?;
        }
        console.line("")?;
        self.print_members(console)
    }

    pub fn print_json(
        &self,
        status: &StatusResponse,
        console: &mut Console,
    ) -> Result<(), CliError> {
        let member = |member: &Member| -> Value {
            json!({
                "id": member.id,
                "role": self.role(member),
                "state": self.state(member),
                "voter": member.voter,
                "lag": self.lag(member),
                "heardMilliseconds": member.heard_ms,
                "api": member.api,
                "peerAddress": member.address,
                "version": member.version,
                "digest": member.digest,
                "digestRevision": member.digest_revision,
            })
        };
        let shown = json!({
            "clusterId": status.cluster_id,
            "version": status.version,
            "kubernetesVersion": status.kubernetes_version,
            "answeredBy": status.answered_by,
            "leader": status.leader_id,
            "term": status.term,
            "revision": status.revision,
            "appliedIndex": status.applied_index,
            "members": self.members.iter().map(member).collect::<Vec<_>>(),
        });
        Ok(console.print(&json::pretty(&shown))?)
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, voter: bool, matched_index: u64, heard_ms: Option<u64>) -> Member {
        Member {
            id,
            voter,
            matched_index,
            heard_ms,
            ..Member::default()
        }
    }

    #[test]
    fn a_member_is_shown_as_the_leader_sees_it() {
        let mut status = StatusResponse {
            leader_id: 1,
            members: vec![
                member(1, true, 90, Some(0)),
                member(2, true, 80, Some(60_000)),
                member(3, false, 0, None),
            ],
            ..StatusResponse::default()
        };
        let words = |status: &StatusResponse| -> Vec<String> {
            let shown = Shown::of(status);
            let of = |member| {
                format!(
                    "{} {} {:?}",
                    shown.role(member),
                    shown.state(member),
                    shown.lag(member)
                )
            };
            status.members.iter().map(of).collect()
        };
        assert_eq!(
            words(&status),
            [
                "leader up Some(0)",
                "voter silent Some(10)",
                "learner joining None"
            ]
        );
        status.leader_id = 0;
        assert_eq!(words(&status)[0], "voter unknown None");
    }
}
