//! Settings: what they are, and where each value came from. A flag wins over the environment, which wins over the file, which
//! wins over the default.

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// One setting.
#[derive(Debug, Clone, Copy)]
struct Setting {
    /// Its name as a flag and in the file: `data-dir`.
    name: &'static str,
    /// What stands for its value in help texts.
    value: &'static str,
    /// What holds when nobody says otherwise; empty for unset.
    default: &'static str,
    /// What it does, for help texts.
    help: &'static str,
}

/// Settings that `server` has and `dev` has not.
const SERVER_SETTINGS: [&str; 5] = [
    "peer-listen",
    "advertise",
    "peer-advertise",
    "join",
    "token",
];

/// The setting whose value is nobody's business.
const SECRET: &str = "token";

/// Every setting of `dev` and `server`.
const SETTINGS: &[Setting] = &[
    Setting {
        name: "data-dir",
        value: "DIR",
        default: "",
        help: "Where everything is kept [dev's default: pontoon/dev under the user's data directory]",
    },
    Setting {
        name: "listen",
        value: "ADDR:PORT",
        default: "127.0.0.1:6443",
        help: "Where the API is served; port 0 picks a free one",
    },
    Setting {
        name: "peer-listen",
        value: "ADDR:PORT",
        default: "",
        help: "Where other servers are answered [default: the API's address, the next port]",
    },
    Setting {
        name: "advertise",
        value: "HOST[:PORT]",
        default: "",
        help: "Where clients reach the API [default: where it listens]",
    },
    Setting {
        name: "peer-advertise",
        value: "HOST[:PORT]",
        default: "",
        help: "Where other servers reach this one [default: --advertise's host, --peer-listen's port]",
    },
    Setting {
        name: "join",
        value: "URL",
        default: "",
        help: "A server of the cluster to join, such as https://10.0.0.1:6443; a data directory that has a cluster stays with it",
    },
    Setting {
        name: "token",
        value: "TOKEN",
        default: "",
        help: "What to join with; `pontoon cluster token create --role server` makes one",
    },
    Setting {
        name: "node-name",
        value: "NAME",
        default: "",
        help: "The node's name [default: the host's name]",
    },
    Setting {
        name: "cluster-domain",
        value: "DOMAIN",
        default: "cluster.local",
        help: "The domain of services' names",
    },
    Setting {
        name: "service-cidr",
        value: "CIDR",
        default: "10.96.0.0/16",
        help: "Addresses of services",
    },
    Setting {
        name: "pod-cidr",
        value: "CIDR",
        default: "10.244.0.0/16",
        help: "Addresses of pods; each node gets a /24 of it",
    },
    Setting {
        name: "log-format",
        value: "FORMAT",
        default: "auto",
        help: "auto, human or json",
    },
    Setting {
        name: "log-filter",
        value: "FILTER",
        default: "",
        help: "What is logged, such as `info,pontoon_agent=debug` [default: RUST_LOG, else warnings]",
    },
    Setting {
        name: "otlp-endpoint",
        value: "URL",
        default: "",
        help: "Where traces go by OTLP over gRPC; none are made without it",
    },
];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Given on the command line.
    Flag,
    /// Given in this environment variable.
    Environment(String),
    /// Given in this file.
    File(PathBuf),
    /// Nobody gave it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting that cannot be used: which, where it came from, and what would do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path}: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A value does not fit its setting.
    #[error("{name} (from {from}): {value:?} {why}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Where the value came from.
        from: Source,
        /// The value.
        value: String,
        /// What would do.
        why: String,
    },
}

/// The settings of a server, with their sources.
#[derive(Debug, Clone)]
pub struct Config {
    values: BTreeMap<&'static str, (String, Source)>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the API is served.
    pub listen: SocketAddr,
    /// Where other servers are answered.
    pub peer_listen: SocketAddr,
    /// Where clients reach the API: host, and port if it is another.
    pub advertise: Option<(String, Option<u16>)>,
    /// Where other servers reach this one: host, and port if it is another.
    pub peer_advertise: Option<(String, Option<u16>)>,
    /// A server of the cluster to join.
    pub join: Option<String>,
    /// What to join with.
    pub token: Option<String>,
    /// The node's name.
    pub node_name: String,
    /// The domain of services' names.
    pub cluster_domain: String,
    /// Addresses of services.
    pub service_cidr: String,
    /// Addresses of pods.
    pub pod_cidr: String,
    /// How logs look.
    pub log_format: pontoon_telemetry::log::Format,
    /// What is logged.
    pub log_filter: Option<String>,
    /// Where traces go.
    pub otlp_endpoint: Option<String>,
}

