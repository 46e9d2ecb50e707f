//! What answers each query: the zone, the search list, or an upstream server.
//!
//! **The search list in one round trip.** A pod's resolver tries a name of few dots in each of its search domains before it tries it as it
//! is (`ndots:5`), one round trip each. When a known pod asks for a name in the *first* of its domains
//! (`NAME.NAMESPACE.svc.DOMAIN`) and there is none, the server walks the rest of the list itself and answers with an alias to
//! what it finds (CoreDNS calls this autopath). A name without a dot is never taken outside: only the cluster's own domains are
//! tried for it. Pods are known by [`Dns::set_client`].

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hickory_proto::op::{Edns, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::RwLock;

use crate::entry::Entry;
use crate::forward::{Answer, Forwarder};
use crate::limits::{ALIAS_DEPTH_COUNT, TTL_SECONDS, UDP_ANSWER_BYTES};
use crate::metrics;
use crate::zone::{EntryError, Found, RecordSet, Zone};

/// The node's name service: the zone, the pods it knows, and the way to upstream servers.
#[derive(Debug)]
pub struct Dns {
    zone: RwLock<Zone>,
    clients: RwLock<HashMap<IpAddr, Client>>,
    forwarder: Forwarder,
    /// Turns with each answer of several records, so that clients that take the first spread.
    turn: AtomicUsize,
}

/// A pod that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Client {
    /// The first of its search domains: `NAMESPACE.svc.DOMAIN`.
    first: LowerName,
    /// The others, in their order.
    rest: Vec<Name>,
}

/// The records of one section: the zone's own, shared, or somebody else's.
#[derive(Debug)]
enum Answers {
    Shared(Arc<RecordSet>),
    Owned {
        answers: Vec<Record>,
        authorities: Vec<Record>,
        additionals: Vec<Record>,
    },
    Nothing,
}

/// What is sent back.
#[derive(Debug)]
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Answers,
    /// Whether the zone's SOA goes with it, as it must with "there is none".
    negative: bool,
}

impl Reply {
    fn error(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: Answers::Nothing,
            negative: false,
        }
    }

    fn negative(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: true,
            answers: Answers::Nothing,
            negative: true,
        }
    }
}

impl Dns {
    /// A name service with an empty zone.
    #[must_use]
    pub fn new(zone: Zone, forwarder: Forwarder) -> Self {
        Self {
            zone: RwLock::new(zone),
            clients: RwLock::default(),
            forwarder,
            turn: AtomicUsize::new(0),
        }
    }

    /// Adds a service, or replaces what it had. The next query sees it.
    ///
    /// # Errors
    /// [`EntryError`]; the service then has no names.
    pub fn upsert(&self, entry: &Entry) -> Result<(), EntryError> {
        self.zone.write().upsert(entry)
    }

