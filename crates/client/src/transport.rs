//! One HTTP/2 connection to whichever server answers.
//!
//! It is made when first needed and again after it was lost. Each time the servers are tried in
//! turn, the last good one first; a server counts as good when TLS is done with it. One that answers and is of no use (it is
//! cut off from the others, or about to end) is left by [`Transport::leave`]. TLS is not
//! tonic's but our own configuration, so that certificates can be replaced while it lives.
//!
//! The servers are those it was made with and those the cluster has said since ([`Transport::learn`]).

use crate::limits;
use hyper_util::rt::TokioIo;
use parking_lot::RwLock;
use pontoon_identity::{Kubeconfig, tls, tls::TlsError};
use pontoon_telemetry::trace;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{fmt::Write as _, sync::Arc};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint, Uri},
};

/// The port of a URL that names none: the one Pontoon's servers listen on.
const DEFAULT_PORT: u16 = 6443;

/// Where the servers are, and how to speak to them.
#[derive(Debug, Clone)]
pub struct Config {
    /// `https://HOST:PORT`, at least one.
    pub servers: Vec<String>,
    /// The name to demand of every server's certificate, when not its URL's host.
    pub server_name: Option<String>,
    /// The client's side of TLS, offering HTTP/2.
    pub tls: Arc<ClientConfig>,
    /// Who asks, for the server's logs: `pontoon/0.1.0`.
    pub user_agent: String,
}

/// Why a transport cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no server.
    #[error("no server is given")]
    NoServer,
    /// A server's URL is not one.
    #[error("{0:?} is not a server: use https://HOST:PORT")]
    Server(String),
    /// Not a name that a certificate can have.
    #[error("{0:?} is not a name that a server's certificate can have")]
    ServerName(String),
    /// The user agent cannot stand in a header.
    #[error("the user agent cannot stand in a header")]
    UserAgent(#[source] tonic::transport::Error),
    /// The kubeconfig's certificates do not fit.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// No server could be reached; one line for each that was tried.
#[derive(Debug, thiserror::Error)]
#[error("no server can be reached:{0}")]
pub struct ConnectError(String);

/// A connection to one server at a time, made when first used.
pub type Connection = InterceptedService<Channel, Trace>;

/// A connection that every clone shares.
#[derive(Debug, Clone)]
pub struct Transport(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    servers: Arc<Servers>,
    endpoint: Endpoint,
    current: RwLock<Line>,
}

/// The shared connection, and how many were left before it.
#[derive(Debug, Clone)]
pub struct Line {
    /// To speak on.
    pub connection: Connection,
    number: u64,
}

/// Adds the trace that the call is part of.
#[derive(Debug, Clone, Copy)]
pub struct Trace;

impl Interceptor for Trace {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        if let Some(parent) = trace::current().and_then(|text| MetadataValue::try_from(text).ok()) {
            request.metadata_mut().insert(trace::HEADER, parent);
        }
        Ok(request)
    }
}

impl Transport {
    /// To any of the configured servers. Nothing is dialled before the first call.
    ///
    /// Call it inside a tokio runtime.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let parsed = config
            .servers
            .iter()
            .map(|url| Server::parse(url, config.server_name.as_deref()));
        let given: Vec<Server> = parsed.collect::<Result<_, _>>()?;
        let first = given.first().ok_or(ConfigError::NoServer)?;
        // The scheme says that tonic is not to add TLS of its own: the connector below does.
        let url = format!("http://{}:{}", bracketed(&first.host), first.port);
        let endpoint = Endpoint::from_shared(url)
            .and_then(|endpoint| endpoint.user_agent(config.user_agent.clone()))
            .map_err(ConfigError::UserAgent)?
            .http2_keep_alive_interval(limits::KEEPALIVE_INTERVAL)
            .keep_alive_timeout(limits::KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES);
        let servers = Arc::new(Servers {
            turn: RwLock::new(Turn {
                list: given.clone(),
                first: 0,
            }),
            given,
            server_name: config.server_name.clone(),
            tls: TlsConnector::from(Arc::clone(&config.tls)),
        });
        let current = RwLock::new(Line {
            connection: lazy(&endpoint, &servers),
            number: 0,
        });
        Ok(Self(Arc::new(Shared {
            servers,
            endpoint,
            current,
        })))
    }

    /// To the servers of a kubeconfig, as the user it names.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_kubeconfig(kubeconfig: &Kubeconfig, user_agent: &str) -> Result<Self, ConfigError> {
        Self::new(&Config {
            servers: std::iter::once(&kubeconfig.server)
                .chain(&kubeconfig.others)
                .cloned()
                .collect(),
            server_name: kubeconfig.server_name.clone(),
            tls: kubeconfig.client_config(tls::GRPC_PROTOCOLS)?,
            user_agent: user_agent.to_owned(),
        })
    }

    /// The shared connection as it is at present.
    #[must_use]
    pub fn line(&self) -> Line {
        self.0.current.read().clone()
    }

    /// For services that [`Client`](crate::Client) does not know, such as `node.v1`.
    #[must_use]
    pub fn channel(&self) -> Connection {
        self.line().connection
    }

    /// A connection of its own, that nothing else speaks on.
    #[must_use]
    pub fn separate(&self) -> Connection {
        lazy(&self.0.endpoint, &self.0.servers)
    }

    /// The server behind this line is of no use at present: the next one is tried from here on. Streams that are open go on. Nothing
    /// happens when another caller has left it already.
    pub fn leave(&self, line: &Line) {
        let mut current = self.0.current.write();
        if current.number == line.number {
            self.0.servers.next();
            *current = Line {
                connection: lazy(&self.0.endpoint, &self.0.servers),
                number: line.number + 1,
            };
        }
    }

    /// The server that was reached last is of no use at present: whoever dials next begins with another.
    pub fn turn_away(&self) {
        self.0.servers.next();
    }

    /// What the cluster says its servers are. They are tried before those that the transport was made with; a URL that is none is
    /// passed over.
    pub fn learn(&self, urls: &[String]) {
        self.0.servers.learn(urls);
    }

    /// Every server that is tried, as URLs.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        let turn = self.0.servers.turn.read();
        turn.list.iter().map(ToString::to_string).collect()
    }
}