fn variable(name: &str) -> String {
    format!("PONTOON_{}", name.replace('-', "_").to_uppercase())
}

/// The flags of `dev`: every setting but a server's own, and `--config`.
pub fn dev_arguments() -> Vec<Arg> {
    let all = arguments().into_iter();
    all.filter(|argument| !SERVER_SETTINGS.contains(&argument.get_id().as_str()))
        .collect()
}

/// The flags of every setting, and `--config`.
pub fn arguments() -> Vec<Arg> {
    let setting = |setting: &Setting| {
        let default = if setting.default.is_empty() {
            String::new()
        } else {
            format!(" [default: {}]", setting.default)
        };
        Arg::new(setting.name)
            .long(setting.name)
            .value_name(setting.value)
            .action(ArgAction::Set)
            .help(format!(
                "{}{default} [env: {}]",
                setting.help,
                variable(setting.name)
            ))
    };
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("A YAML file of settings, by their flags' names [env: PONTOON_CONFIG]");
    SETTINGS.iter().map(setting).chain([file]).collect()
}

/// Settings that an agent has too; the cluster says the rest.
const AGENT_SETTINGS: [&str; 5] = [
    "data-dir",
    "node-name",
    "log-format",
    "log-filter",
    "otlp-endpoint",
];

/// The flags of an agent's settings.
pub fn agent_arguments() -> Vec<Arg> {
    let ours = |argument: &Arg| {
        let name = argument.get_id().as_str();
        AGENT_SETTINGS.contains(&name) || name == "config"
    };
    arguments().into_iter().filter(ours).collect()
}

impl Config {
    /// Reads the settings of a command from its flags, `environment` and the file they name.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting and where its value came from.
    pub fn read(
        matches: &ArgMatches,
        environment: impl Fn(&str) -> Option<String>,
        default_data_dir: &Path,
    ) -> Result<Self, ConfigError> {
        // A command has not the flags of every setting.
        let flag = |name: &str| matches.try_get_one::<String>(name).ok().flatten();
        let file = flag("config")
            .cloned()
            .or_else(|| environment("PONTOON_CONFIG"));
        let (path, from_file) = match file {
            Some(path) => (PathBuf::from(&path), read_file(Path::new(&path))?),
            None => (PathBuf::new(), Map::new()),
        };
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let found = if let Some(value) = flag(setting.name) {
                (value.clone(), Source::Flag)
            } else if let Some(value) =
                environment(&variable(setting.name)).filter(|value| !value.is_empty())
            {
                (value, Source::Environment(variable(setting.name)))
            } else if let Some(value) = from_file.get(setting.name) {
                (text(value), Source::File(path.clone()))
            } else {
                (default_of(setting, default_data_dir), Source::Default)
            };
            values.insert(setting.name, found);
        }
        Self::typed(values)
    }

    fn typed(values: BTreeMap<&'static str, (String, Source)>) -> Result<Self, ConfigError> {
        let text = |name: &'static str| values[name].0.clone();
        let given = |name: &'static str| Some(text(name)).filter(|value| !value.is_empty());
        let wrong = |name: &'static str, why: &str| {
            let (value, from) = values[name].clone();
            ConfigError::Value {
                name,
                from,
                value,
                why: why.to_owned(),
            }
        };
        let listen: SocketAddr = text("listen")
            .parse()
            .map_err(|_| wrong("listen", "is not ADDRESS:PORT, such as 127.0.0.1:6443"))?;
        let peer_listen = match given("peer-listen") {
            None => next_port(listen),
            Some(address) => address
                .parse()
                .map_err(|_| wrong("peer-listen", "is not ADDRESS:PORT, such as 10.0.0.1:6444"))?,
        };
        let reached = |name: &'static str| match given(name) {
            None => Ok(None),
            Some(address) => host_and_port(&address)
                .map(Some)
                .ok_or_else(|| wrong(name, "is not HOST or HOST:PORT, such as 10.0.0.1:6443")),
        };
        let join = given("join");
        if join
            .as_ref()
            .is_some_and(|url| !url.starts_with("https://"))
        {
            return Err(wrong("join", "is not a server: use https://HOST:PORT"));
        }
        let log_format = match text("log-format").as_str() {
            "auto" => pontoon_telemetry::log::Format::Auto,
            "human" => pontoon_telemetry::log::Format::Human,
            "json" => pontoon_telemetry::log::Format::Json,
            _ => return Err(wrong("log-format", "is not auto, human or json")),
        };
        for name in ["service-cidr", "pod-cidr"] {
            if !is_cidr(&text(name)) {
                return Err(wrong(name, "is not an IPv4 network, such as 10.96.0.0/16"));
            }
        }
        let node_name = text("node-name");
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if node_name.is_empty() || node_name.len() > 253 || !node_name.chars().all(fine) {
            return Err(wrong(
                "node-name",
                "is not a DNS name of lower case letters, digits, '-' and '.'",
            ));
        }
        Ok(Self {
            data_dir: PathBuf::from(text("data-dir")),
            listen,
            peer_listen,
            advertise: reached("advertise")?,
            peer_advertise: reached("peer-advertise")?,
            join,
            token: given(SECRET),
            node_name,
            cluster_domain: text("cluster-domain"),
            service_cidr: text("service-cidr"),
            pod_cidr: text("pod-cidr"),
            log_format,
            log_filter: given("log-filter"),
            otlp_endpoint: given("otlp-endpoint"),
            values,
        })
    }

    /// Takes on what the cluster is set to. A setting that somebody gave must agree.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that does not.
    pub fn adopt(
        &mut self,
        service_cidr: &str,
        pod_cidr: &str,
        cluster_domain: &str,
    ) -> Result<(), ConfigError> {
        for (name, of_cluster, mine) in [
            ("service-cidr", service_cidr, &mut self.service_cidr),
            ("pod-cidr", pod_cidr, &mut self.pod_cidr),
            ("cluster-domain", cluster_domain, &mut self.cluster_domain),
        ] {
            let (value, from) = self.values[name].clone();
            if from != Source::Default && value != of_cluster {
                return Err(ConfigError::Value {
                    name,
                    from,
                    value,
                    why: format!(
                        "is not what the cluster was founded with, {of_cluster}: leave it out"
                    ),
                });
            }
            of_cluster.clone_into(mine);
        }
        Ok(())
    }

    /// Every setting, its value and where it came from, a line each.
    pub fn show(&self) -> String {
        let width = SETTINGS
            .iter()
            .map(|setting| setting.name.len())
            .max()
            .unwrap_or(0);
        let line = |setting: &Setting| {
            let (value, source) = &self.values[setting.name];
            let value = match value.as_str() {
                "" => "(unset)",
                _ if setting.name == SECRET => "(not shown)",
                value => value,
            };
            format!("{:width$}  {value}  ({source})\n", setting.name)
        };
        SETTINGS.iter().map(line).collect()
    }
}

