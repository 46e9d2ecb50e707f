//! The Kubernetes API over one HTTP/1.1 connection that is kept: the least a client can cost.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use pontoon_identity::Kubeconfig;
use rustls::pki_types::ServerName;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// No answer of a cluster that works takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// One connection; one request at a time.
#[derive(Debug)]
pub struct Rest {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Rest {
    pub async fn connect(kubeconfig: &Kubeconfig) -> Result<Self> {
        let host = kubeconfig
            .server
            .strip_prefix("https://")
            .context("the server is no https URL")?
            .trim_end_matches('/')
            .to_owned();
        let tls = TlsConnector::from(kubeconfig.client_config(&[b"http/1.1"])?);
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        let name = host
            .rsplit_once(':')
            .map_or(host.as_str(), |(name, _)| name);
        let stream = tls
            .connect(ServerName::try_from(name.to_owned())?, stream)
            .await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; what goes wrong shows in the request that meets it.
        tokio::spawn(connection);
        Ok(Self { sender, host })
    }

    /// The answer's beginning. A watch goes on reading its body.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// The whole answer. Anything but success is an error with what the server said.
    pub async fn call(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let answer = async {
            let response = self.send(method, path, body).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            ensure!(
                status.is_success(),
                "{path}: {status}: {}",
                String::from_utf8_lossy(&body)
            );
            Ok(body)
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .context("no answer")?
    }

    pub async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<Bytes> {
        self.call(Method::POST, path, body).await
    }

    pub async fn delete(&mut self, path: &str) -> Result<Bytes> {
        self.call(Method::DELETE, path, Bytes::new()).await
    }
}
