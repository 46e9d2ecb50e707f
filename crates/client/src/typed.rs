//! The verbs on Kubernetes' own types.

use crate::{
    api::{Client, DeleteOptions, Patch, Selection},
    error::ClientError,
    target,
};
use bytes::Bytes;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, Resource};
use pontoon_wire::pontoon::v1::{Object, Target, WriteOptions};
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;

/// The objects of one kind in one place.
#[derive(Debug, Clone)]
pub struct Collection<K> {
    client: Client,
    namespace: String,
    kind: PhantomData<fn() -> K>,
}

/// Objects of one kind, as they were at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct TypedListing<K> {
    /// In order of namespace and name.
    pub items: Vec<K>,
    /// The revision: a watch from here misses nothing.
    pub revision: u64,
}

impl Client {
    /// The objects of kind `K` in one namespace.
    #[must_use]
    pub fn namespaced<K: Resource<Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
    ) -> Collection<K> {
        Collection {
            client: self.clone(),
            namespace: namespace.to_owned(),
            kind: PhantomData,
        }
    }

    /// The objects of a kind that lives in no namespace.
    #[must_use]
    pub fn cluster_wide<K: Resource<Scope = ClusterResourceScope>>(&self) -> Collection<K> {
        Collection {
            client: self.clone(),
            namespace: String::new(),
            kind: PhantomData,
        }
    }

    /// Every object of kind `K`, to list.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_everywhere<K: Resource + DeserializeOwned>(
        &self,
        selection: &Selection,
    ) -> Result<TypedListing<K>, ClientError> {
        list(self, &target::collection::<K>(""), selection).await
    }
}

impl<K: Resource + Serialize + DeserializeOwned> Collection<K> {
    /// One object.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&self, name: &str) -> Result<K, ClientError> {
        decode(&self.client.get(self.named(name), 0).await?)
    }

    /// One object, or none when there is no such.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn find(&self, name: &str) -> Result<Option<K>, ClientError> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The whole collection, or what is selected of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(&self, selection: &Selection) -> Result<TypedListing<K>, ClientError> {
        list(&self.client, &self.named(""), selection).await
    }

    /// Makes an object, and gives it as stored.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create(&self, object: &K) -> Result<K, ClientError> {
        let written = self
            .client
            .create(self.named(""), encode(object)?, WriteOptions::default())
            .await?;
        decode(&written.object.unwrap_or_default())
    }

    /// Replaces an object, provided that it is still at the sent resourceVersion, if one is sent.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn update(&self, name: &str, object: &K) -> Result<K, ClientError> {
        let written = self
            .client
            .update(self.named(name), encode(object)?, WriteOptions::default())
            .await?;
        decode(&written.object.unwrap_or_default())
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn update_status(&self, name: &str, object: &K) -> Result<K, ClientError> {
        let target = target::subresource(self.named(name), "status");
        let written = self
            .client
            .update(target, encode(object)?, WriteOptions::default())
            .await?;
        decode(&written.object.unwrap_or_default())
    }

    /// Changes a part of an object.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn patch(&self, name: &str, patch: Patch) -> Result<K, ClientError> {
        let written = self
            .client
            .patch(self.named(name), patch, WriteOptions::default())
            .await?;
        decode(&written.object.unwrap_or_default())
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete(&self, name: &str, options: DeleteOptions) -> Result<(), ClientError> {
        self.client
            .delete(self.named(name), options)
            .await
            .map(drop)
    }

    fn named(&self, name: &str) -> Target {
        target::named::<K>(&self.namespace, name)
    }
}

/// An object as its type.
///
/// # Errors
/// [`ClientError::Malformed`] when it is of another.
pub fn decode<K: DeserializeOwned>(object: &Object) -> Result<K, ClientError> {
    serde_json::from_slice(&object.json).map_err(|error| {
        ClientError::Malformed(format!(
            "{} {}/{}: {error}",
            object.kind, object.namespace, object.name
        ))
    })
}

fn encode<K: Serialize>(object: &K) -> Result<Bytes, ClientError> {
    serde_json::to_vec(object)
        .map(Bytes::from)
        .map_err(ClientError::Encode)
}

async fn list<K: DeserializeOwned>(
    client: &Client,
    target: &Target,
    selection: &Selection,
) -> Result<TypedListing<K>, ClientError> {
    let listing = client.list(target, selection).await?;
    let items = listing.items.iter().map(decode).collect::<Result<_, _>>()?;
    Ok(TypedListing {
        items,
        revision: listing.revision,
    })
}
