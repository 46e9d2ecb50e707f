//! A small cluster of `pontoon.v1` in memory, over real TLS on the loopback: the registry's kinds, one revision for
//! each write, watches, and pods that echo. No controllers: a test says what they would do.
#![allow(clippy::unwrap_used)]

use futures::{Stream, StreamExt as _, stream::BoxStream};
use parking_lot::Mutex;
use pontoon_api::{
    Kind, Part,
    kind::Refusal,
    kinds,
    patch::{self, PatchType},
    selector::{FieldSelector, LabelSelector},
};
use pontoon_client::{
    Client, Transport,
    error::STATUS_TRAILER,
    messages::{
        self as wire, Object, Target, WatchEvent, applied, cluster_server::ClusterServer,
        exec_input, exec_output, forward_data, objects_server::ObjectsServer, patch_request,
        pods_server::PodsServer, watch_event,
    },
    transport,
};
use pontoon_identity::{Authorities, Presented, Roots, ServerNames, tls};
use pontoon_world::World;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

type Key = (&'static str, String, String);

/// What is stored.
#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Key, Value>,
    history: Vec<(Key, watch_event::Type, Value, u64)>,
    revision: u64,
    /// Objects with a grace period stay until the test takes them away.
    pub graceful: bool,
}

/// The cluster.
pub struct Fake {
    pub store: Mutex<Store>,
    changed: watch::Sender<u64>,
}

fn status(code: i32, reason: &str, message: String, details: Value) -> Status {
    let sent = json!({"kind": "Status", "code": code, "reason": reason, "message": message, "details": details});
    let mut status = Status::unknown("see the trailer");
    let value = MetadataValue::from_bytes(sent.to_string().as_bytes());
    status.metadata_mut().insert_bin(STATUS_TRAILER, value);
    status
}

fn refused(refusal: Refusal, kind: &str, name: &str) -> Status {
    match refusal {
        Refusal::Malformed(why) => status(400, "BadRequest", why, Value::Null),
        Refusal::Invalid(errors) => {
            let causes: Vec<Value> = errors
                .iter()
                .map(|error| json!({"field": error.field, "message": error.message}))
                .collect();
            let details = json!({"kind": kind, "name": name, "causes": causes});
            status(
                422,
                "Invalid",
                format!("{kind} {name:?} is invalid"),
                details,
            )
        }
    }
}

fn kind_of(target: &Target) -> Result<&'static dyn Kind, Status> {
    kinds::by_plural(&target.group, &target.version, &target.resource).ok_or_else(|| {
        status(
            404,
            "NotFound",
            "the server could not find the requested resource".into(),
            Value::Null,
        )
    })
}

