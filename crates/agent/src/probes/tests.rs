#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

async fn get(port: u16) -> Result<(), String> {
    let action = serde_json::from_value(json!({"port": port, "path": "healthz"})).unwrap();
    match http_get(&action, None, Some("127.0.0.1".parse().unwrap())).await {
        Answer::Good => Ok(()),
        Answer::Bad(message) => Err(message),
    }
}

#[tokio::test]
async fn an_http_probe_is_good_from_200_to_399() {
    let good = server("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(get(good).await, Ok(()));
    let bad = server("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(
        get(bad).await,
        Err("HTTP probe failed with statuscode: 503".to_owned())
    );
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_refused_in_the_known_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let message = get(port).await.unwrap_err();
    let expected = format!(
        "Get \"http://127.0.0.1:{port}/healthz\": dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    assert_eq!(message, expected);
}

#[test]
fn a_port_may_be_named_by_the_container() {
    let container: Container = serde_json::from_value(
        json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}),
    )
    .unwrap();
    let port = |port| port_of(&port, Some(&container));
    assert_eq!(port(IntOrString::String("web".to_owned())), Some(8080));
    assert_eq!(port(IntOrString::Int(9)), Some(9));
    assert_eq!(port(IntOrString::String("none".to_owned())), None);
}
