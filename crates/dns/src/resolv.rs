//! What a pod's `/etc/resolv.conf` and `/etc/hosts` say, as the kubelet writes them, and how the node's own resolv.conf is read. Pure.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::limits::{SEARCH_LIST_BYTES, SEARCHES_COUNT, UPSTREAMS_COUNT};

/// A resolver's configuration (resolv.conf(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers, in the order they are asked.
    pub nameservers: Vec<IpAddr>,
    /// Domains that short names are tried in.
    pub searches: Vec<String>,
    /// Options such as `ndots:5`.
    pub options: Vec<String>,
}

/// A pod's `dnsPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Cluster names first, everything else through the node's server.
    ClusterFirst,
    /// What the node has.
    Default,
    /// Only what the pod's `dnsConfig` says.
    None,
}

impl Policy {
    /// Reads a pod's `spec.dnsPolicy`. A pod in the node's own network gets the node's configuration unless it asks for
    /// `ClusterFirstWithHostNet`; an absent or unknown policy is `ClusterFirst`.
    #[must_use]
    pub fn of(text: Option<&str>, host_network: bool) -> Self {
        match text {
            Some("Default") => Self::Default,
            Some("None") => Self::None,
            Some("ClusterFirstWithHostNet") => Self::ClusterFirst,
            _ if host_network => Self::Default,
            _ => Self::ClusterFirst,
        }
    }
}

/// A pod's `dnsConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodDnsConfig {
    /// More servers.
    pub nameservers: Vec<IpAddr>,
    /// More search domains.
    pub searches: Vec<String>,
    /// More options, as name and value. One that is there already is replaced.
    pub options: Vec<(String, Option<String>)>,
}

/// The cluster's side of a pod's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDns {
    /// The address of the node's name server as pods see it.
    pub server: IpAddr,
    /// The cluster's domain.
    pub domain: String,
}

/// How many dots a name must have to be tried as it is before the search list: the kubelet's choice for `ClusterFirst`.
const NDOTS: &str = "ndots:5";

impl ResolvConf {
    /// Reads a resolv.conf. What is not understood is passed over, as resolvers do.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A scope (fe80::1%eth0) means nothing outside of its machine.
                    conf.nameservers
                        .extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                // The last of `search` and `domain` wins.
                Some("search") => conf.searches = words.map(str::to_owned).collect(),
                Some("domain") => conf.searches = words.take(1).map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf.nameservers.truncate(UPSTREAMS_COUNT);
        conf
    }

    /// What a pod gets.
    #[must_use]
    pub fn for_pod(
        policy: Policy,
        namespace: &str,
        cluster: &ClusterDns,
        node: &Self,
        pod: &PodDnsConfig,
    ) -> Self {
        let mut conf = match policy {
            Policy::None => Self::default(),
            Policy::Default => node.clone(),
            Policy::ClusterFirst => {
                let domain = cluster.domain.trim_end_matches('.');
                let mut searches = vec![
                    format!("{namespace}.svc.{domain}"),
                    format!("svc.{domain}"),
                    domain.to_owned(),
                ];
                searches.extend(node.searches.iter().cloned());
                Self {
                    nameservers: vec![cluster.server],
                    searches,
                    options: vec![NDOTS.to_owned()],
                }
            }
        };
        conf.nameservers.extend(&pod.nameservers);
        conf.searches.extend(pod.searches.iter().cloned());
        for (name, value) in &pod.options {
            conf.set_option(name, value.as_deref());
        }
        conf.fit();
        conf
    }

    fn set_option(&mut self, name: &str, value: Option<&str>) {
        let text = value.map_or_else(|| name.to_owned(), |value| format!("{name}:{value}"));
        let same = |option: &&mut String| option.split(':').next() == Some(name);
        match self.options.iter_mut().find(same) {
            Some(option) => *option = text,
            None => self.options.push(text),
        }
    }

    /// Removes what comes twice, and what is over the limits, from the end.
    fn fit(&mut self) {
        let mut seen = Vec::new();
        self.nameservers.retain(|server| {
            !seen.contains(server) && {
                seen.push(*server);
                true
            }
        });
        self.nameservers.truncate(UPSTREAMS_COUNT);
        let mut seen = Vec::<String>::new();
        let mut bytes = 0;
        self.searches.retain(|search| {
            let length = bytes + search.len() + 1;
            let keep = !seen.contains(search)
                && seen.len() < SEARCHES_COUNT
                && length <= SEARCH_LIST_BYTES;
            if keep {
                bytes = length;
                seen.push(search.clone());
            }
            keep
        });
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(text, "search {}", self.searches.join(" "));
        }
        for server in &self.nameservers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

/// One of a pod's `hostAliases`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAlias {
    /// The address.
    pub ip: IpAddr,
    /// Names for it.
    pub hostnames: Vec<String>,
}

