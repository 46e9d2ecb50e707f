//! The verbs, on objects as they travel: JSON with a few fields repeated beside it.

use crate::{
    error::ClientError,
    failover::{self, Call},
    limits,
    transport::{Connection, Transport},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use pontoon_wire::{
    MAX_MESSAGE_BYTES,
    pontoon::v1::{
        ApplyRequest, ApplyResponse, CreateRequest, DeleteRequest, GetRequest, KindInfo,
        KindsRequest, ListRequest, ListResponse, Object, PatchRequest, PlanResponse, StatusRequest,
        StatusResponse, Target, UpdateRequest, WatchEvent, WatchRequest, WriteOptions,
        WriteResponse, cluster_client::ClusterClient, objects_client::ObjectsClient, patch_request,
        pods_client::PodsClient,
    },
};
use std::time::Duration;
use tonic::{Request, Response};

/// The verbs of `pontoon.v1` over one [`Transport`]. A clone shares the connection.
///
/// A call whose server goes is made again at another where that is safe: reads always, everything else when it certainly
/// did nothing.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    deadline: Duration,
}

/// Which objects of a collection, and as of when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// As `-l` takes it; empty for all.
    pub labels: String,
    /// As `--field-selector` takes it; empty for all.
    pub fields: String,
    /// Reads the past: the objects as of this revision. Zero reads the present.
    pub at_revision: u64,
}

/// A whole collection, as it was at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// In order of namespace and name.
    pub items: Vec<Object>,
    /// The revision: a watch from here misses nothing.
    pub revision: u64,
}

/// How to delete, and what must hold for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// How long pods may take to end; the object's own choice when unset.
    pub grace_period_seconds: Option<i64>,
    /// `Background`, `Foreground` or `Orphan`; the server's choice (`Background`) when empty.
    pub propagation_policy: String,
    /// Only the object with this uid; any when empty.
    pub uid: String,
    /// Only the object at this revision; any when zero.
    pub revision: u64,
    /// Checks everything and changes nothing.
    pub dry_run: bool,
    /// Of a collection: which of its objects. Its revision is not used.
    pub selection: Selection,
}

/// A patch, in one of its three languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// RFC 6902.
    Json(Bytes),
    /// RFC 7386.
    Merge(Bytes),
    /// Kubernetes' merge patch that knows the keys of lists.
    Strategic(Bytes),
}

impl Client {
    /// Over `transport`, with [`limits::CALL_DEADLINE`].
    #[must_use]
    pub fn new(transport: &Transport) -> Self {
        Self {
            transport: transport.clone(),
            deadline: limits::CALL_DEADLINE,
        }
    }

