//! list: a collection at one revision, in pages.
//!
//! All pages of a list show the revision of the first. Where a view of it is no longer kept, the store's history
//! answers; where that is compacted too, the client gets 410 and a token to go on from the present.

use super::Verbs;
use super::get::{blocking, past};
use crate::error::VerbError;
use crate::limits::HISTORY_PAGE;
use crate::request::{Caller, Freshness, ListOptions, Target, Verb};
use crate::selection::Selection;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pontoon_api::Revision;
use pontoon_state::apply::PastError;
use pontoon_state::{Key, Object, View};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One page.
#[derive(Debug)]
pub struct Listed {
    /// The revision of the whole list.
    pub revision: Revision,
    /// The page's objects, in the order of keys.
    pub objects: Vec<Arc<Object>>,
    /// How to get the next page; `None` on the last.
    pub token: Option<String>,
    /// Objects not yet given; `None` when a selector makes it unknown, or on the last page.
    pub remaining: Option<u64>,
}

/// What a continue token says. Opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// The list's revision; 0 goes on from the present ("inconsistent" continuation).
    rv: u64,
    /// Namespace of the last object given.
    ns: String,
    /// Its name.
    name: String,
    /// Objects that were left behind it, when known.
    left: Option<u64>,
}

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token of plain members encodes"))
    }

    fn decode(text: &str) -> Result<Self, VerbError> {
        let invalid =
            |error: String| VerbError::BadRequest(format!("continue key is not valid: {error}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| invalid(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))
    }
}

/// Where a page is read from.
enum Source {
    View(Arc<View>),
    Past(Revision),
}

/// How much fits on a page.
#[derive(Debug, Clone, Copy)]
struct Limit {
    count: usize,
    bytes: usize,
}

#[derive(Default)]
struct Page {
    objects: Vec<Arc<Object>>,
    bytes: usize,
    more: bool,
}

impl Page {
    /// Adds an object; `false` when the page is full without it.
    fn take(&mut self, object: Arc<Object>, limit: Limit) -> bool {
        let heavy =
            !self.objects.is_empty() && self.bytes.saturating_add(object.json.len()) > limit.bytes;
        if heavy || self.objects.len() == limit.count {
            self.more = true;
            return false;
        }
        self.bytes += object.json.len();
        self.objects.push(object);
        true
    }
}

const EXPIRED_TOKEN: &str = "The provided continue parameter is too old to display a consistent list result. You can \
start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of \
the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
deleted between the time the first chunk was returned and now may show up in the list.";

impl Verbs {
    /// A page of a collection.
    ///
    /// # Errors
    /// 400, 403, 410 when the revision is forgotten, 504 when it is not reached.
    pub async fn list(
        &self,
        caller: &Caller,
        target: &Target,
        options: &ListOptions,
    ) -> Result<Listed, VerbError> {
        self.authorize(caller, Verb::List, target)?;
        self.list_unchecked(target, options).await
    }

    pub(super) async fn list_unchecked(
        &self,
        target: &Target,
        options: &ListOptions,
    ) -> Result<Listed, VerbError> {
        let token = options.token.as_deref().map(Token::decode).transpose()?;
        let source = self.source(token.as_ref(), options.freshness).await?;
        let after = token
            .as_ref()
            .map(|token| Key::new(&target.kind.storage(), &token.ns, &token.name));
        let limit = Limit {
            count: options.limit.unwrap_or(usize::MAX),
            bytes: options.bytes,
        };
        let (revision, page) = match &source {
            Source::View(view) => (
                view.revision(),
                page_of_view(view, target, &options.selection, after.as_ref(), limit),
            ),
            Source::Past(revision) => {
                let page = self
                    .page_of_past(target, &options.selection, after, limit, *revision)
                    .await;
                let page = page.map_err(|error| match (error, &token) {
                    (PastError::Compacted(_), Some(token)) => expired(token),
                    (error, _) => past(error),
                })?;
                (*revision, page)
            }
        };
        let remaining = left(&source, target, &options.selection, token.as_ref(), &page);
        let next = page
            .more
            .then(|| next_token(revision, &page, remaining))
            .flatten();
        if let (Some(_), Source::View(view)) = (&next, &source) {
            self.pages.keep(view, self.world.clock().monotonic());
        }
        Ok(Listed {
            revision,
            objects: page
                .objects
                .into_iter()
                .map(|object| target.shown(object))
                .collect(),
            token: next,
            remaining: remaining.filter(|_| page.more),
        })
    }

    async fn source(
        &self,
        token: Option<&Token>,
        freshness: Freshness,
    ) -> Result<Source, VerbError> {
        let revision = match (token, freshness) {
            (Some(token), _) if token.rv == 0 => {
                return Ok(Source::View(self.replica.read().await?));
            }
            (Some(token), _) => Revision(token.rv),
            (None, Freshness::Exact(revision)) => revision,
            (None, freshness) => return Ok(Source::View(self.view(freshness).await?)),
        };
        if let Some(view) = self.pages.at(revision) {
            return Ok(Source::View(view));
        }
        let view = self.reached(revision).await?;
        Ok(if view.revision() == revision {
            Source::View(view)
        } else {
            Source::Past(revision)
        })
    }

    async fn page_of_past(
        &self,
        target: &Target,
        selection: &Selection,
        mut after: Option<Key>,
        limit: Limit,
        revision: Revision,
    ) -> Result<Page, PastError> {
        let mut page = Page::default();
        loop {
            let (history, from) = (self.replica.history(), after.clone());
            let (resource, scope) = (target.kind.storage(), target.scope().map(str::to_owned));
            let read = move || {
                history.list_at(
                    &resource,
                    scope.as_deref(),
                    from.as_ref(),
                    HISTORY_PAGE,
                    revision,
                )
            };
            let found = blocking(read).await.unwrap_or_else(|_| Ok(Vec::new()))?;
            let last = found.len() < HISTORY_PAGE;
            after = found.last().map(|object| object.key.clone());
            for object in found
                .into_iter()
                .filter(|object| selection.matches(target.kind, object))
            {
                if !page.take(object, limit) {
                    return Ok(page);
                }
            }
            if last {
                return Ok(page);
            }
        }
    }
}

fn page_of_view(
    view: &View,
    target: &Target,
    selection: &Selection,
    after: Option<&Key>,
    limit: Limit,
) -> Page {
    let mut page = Page::default();
    for object in selection
        .candidates(view, target, after)
        .filter(|object| selection.matches(target.kind, object))
    {
        if !page.take(object.clone(), limit) {
            break;
        }
    }
    page
}

/// How many objects are behind this page.
fn left(
    source: &Source,
    target: &Target,
    selection: &Selection,
    token: Option<&Token>,
    page: &Page,
) -> Option<u64> {
    if !selection.is_everything() {
        return None;
    }
    let before = match (token, source) {
        (Some(token), _) => token.left?,
        (None, Source::View(view)) => {
            u64::try_from(view.count(&target.kind.storage(), target.scope())).unwrap_or(u64::MAX)
        }
        (None, Source::Past(_)) => return None,
    };
    Some(before.saturating_sub(u64::try_from(page.objects.len()).unwrap_or(u64::MAX)))
}

fn next_token(revision: Revision, page: &Page, left: Option<u64>) -> Option<String> {
    let key = &page.objects.last()?.key;
    Some(
        Token {
            rv: revision.0,
            ns: key.namespace.to_string(),
            name: key.name.to_string(),
            left,
        }
        .encode(),
    )
}

fn expired(token: &Token) -> VerbError {
    let onward = Token {
        rv: 0,
        ns: token.ns.clone(),
        name: token.name.clone(),
        left: None,
    };
    VerbError::Expired {
        message: EXPIRED_TOKEN.into(),
        token: Some(onward.encode()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(rv: u64, ns in ".{0,20}", name in ".{0,20}", left: Option<u64>) {
            let read = Token::decode(&Token { rv, ns: ns.clone(), name: name.clone(), left }.encode()).unwrap();
            prop_assert_eq!((read.rv, read.ns, read.name, read.left), (rv, ns, name, left));
        }

        #[test]
        fn no_token_makes_the_parser_panic(text in ".{0,100}") {
            let _ = Token::decode(&text);
        }
    }
}