/// The text of a pod's `/etc/hosts`. `host` is the pod's host name, and its domain where it has a subdomain
/// (`web-0` and `web.shop.svc.cluster.local`).
#[must_use]
pub fn hosts(
    addresses: &[IpAddr],
    hostname: &str,
    host_domain: Option<&str>,
    aliases: &[HostAlias],
) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for address in addresses {
        let _ = match host_domain.filter(|domain| !domain.is_empty()) {
            Some(domain) => writeln!(text, "{address}\t{hostname}.{domain}\t{hostname}"),
            None => writeln!(text, "{address}\t{hostname}"),
        };
    }
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.join("\t"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cluster() -> ClusterDns {
        ClusterDns {
            server: "10.96.0.10".parse().unwrap(),
            domain: "cluster.local".to_owned(),
        }
    }

    fn node() -> ResolvConf {
        ResolvConf::parse(
            "# made by hand\nnameserver 192.0.2.53\nsearch corp.example lab.example\noptions edns0 # x\n",
        )
    }

    #[test]
    fn a_pod_of_cluster_first_searches_the_cluster_and_then_the_nodes_domains() {
        let conf = ResolvConf::for_pod(
            Policy::ClusterFirst,
            "shop",
            &cluster(),
            &node(),
            &PodDnsConfig::default(),
        );
        assert_eq!(
            conf.render(),
            "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example lab.example\n\
             nameserver 10.96.0.10\noptions ndots:5\n"
        );
    }

    #[test]
    fn a_pod_of_default_has_what_the_node_has() {
        let conf = ResolvConf::for_pod(
            Policy::Default,
            "shop",
            &cluster(),
            &node(),
            &PodDnsConfig::default(),
        );
        assert_eq!(
            conf.render(),
            "search corp.example lab.example\nnameserver 192.0.2.53\noptions edns0\n"
        );
    }

    #[test]
    fn a_pods_own_configuration_adds_and_replaces() {
        let pod = PodDnsConfig {
            nameservers: vec!["192.0.2.1".parse().unwrap(), "10.96.0.10".parse().unwrap()],
            searches: vec!["mine.example".to_owned(), "svc.cluster.local".to_owned()],
            options: vec![
                ("ndots".to_owned(), Some("2".to_owned())),
                ("rotate".to_owned(), None),
            ],
        };
        let none = ResolvConf::for_pod(Policy::None, "shop", &cluster(), &node(), &pod);
        assert_eq!(none.nameservers.len(), 2);
        let conf = ResolvConf::for_pod(
            Policy::ClusterFirst,
            "shop",
            &cluster(),
            &ResolvConf::default(),
            &pod,
        );
        assert_eq!(
            conf.render(),
            "search shop.svc.cluster.local svc.cluster.local cluster.local mine.example\n\
             nameserver 10.96.0.10\nnameserver 192.0.2.1\noptions ndots:2 rotate\n"
        );
    }

    #[test]
    fn a_pod_in_the_nodes_network_has_the_nodes_configuration_unless_it_asks() {
        assert_eq!(Policy::of(Some("ClusterFirst"), true), Policy::Default);
        assert_eq!(
            Policy::of(Some("ClusterFirstWithHostNet"), true),
            Policy::ClusterFirst
        );
        assert_eq!(Policy::of(None, false), Policy::ClusterFirst);
        assert_eq!(Policy::of(Some("None"), false), Policy::None);
    }

    #[test]
    fn lists_are_cut_at_kubernetes_limits() {
        let pod = PodDnsConfig {
            nameservers: (0..9).map(|last| IpAddr::from([192, 0, 2, last])).collect(),
            searches: (0..99)
                .map(|index| format!("{index}.{}", "x".repeat(200)))
                .collect(),
            options: Vec::new(),
        };
        let conf = ResolvConf::for_pod(Policy::None, "shop", &cluster(), &node(), &pod);
        assert_eq!(conf.nameservers.len(), UPSTREAMS_COUNT);
        assert!(conf.searches.len() < SEARCHES_COUNT);
        assert!(conf.render().lines().next().unwrap().len() <= "search ".len() + SEARCH_LIST_BYTES);
    }

    #[test]
    fn a_pods_hosts_file_is_the_kubelets() {
        let aliases = [HostAlias {
            ip: "192.0.2.7".parse().unwrap(),
            hostnames: vec!["a".into(), "b".into()],
        }];
        let text = hosts(
            &["10.244.0.2".parse().unwrap()],
            "db-0",
            Some("db.shop.svc.cluster.local"),
            &aliases,
        );
        assert!(
            text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"),
            "{text}"
        );
        assert!(
            text.contains("\n10.244.0.2\tdb-0.db.shop.svc.cluster.local\tdb-0\n"),
            "{text}"
        );
        assert!(
            text.ends_with("# Entries added by HostAliases.\n192.0.2.7\ta\tb\n"),
            "{text}"
        );
        assert!(
            hosts(&["10.244.0.2".parse().unwrap()], "web", None, &[])
                .ends_with("\n10.244.0.2\tweb\n")
        );
    }
}