    /// With another deadline for each call.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// One object, or a subresource of it; as of `at_revision` unless that is zero.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&self, target: Target, at_revision: u64) -> Result<Object, ClientError> {
        let request = GetRequest {
            target: Some(target),
            at_revision,
        };
        self.objects(Call::Read, request, |mut objects, request| async move {
            objects.get(request).await
        })
        .await
    }

    /// One page of a collection; `continue_token` is empty for the first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_page(
        &self,
        target: &Target,
        selection: &Selection,
        continue_token: &str,
    ) -> Result<ListResponse, ClientError> {
        let request = ListRequest {
            target: Some(target.clone()),
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            limit: limits::PAGE_ITEMS,
            continue_token: continue_token.to_owned(),
            at_revision: selection.at_revision,
        };
        self.objects(Call::Read, request, |mut objects, request| async move {
            objects.list(request).await
        })
        .await
    }

    /// A whole collection. It is read in pages of one revision; when that revision is compacted on
    /// the way, the listing begins anew.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(
        &self,
        target: &Target,
        selection: &Selection,
    ) -> Result<Listing, ClientError> {
        let mut restarts = 0;
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            match self.list_page(target, selection, &token).await {
                Ok(page) => {
                    items.extend(page.items);
                    if page.continue_token.is_empty() {
                        return Ok(Listing {
                            items,
                            revision: page.revision,
                        });
                    }
                    token = page.continue_token;
                }
                Err(error)
                    if error.is_expired()
                        && !token.is_empty()
                        && restarts < limits::LIST_RESTARTS =>
                {
                    restarts += 1;
                    items.clear();
                    token.clear();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What happens to a collection (or one object) after a revision; from revision 0 the present
    /// objects come first, then a bookmark. It ends when the connection does: see
    /// [`watcher`](crate::watcher) for one that does not.
    ///
    /// # Errors
    /// See [`ClientError`]; one on the way ends the stream.
    pub async fn watch(
        &self,
        target: &Target,
        selection: &Selection,
        from_revision: u64,
    ) -> Result<
        impl Stream<Item = Result<WatchEvent, ClientError>> + Send + Unpin + use<>,
        ClientError,
    > {
        let request = WatchRequest {
            target: Some(target.clone()),
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            from_revision,
            bookmarks: true,
        };
        let events = self
            .objects(
                Call::ReadStream,
                request,
                |mut objects, request| async move { objects.watch(request).await },
            )
            .await?;
        Ok(events.map(|event| event.map_err(ClientError::from)))
    }

    /// Makes an object from JSON. `target` names the collection; the name is the object's own.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create(
        &self,
        target: Target,
        json: Bytes,
        options: WriteOptions,
    ) -> Result<WriteResponse, ClientError> {
        let request = CreateRequest {
            target: Some(target),
            json,
            options: Some(options),
        };
        self.objects(Call::Write, request, |mut objects, request| async move {
            objects.create(request).await
        })
        .await
    }

    /// Replaces an object, or a subresource of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn update(
        &self,
        target: Target,
        json: Bytes,
        options: WriteOptions,
    ) -> Result<WriteResponse, ClientError> {
        let request = UpdateRequest {
            target: Some(target),
            json,
            options: Some(options),
        };
        self.objects(Call::Write, request, |mut objects, request| async move {
            objects.update(request).await
        })
        .await
    }

    /// Changes a part of an object.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn patch(
        &self,
        target: Target,
        patch: Patch,
        options: WriteOptions,
    ) -> Result<WriteResponse, ClientError> {
        let (kind, patch) = match patch {
            Patch::Json(patch) => (patch_request::Type::Json, patch),
            Patch::Merge(patch) => (patch_request::Type::Merge, patch),
            Patch::Strategic(patch) => (patch_request::Type::Strategic, patch),
        };
        let request = PatchRequest {
            target: Some(target),
            r#type: kind.into(),
            patch,
            options: Some(options),
        };
        self.objects(Call::Write, request, |mut objects, request| async move {
            objects.patch(request).await
        })
        .await
    }

    /// Makes or merges many objects in one transaction: all or none.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn apply(
        &self,
        objects: Vec<Bytes>,
        default_namespace: &str,
        options: WriteOptions,
    ) -> Result<ApplyResponse, ClientError> {
        let default_namespace = default_namespace.to_owned();
        let request = ApplyRequest {
            objects,
            default_namespace,
            options: Some(options),
        };
        self.objects(Call::Write, request, |mut objects, request| async move {
            objects.apply(request).await
        })
        .await
    }

    /// What [`Client::apply`] would do, and what would become of pods because of it; nothing is written.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn plan(
        &self,
        objects: Vec<Bytes>,
        default_namespace: &str,
        options: WriteOptions,
    ) -> Result<PlanResponse, ClientError> {
        let default_namespace = default_namespace.to_owned();
        let request = ApplyRequest {
            objects,
            default_namespace,
            options: Some(options),
        };
        let send =
            |mut objects: ObjectsClient<_>, request| async move { objects.plan(request).await };
        self.objects(Call::Read, request, send).await
    }

    /// Deletes one object, or what is selected of a collection. Gives them as they were when
    /// deletion was accepted: those with finalizers or a grace period still exist.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete(
        &self,
        target: Target,
        options: DeleteOptions,
    ) -> Result<Vec<Object>, ClientError> {
        let request = DeleteRequest {
            target: Some(target),
            grace_period_seconds: options.grace_period_seconds,
            propagation_policy: options.propagation_policy,
            uid: options.uid,
            revision: options.revision,
            dry_run: options.dry_run,
            label_selector: options.selection.labels,
            field_selector: options.selection.fields,
        };
        Ok(self
            .objects(Call::Write, request, |mut objects, request| async move {
                objects.delete(request).await
            })
            .await?
            .objects)
    }

    /// Every kind that the server knows.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn kinds(&self) -> Result<Vec<KindInfo>, ClientError> {
        let request = KindsRequest {};
        Ok(self
            .objects(Call::Read, request, |mut objects, request| async move {
                objects.kinds(request).await
            })
            .await?
            .kinds)
    }

    /// How the control plane itself is doing.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        let request = StatusRequest {};
        let send = |connection, request| async move {
            ClusterClient::new(connection).status(request).await
        };
        self.call(Call::Read, request, send).await
    }

    /// Asks the cluster where its servers are, so that any of them is tried when this one goes.
    ///
    /// # Errors
    /// See [`ClientError`]; what was known stays.
    pub async fn learn_servers(&self) -> Result<(), ClientError> {
        let members = self.status().await?.members;
        let servers: Vec<String> = members.into_iter().map(|member| member.api).collect();
        self.transport.learn(&servers);
        Ok(())
    }

    async fn objects<M, T, F, Fut>(&self, call: Call, message: M, send: F) -> Result<T, ClientError>
    where
        M: Clone,
        F: Fn(ObjectsClient<Connection>, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, tonic::Status>>,
    {
        let send = |connection, request| {
            let client = ObjectsClient::new(connection)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES);
            send(client, request)
        };
        self.call(call, message, send).await
    }

    pub(crate) async fn pods<M, T, F, Fut>(
        &self,
        call: Call,
        message: M,
        send: F,
    ) -> Result<T, ClientError>
    where
        M: Clone,
        F: Fn(PodsClient<Connection>, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, tonic::Status>>,
    {
        let send = |connection, request| send(PodsClient::new(connection), request);
        self.call(call, message, send).await
    }

    pub(crate) async fn call<M, T, F, Fut>(
        &self,
        call: Call,
        message: M,
        send: F,
    ) -> Result<T, ClientError>
    where
        M: Clone,
        F: Fn(Connection, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, tonic::Status>>,
    {
        failover::call(&self.transport, call, self.deadline, message, send).await
    }
}