    /// Takes a service as the objects say it is: [`Dns::upsert`] of what can be read from them, or [`Dns::remove`] when that is nothing.
    pub fn observe(&self, service: &Service, slices: &[EndpointSlice]) {
        let metadata = &service.metadata;
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
            return;
        };
        let Some(entry) = Entry::of(service, slices) else {
            return self.remove(namespace, name);
        };
        if let Err(error) = self.upsert(&entry) {
            tracing::warn!(namespace, name, %error, "a service has no names");
        }
    }

    /// Removes a service. One that is not there is no error.
    pub fn remove(&self, namespace: &str, name: &str) {
        self.zone.write().remove(namespace, name);
    }

    /// Makes the zone that of exactly these services. Entries that DNS cannot carry are logged and left out.
    pub fn replace(&self, entries: &[Entry]) {
        let wanted: HashSet<_> = entries
            .iter()
            .map(|entry| (entry.namespace.as_str(), entry.name.as_str()))
            .collect();
        let unwanted = |key: &(&str, &str)| !wanted.contains(key);
        let gone: Vec<(String, String)> = {
            let zone = self.zone.read();
            zone.services()
                .filter(unwanted)
                .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
                .collect()
        };
        for (namespace, name) in gone {
            self.remove(&namespace, &name);
        }
        // One at a time: queries are answered in between.
        for entry in entries {
            if let Err(error) = self.upsert(entry) {
                tracing::warn!(namespace = entry.namespace, name = entry.name, %error, "a service has no names");
            }
        }
    }

    /// Makes a pod known, so that its search list is walked for it. `searches` is what its resolv.conf says; a list whose first domain is not
    /// the cluster's is left to the pod.
    pub fn set_client(&self, ip: IpAddr, searches: &[String]) {
        let parse = |text: &String| {
            let mut name = Name::from_ascii(text.trim_end_matches('.')).ok()?;
            name.set_fqdn(true);
            Some(name)
        };
        let mut names = searches.iter().filter_map(parse);
        let inside = |name: &Name| self.zone.read().domain().zone_of(name);
        match names.next().filter(inside) {
            Some(first) => {
                let client = Client {
                    first: LowerName::new(&first),
                    rest: names.collect(),
                };
                self.clients.write().insert(ip, client);
            }
            None => self.remove_client(ip),
        }
    }

    /// Forgets a pod.
    pub fn remove_client(&self, ip: IpAddr) {
        self.clients.write().remove(&ip);
    }

    /// The way to upstream servers.
    #[must_use]
    pub fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// Answers a question about a name; `client` is who asks.
    async fn answer(&self, name: &LowerName, kind: RecordType, client: IpAddr) -> Reply {
        let found = self.zone.read().find(name, kind);
        match found {
            Found::Records(set) => {
                metrics::answered("zone");
                Reply {
                    code: ResponseCode::NoError,
                    authoritative: true,
                    answers: Answers::Shared(set),
                    negative: false,
                }
            }
            Found::NoData => {
                metrics::answered("zone");
                Reply::negative(ResponseCode::NoError)
            }
            Found::Alias(set, target) => {
                metrics::answered("zone");
                self.follow(set.records.clone(), target, kind).await
            }
            Found::NoName => match self.walk(name, kind, client).await {
                Some(reply) => {
                    metrics::answered("search");
                    reply
                }
                None => {
                    metrics::answered("zone");
                    Reply::negative(ResponseCode::NXDomain)
                }
            },
            Found::Elsewhere => {
                metrics::answered("upstream");
                let name: &Name = name;
                self.outside(name, kind)
                    .await
                    .unwrap_or_else(|| Reply::error(ResponseCode::ServFail))
            }
        }
    }

    async fn outside(&self, name: &Name, kind: RecordType) -> Option<Reply> {
        match self.forwarder.resolve(name, kind).await {
            Ok(Answer {
                code,
                answers,
                authorities,
                additionals,
            }) => Some(Reply {
                code,
                authoritative: false,
                answers: Answers::Owned {
                    answers,
                    authorities,
                    additionals,
                },
                negative: false,
            }),
            Err(error) => {
                tracing::debug!(%name, %kind, %error, "a name outside of the cluster could not be resolved");
                None
            }
        }
    }

    /// Follows an alias to its end, inside the zone and outside.
    async fn follow(&self, mut answers: Vec<Record>, mut target: Name, kind: RecordType) -> Reply {
        for _ in 0..ALIAS_DEPTH_COUNT {
            let found = self.zone.read().find(&LowerName::new(&target), kind);
            let (code, mut more) = match found {
                Found::Alias(set, next) => {
                    answers.extend(set.records.iter().cloned());
                    target = next;
                    continue;
                }
                Found::Records(set) => (ResponseCode::NoError, set.records.clone()),
                Found::NoData => (ResponseCode::NoError, Vec::new()),
                Found::NoName => (ResponseCode::NXDomain, Vec::new()),
                Found::Elsewhere => match self.forwarder.resolve(&target, kind).await {
                    Ok(answer) => (answer.code, answer.answers),
                    Err(_) => (ResponseCode::ServFail, Vec::new()),
                },
            };
            answers.append(&mut more);
            let answers = Answers::Owned {
                answers,
                authorities: Vec::new(),
                additionals: Vec::new(),
            };
            return Reply {
                code,
                authoritative: true,
                answers,
                negative: false,
            };
        }
        // An alias that leads back to itself.
        Reply::error(ResponseCode::ServFail)
    }

    /// Walks the asker's search list for a name that its first domain does not have.
    async fn walk(&self, name: &LowerName, kind: RecordType, client: IpAddr) -> Option<Reply> {
        let Client { first, rest } = self.clients.read().get(&client)?.clone();
        if !first.zone_of(name) || *name == first {
            return None;
        }
        let asked: &Name = name;
        let labels: Vec<&[u8]> = asked.iter().collect();
        let count = labels.len() - first.iter().count();
        let base = Name::from_labels(labels[..count].iter().copied()).ok()?;
        let root = Name::root();
        for domain in rest.iter().chain([&root]) {
            let candidate = base.clone().append_domain(domain).ok()?;
            let found = self.zone.read().find(&LowerName::new(&candidate), kind);
            let reply = match found {
                Found::NoName => continue,
                Found::Elsewhere if count < 2 => continue,
                Found::Elsewhere => match self.outside(&candidate, kind).await {
                    Some(reply) if reply.code == ResponseCode::NoError => reply,
                    _ => continue,
                },
                Found::NoData => Reply::negative(ResponseCode::NoError),
                Found::Records(set) => Reply {
                    code: ResponseCode::NoError,
                    authoritative: true,
                    answers: Answers::Shared(set),
                    negative: false,
                },
                Found::Alias(set, target) => self.follow(set.records.clone(), target, kind).await,
            };
            return Some(aliased(asked, candidate, reply));
        }
        None
    }

    fn send_order(&self, set: &RecordSet) -> usize {
        match set.records.len() {
            0 | 1 => 0,
            count => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        }
    }
}