fn default_of(setting: &Setting, default_data_dir: &Path) -> String {
    match setting.name {
        "data-dir" => default_data_dir.display().to_string(),
        "node-name" => nix::unistd::gethostname().map_or_else(
            |_| "node".into(),
            |name| name.to_string_lossy().to_lowercase(),
        ),
        _ => setting.default.to_owned(),
    }
}

/// The address with the next port; any free one where that is asked for.
const fn next_port(address: SocketAddr) -> SocketAddr {
    let mut next = address;
    next.set_port(match address.port() {
        0 => 0,
        port => port.wrapping_add(1),
    });
    next
}

/// Reads `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let fine = |host: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
        let address = host.parse::<std::net::IpAddr>();
        let everywhere = address.is_ok_and(|address| address.is_unspecified());
        (!host.is_empty() && host.chars().all(letters) && !everywhere).then(|| host.to_owned())
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match port.strip_prefix(':') {
            Some(port) => Some((fine(host)?, Some(port.parse().ok()?))),
            None => port.is_empty().then_some((fine(host)?, None)),
        };
    }
    match text.split_once(':') {
        None => Some((fine(text)?, None)),
        Some((host, port)) => Some((fine(host)?, Some(port.parse().ok()?))),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, prefix)| {
        address.parse::<std::net::Ipv4Addr>().is_ok()
            && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= 30)
    })
}

