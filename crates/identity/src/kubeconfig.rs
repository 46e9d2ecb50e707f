//! Kubeconfig files: what kubectl and our CLI read to find the server and say who they are.
//!
//! Written ones hold everything inline, so that they can be copied. Read ones may be anybody's:
//! the parts that Pontoon's client cannot honour (bearer tokens, exec plug-ins, proxies, skipped
//! verification) are refused by name.

use crate::{
    credentials::Credentials,
    files::{self, FileError, Readers},
    pem::{self, PemError},
    tls::{self, Presented, Roots, TlsError},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use pontoon_world::World;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The name of the extension that lists a cluster's other servers.
const EXTENSION: &str = "pontoon";

/// Largest file read, in bytes: a thousand clusters' worth.
const FILE_BYTES: usize = 8 << 20;

/// A server, whom to trust as it, and who to be there: one context of a kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// `https://HOST:PORT`.
    pub server: String,
    /// The cluster's other servers, which kubectl does not know of: Pontoon's clients try them when the first is away.
    pub others: Vec<String>,
    /// The name to demand of the server's certificate, when not the URL's host.
    pub server_name: Option<String>,
    /// Whom to trust.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Who to be.
    pub credentials: Option<Credentials>,
    /// The namespace where none is named.
    pub namespace: String,
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubeconfigError {
    /// It, or a file it names, cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such file.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It is not a kubeconfig.
    #[error("{} is not a kubeconfig: {why}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It names something that it does not have.
    #[error("{} has no {what} {name:?}", path.display())]
    NotFound {
        /// Which file.
        path: PathBuf,
        /// `context`, `cluster` or `user`.
        what: &'static str,
        /// The name looked for.
        name: String,
    },
    /// It asks for something that is not supported.
    #[error("{} uses {field}, which Pontoon's client does not support", path.display())]
    Unsupported {
        /// Which file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// A certificate or key in it is not one.
    #[error(transparent)]
    Pem(#[from] PemError),
}

impl Kubeconfig {
    /// Reads `path`; `context` names another context than the file's current one.
    ///
    /// # Errors
    /// See [`KubeconfigError`].
    pub fn read(path: &Path, context: Option<&str>) -> Result<Self, KubeconfigError> {
        let text = files::read(path)?.ok_or_else(|| KubeconfigError::Missing(path.to_owned()))?;
        Self::parse(path, &text, context)
    }

    /// Parses a kubeconfig's text. `path` is named in errors, and files that the text names are
    /// relative to its directory.
    ///
    /// # Errors
    /// See [`KubeconfigError`].
    pub fn parse(path: &Path, text: &[u8], context: Option<&str>) -> Result<Self, KubeconfigError> {
        let malformed = |why: String| KubeconfigError::Malformed {
            path: path.to_owned(),
            why,
        };
        if text.len() > FILE_BYTES {
            return Err(malformed(format!("it is larger than {FILE_BYTES} bytes")));
        }
        let text = std::str::from_utf8(text).map_err(|_| malformed("it is not text".to_owned()))?;
        let document: Document =
            serde_saphyr::from_str(text).map_err(|error| malformed(error.to_string()))?;
        Reader {
            path,
            document: &document,
        }
        .context(context.unwrap_or(&document.current_context))
    }

    /// Writes a file with one context, that only its owner may read. kubectl uses the first server; the others stand in an
    /// extension, which it leaves alone.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write(
        path: &Path,
        server: &str,
        others: &[String],
        authority_pem: &str,
        user: &str,
        credentials: &Credentials,
    ) -> Result<(), FileError> {
        let quoted = |text: &str| format!("{text:?}");
        let listed: String = others
            .iter()
            .map(|other| format!("        - {other:?}\n"))
            .collect();
        let extension = if others.is_empty() {
            String::new()
        } else {
            format!(
                "    extensions:\n    - name: {EXTENSION}\n      extension:\n        servers:\n{listed}"
            )
        };
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: pontoon\n\
             clusters:\n- name: pontoon\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n{extension}\
             contexts:\n- name: pontoon\n  context:\n    cluster: pontoon\n    user: {user}\n    namespace: default\n\
             users:\n- name: {user}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n",
            server = quoted(server),
            user = quoted(user),
            authority = BASE64_STANDARD.encode(authority_pem),
            certificate = BASE64_STANDARD.encode(credentials.certificate_pem()),
            key = BASE64_STANDARD.encode(credentials.key_pem()),
        );
        files::write(path, text.as_bytes(), Readers::Owner)
    }

    /// The client's side of TLS towards this server, judged by the machine's clock.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn client_config(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let presented = self.credentials.as_ref().map(Presented::new).transpose()?;
        tls::client(
            &Roots::new(&self.authorities)?,
            presented,
            protocols,
            &World::real(),
        )
    }
}

/// The file as it is written, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    tls_server_name: Option<String>,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    proxy_url: Option<String>,
    #[serde(default)]
    extensions: Vec<Extension>,
}

#[derive(Deserialize)]
struct Extension {
    #[serde(default)]
    name: String,
    extension: Option<Extended>,
}

/// An extension may be anybody's, and of any shape.
#[derive(Deserialize)]
#[serde(untagged)]
enum Extended {
    Ours { servers: Vec<String> },
    Other(serde::de::IgnoredAny),
}

