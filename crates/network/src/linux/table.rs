//! The table of service rules in the kernel, kept equal to the [`Book`].
//!
//! One change is one transaction, up to what the routing socket takes in one message. As root of a user namespace that is
//! `net.core.wmem_max` (some hundred services); a larger change is then cut in halves, each a transaction of its own, removals
//! first. A table that is not what the book says (an earlier process left it, or somebody flushed all rules) is written anew with
//! the next change.

use super::programs::Nft;
use super::rules::{Book, Change, Flow, Fragment, Layout, Owner, Present, Wanted};
use crate::dataplane::{DataplaneError, ServiceKey};

/// The kernel's words for a message over the socket's buffer (EMSGSIZE), as `nft` prints them.
const TOO_LONG: &str = "Message too long";

#[derive(Debug)]
pub(super) struct Table {
    layout: Layout,
    nft: Nft,
    book: Book,
    /// Whether the kernel's table is what the book says.
    known: bool,
}

impl Table {
    /// A table of which nothing is known.
    pub(super) fn new(layout: Layout, nft: Nft) -> Self {
        Self {
            layout,
            nft,
            book: Book::default(),
            known: false,
        }
    }

    /// The services whose rules are in force.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.book.services()
    }

    /// Begins the book with `wanted`, and makes the table if there is none. One that is there goes on serving.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn prepare(&mut self, wanted: Wanted) -> Result<(), DataplaneError> {
        let change = self.book.plan(&self.layout, &wanted);
        self.book.commit(change);
        if self.nft.present(&self.layout.table).await?.is_none() {
            self.rewrite().await?;
        }
        Ok(())
    }

    /// Changes what some owners have in the table, and returns the UDP flows that lost their endpoint by it.
    ///
    /// # Errors
    /// What `nft` said. The table is written anew with the next change.
    pub(super) async fn change(&mut self, wanted: Wanted) -> Result<Vec<Flow>, DataplaneError> {
        let mut ended = Vec::new();
        if !self.known {
            let mut change = self.book.plan(&self.layout, &wanted);
            ended.append(&mut change.ended_flows);
            self.book.commit(change);
            self.rewrite().await?;
            return Ok(ended);
        }
        match self.transact(&wanted).await {
            Ok(flows) => Ok(flows),
            Err(error) if is_too_long(&error) => self.in_parts(wanted).await,
            Err(error) => {
                tracing::warn!(%error, "service rules are not what they were; they are written anew");
                let mut change = self.book.plan(&self.layout, &wanted);
                ended.append(&mut change.ended_flows);
                self.book.commit(change);
                self.rewrite().await?;
                Ok(ended)
            }
        }
    }

    /// Removes the table.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn delete(&mut self) -> Result<(), DataplaneError> {
        let table = &self.layout.table;
        self.nft
            .run(&format!("add table ip {table}\ndelete table ip {table}\n"))
            .await?;
        self.book = Book::default();
        self.known = false;
        Ok(())
    }

    /// The names of all IPv4 tables.
    ///
    /// # Errors
    /// What `nft` said.
    pub(super) async fn all(&self) -> Result<std::collections::BTreeSet<String>, DataplaneError> {
        self.nft.tables().await
    }

    async fn transact(&mut self, wanted: &Wanted) -> Result<Vec<Flow>, DataplaneError> {
        let Change {
            script,
            ended_flows,
            fragments,
        } = self.book.plan(&self.layout, wanted);
        if !script.is_empty() {
            // Unknown until the answer is here: a caller may stop waiting for it.
            self.known = false;
            let result = self.nft.run(&script).await;
            self.known = result.as_ref().err().is_none_or(is_too_long);
            result?;
        }
        self.book.commit(Change {
            script,
            ended_flows: Vec::new(),
            fragments,
        });
        Ok(ended_flows)
    }

    async fn in_parts(&mut self, wanted: Wanted) -> Result<Vec<Flow>, DataplaneError> {
        let (removed, kept): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|(_, fragment)| fragment.is_none());
        let all: Vec<(Owner, Option<Fragment>)> = removed.into_iter().chain(kept).collect();
        let mut ended = Vec::new();
        let mut parts = vec![all];
        while let Some(mut part) = parts.pop() {
            let wanted: Wanted = part.iter().cloned().collect();
            match self.transact(&wanted).await {
                Ok(flows) => ended.extend(flows),
                Err(error) if is_too_long(&error) && part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
                Err(error) => {
                    self.known = false;
                    return Err(error);
                }
            }
        }
        Ok(ended)
    }

    /// Takes the table from whatever it is to what the book says.
    async fn rewrite(&mut self) -> Result<(), DataplaneError> {
        let present = self
            .nft
            .present(&self.layout.table)
            .await?
            .unwrap_or_default();
        let result = self
            .nft
            .run(&self.book.resync(&self.layout, &present))
            .await;
        match result {
            Ok(()) => self.known = true,
            Err(error) if is_too_long(&error) => self.rewrite_in_parts(&present).await?,
            Err(error) => {
                tracing::warn!(%error, "the table of service rules does not fit; it is replaced");
                let table = &self.layout.table;
                let script = self.book.resync(&self.layout, &Present::default());
                self.nft
                    .run(&format!(
                        "add table ip {table}\ndelete table ip {table}\n{script}"
                    ))
                    .await?;
                self.known = true;
            }
        }
        Ok(())
    }

    /// The fixed part first, then the owners in as many transactions as it takes: services refuse connections for the moment between.
    async fn rewrite_in_parts(&mut self, present: &Present) -> Result<(), DataplaneError> {
        let book = std::mem::take(&mut self.book);
        let result = self.nft.run(&self.book.resync(&self.layout, present)).await;
        self.known = result.is_ok();
        let result = match result {
            Ok(()) => self.in_parts(book.wanted()).await.map(drop),
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.book = book;
            self.known = false;
        }
        result
    }
}

fn is_too_long(error: &DataplaneError) -> bool {
    matches!(error, DataplaneError::Kernel { detail, .. } if detail.contains(TOO_LONG))
}
