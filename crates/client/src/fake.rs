//! A server of `pontoon.v1` with ConfigMaps only, over real TLS on a port of the loopback, whose
//! misbehaviour a test chooses.
#![allow(clippy::unwrap_used)]

use crate::{Client, Transport, error::STATUS_TRAILER, transport};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use parking_lot::Mutex;
use pontoon_identity::{Authorities, Presented, Roots, ServerNames, tls};
use pontoon_wire::pontoon::v1::{
    self as wire, Object, WatchEvent, cluster_server::ClusterServer, exec_input, exec_output,
    forward_data, objects_server::ObjectsServer, pods_server::PodsServer, watch_event,
};
use pontoon_world::World;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

/// What is stored, and how to misbehave.
pub struct Store {
    pub objects: BTreeMap<String, Object>,
    pub history: Vec<WatchEvent>,
    pub revision: u64,
    /// Reads of revisions below this are answered 410.
    pub compacted: u64,
    /// At most so many items a page.
    pub page: usize,
    /// Never answers a get.
    pub hang: bool,
    /// Answers the next page but a first one with 410.
    pub expire: bool,
    /// How many pages were asked for.
    pub pages_served: u32,
}

/// Shared by the servers of a cluster.
pub struct Fake {
    pub store: Mutex<Store>,
    /// Wakes watches; its value counts how often streams were told to break.
    changed: watch::Sender<u32>,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        let store = Store {
            objects: BTreeMap::new(),
            history: Vec::new(),
            revision: 1,
            compacted: 0,
            page: 2,
            hang: false,
            expire: false,
            pages_served: 0,
        };
        Arc::new(Self {
            store: Mutex::new(store),
            changed: watch::channel(0).0,
        })
    }

    pub fn put(&self, name: &str) {
        let mut store = self.store.lock();
        store.revision += 1;
        let revision = store.revision;
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default","resourceVersion":"{revision}"}}}}"#
        );
        let object = Object {
            name: name.to_owned(),
            revision,
            json: json.into(),
            ..Object::default()
        };
        let old = store.objects.insert(name.to_owned(), object.clone());
        let kind = if old.is_some() {
            watch_event::Type::Modified
        } else {
            watch_event::Type::Added
        };
        store.history.push(WatchEvent {
            r#type: kind.into(),
            object: Some(object),
            revision,
        });
        drop(store);
        self.changed.send_modify(|_| ());
    }

    pub fn remove(&self, name: &str) {
        let mut store = self.store.lock();
        store.revision += 1;
        let revision = store.revision;
        let object = store.objects.remove(name);
        store.history.push(WatchEvent {
            r#type: watch_event::Type::Deleted.into(),
            object,
            revision,
        });
        drop(store);
        self.changed.send_modify(|_| ());
    }

    pub fn compact(&self) {
        let mut store = self.store.lock();
        store.compacted = store.revision;
        store.history.clear();
    }

    /// Ends every watch as a server that stops does.
    pub fn break_watches(&self) {
        self.changed.send_modify(|breaks| *breaks += 1);
    }
}

pub fn refused(code: i32, reason: &str) -> Status {
    let sent = meta::Status {
        code: Some(code),
        reason: Some(reason.to_owned()),
        message: Some(format!("told {reason}")),
        ..meta::Status::default()
    };
    let mut status = Status::unknown("see the trailer");
    let value = MetadataValue::from_bytes(&serde_json::to_vec(&sent).unwrap());
    status.metadata_mut().insert_bin(STATUS_TRAILER, value);
    status
}

#[derive(Clone)]
struct Service(Arc<Fake>);

#[async_trait::async_trait]
impl wire::objects_server::Objects for Service {
    async fn get(&self, request: Request<wire::GetRequest>) -> Result<Response<Object>, Status> {
        if self.0.store.lock().hang {
            futures::future::pending::<()>().await;
        }
        let name = request.into_inner().target.unwrap_or_default().name;
        let found = self.0.store.lock().objects.get(&name).cloned();
        found
            .map(Response::new)
            .ok_or_else(|| refused(404, "NotFound"))
    }