fn lazy(endpoint: &Endpoint, servers: &Arc<Servers>) -> Connection {
    let servers = Arc::clone(servers);
    let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let servers = Arc::clone(&servers);
        async move { servers.connect().await.map(TokioIo::new) }
    }));
    InterceptedService::new(channel, Trace)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Server {
    fn parse(url: &str, demanded: Option<&str>) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Server(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong());
        }
        let host = uri
            .host()
            .ok_or_else(wrong)?
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = demanded.unwrap_or(&host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| ConfigError::ServerName(name.to_owned()))?;
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(DEFAULT_PORT),
            name,
        })
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}:{}", bracketed(&self.host), self.port)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

struct Servers {
    /// Those the transport was made with.
    given: Vec<Server>,
    turn: RwLock<Turn>,
    server_name: Option<String>,
    tls: TlsConnector,
}

/// In which order servers are tried.
#[derive(Debug, Clone)]
struct Turn {
    list: Vec<Server>,
    /// Index of the one to begin with.
    first: usize,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers")
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

impl Turn {
    /// The list with what was learned, beginning with the same server as before if it is still there.
    fn learn(&mut self, learned: Vec<Server>, given: &[Server]) {
        let good = self.list.get(self.first).cloned();
        let mut list: Vec<Server> = Vec::new();
        for server in learned.into_iter().chain(given.iter().cloned()) {
            if !list.contains(&server) && list.len() < limits::SERVERS_COUNT {
                list.push(server);
            }
        }
        self.first = good
            .and_then(|good| list.iter().position(|server| *server == good))
            .unwrap_or(0);
        self.list = list;
    }
}

impl Servers {
    fn next(&self) {
        let mut turn = self.turn.write();
        turn.first = (turn.first + 1) % turn.list.len();
    }

    fn learn(&self, urls: &[String]) {
        let parsed = urls
            .iter()
            .filter_map(|url| Server::parse(url, self.server_name.as_deref()).ok());
        let learned: Vec<Server> = parsed.collect();
        if !learned.is_empty() {
            self.turn.write().learn(learned, &self.given);
        }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let Turn { list, first } = self.turn.read().clone();
        let mut failures = String::new();
        for turn in 0..list.len() {
            let index = (first + turn) % list.len();
            let server = &list[index];
            let failure = match timeout(limits::CONNECT_TIMEOUT, self.dial(server)).await {
                Ok(Ok(stream)) => {
                    self.good(server);
                    tracing::debug!(%server, "connected");
                    return Ok(stream);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {:?}", limits::CONNECT_TIMEOUT),
            };
            // Writing to a String cannot fail.
            let _ = write!(failures, "\n  {server}: {failure}");
        }
        Err(ConnectError(failures))
    }

    fn good(&self, server: &Server) {
        let mut turn = self.turn.write();
        if let Some(index) = turn.list.iter().position(|known| known == server) {
            turn.first = index;
        }
    }

    async fn dial(&self, server: &Server) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
        stream.set_nodelay(true)?;
        self.tls.connect(server.name.clone(), stream).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers_are_urls_with_a_host_and_maybe_a_port() {
        let shown = |url| Server::parse(url, None).unwrap().to_string();
        assert_eq!(shown("https://a.example"), "https://a.example:6443");
        assert_eq!(shown("https://[::1]:7443"), "https://[::1]:7443");
        for wrong in ["", "a.example:6443", "http://a.example", "https://"] {
            assert!(Server::parse(wrong, None).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn learned_servers_come_first_and_the_good_one_stays_good() {
        let server = |name: &str| Server::parse(&format!("https://{name}"), None).unwrap();
        let names = |turn: &Turn| -> Vec<String> {
            turn.list.iter().map(|server| server.host.clone()).collect()
        };
        let given = [server("balancer"), server("a")];
        let mut turn = Turn {
            list: given.to_vec(),
            first: 1,
        };
        turn.learn(vec![server("b"), server("a"), server("c")], &given);
        assert_eq!(names(&turn), ["b", "a", "c", "balancer"]);
        assert_eq!(turn.first, 1);
        turn.learn(vec![server("c"), server("d")], &given);
        assert_eq!(names(&turn), ["c", "d", "balancer", "a"]);
        assert_eq!(turn.first, 3, "what was given is never forgotten");
    }

    #[test]
    fn a_demanded_name_takes_the_place_of_the_host() {
        let server = Server::parse("https://10.0.0.1", Some("kubernetes")).unwrap();
        assert_eq!(server.name.to_str(), "kubernetes");
        assert!(matches!(
            Server::parse("https://10.0.0.1", Some("not a name")),
            Err(ConfigError::ServerName(_))
        ));
    }
}
