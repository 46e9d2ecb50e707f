#![allow(clippy::unwrap_used)]
use super::*;
use hickory_proto::rr::rdata::A;
use std::sync::atomic::{AtomicUsize, Ordering};

fn name() -> Name {
    Name::from_ascii("www.example.com.").unwrap()
}

/// An upstream server on a port of its own that answers with what `make` makes of each question, and counts them.
async fn upstream(
    make: impl Fn(&Message) -> Vec<Message> + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            counter.fetch_add(1, Ordering::Relaxed);
            let question = Message::from_vec(&buffer[..length]).unwrap();
            for answer in make(&question) {
                socket
                    .send_to(&answer.to_vec().unwrap(), peer)
                    .await
                    .unwrap();
            }
        }
    });
    (address, count)
}

fn reply(question: &Message, ttl: u32) -> Message {
    let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    message.add_query(question.queries[0].clone());
    let owner = question.queries[0].name().clone();
    message.add_answer(Record::from_rdata(
        owner,
        ttl,
        RData::A(A::new(192, 0, 2, 7)),
    ));
    message
}

#[tokio::test]
async fn an_answer_is_remembered_and_grows_old() {
    let (server, count) = upstream(|question| vec![reply(question, 300)]).await;
    let forwarder = Forwarder::new(vec![server]);
    let first = forwarder.resolve(&name(), RecordType::A).await.unwrap();
    assert_eq!(first.answers[0].data, RData::A(A::new(192, 0, 2, 7)));
    let upper = Name::from_ascii("WWW.example.COM.").unwrap();
    let again = forwarder.resolve(&upper, RecordType::A).await.unwrap();
    assert!(again.answers[0].ttl <= 300);
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_answer_of_no_lifetime_is_not_remembered() {
    let (server, count) = upstream(|question| vec![reply(question, 0)]).await;
    let forwarder = Forwarder::new(vec![server]);
    for _ in 0..2 {
        forwarder.resolve(&name(), RecordType::A).await.unwrap();
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_forged_answer_is_passed_over_for_the_true_one() {
    let (server, _) = upstream(|question| {
        let mut wrong_id = reply(question, 60);
        wrong_id.metadata.id = question.metadata.id.wrapping_add(1);
        let mut wrong_name =
            Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        wrong_name.add_query(Query::query(
            Name::from_ascii("evil.example.").unwrap(),
            RecordType::A,
        ));
        let mut truth = reply(question, 60);
        truth.answers[0].data = RData::A(A::new(192, 0, 2, 9));
        vec![wrong_id, wrong_name, truth]
    })
    .await;
    let answer = Forwarder::new(vec![server])
        .resolve(&name(), RecordType::A)
        .await
        .unwrap();
    assert_eq!(answer.answers[0].data, RData::A(A::new(192, 0, 2, 9)));
}

#[tokio::test]
async fn the_second_server_is_asked_when_the_first_is_not_there() {
    let closed = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (server, _) = upstream(|question| vec![reply(question, 60)]).await;
    Forwarder::new(vec![closed, server])
        .resolve(&name(), RecordType::A)
        .await
        .unwrap();
}

#[tokio::test]
async fn without_a_server_a_question_fails_at_once() {
    let started = Instant::now();
    let error = Forwarder::new(Vec::new())
        .resolve(&name(), RecordType::A)
        .await
        .unwrap_err();
    assert!(matches!(error, ForwardError::NoUpstream), "{error}");
    assert!(
        started.elapsed() < UPSTREAM_TIMEOUT / 4,
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn too_many_questions_fail_at_once() {
    let (server, _) = upstream(|_| Vec::new()).await;
    let forwarder = Forwarder::new(vec![server]);
    let _all = forwarder
        .permits
        .acquire_many(u32::try_from(FORWARDS_COUNT).unwrap())
        .await
        .unwrap();
    let error = forwarder.resolve(&name(), RecordType::A).await.unwrap_err();
    assert!(matches!(error, ForwardError::Busy { .. }), "{error}");
}

#[test]
fn the_memory_is_bounded_and_forgets_the_oldest() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let mut memory = Memory::default();
    let owner = |index: usize| Name::from_ascii(format!("n{index}.example.")).unwrap();
    for index in 0..CACHE_COUNT + 10 {
        let record = Record::from_rdata(owner(index), 60, RData::A(A::new(192, 0, 2, 7)));
        let answer = Answer {
            code: ResponseCode::NoError,
            answers: vec![record],
            authorities: vec![],
            additionals: vec![],
        };
        memory.remember((LowerName::new(&owner(index)), RecordType::A), &answer);
    }
    assert_eq!(memory.answers.len(), CACHE_COUNT);
    assert!(
        memory
            .recall(&(LowerName::new(&owner(3)), RecordType::A))
            .is_none()
    );
    assert!(
        memory
            .recall(&(LowerName::new(&owner(CACHE_COUNT)), RecordType::A))
            .is_some()
    );
}

#[test]
fn a_server_does_not_ask_itself() {
    let own = "10.96.0.10".parse().unwrap();
    let upstreams = Forwarder::upstreams_of(&[own, "192.0.2.53".parse().unwrap()], own);
    assert_eq!(upstreams, ["192.0.2.53:53".parse().unwrap()]);
}