fn object(kind: &dyn Kind, value: &Value) -> Object {
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    Object {
        api_version: kind.descriptor().api_version(),
        kind: kind.descriptor().kind.to_owned(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        uid: text("/metadata/uid"),
        revision: text("/metadata/resourceVersion").parse().unwrap_or(0),
        json: value.to_string().into(),
    }
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            store: Mutex::new(Store {
                revision: 1,
                ..Store::default()
            }),
            changed: watch::channel(0).0,
        })
    }

    /// Stores an object as it is, but for its uid and revision.
    pub fn put(&self, mut value: Value) -> Value {
        let kind = kinds::by_kind(
            value["apiVersion"].as_str().unwrap(),
            value["kind"].as_str().unwrap(),
        )
        .unwrap();
        // Defaulted, as any stored object is; kinds of a test's making stay as they are.
        if let Ok(admitted) = kind.create(value.clone()) {
            for (key, filled) in admitted.object.as_object().unwrap() {
                if !["metadata", "status"].contains(&key.as_str()) {
                    value[key] = filled.clone();
                }
            }
        }
        let plural = kind.descriptor().plural;
        let text = |value: &Value, pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let key = (
            plural,
            text(&value, "/metadata/namespace"),
            text(&value, "/metadata/name"),
        );
        let mut store = self.store.lock();
        store.revision += 1;
        let revision = store.revision;
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        if value.pointer("/metadata/uid").is_none() {
            value["metadata"]["uid"] = format!("uid-{}", key.2).into();
        }
        let old = store.objects.insert(key.clone(), value.clone());
        let what = if old.is_some() {
            watch_event::Type::Modified
        } else {
            watch_event::Type::Added
        };
        store.history.push((key, what, value.clone(), revision));
        drop(store);
        self.changed.send_modify(|count| *count += 1);
        value
    }

    /// Takes an object away.
    pub fn remove(&self, plural: &'static str, namespace: &str, name: &str) {
        let mut store = self.store.lock();
        store.revision += 1;
        let revision = store.revision;
        let key = (plural, namespace.to_owned(), name.to_owned());
        let gone = store.objects.remove(&key).unwrap();
        store
            .history
            .push((key, watch_event::Type::Deleted, gone, revision));
        drop(store);
        self.changed.send_modify(|count| *count += 1);
    }

    /// An object as it is.
    pub fn get(&self, plural: &'static str, namespace: &str, name: &str) -> Option<Value> {
        self.store
            .lock()
            .objects
            .get(&(plural, namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    fn find(&self, target: &Target) -> Result<(&'static dyn Kind, Value), Status> {
        let kind = kind_of(target)?;
        let found = self.get(kind.descriptor().plural, &target.namespace, &target.name);
        let message = format!(
            "{} {:?} not found",
            kind.descriptor().resource(),
            target.name
        );
        Ok((
            kind,
            found.ok_or_else(|| status(404, "NotFound", message, Value::Null))?,
        ))
    }

    fn create(
        &self,
        kind: &'static dyn Kind,
        mut body: Value,
        dry_run: bool,
    ) -> Result<Value, Status> {
        let name = body
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        body["metadata"]["creationTimestamp"] = "2026-01-02T03:04:05Z".into();
        body["metadata"]["uid"] = format!("uid-{name}").into();
        let admitted = kind
            .create(body)
            .map_err(|refusal| refused(refusal, kind.descriptor().kind, &name))?;
        Ok(if dry_run {
            admitted.object
        } else {
            self.put(admitted.object)
        })
    }

    fn change(
        &self,
        kind: &'static dyn Kind,
        body: Value,
        current: &Value,
        dry_run: bool,
    ) -> Result<Value, Status> {
        let name = current
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("");
        let admitted = kind
            .update(body, current, Part::Main)
            .map_err(|refusal| refused(refusal, kind.descriptor().kind, name))?;
        if dry_run || admitted.object == *current {
            return Ok(admitted.object);
        }
        Ok(self.put(admitted.object))
    }

    fn selected(&self, target: &Target, labels: &str, fields: &str) -> Result<Vec<Value>, Status> {
        let kind = kind_of(target)?;
        let wanted = matcher(kind, labels, fields)?;
        let plural = kind.descriptor().plural;
        let store = self.store.lock();
        let mut found = Vec::new();
        for ((resource, namespace, _), value) in &store.objects {
            if *resource == plural
                && (target.namespace.is_empty() || *namespace == target.namespace)
                && wanted(value)
            {
                found.push(value.clone());
            }
        }
        Ok(found)
    }
}

fn matcher(
    kind: &'static dyn Kind,
    labels: &str,
    fields: &str,
) -> Result<impl Fn(&Value) -> bool + use<>, Status> {
    let wrong = |error: pontoon_api::selector::SelectorError| {
        status(400, "BadRequest", error.0, Value::Null)
    };
    let labels = LabelSelector::parse(labels).map_err(wrong)?;
    let fields = FieldSelector::parse(fields).map_err(wrong)?;
    Ok(move |value: &Value| {
        let mut known = kind.fields(value);
        for (name, pointer) in [
            ("metadata.name", "/metadata/name"),
            ("metadata.namespace", "/metadata/namespace"),
        ] {
            known.push((
                name,
                value
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or("")
                    .to_owned(),
            ));
        }
        let field = |wanted: &str| {
            known
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.as_str())
        };
        let label = |key: &str| {
            value
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        labels.matches(label) && fields.matches(field)
    })
}

#[derive(Clone)]
struct Service(Arc<Fake>);

fn body(json: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(json)
        .map_err(|error| status(400, "BadRequest", error.to_string(), Value::Null))
}

fn written(kind: &dyn Kind, value: &Value) -> Response<wire::WriteResponse> {
    Response::new(wire::WriteResponse {
        object: Some(object(kind, value)),
        warnings: Vec::new(),
    })
}

#[async_trait::async_trait]
impl wire::objects_server::Objects for Service {
    async fn get(&self, request: Request<wire::GetRequest>) -> Result<Response<Object>, Status> {
        let (kind, value) = self.0.find(&request.into_inner().target.unwrap())?;
        Ok(Response::new(object(kind, &value)))
    }

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListResponse>, Status> {
        let request = request.into_inner();
        let target = request.target.unwrap();
        let kind = kind_of(&target)?;
        let found = self
            .0
            .selected(&target, &request.label_selector, &request.field_selector)?;
        Ok(Response::new(wire::ListResponse {
            items: found.iter().map(|value| object(kind, value)).collect(),
            revision: self.0.store.lock().revision,
            continue_token: String::new(),
            remaining: None,
        }))
    }

    type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let target = request.target.unwrap();
        let kind = kind_of(&target)?;
        let wanted = matcher(kind, &request.label_selector, &request.field_selector)?;
        let fake = Arc::clone(&self.0);
        let mut changed = fake.changed.subscribe();
        let mut from = request.from_revision;
        Ok(Response::new(Box::pin(async_stream::stream! {
            loop {
                changed.mark_unchanged();
                let news: Vec<_> = fake.store.lock().history.iter().filter(|event| event.3 > from).cloned().collect();
                for ((plural, namespace, _), what, value, revision) in news {
                    from = revision;
                    let here = plural == kind.descriptor().plural
                        && (target.namespace.is_empty() || namespace == target.namespace);
                    if here && wanted(&value) {
                        yield Ok(WatchEvent { r#type: what.into(), object: Some(object(kind, &value)), revision });
                    }
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        })))
    }

    async fn create(
        &self,
        request: Request<wire::CreateRequest>,
    ) -> Result<Response<wire::WriteResponse>, Status> {
        let request = request.into_inner();
        let target = request.target.unwrap();
        let kind = kind_of(&target)?;
        let body = body(&request.json)?;
        let name = body
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        if self
            .0
            .get(kind.descriptor().plural, &target.namespace, &name)
            .is_some()
        {
            let message = format!("{} {name:?} already exists", kind.descriptor().resource());
            return Err(status(409, "AlreadyExists", message, Value::Null));
        }
        let value = self
            .0
            .create(kind, body, request.options.unwrap().dry_run)?;
        Ok(written(kind, &value))
    }

    async fn update(
        &self,
        _: Request<wire::UpdateRequest>,
    ) -> Result<Response<wire::WriteResponse>, Status> {
        Err(Status::unimplemented("no verb updates"))
    }

    async fn patch(
        &self,
        request: Request<wire::PatchRequest>,
    ) -> Result<Response<wire::WriteResponse>, Status> {
        let request = request.into_inner();
        let how = match request.r#type() {
            patch_request::Type::Json => PatchType::Json,
            patch_request::Type::Strategic => PatchType::Strategic,
            _ => PatchType::Merge,
        };
        let target = request.target.unwrap();
        let (kind, current) = self.0.find(&target)?;
        // A Scale has its number of replicas where its object has it, too.
        let patched = patch::apply(
            kind.descriptor().kind,
            &current,
            &body(&request.patch)?,
            how,
        )
        .map_err(|error| status(422, "Invalid", error.to_string(), Value::Null))?;
        let value = self
            .0
            .change(kind, patched, &current, request.options.unwrap().dry_run)?;
        Ok(written(kind, &value))
    }

    async fn apply(
        &self,
        request: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::ApplyResponse>, Status> {
        let request = request.into_inner();
        let dry_run = request.options.unwrap().dry_run;
        // All or none: everything is checked before anything is written.
        let mut results = Vec::new();
        for pass in [true, dry_run] {
            results.clear();
            for json in &request.objects {
                let body = body(json)?;
                let text = |pointer: &str| {
                    body.pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or("")
                        .to_owned()
                };
                let kind = kinds::by_kind(&text("/apiVersion"), &text("/kind")).unwrap();
                let current = self.0.get(
                    kind.descriptor().plural,
                    &text("/metadata/namespace"),
                    &text("/metadata/name"),
                );
                let (action, value) = match current {
                    None => (applied::Action::Created, self.0.create(kind, body, pass)?),
                    Some(current) => {
                        let merged = patch::apply(
                            kind.descriptor().kind,
                            &current,
                            &body,
                            PatchType::Strategic,
                        )
                        .unwrap();
                        let new = self.0.change(kind, merged, &current, pass)?;
                        let same = new["spec"] == current["spec"] && new["data"] == current["data"];
                        (
                            if same {
                                applied::Action::Unchanged
                            } else {
                                applied::Action::Configured
                            },
                            new,
                        )
                    }
                };
                results.push(wire::Applied {
                    action: action.into(),
                    object: Some(object(kind, &value)),
                    warnings: Vec::new(),
                });
            }
        }
        let revision = self.0.store.lock().revision;
        Ok(Response::new(wire::ApplyResponse { results, revision }))
    }

    /// Every pod of the fake would land on its one node.
    async fn plan(
        &self,
        request: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::PlanResponse>, Status> {
        let applied = self.apply(request).await?.into_inner();
        let lands = |result: &&wire::Applied| {
            result.action() != applied::Action::Unchanged
                && result
                    .object
                    .as_ref()
                    .is_some_and(|object| object.kind == "Deployment")
        };
        let pod = |result: &wire::Applied| wire::PlannedPod {
            change: wire::planned_pod::Change::Made.into(),
            namespace: "default".into(),
            name: format!("{}-*", result.object.clone().unwrap_or_default().name),
            node: "node-1".into(),
            reason: String::new(),
        };
        Ok(Response::new(wire::PlanResponse {
            pods: applied.results.iter().filter(lands).map(pod).collect(),
            results: applied.results,
            revision: applied.revision,
            warnings: Vec::new(),
            complete: true,
        }))
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteRequest>,
    ) -> Result<Response<wire::DeleteResponse>, Status> {
        let request = request.into_inner();
        let target = request.target.unwrap();
        let (kind, mut value) = self.0.find(&target)?;
        let was = object(kind, &value);
        if self.0.store.lock().graceful {
            value["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
            self.0.put(value);
        } else if !request.dry_run {
            self.0
                .remove(kind.descriptor().plural, &target.namespace, &target.name);
        }
        Ok(Response::new(wire::DeleteResponse { objects: vec![was] }))
    }

    async fn kinds(
        &self,
        _: Request<wire::KindsRequest>,
    ) -> Result<Response<wire::KindsResponse>, Status> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let kinds = kinds::all()
            .iter()
            .map(|kind| kind.descriptor())
            .map(|found| wire::KindInfo {
                group: found.group.to_owned(),
                version: found.version.to_owned(),
                kind: found.kind.to_owned(),
                resource: found.plural.to_owned(),
                singular: found.singular.to_owned(),
                short_names: owned(found.short_names),
                categories: owned(found.categories),
                namespaced: found.scope == pontoon_api::Scope::Namespaced,
                columns: Vec::new(),
            });
        Ok(Response::new(wire::KindsResponse {
            kinds: kinds.collect(),
        }))
    }
}

/// Its pods echo: logs are the names of pod and container, exec says its input back, a port gives back what it gets.
#[async_trait::async_trait]
impl wire::pods_server::Pods for Service {
    type LogsStream = BoxStream<'static, Result<wire::LogChunk, Status>>;

    async fn logs(
        &self,
        request: Request<wire::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let data = format!(
            "{}/{} one\n{}/{} two\n",
            request.pod, request.container, request.pod, request.container
        );
        Ok(Response::new(
            futures::stream::iter([Ok(wire::LogChunk { data: data.into() })]).boxed(),
        ))
    }

    type ExecStream = BoxStream<'static, Result<wire::ExecOutput, Status>>;

    async fn exec(
        &self,
        request: Request<Streaming<wire::ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let mut input = request.into_inner();
        let said = |output| {
            Ok(wire::ExecOutput {
                output: Some(output),
            })
        };
        Ok(Response::new(Box::pin(async_stream::stream! {
            let Some(exec_input::Input::Start(start)) = input.message().await?.and_then(|first| first.input) else {
                return;
            };
            yield said(exec_output::Output::Stderr(start.container.into()));
            if start.stdin {
                while let Some(message) = input.message().await? {
                    match message.input {
                        Some(exec_input::Input::Stdin(bytes)) => yield said(exec_output::Output::Stdout(bytes)),
                        Some(exec_input::Input::StdinClosed(_)) => break,
                        _ => {}
                    }
                }
            }
            let code = start.command.last().and_then(|word| word.parse().ok()).unwrap_or(0);
            yield said(exec_output::Output::ExitCode(code));
        })))
    }

    type PortForwardStream = BoxStream<'static, Result<wire::ForwardData, Status>>;

    async fn port_forward(
        &self,
        request: Request<Streaming<wire::ForwardData>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        let started = |message: &Result<wire::ForwardData, Status>| {
            let start = matches!(
                message,
                Ok(wire::ForwardData {
                    data: Some(forward_data::Data::Start(_))
                })
            );
            futures::future::ready(!start)
        };
        Ok(Response::new(request.into_inner().filter(started).boxed()))
    }
}

#[async_trait::async_trait]
impl wire::cluster_server::Cluster for Service {
    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        Ok(Response::new(wire::StatusResponse {
            version: "0.1.0".to_owned(),
            kubernetes_version: "v1.36.0".to_owned(),
            ..wire::StatusResponse::default()
        }))
    }

    type BackupStream = futures::stream::Empty<Result<wire::BackupChunk, Status>>;

    async fn create_token(
        &self,
        _: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenResponse>, Status> {
        Err(Status::unimplemented("not part of this fake"))
    }

    async fn list_tokens(
        &self,
        _: Request<wire::ListTokensRequest>,
    ) -> Result<Response<wire::ListTokensResponse>, Status> {
        Err(Status::unimplemented("not part of this fake"))
    }

    async fn revoke_token(
        &self,
        _: Request<wire::RevokeTokenRequest>,
    ) -> Result<Response<wire::RevokeTokenResponse>, Status> {
        Err(Status::unimplemented("not part of this fake"))
    }

    async fn promote(
        &self,
        _: Request<wire::PromoteRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        Err(Status::unimplemented("not part of this fake"))
    }

    async fn remove(
        &self,
        _: Request<wire::RemoveRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        Err(Status::unimplemented("not part of this fake"))
    }

    async fn transfer(
        &self,
        _: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::MembershipResponse>, Status> {
        Err(Status::unimplemented("not part of this fake"))
    }

    async fn rotate_key(
        &self,
        _: Request<wire::RotateKeyRequest>,
    ) -> Result<Response<wire::RotateKeyResponse>, Status> {
        Err(Status::unimplemented("not part of this fake"))
    }

    async fn backup(
        &self,
        _: Request<wire::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        Err(Status::unimplemented("not part of this fake"))
    }
}

/// Serves the cluster for as long as the runtime lives, and gives a client of it.
pub async fn serve(fake: &Arc<Fake>) -> Client {
    let directory = tempfile::tempdir().unwrap();
    let world = World::real();
    let authorities = Authorities::open(directory.path(), &world).unwrap();
    let roots = Roots::new([authorities.cluster.certificate()]).unwrap();
    let names = ServerNames::of_cluster("cluster.local");
    let own = Presented::new(&authorities.cluster.server(&names, world.now()).unwrap()).unwrap();
    let strict = tls::ClientCertificate::Required;
    let config = tls::server(own, &roots, strict, tls::GRPC_PROTOCOLS, &world).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Service(Arc::clone(fake));
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(ObjectsServer::new(service.clone()))
            .add_service(PodsServer::new(service.clone()))
            .add_service(ClusterServer::new(service))
            .serve_with_incoming(accept(listener, TlsAcceptor::from(config))),
    );
    let admin = Presented::new(&authorities.cluster.administrator(world.now()).unwrap()).unwrap();
    let config = transport::Config {
        servers: vec![format!("https://{address}")],
        server_name: None,
        tls: tls::client(&roots, Some(admin), tls::GRPC_PROTOCOLS, &world).unwrap(),
        user_agent: "test".to_owned(),
    };
    Client::new(&Transport::new(&config).unwrap())
}

fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
) -> impl Stream<Item = std::io::Result<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>> {
    async_stream::stream! {
        loop {
            let (stream, _) = listener.accept().await?;
            yield acceptor.accept(stream).await;
        }
    }
}