impl Cluster {
    fn others(&self) -> Vec<String> {
        let ours = self
            .extensions
            .iter()
            .filter(|found| found.name == EXTENSION);
        ours.filter_map(|found| match &found.extension {
            Some(Extended::Ours { servers }) => Some(servers.clone()),
            Some(Extended::Other(_)) | None => None,
        })
        .flatten()
        .collect()
    }
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    exec: Option<serde::de::IgnoredAny>,
}

struct Reader<'a> {
    path: &'a Path,
    document: &'a Document,
}

impl Reader<'_> {
    fn context(&self, name: &str) -> Result<Kubeconfig, KubeconfigError> {
        let not_found = |what, name: &str| KubeconfigError::NotFound {
            path: self.path.to_owned(),
            what,
            name: name.to_owned(),
        };
        let contexts = &self.document.contexts;
        let context = contexts
            .iter()
            .find(|found| found.name == name)
            .ok_or_else(|| not_found("context", name))?;
        let Context {
            cluster,
            user,
            namespace,
        } = &context.context;
        let clusters = &self.document.clusters;
        let found = clusters
            .iter()
            .find(|found| found.name == *cluster)
            .ok_or_else(|| not_found("cluster", cluster))?;
        let users = &self.document.users;
        let user = users
            .iter()
            .find(|found| found.name == *user)
            .ok_or_else(|| not_found("user", user))?;
        Ok(Kubeconfig {
            server: found.cluster.server.clone(),
            others: found.cluster.others(),
            server_name: found
                .cluster
                .tls_server_name
                .clone()
                .filter(|name| !name.is_empty()),
            authorities: self.authorities(&found.cluster)?,
            credentials: self.credentials(&user.user)?,
            namespace: namespace
                .clone()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "default".to_owned()),
        })
    }

    fn authorities(
        &self,
        cluster: &Cluster,
    ) -> Result<Vec<CertificateDer<'static>>, KubeconfigError> {
        self.refuse(cluster.insecure_skip_tls_verify, "insecure-skip-tls-verify")?;
        self.refuse(
            cluster
                .proxy_url
                .as_ref()
                .is_some_and(|url| !url.is_empty()),
            "proxy-url",
        )?;
        let part = (
            &cluster.certificate_authority_data,
            &cluster.certificate_authority,
        );
        let (origin, text) = self.part("certificate-authority", part)?.ok_or_else(|| {
            KubeconfigError::Malformed {
                path: self.path.to_owned(),
                why: "its cluster names no certificate-authority".to_owned(),
            }
        })?;
        Ok(pem::certificates(&origin, &text)?)
    }

    fn credentials(&self, user: &User) -> Result<Option<Credentials>, KubeconfigError> {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        self.refuse(given(&user.token), "token")?;
        self.refuse(user.token_file.is_some(), "tokenFile")?;
        self.refuse(given(&user.username), "username")?;
        self.refuse(user.exec.is_some(), "exec")?;
        let certificate = self.part(
            "client-certificate",
            (&user.client_certificate_data, &user.client_certificate),
        )?;
        let key = self.part("client-key", (&user.client_key_data, &user.client_key))?;
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some((certificate_origin, certificate)), Some((key_origin, key))) => {
                let chain = String::from_utf8_lossy(&certificate).into_owned();
                let key = String::from_utf8_lossy(&key).into_owned();
                // Each is checked by itself first, so that the error names the right one.
                pem::certificates(&certificate_origin, chain.as_bytes())?;
                pem::private_key(&key_origin, key.as_bytes())?;
                Ok(Some(Credentials::from_pem(
                    &certificate_origin,
                    chain,
                    key,
                )?))
            }
            (certificate, _) => Err(KubeconfigError::Malformed {
                path: self.path.to_owned(),
                why: match certificate {
                    Some(_) => "its user has a client-certificate and no client-key".to_owned(),
                    None => "its user has a client-key and no client-certificate".to_owned(),
                },
            }),
        }
    }

    fn refuse(&self, used: bool, field: &'static str) -> Result<(), KubeconfigError> {
        if used {
            Err(KubeconfigError::Unsupported {
                path: self.path.to_owned(),
                field,
            })
        } else {
            Ok(())
        }
    }

    /// What `NAME-data` holds, or else the file that `NAME` names, and what to call it in errors.
    fn part(
        &self,
        name: &str,
        (data, file): (&Option<String>, &Option<PathBuf>),
    ) -> Result<Option<(String, Vec<u8>)>, KubeconfigError> {
        if let Some(data) = data.as_ref().filter(|data| !data.is_empty()) {
            let origin = format!("{name}-data of {}", self.path.display());
            let text = BASE64_STANDARD.decode(data.trim()).map_err(|error| {
                KubeconfigError::Malformed {
                    path: self.path.to_owned(),
                    why: format!("{name}-data is not base64: {error}"),
                }
            })?;
            return Ok(Some((origin, text)));
        }
        let Some(file) = file.as_ref().filter(|file| !file.as_os_str().is_empty()) else {
            return Ok(None);
        };
        let file = self.path.parent().unwrap_or(Path::new(".")).join(file);
        let text = files::read(&file)?.ok_or_else(|| KubeconfigError::Missing(file.clone()))?;
        Ok(Some((file.display().to_string(), text)))
    }
}

#[cfg(test)]
mod tests;
