//! A conversation with the kernel's routing socket: blocking, in batches, in the network namespace of the thread that opened it.
//!
//! A namespace belongs to a thread, and a pod is plumbed in a thread of its own (see [`super::plumbing`]), so an event loop would
//! only get in the way: a batch of requests is written with one system call and answered within microseconds.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage, State};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteScope, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use rtnetlink::{
    AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use crate::cidr::Cidr;

/// One open socket.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// A change to ask for, with the words that name it in an error.
pub(crate) struct Request {
    what: &'static str,
    message: RouteNetlinkMessage,
    flags: u16,
    /// The error number that means "it is so already".
    already: Option<i32>,
}

/// Why a batch failed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What was asked.
    pub(crate) what: &'static str,
    /// The kernel's answer.
    pub(crate) source: io::Error,
}

/// One network interface as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
}

/// The table of the node's own addresses (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u8 = 255;

const REPLACE: u16 = NLM_F_CREATE | NLM_F_REPLACE;
const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

impl Netlink {
    /// Opens a socket in the calling thread's network namespace, where it stays wherever it is used from.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends the requests as one batch and waits for each answer. The kernel does them in order and does not stop at a failure;
    /// the first one is returned.
    pub(crate) fn change(&mut self, requests: Vec<Request>) -> Result<(), Refused> {
        let mut bytes = Vec::new();
        let first = self.sequence + 1;
        let mut asked = Vec::with_capacity(requests.len());
        for request in requests {
            self.sequence += 1;
            let flags = NLM_F_REQUEST | NLM_F_ACK | request.flags;
            append(&mut bytes, request.message, flags, self.sequence);
            asked.push((request.what, request.already));
        }
        let refused = |what, source| Refused { what, source };
        self.socket
            .send(&bytes, 0)
            .map_err(|source| refused("write to the routing socket", source))?;
        let mut failure = None;
        let mut answered = 0;
        while answered < asked.len() {
            for message in self
                .receive()
                .map_err(|source| refused("read the routing socket", source))?
            {
                let index = message.header.sequence_number.wrapping_sub(first) as usize;
                let (Some(&(what, already)), NetlinkPayload::Error(error)) =
                    (asked.get(index), &message.payload)
                else {
                    continue;
                };
                answered += 1;
                let number = -error.raw_code();
                if number != 0 && Some(number) != already && failure.is_none() {
                    failure = Some(refused(what, io::Error::from_raw_os_error(number)));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Every interface of the namespace.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(link_of(&link)),
                _ => None,
            })
            .collect())
    }

    /// The index of the interface of that name.
    pub(crate) fn link_index(&mut self, name: &str) -> io::Result<u32> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        let message = RouteNetlinkMessage::GetLink(LinkUnspec::new_with_name(name).build());
        append(&mut bytes, message, NLM_F_REQUEST, self.sequence);
        self.socket.send(&bytes, 0)?;
        loop {
            for message in self.receive()? {
                match message.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                        return Ok(link.header.index);
                    }
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// Whether packets sent to the interface are taken. One that was just brought up drops them until the kernel's link watch has come
    /// by: it then sets the operational state (RFC 2863) and the queue in one step.
    pub(crate) fn takes_packets(&mut self, index: u32) -> io::Result<bool> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        let message = RouteNetlinkMessage::GetLink(LinkUnspec::new_with_index(index).build());
        append(&mut bytes, message, NLM_F_REQUEST, self.sequence);
        self.socket.send(&bytes, 0)?;
        loop {
            for message in self.receive()? {
                match message.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                        return Ok(link
                            .attributes
                            .contains(&LinkAttribute::OperState(State::Up)));
                    }
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        append(
            &mut bytes,
            message,
            NLM_F_REQUEST | NLM_F_DUMP,
            self.sequence,
        );
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            for message in self.receive()? {
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    fn receive(&self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut messages = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // Messages are aligned to four bytes; the length in the header counts at least the header itself.
            let length = (message.header.length as usize).max(16).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            messages.push(message);
        }
        Ok(messages)
    }
}

fn append(bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..start + message.buffer_len()]);
}

fn link_of(message: &LinkMessage) -> Link {
    let name = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
    Link {
        index: message.header.index,
        name: name.unwrap_or_default(),
        up: message
            .header
            .flags
            .contains(rtnetlink::packet_route::link::LinkFlags::Up),
    }
}

/// Brings an interface up.
pub(crate) fn set_up(index: u32) -> Request {
    Request {
        what: "bring an interface up",
        message: RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().build()),
        flags: 0,
        already: None,
    }
}

/// One end of a pair: its name, hardware address and MTU.
pub(crate) struct VethEnd<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: [u8; 6],
    /// The group that [`delete_group`] removes; 0 is nobody's.
    pub(crate) group: u32,
}

