//! One command's connection to the cluster, and where in it the command works.

use crate::{
    error::CliError,
    globals::{Globals, Surroundings},
    kubeconfig,
    resources::{Asked, Catalog, Resource, split},
};
use jiff::Timestamp;
use pontoon_client::{
    Client, ClientError, Selection, Transport,
    messages::{Object, WriteOptions},
};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::OnceCell;

/// What verbs work with.
#[derive(Debug)]
pub struct Session {
    /// To the cluster. It dials when first used.
    pub client: Client,
    /// The namespace of the flag, or else of the kubeconfig.
    pub namespace: String,
    /// Whether the flag named it.
    pub namespace_is_given: bool,
    /// Reads the environment.
    pub variable: fn(&str) -> Option<String>,
    now: fn() -> Timestamp,
    builtin: Catalog,
    served: OnceCell<Catalog>,
}

/// An object and its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its kind.
    pub resource: Resource,
    /// As the server gave it.
    pub value: Value,
    /// The revision it was at.
    pub revision: u64,
}

/// No answer takes longer than this when `--request-timeout=0` asks to wait forever: a day.
const FOREVER: Duration = Duration::from_secs(86_400);

impl Session {
    /// Of the cluster that flags and environment choose.
    pub fn open(globals: &Globals, surroundings: &Surroundings) -> Result<Self, CliError> {
        let kubeconfig = kubeconfig::read(globals, surroundings)?;
        let agent = format!("pontoon/{}", surroundings.version);
        let transport = Transport::from_kubeconfig(&kubeconfig, &agent)?;
        Ok(Self::over(
            Client::new(&transport),
            &kubeconfig.namespace,
            globals,
            surroundings,
        ))
    }

    /// Over a client that exists.
    pub fn over(
        client: Client,
        namespace: &str,
        globals: &Globals,
        surroundings: &Surroundings,
    ) -> Self {
        let client = match globals.request_timeout {
            None => client,
            Some(Duration::ZERO) => client.with_deadline(FOREVER),
            Some(deadline) => client.with_deadline(deadline),
        };
        Self {
            client,
            namespace: globals
                .namespace
                .clone()
                .unwrap_or_else(|| namespace.to_owned()),
            namespace_is_given: globals.namespace.is_some(),
            variable: surroundings.variable,
            now: surroundings.now,
            builtin: Catalog::builtin(),
            served: OnceCell::new(),
        }
    }

    /// Asks the cluster where its servers are, while the command goes on: for commands that outlive a server.
    pub fn learn_servers(&self) {
        let client = self.client.clone();
        // Without an answer those of the kubeconfig serve.
        tokio::spawn(async move { client.learn_servers().await });
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Every kind that the server knows.
    pub async fn served(&self) -> Result<&Catalog, CliError> {
        self.served
            .get_or_try_init(|| async {
                let kinds = self.client.kinds().await?;
                Ok(Catalog(kinds.into_iter().map(Resource::from).collect()))
            })
            .await
    }

    /// The kinds that a word names. Built-in kinds are known without asking.
    pub async fn resources(&self, word: &str) -> Result<Vec<Resource>, CliError> {
        let known = self.builtin.named(word);
        if !known.is_empty() {
            return Ok(known.into_iter().cloned().collect());
        }
        let served = self.served().await?;
        match served.named(word) {
            found if found.is_empty() => Err(served.unknown(word)),
            found => Ok(found.into_iter().cloned().collect()),
        }
    }

    /// The one kind that a word names.
    pub async fn resource(&self, word: &str) -> Result<Resource, CliError> {
        let mut found = self.resources(word).await?;
        if found.len() > 1 {
            return Err(CliError::usage(format!(
                "{word:?} names several types: name one"
            )));
        }
        Ok(found.remove(0))
    }

    /// The kind that a manifest is of, if the server knows it.
    pub async fn of_kind(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, CliError> {
        if let Some(found) = self.builtin.of_kind(api_version, kind) {
            return Ok(Some(found.clone()));
        }
        Ok(self.served().await?.of_kind(api_version, kind).cloned())
    }

    /// What arguments name, of kinds that are known.
    pub async fn asked(&self, arguments: &[String]) -> Result<Wanted, CliError> {
        Ok(match split(arguments)? {
            Asked::Collections(words) => {
                let mut kinds: Vec<Resource> = Vec::new();
                for word in &words {
                    for found in self.resources(word).await? {
                        if !kinds.contains(&found) {
                            kinds.push(found);
                        }
                    }
                }
                Wanted::Collections(kinds)
            }
            Asked::Objects(pairs) => {
                let mut objects = Vec::new();
                for (word, name) in pairs {
                    objects.push((self.resource(&word).await?, name));
                }
                Wanted::Objects(objects)
            }
        })
    }

    /// One object of the session's namespace.
    pub async fn get(&self, resource: &Resource, name: &str) -> Result<Found, CliError> {
        self.get_in(resource, &self.namespace, name).await
    }

    /// One object of a namespace.
    pub async fn get_in(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Found, CliError> {
        let object = self.client.get(resource.target(namespace, name), 0).await?;
        found(resource, &object)
    }

    /// One object, or none when there is no such.
    pub async fn find_in(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Found>, CliError> {
        match self.get_in(resource, namespace, name).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A collection; of all namespaces when `namespace` is empty.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: &str,
        selection: &Selection,
    ) -> Result<(Vec<Found>, u64), CliError> {
        let listing = self
            .client
            .list(&resource.target(namespace, ""), selection)
            .await?;
        let items = listing
            .items
            .iter()
            .map(|object| found(resource, object))
            .collect::<Result<_, _>>()?;
        Ok((items, listing.revision))
    }

    /// A built-in kind, by a word that is sure to name one.
    pub fn builtin(&self, word: &str) -> Resource {
        self.builtin
            .find(word)
            .expect("the word is a constant that the registry's tests know")
            .clone()
    }

    /// What every write says of itself.
    pub fn write_options(&self, dry_run: bool) -> WriteOptions {
        WriteOptions {
            dry_run,
            field_validation: "Strict".to_owned(),
            field_manager: "pontoon".to_owned(),
        }
    }
}

/// What arguments name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Objects by name.
    Objects(Vec<(Resource, String)>),
    /// Collections.
    Collections(Vec<Resource>),
}

/// An object as it travels, read.
pub fn found(resource: &Resource, object: &Object) -> Result<Found, CliError> {
    let mut value: Value = serde_json::from_slice(&object.json).map_err(|error| {
        CliError::Server(ClientError::Malformed(format!(
            "{} {}/{}: {error}",
            object.kind, object.namespace, object.name
        )))
    })?;
    // Items of lists may come without: what is printed and piped on needs them.
    if let Some(map) = value.as_object_mut() {
        map.entry("apiVersion")
            .or_insert_with(|| resource.api_version().into());
        map.entry("kind")
            .or_insert_with(|| resource.kind.clone().into());
    }
    Ok(Found {
        resource: resource.clone(),
        value,
        revision: object.revision,
    })
}
