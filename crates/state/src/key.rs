//! Where an object is stored: resource, namespace, name.

use std::sync::Arc;

/// The identity of an object in the store, ordered by resource, then namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Plural and group: `configmaps`, `deployments.apps`.
    pub resource: Arc<str>,
    /// Empty for objects of the cluster.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl Key {
    /// A key of these three parts.
    #[must_use]
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// `namespace/name`, or the name alone for an object of the cluster.
    #[must_use]
    pub fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.to_string()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    /// The durable form: the parts joined by zero bytes, which sorts as the key does.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(self.resource.len() + self.namespace.len() + self.name.len() + 2);
        bytes.extend_from_slice(self.resource.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(self.namespace.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// Reads [`Key::encode`]'s form; `None` when it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split('\0');
        let key = Self::new(parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(key)
    }

    /// Whether the key can be stored: a resource and a name, no zero bytes, not too long.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let length = self.resource.len() + self.namespace.len() + self.name.len();
        !self.resource.is_empty()
            && !self.name.is_empty()
            && length <= crate::limits::KEY_BYTES
            && ![&self.resource, &self.namespace, &self.name]
                .iter()
                .any(|part| part.contains('\0'))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.resource, self.path())
    }
}
