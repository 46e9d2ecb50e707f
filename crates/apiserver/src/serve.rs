//! One port for everything: TLS with ALPN, HTTP/2 and HTTP/1.1, REST and gRPC told apart by content type.
//!
//! Every limit of the protocols is set here and comes from [`crate::limits`], none is left to a library's default.

use crate::authenticate::Identity;
use crate::error::VerbError;
use crate::limits::{
    CONNECTIONS, DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEADER_BYTES, HEADER_TIMEOUT,
    HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_LOCAL_RESETS, HTTP2_PENDING_RESETS,
    HTTP2_STREAM_WINDOW_BYTES, HTTP2_STREAMS, KEEP_ALIVE, KEEP_ALIVE_TIMEOUT,
};
use crate::metrics::{Open, refused};
use crate::server::ApiServer;
use crate::{grpc, respond, rest};
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use pontoon_telemetry::trace;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

/// Answers requests of one server, of either front.
#[derive(Clone)]
pub struct Service {
    server: Arc<ApiServer>,
    routes: Routes,
}

impl Service {
    /// Both fronts of a server.
    #[must_use]
    pub fn new(server: Arc<ApiServer>) -> Self {
        let routes = grpc::routes(&server);
        Self { server, routes }
    }

    /// Answers one request, which carries the sender's [`Identity`] in its extensions if it has one.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let span = span(&request);
        self.answer_in_span(request).instrument(span).await
    }

    async fn answer_in_span(&self, request: Request<Body>) -> Response<Body> {
        if !is_grpc(&request) {
            return rest::handle(self.server.clone(), request).await;
        }
        let known = request.extensions().get::<Identity>().is_some();
        if !known && !grpc::is_open(request.uri().path()) {
            return respond::grpc(&VerbError::Unauthorized).into_http::<Body>();
        }
        match self.routes.clone().oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }
}

/// The span of one request, which goes on with the sender's trace if there is one.
fn span(request: &Request<Body>) -> Span {
    let span =
        tracing::info_span!("request", method = %request.method(), path = request.uri().path());
    if let Some(parent) = request
        .headers()
        .get(trace::HEADER)
        .and_then(|parent| parent.to_str().ok())
    {
        trace::adopt(&span, parent);
    }
    span
}

fn is_grpc(request: &Request<Body>) -> bool {
    let media = request
        .headers()
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    media.starts_with(b"application/grpc")
}

/// Serves a listener until `stop` is cancelled, then lets requests that run finish. The client's
/// certificate says who asks.
pub async fn serve(
    server: Arc<ApiServer>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let service = Service::new(server.clone());
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(crate::bootstrap::maintain(server.clone()));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: it passes, and spinning would not help.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            refused("connections");
            continue;
        };
        let (acceptor, service, watcher) = (acceptor.clone(), service.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _counted = (place, Open::connection());
            if let Some((stream, identity)) = handshake(&acceptor, stream).await {
                let builder = builder();
                let connection = connection(&builder, stream, service, identity);
                if let Err(error) = watcher.watch(connection.into_owned()).await {
                    tracing::debug!(%error, "a connection ended with an error");
                }
            }
        });
    }
    drop(listener);
    server.stopping.cancel();
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("connections were still busy when the server stopped");
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, Option<Identity>)> {
    // Answers are written whole: waiting for more bytes to fill a packet only costs time.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            return None;
        }
        Err(_) => return None,
    };
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first);
    let identity = certificate.and_then(|certificate| Identity::of_certificate(certificate).ok());
    Some((stream, identity))
}

/// The protocols with every limit set.
fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(usize::try_from(HEADER_BYTES).unwrap_or(usize::MAX))
        .half_close(false)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
        .max_local_error_reset_streams(HTTP2_LOCAL_RESETS)
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES);
    builder
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// One connection, whose every request is its identity's.
fn connection<S>(
    builder: &Builder<TokioExecutor>,
    stream: S,
    service: Service,
    identity: Option<Identity>,
) -> hyper_util::server::conn::auto::UpgradeableConnection<
    '_,
    TokioIo<S>,
    impl hyper::service::Service<
        Request<Incoming>,
        Response = Response<Body>,
        Error = Infallible,
        Future = Answering,
    > + use<S>,
    TokioExecutor,
>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = move |request: Request<Incoming>| -> Answering {
        let (service, identity) = (service.clone(), identity.clone());
        let mut request = request.map(Body::new);
        if let Some(identity) = identity {
            request.extensions_mut().insert(identity);
        }
        Box::pin(async move { Ok(service.answer(request).await) })
    };
    builder.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer))
}

/// Serves one stream that needs no TLS (a pipe in tests, a tunnel that is already one) as `identity`.
pub async fn serve_stream<S>(service: Service, stream: S, identity: Option<Identity>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = builder();
    if let Err(error) = connection(&builder, stream, service, identity).await {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