fn read_file(path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let wrong = |why: String| ConfigError::File {
        path: path.to_owned(),
        why,
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let document = pontoon_api::decode::yaml(&bytes).map_err(|error| wrong(error.to_string()))?;
    if let Some(twice) = document.duplicates.first() {
        return Err(wrong(format!("{twice} is given twice")));
    }
    let Value::Object(settings) = document.value else {
        return Err(wrong("is not a map of settings".into()));
    };
    if let Some(unknown) = settings
        .keys()
        .find(|name| !SETTINGS.iter().any(|setting| setting.name == *name))
    {
        let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        return Err(wrong(format!(
            "no setting is named {unknown:?}; there are {}",
            known.join(", ")
        )));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let command = clap::Command::new("dev").args(arguments());
        let matches = command
            .try_get_matches_from(std::iter::once(&"dev").chain(flags))
            .unwrap();
        let environment: BTreeMap<String, String> = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Config::read(
            &matches,
            |name| environment.get(name).cloned(),
            Path::new("/data"),
        )
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pontoon.yaml");
        std::fs::write(
            &file,
            "listen: 127.0.0.1:1\ncluster-domain: file.local\nservice-cidr: 10.1.0.0/16\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let config = read(
            &["--listen", "127.0.0.1:3", "--config", file],
            &[
                ("PONTOON_LISTEN", "127.0.0.1:2"),
                ("PONTOON_CLUSTER_DOMAIN", "env.local"),
            ],
        )
        .unwrap();
        assert_eq!(
            (config.listen.port(), config.cluster_domain.as_str()),
            (3, "env.local")
        );
        assert_eq!(
            (config.service_cidr.as_str(), config.pod_cidr.as_str()),
            ("10.1.0.0/16", "10.244.0.0/16")
        );
        let shown = config.show();
        assert!(
            shown.contains("127.0.0.1:3  (flag)")
                && shown.contains("environment PONTOON_CLUSTER_DOMAIN"),
            "{shown}"
        );
        assert!(
            shown.contains(&format!("(file {file})")) && shown.contains("10.244.0.0/16  (default)"),
            "{shown}"
        );
    }

    #[test]
    fn what_cannot_be_used_names_the_setting_and_its_source() {
        for (variable, value, words) in [
            (
                "PONTOON_LISTEN",
                "nowhere",
                "listen (from environment PONTOON_LISTEN)",
            ),
            ("PONTOON_LOG_FORMAT", "xml", "log-format"),
            ("PONTOON_POD_CIDR", "10.0.0.0", "pod-cidr"),
            ("PONTOON_NODE_NAME", "A B", "node-name"),
        ] {
            let error = read(&[], &[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn addresses_to_be_reached_at_are_a_host_and_perhaps_a_port() {
        let host = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(host_and_port("10.0.0.1"), host("10.0.0.1", None));
        assert_eq!(
            host_and_port("a.example:7443"),
            host("a.example", Some(7443))
        );
        assert_eq!(host_and_port("[::1]:7443"), host("::1", Some(7443)));
        assert_eq!(host_and_port("[::1]"), host("::1", None));
        for wrong in [
            "",
            ":1",
            "a:b",
            "0.0.0.0",
            "0.0.0.0:1",
            "[::]",
            "[::1",
            "a b",
            "[a]:1",
            "::1",
        ] {
            assert_eq!(host_and_port(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_peers_port_is_the_one_behind_the_apis() {
        let config = read(&["--listen", "127.0.0.1:7000"], &[]).unwrap();
        assert_eq!(config.peer_listen.port(), 7001);
        assert_eq!(
            read(&["--listen", "127.0.0.1:0"], &[])
                .unwrap()
                .peer_listen
                .port(),
            0
        );
    }

    #[test]
    fn a_token_is_not_shown() {
        let config = read(&[], &[("PONTOON_TOKEN", "hush")]).unwrap();
        assert_eq!(config.token.as_deref(), Some("hush"));
        assert!(!config.show().contains("hush"), "{}", config.show());
    }

    #[test]
    fn a_setting_must_agree_with_the_cluster_unless_nobody_gave_it() {
        let mut config = read(&["--pod-cidr", "10.1.0.0/16"], &[]).unwrap();
        let error = config
            .adopt("10.2.0.0/16", "10.3.0.0/16", "c.local")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pod-cidr (from flag)") && error.contains("10.3.0.0/16"),
            "{error}"
        );
        config
            .adopt("10.2.0.0/16", "10.1.0.0/16", "c.local")
            .unwrap();
        assert_eq!(
            (config.service_cidr.as_str(), config.cluster_domain.as_str()),
            ("10.2.0.0/16", "c.local")
        );
    }

    #[test]
    fn a_file_with_an_unknown_or_repeated_setting_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pontoon.yaml");
        for (content, words) in [
            ("lisen: x\n", "lisen"),
            ("listen: a\nlisten: b\n", "twice"),
            ("- a\n", "map"),
            ("a: [", "pontoon.yaml"),
        ] {
            std::fs::write(&file, content).unwrap();
            let error = read(&["--config", file.to_str().unwrap()], &[])
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(
            read(&["--config", "/nonexistent/x.yaml"], &[])
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/x.yaml")
        );
    }
}
