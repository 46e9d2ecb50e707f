//! The one TLS port: certificates say who asks, ALPN chooses the protocol, limits hold.

use crate::suite::{rest::Rest, server};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pontoon_api::NodeName;
use pontoon_apiserver::limits::HTTP2_STREAMS;
use pontoon_apiserver::serve;
use pontoon_identity::tls::{API_PROTOCOLS, ClientCertificate};
use pontoon_identity::{Authorities, Credentials, Presented, Roots, ServerNames, tls};
use pontoon_world::World;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

struct Port {
    address: SocketAddr,
    roots: Roots,
    admin: Credentials,
    node: Credentials,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

async fn port() -> Port {
    let directory = tempfile::tempdir().unwrap();
    let world = World::real();
    let authorities = Authorities::open(directory.path(), &world).unwrap();
    let authority = &authorities.cluster;
    let names = ServerNames::of_cluster("cluster.local").with("localhost");
    let presented = Presented::new(&authority.server(&names, world.now()).unwrap()).unwrap();
    let roots = Roots::new([authority.certificate()]).unwrap();
    let config = tls::server(
        presented,
        &roots,
        ClientCertificate::Optional,
        API_PROTOCOLS,
        &world,
    )
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(server().await, listener, config, stop.clone()));
    Port {
        address,
        roots,
        admin: authority.administrator(world.now()).unwrap(),
        node: authority.node(&NodeName::new("n1"), world.now()).unwrap(),
        stop,
        served,
        _directory: directory,
    }
}

impl Port {
    async fn connect(
        &self,
        credentials: Option<&Credentials>,
        protocol: &[u8],
    ) -> TlsStream<TcpStream> {
        let presented = credentials.map(|credentials| Presented::new(credentials).unwrap());
        let config = tls::client(&self.roots, presented, &[protocol], &World::real()).unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(config)
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap()
    }

    async fn get(
        &self,
        credentials: Option<&Credentials>,
        protocol: &[u8],
        path: &str,
    ) -> (u16, String) {
        let io = TokioIo::new(self.connect(credentials, protocol).await);
        let request = Request::get(format!("https://localhost{path}")).header("host", "localhost");
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = if protocol == b"h2" {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_certificate_says_who_asks_over_either_protocol() {
    let port = port().await;
    for protocol in [&b"h2"[..], b"http/1.1"] {
        assert_eq!(port.get(None, protocol, "/livez").await, (200, "ok".into()));
        let (code, body) = port.get(None, protocol, "/api/v1/namespaces").await;
        let status: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (code, status["reason"].as_str()),
            (401, Some("Unauthorized"))
        );
        let (code, body) = port
            .get(Some(&port.admin), protocol, "/api/v1/namespaces/default")
            .await;
        assert_eq!(code, 200, "{body}");
        assert_eq!(
            port.get(Some(&port.node), protocol, "/api/v1/nodes")
                .await
                .0,
            200
        );
        let (code, body) = port
            .get(
                Some(&port.node),
                protocol,
                "/api/v1/namespaces/default/secrets/x",
            )
            .await;
        assert_eq!(code, 403, "{body}");
        assert!(
            body.contains("User \\\"system:node:n1\\\" cannot get resource \\\"secrets\\\""),
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_server_says_how_many_streams_it_takes() {
    let port = port().await;
    let stream = port.connect(Some(&port.admin), b"h2").await;
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driven = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = Request::get("https://localhost/livez").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert_eq!(
        client.current_max_send_streams(),
        usize::try_from(HTTP2_STREAMS).unwrap()
    );
    driven.abort();
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let port = port().await;
    let stream = port.connect(Some(&port.admin), b"h2").await;
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driven = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    // Bounded and paced by the connection's own task: an unread queue would only fill this process.
    let flood = async {
        for _ in 0..20_000 {
            let request = Request::get("https://localhost/api/v1/namespaces")
                .body(())
                .unwrap();
            let Ok((answer, mut stream)) = client.send_request(request, true) else {
                return true;
            };
            stream.send_reset(h2::Reason::CANCEL);
            drop(answer);
            tokio::task::yield_now().await;
            match client.ready().await {
                Ok(ready) => client = ready,
                Err(_) => return true,
            }
        }
        false
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), flood).await;
    if ended != Ok(true) {
        driven.abort();
        panic!("the server takes the flood: {ended:?}");
    }
    assert!(driven.await.unwrap().is_err(), "with an error");
    assert_eq!(
        port.get(None, b"h2", "/livez").await.0,
        200,
        "and serves others"
    );
}

#[tokio::test]
async fn a_stopping_server_ends_its_watches_and_then_itself() {
    let port = port().await;
    let io = TokioIo::new(port.connect(Some(&port.admin), b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/api/v1/namespaces?watch=1").header("host", "localhost");
    let response = sender
        .send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    port.stop.cancel();
    let rest = tokio::time::timeout(Duration::from_secs(5), response.into_body().collect()).await;
    let text = rest.expect("the watch ends").unwrap().to_bytes();
    assert!(text.starts_with(b"{\"type\":\"ADDED\""));
    tokio::time::timeout(Duration::from_secs(5), port.served)
        .await
        .expect("the server ends")
        .unwrap();
}

#[tokio::test]
async fn an_unknown_authoritys_certificate_is_turned_away_in_the_handshake() {
    let port = port().await;
    let stranger = self::port().await;
    let presented = Presented::new(&stranger.admin).unwrap();
    let config = tls::client(&port.roots, Some(presented), API_PROTOCOLS, &World::real()).unwrap();
    let stream = TcpStream::connect(port.address).await.unwrap();
    let mut stream = match TlsConnector::from(config)
        .connect("localhost".try_into().unwrap(), stream)
        .await
    {
        Ok(stream) => stream,
        Err(_) => return,
    };
    // In TLS 1.3 the client learns of it with its first read.
    let mut byte = [0];
    assert!(
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut byte)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_panic_of_one_request_is_its_own() {
    struct Bomb;
    impl pontoon_apiserver::admit::Plugin for Bomb {
        fn name(&self) -> &'static str {
            "bomb"
        }

        fn admit(
            &self,
            _: &mut pontoon_apiserver::admit::Admission<'_>,
        ) -> Result<(), pontoon_apiserver::VerbError> {
            panic!("as asked")
        }
    }
    let mut parts = crate::suite::parts(pontoon_state::Solo::new());
    parts.plugins.push(Arc::new(Bomb));
    let rest = Rest::new(
        pontoon_apiserver::ApiServer::new(parts).unwrap(),
        crate::suite::admin(),
    );
    let answer = rest
        .post(
            "/api/v1/namespaces",
            &serde_json::json!({"metadata": {"name": "x"}}),
        )
        .await;
    assert_eq!(
        (answer.code, answer.json()["reason"].as_str()),
        (500, Some("InternalError"))
    );
    assert_eq!(rest.get("/api/v1/namespaces").await.code, 200);
}
