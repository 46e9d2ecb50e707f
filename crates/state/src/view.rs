//! The present of the store, immutable and cheap to keep: what plans, lists and filters read.
//!
//! A view answers in the size of its answer. Costs, with n objects in all and k in the answer:
//! `get` O(log n); every iterator O(log n + k). Cloning shares structure.

use crate::digest::Digest;
use crate::key::Key;
use crate::object::Object;
use imbl::{OrdMap, OrdSet};
use pontoon_api::Revision;
use std::sync::Arc;

/// All objects at one revision, with their indexes.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) digest: Digest,
    pub(crate) objects: OrdMap<Key, Arc<Object>>,
    pub(crate) owned: OrdSet<(Arc<str>, Key)>,
    pub(crate) placed: OrdSet<(Arc<str>, Key)>,
    pub(crate) labelled: OrdSet<Labelled>,
    pub(crate) counts: OrdMap<(Arc<str>, Arc<str>), usize>,
}

/// One label of one object, ordered so that all objects of a resource with a label lie together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labelled {
    resource: Arc<str>,
    label: Arc<str>,
    value: Arc<str>,
    namespace: Arc<str>,
    name: Arc<str>,
}

fn empty() -> Arc<str> {
    Arc::from("")
}

impl View {
    /// The revision of the last transaction in it.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// History up to this revision is forgotten: watches and reads start later.
    #[must_use]
    pub const fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The digest of everything in it: equal where the objects are. O(1).
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// How many objects there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The object under `key`.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Objects of a resource, in one namespace or in all, in the order of their keys.
    pub fn list<'a>(
        &'a self,
        resource: &str,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.list_after(resource, namespace, None)
    }

    /// As [`View::list`], starting behind `after`: how a page goes on.
    pub fn list_after<'a>(
        &'a self,
        resource: &str,
        namespace: Option<&str>,
        after: Option<&Key>,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let resource: Arc<str> = resource.into();
        let namespace: Option<Arc<str>> = namespace.map(Into::into);
        let start = Key {
            resource: resource.clone(),
            namespace: namespace.clone().unwrap_or_else(empty),
            name: empty(),
        };
        let after = after.cloned();
        let start = after
            .clone()
            .filter(|after| *after > start)
            .unwrap_or(start);
        self.objects
            .range(start..)
            .take_while(move |(key, _)| {
                key.resource == resource
                    && namespace
                        .as_ref()
                        .is_none_or(|namespace| key.namespace == *namespace)
            })
            .filter(move |(key, _)| Some(*key) != after.as_ref())
            .map(|(_, object)| object)
    }

    /// How many objects a resource has, in one namespace or in all. O(log n) for one namespace, O(namespaces) for all.
    #[must_use]
    pub fn count(&self, resource: &str, namespace: Option<&str>) -> usize {
        let resource: Arc<str> = resource.into();
        match namespace {
            Some(namespace) => self
                .counts
                .get(&(resource, namespace.into()))
                .copied()
                .unwrap_or(0),
            None => self
                .counts
                .range((resource.clone(), empty())..)
                .take_while(|((found, _), _)| *found == resource)
                .map(|(_, count)| *count)
                .sum(),
        }
    }

    /// The resources that have objects in a namespace (`""` for the cluster's own). O(resources × log n).
    #[must_use]
    pub fn resources_in(&self, namespace: &str) -> Vec<Arc<str>> {
        let mut found = Vec::new();
        let mut next = self
            .counts
            .keys()
            .next()
            .map(|(resource, _)| resource.clone());
        while let Some(resource) = next {
            if self.count(&resource, Some(namespace)) > 0 {
                found.push(resource.clone());
            }
            let mut behind = resource.to_string();
            behind.push('\0');
            next = self
                .counts
                .range((Arc::<str>::from(behind), empty())..)
                .next()
                .map(|((resource, _), _)| resource.clone());
        }
        found
    }

    /// Objects whose ownerReferences name this uid, of every resource.
    pub fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.in_index(&self.owned, uid)
    }

    /// Pods bound to this node.
    pub fn on_node<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.in_index(&self.placed, node)
    }

    fn in_index<'a>(
        &'a self,
        index: &'a OrdSet<(Arc<str>, Key)>,
        entry: &str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let entry: Arc<str> = entry.into();
        let start = (
            entry.clone(),
            Key {
                resource: empty(),
                namespace: empty(),
                name: empty(),
            },
        );
        index
            .range(start..)
            .take_while(move |(found, _)| *found == entry)
            .filter_map(|(_, key)| self.objects.get(key))
    }

    /// Objects of a resource that carry a label with this value, in one namespace or in all.
    pub fn labelled<'a>(
        &'a self,
        resource: &str,
        namespace: Option<&str>,
        label: &str,
        value: &str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let namespace: Option<Arc<str>> = namespace.map(Into::into);
        let start = Labelled {
            resource: resource.into(),
            label: label.into(),
            value: value.into(),
            namespace: namespace.clone().unwrap_or_else(empty),
            name: empty(),
        };
        let same = start.clone();
        self.labelled
            .range(start..)
            .take_while(move |found| {
                found.resource == same.resource
                    && found.label == same.label
                    && found.value == same.value
                    && namespace
                        .as_ref()
                        .is_none_or(|namespace| found.namespace == *namespace)
            })
            .filter_map(|found| {
                self.objects.get(&Key {
                    resource: found.resource.clone(),
                    namespace: found.namespace.clone(),
                    name: found.name.clone(),
                })
            })
    }

    /// Every object, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// Stores a version; gives the one it replaced.
    pub(crate) fn insert(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let before = self.remove(&object.key.clone());
        for (entry, index) in self.index_entries(&object) {
            match index {
                Index::Owned => self.owned.insert(entry),
                Index::Placed => self.placed.insert(entry),
            };
        }
        for label in labels_of(&object) {
            self.labelled.insert(label);
        }
        let count = (object.key.resource.clone(), object.key.namespace.clone());
        *self.counts.entry(count).or_insert(0) += 1;
        self.digest.add(&object);
        self.objects.insert(object.key.clone(), object);
        before
    }

    /// Removes an object; gives it.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let object = self.objects.remove(key)?;
        self.digest.subtract(&object);
        for (entry, index) in self.index_entries(&object) {
            match index {
                Index::Owned => self.owned.remove(&entry),
                Index::Placed => self.placed.remove(&entry),
            };
        }
        for label in labels_of(&object) {
            self.labelled.remove(&label);
        }
        let count = (key.resource.clone(), key.namespace.clone());
        if let Some(left) = self.counts.get_mut(&count) {
            *left -= 1;
            if *left == 0 {
                self.counts.remove(&count);
            }
        }
        Some(object)
    }

    #[allow(clippy::unused_self, reason = "reads as a question to the view")]
    fn index_entries(&self, object: &Object) -> Vec<((Arc<str>, Key), Index)> {
        let owners = object
            .meta
            .owners
            .iter()
            .map(|owner| ((owner.uid.clone(), object.key.clone()), Index::Owned));
        let node = object
            .meta
            .node
            .iter()
            .map(|node| ((node.clone(), object.key.clone()), Index::Placed));
        owners.chain(node).collect()
    }
}

enum Index {
    Owned,
    Placed,
}

fn labels_of(object: &Object) -> impl Iterator<Item = Labelled> + '_ {
    object.meta.labels.iter().map(|(label, value)| Labelled {
        resource: object.key.resource.clone(),
        label: label.clone(),
        value: value.clone(),
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
    })
}