/// The reply for another name, as the answer to what was asked.
fn aliased(asked: &Name, found: Name, reply: Reply) -> Reply {
    let alias = Record::from_rdata(asked.clone(), TTL_SECONDS, RData::CNAME(CNAME(found)));
    let (records, authorities, additionals) = match reply.answers {
        Answers::Shared(set) => (set.records.clone(), Vec::new(), set.additionals.clone()),
        Answers::Owned {
            answers,
            authorities,
            additionals,
        } => (answers, authorities, additionals),
        Answers::Nothing => (Vec::new(), Vec::new(), Vec::new()),
    };
    let answers = std::iter::once(alias).chain(records).collect();
    Reply {
        answers: Answers::Owned {
            answers,
            authorities,
            additionals,
        },
        ..reply
    }
}

/// The code for a request that is not a plain question, or the question.
fn question(request: &Request) -> Result<(&LowerName, RecordType), ResponseCode> {
    let metadata = &request.metadata;
    if metadata.message_type != MessageType::Query {
        return Err(ResponseCode::FormErr);
    }
    if metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    let info = request.request_info().map_err(|_| ResponseCode::FormErr)?;
    if request
        .edns
        .as_ref()
        .is_some_and(|edns| edns.version() != 0)
    {
        return Err(ResponseCode::BADVERS);
    }
    let query = info.query;
    match query.query_type() {
        _ if query.query_class() != DNSClass::IN => Err(ResponseCode::Refused),
        RecordType::AXFR | RecordType::IXFR => Err(ResponseCode::Refused),
        // A question for everything mostly comes from those who want to flood somebody else (RFC 8482).
        RecordType::ANY => Err(ResponseCode::NotImp),
        kind => Ok((query.name(), kind)),
    }
}

/// [`Dns`] as hickory's server calls it.
#[derive(Debug, Clone)]
pub(crate) struct Handler(pub(crate) Arc<Dns>);

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        response: R,
    ) -> ResponseInfo {
        let reply = match question(request) {
            Ok((name, kind)) => self.0.answer(name, kind, request.src().ip()).await,
            Err(code) => {
                metrics::answered("refused");
                Reply::error(code)
            }
        };
        self.0.send(request, response, reply).await
    }
}

impl Dns {
    async fn send<R: ResponseHandler>(
        &self,
        request: &Request,
        mut response: R,
        reply: Reply,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            // Less than 512 counts as 512 (RFC 6891, 6.2.3).
            edns.set_max_payload(asked.max_payload().clamp(512, UDP_ANSWER_BYTES))
                .set_version(0);
            edns.set_rcode_high(reply.code.high());
            edns
        });
        let soa = reply.negative.then(|| self.zone.read().soa().clone());
        let (answers, authorities, additionals): (Vec<&Record>, &[Record], &[Record]) =
            match &reply.answers {
                Answers::Shared(set) => {
                    let (head, tail) = set.records.split_at(self.send_order(set));
                    (tail.iter().chain(head).collect(), &[], &set.additionals)
                }
                Answers::Owned {
                    answers,
                    authorities,
                    additionals,
                } => (answers.iter().collect(), authorities, additionals),
                Answers::Nothing => (Vec::new(), &[], &[]),
            };
        let builder = MessageResponseBuilder::new(&request.queries, edns.as_ref());
        let message = builder.build(metadata, answers, authorities, soa.as_ref(), additionals);
        response
            .send_response(message)
            .await
            .unwrap_or_else(|error| {
                // The asker is gone, or its TCP connection reads too slowly.
                tracing::debug!(%error, peer = %request.src(), "an answer could not be sent");
                let header = hickory_proto::op::Header {
                    metadata,
                    counts: HeaderCounts::default(),
                };
                ResponseInfo::from(header)
            })
    }
}