    /// A continue token is `REVISION NAME`: where to go on, and of what.
    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListResponse>, Status> {
        let mut store = self.0.store.lock();
        store.pages_served += 1;
        let token = request.into_inner().continue_token;
        let (revision, after) = match token.split_once(' ') {
            Some((revision, after)) => (revision.parse().unwrap(), after),
            None => (store.revision, ""),
        };
        if revision < store.compacted || (!token.is_empty() && std::mem::take(&mut store.expire)) {
            return Err(refused(410, "Expired"));
        }
        let mut items: Vec<_> = store
            .objects
            .range(after.to_owned()..)
            .map(|(_, object)| object.clone())
            .collect();
        items.retain(|object| object.name != after);
        let more = items.len() > store.page;
        items.truncate(store.page);
        let continue_token = match items.last() {
            Some(last) if more => format!("{revision} {}", last.name),
            _ => String::new(),
        };
        Ok(Response::new(wire::ListResponse {
            items,
            revision,
            continue_token,
            remaining: None,
        }))
    }

    type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut from = request.into_inner().from_revision;
        if from < self.0.store.lock().compacted {
            return Err(refused(410, "Expired"));
        }
        let fake = Arc::clone(&self.0);
        let mut changed = fake.changed.subscribe();
        let breaks = *changed.borrow();
        Ok(Response::new(Box::pin(async_stream::stream! {
            loop {
                changed.mark_unchanged();
                if *changed.borrow() != breaks {
                    return;
                }
                let events: Vec<_> =
                    fake.store.lock().history.iter().filter(|event| event.revision > from).cloned().collect();
                for event in events {
                    from = event.revision;
                    yield Ok(event);
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
        let body: serde_json::Value = serde_json::from_slice(&request.into_inner().json).unwrap();
        let name = body["metadata"]["name"].as_str().unwrap().to_owned();
        if self.0.store.lock().objects.contains_key(&name) {
            return Err(refused(409, "AlreadyExists"));
        }
        self.0.put(&name);
        let object = self.0.store.lock().objects.get(&name).cloned();
        Ok(Response::new(wire::WriteResponse {
            object,
            warnings: Vec::new(),
        }))
    }

    async fn update(
        &self,
        _: Request<wire::UpdateRequest>,
    ) -> Result<Response<wire::WriteResponse>, Status> {
        Err(refused(409, "Conflict"))
    }

    async fn patch(
        &self,
        _: Request<wire::PatchRequest>,
    ) -> Result<Response<wire::WriteResponse>, Status> {
        Err(refused(422, "Invalid"))
    }

    async fn apply(
        &self,
        _: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::ApplyResponse>, Status> {
        Err(Status::unimplemented("not in the fake"))
    }

    async fn plan(
        &self,
        _: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::PlanResponse>, Status> {
        Err(Status::unimplemented("not in the fake"))
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteRequest>,
    ) -> Result<Response<wire::DeleteResponse>, Status> {
        self.0
            .remove(&request.into_inner().target.unwrap_or_default().name);
        Ok(Response::new(wire::DeleteResponse {
            objects: Vec::new(),
        }))
    }

    async fn kinds(
        &self,
        _: Request<wire::KindsRequest>,
    ) -> Result<Response<wire::KindsResponse>, Status> {
        Ok(Response::new(wire::KindsResponse { kinds: Vec::new() }))
    }
}

/// Its pods echo: logs are the pod's name, exec says its input twice, a port gives back what it gets.
#[async_trait::async_trait]
impl wire::pods_server::Pods for Service {
    type LogsStream = BoxStream<'static, Result<wire::LogChunk, Status>>;

    async fn logs(
        &self,
        request: Request<wire::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let data = request.into_inner().pod.into();
        Ok(Response::new(
            futures::stream::iter([Ok(wire::LogChunk { data })]).boxed(),
        ))
    }

    type ExecStream = BoxStream<'static, Result<wire::ExecOutput, Status>>;

    async fn exec(
        &self,
        request: Request<Streaming<wire::ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let mut input = request.into_inner();
        let output = |output| {
            Ok(wire::ExecOutput {
                output: Some(output),
            })
        };
        Ok(Response::new(Box::pin(async_stream::stream! {
            let first = input.message().await?.and_then(|message| message.input);
            let Some(exec_input::Input::Start(start)) = first else {
                yield Err(refused(400, "BadRequest"));
                return;
            };
            while let Some(message) = input.message().await? {
                match message.input {
                    Some(exec_input::Input::Stdin(bytes)) => {
                        yield output(exec_output::Output::Stdout(bytes.clone()));
                        yield output(exec_output::Output::Stderr(bytes));
                    }
                    Some(exec_input::Input::StdinClosed(_)) => break,
                    _ => {}
                }
            }
            yield output(exec_output::Output::ExitCode(start.command.len() as i32));
        })))
    }

    type PortForwardStream = BoxStream<'static, Result<wire::ForwardData, Status>>;

    async fn port_forward(
        &self,
        request: Request<Streaming<wire::ForwardData>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        let input = request.into_inner();
        let echoed = input.filter(|message| {
            let start = matches!(
                message,
                Ok(wire::ForwardData {
                    data: Some(forward_data::Data::Start(_))
                })
            );
            futures::future::ready(!start)
        });
        Ok(Response::new(echoed.boxed()))
    }
}

#[async_trait::async_trait]
impl wire::cluster_server::Cluster for Service {
    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        let revision = self.0.store.lock().revision;
        Ok(Response::new(wire::StatusResponse {
            revision,
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

/// One server on a runtime of its own, so that dropping it is as sudden as a kill.
pub struct Server {
    pub address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An address that nobody answers at: bound, so that no other test gets it, and not listening.
pub struct Vacant {
    pub address: SocketAddr,
    _socket: TcpSocket,
}

impl Vacant {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            _socket: socket,
        }
    }
}

/// The authorities that servers and clients of one test share.
pub struct Trust {
    pub world: World,
    pub authorities: Authorities,
    _directory: tempfile::TempDir,
}

impl Trust {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let world = World::real();
        let authorities = Authorities::open(directory.path(), &world).unwrap();
        Self {
            world,
            authorities,
            _directory: directory,
        }
    }

    fn roots(&self) -> Roots {
        Roots::new([self.authorities.cluster.certificate()]).unwrap()
    }

    pub fn serve(&self, fake: &Arc<Fake>) -> Server {
        let names = ServerNames::of_cluster("cluster.local");
        let presented = Presented::new(
            &self
                .authorities
                .cluster
                .server(&names, self.world.now())
                .unwrap(),
        )
        .unwrap();
        let strict = tls::ClientCertificate::Required;
        let config = tls::server(
            presented,
            &self.roots(),
            strict,
            tls::GRPC_PROTOCOLS,
            &self.world,
        )
        .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service(Arc::clone(fake));
        runtime.spawn(async move {
            let incoming = accept(
                TcpListener::from_std(listener).unwrap(),
                TlsAcceptor::from(config),
            );
            tonic::transport::Server::builder()
                .add_service(ObjectsServer::new(service.clone()))
                .add_service(PodsServer::new(service.clone()))
                .add_service(ClusterServer::new(service))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Server {
            address,
            runtime: Some(runtime),
        }
    }

    /// A client of the servers at these addresses, in this order.
    pub fn client(&self, addresses: &[SocketAddr]) -> Client {
        let admin = self
            .authorities
            .cluster
            .administrator(self.world.now())
            .unwrap();
        let presented = Presented::new(&admin).unwrap();
        let config = transport::Config {
            servers: addresses
                .iter()
                .map(|address| format!("https://{address}"))
                .collect(),
            server_name: None,
            tls: tls::client(
                &self.roots(),
                Some(presented),
                tls::GRPC_PROTOCOLS,
                &self.world,
            )
            .unwrap(),
            user_agent: "test".to_owned(),
        };
        Client::new(&Transport::new(&config).unwrap())
    }
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