/// Makes a pair of interfaces: `here`, which is up, in the socket's namespace, and `there`, which is down (it cannot be brought up
/// before it is paired), in the namespace that `netns` names.
pub(crate) fn add_veth(
    here: &VethEnd<'_>,
    there: &VethEnd<'_>,
    netns: BorrowedFd<'_>,
    mtu: u32,
) -> Request {
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(there.name)
        .address(there.mac.to_vec())
        .mtu(mtu)
        .setns_by_fd(netns.as_raw_fd())
        .build();
    let message = LinkVeth::new(here.name, there.name)
        .link_group(here.group)
        .address(here.mac.to_vec())
        .mtu(mtu)
        .up()
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    Request {
        what: "make a veth pair",
        message: RouteNetlinkMessage::NewLink(message),
        flags: CREATE,
        already: None,
    }
}

/// Removes an interface by name, and with it its routes and its peer.
pub(crate) fn delete_link(name: &str) -> Request {
    Request {
        what: "remove an interface",
        message: RouteNetlinkMessage::DelLink(LinkUnspec::new_with_name(name).build()),
        flags: 0,
        already: Some(nix::libc::ENODEV),
    }
}

/// Removes all interfaces of a group at once: the kernel waits once for packets under way, not once for each interface.
pub(crate) fn delete_group(group: u32) -> Request {
    Request {
        what: "remove a group of interfaces",
        message: RouteNetlinkMessage::DelLink(
            LinkMessageBuilder::<LinkUnspec>::new()
                .link_group(group)
                .build(),
        ),
        flags: 0,
        already: Some(nix::libc::ENODEV),
    }
}

fn address(index: u32, ip: Ipv4Addr) -> AddressMessage {
    AddressMessageBuilder::<Ipv4Addr>::new()
        .index(index)
        .address(ip, 32)
        .build()
}

/// Adds an address of 32 bits to an interface.
pub(crate) fn add_address(index: u32, ip: Ipv4Addr) -> Request {
    Request {
        what: "add an address",
        message: RouteNetlinkMessage::NewAddress(address(index, ip)),
        flags: CREATE,
        already: Some(nix::libc::EEXIST),
    }
}

/// Takes an address from an interface.
pub(crate) fn delete_address(index: u32, ip: Ipv4Addr) -> Request {
    Request {
        what: "remove an address",
        message: RouteNetlinkMessage::DelAddress(address(index, ip)),
        flags: 0,
        already: Some(nix::libc::EADDRNOTAVAIL),
    }
}

/// Makes `gateway` reachable at once: its hardware address never has to be asked for and never goes stale.
pub(crate) fn add_neighbour(index: u32, ip: Ipv4Addr, mac: [u8; 6]) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message
        .attributes
        .push(NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)));
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    Request {
        what: "add a neighbour",
        message: RouteNetlinkMessage::NewNeighbour(message),
        flags: REPLACE,
        already: None,
    }
}

/// Routes `network` by way of `gateway`, which is on the link itself whatever its address. `source` is the address that the node's
/// own packets carry on that way.
pub(crate) fn add_route(
    network: Cidr,
    gateway: Ipv4Addr,
    index: u32,
    source: Option<Ipv4Addr>,
) -> Request {
    let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(network.base(), network.prefix())
        .gateway(gateway)
        .output_interface(index)
        .onlink();
    if let Some(source) = source {
        route = route.pref_source(source);
    }
    Request {
        what: "add a route",
        message: RouteNetlinkMessage::NewRoute(route.build()),
        flags: REPLACE,
        already: None,
    }
}

fn local_route(network: Cidr, index: u32, source: Ipv4Addr) -> RouteNetlinkMessage {
    let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(network.base(), network.prefix())
        .output_interface(index)
        .pref_source(source)
        .scope(RouteScope::Host)
        .kind(RouteType::Local)
        .build();
    route.header.table = LOCAL_TABLE;
    route
        .attributes
        .retain(|attribute| !matches!(attribute, RouteAttribute::Table(_)));
    RouteNetlinkMessage::NewRoute(route)
}

/// Makes every address of `network` one of the node's own.
pub(crate) fn add_local_route(network: Cidr, index: u32, source: Ipv4Addr) -> Request {
    let message = local_route(network, index, source);
    Request {
        what: "add the route of the service network",
        message,
        flags: REPLACE,
        already: None,
    }
}

/// Takes the route that [`add_local_route`] made away.
pub(crate) fn delete_local_route(network: Cidr, index: u32, source: Ipv4Addr) -> Request {
    let RouteNetlinkMessage::NewRoute(route) = local_route(network, index, source) else {
        unreachable!("local_route makes this variant")
    };
    Request {
        what: "remove the route of the service network",
        message: RouteNetlinkMessage::DelRoute(route),
        flags: 0,
        already: Some(nix::libc::ESRCH),
    }
}
