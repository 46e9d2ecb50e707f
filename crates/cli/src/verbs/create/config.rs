//! ConfigMaps and Secrets of texts and files.

use super::{WritingArgs, bare};
use crate::{error::CliError, limits};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Where the data comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DataArgs {
    /// A key and its text.
    #[arg(long, value_name = "KEY=VALUE")]
    pub from_literal: Vec<String>,
    /// A file (its name is the key), a key and its file, or a directory of files.
    #[arg(long, value_name = "[KEY=]FILE")]
    pub from_file: Vec<String>,
    /// A file of lines KEY=VALUE.
    #[arg(long, value_name = "FILE")]
    pub from_env_file: Vec<PathBuf>,
}

/// Arguments of `create configmap`.
#[derive(Debug, clap::Args)]
pub struct ConfigMapArgs {
    /// Its name.
    pub name: String,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub data: DataArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub writing: WritingArgs,
}

/// The kinds of Secret that can be made of flags.
#[derive(Debug, clap::Subcommand)]
pub enum SecretKind {
    /// Of texts and files.
    Generic(GenericSecretArgs),
    /// Of a certificate and its key.
    Tls(TlsSecretArgs),
}

/// Arguments of `create secret generic`.
#[derive(Debug, clap::Args)]
pub struct GenericSecretArgs {
    /// Its name.
    pub name: String,
    /// Its type.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub data: DataArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub writing: WritingArgs,
}

/// Arguments of `create secret tls`.
#[derive(Debug, clap::Args)]
pub struct TlsSecretArgs {
    /// Its name.
    pub name: String,
    /// A file with the certificate, as PEM.
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// A file with the key, as PEM.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub writing: WritingArgs,
}

type Data = Vec<(String, Vec<u8>)>;

impl ConfigMapArgs {
    pub(super) fn make(self) -> Result<(Value, WritingArgs), CliError> {
        let mut value = bare("v1", "ConfigMap", &self.name);
        let (mut texts, mut binary) = (Map::new(), Map::new());
        for (key, bytes) in self.data.read()? {
            match String::from_utf8(bytes) {
                Ok(text) => texts.insert(key, text.into()),
                Err(error) => binary.insert(key, BASE64_STANDARD.encode(error.as_bytes()).into()),
            };
        }
        for (field, map) in [("data", texts), ("binaryData", binary)] {
            if !map.is_empty() {
                value[field] = map.into();
            }
        }
        Ok((value, self.writing))
    }
}

impl SecretKind {
    pub(super) fn make(self) -> Result<(Value, WritingArgs), CliError> {
        let (name, kind, data, writing) = match self {
            Self::Generic(args) => (args.name, args.kind, args.data.read()?, args.writing),
            Self::Tls(args) => {
                let data = vec![
                    ("tls.crt".to_owned(), read(&args.cert)?),
                    ("tls.key".to_owned(), read(&args.key)?),
                ];
                (
                    args.name,
                    Some("kubernetes.io/tls".to_owned()),
                    data,
                    args.writing,
                )
            }
        };
        let mut value = bare("v1", "Secret", &name);
        if let Some(kind) = kind {
            value["type"] = kind.into();
        }
        let encoded: Map<String, Value> = data
            .into_iter()
            .map(|(key, bytes)| (key, json!(BASE64_STANDARD.encode(bytes))))
            .collect();
        if !encoded.is_empty() {
            value["data"] = encoded.into();
        }
        Ok((value, writing))
    }
}

impl DataArgs {
    fn read(&self) -> Result<Data, CliError> {
        let mut data = Data::new();
        for literal in &self.from_literal {
            let (key, value) = literal
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| {
                    CliError::usage(format!(
                        "invalid literal source {literal}, expected key=value"
                    ))
                })?;
            data.push((key.to_owned(), value.as_bytes().to_vec()));
        }
        for source in &self.from_file {
            files(source, &mut data)?;
        }
        for path in &self.from_env_file {
            let text = String::from_utf8_lossy(&read(path)?).into_owned();
            for line in text
                .lines()
                .map(str::trim_start)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                // A bare key takes the value of the environment in kubectl; nothing here reads that.
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                data.push((key.to_owned(), value.as_bytes().to_vec()));
            }
        }
        let mut keys: Vec<&String> = data.iter().map(|(key, _)| key).collect();
        keys.sort();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(data),
            Some(twice) => Err(CliError::usage(format!(
                "cannot add key {}, another key by that name already exists",
                twice[0]
            ))),
        }
    }
}

fn files(source: &str, data: &mut Data) -> Result<(), CliError> {
    if let Some((key, path)) = source.split_once('=') {
        if key.is_empty() || path.is_empty() {
            return Err(CliError::usage(format!(
                "invalid file source {source}, expected key=path or path"
            )));
        }
        data.push((key.to_owned(), read(Path::new(path))?));
        return Ok(());
    }
    let path = Path::new(source);
    let wrong = |error| CliError::File {
        path: path.to_owned(),
        error,
    };
    let mut paths = vec![path.to_owned()];
    if path.is_dir() {
        paths = std::fs::read_dir(path)
            .and_then(|entries| {
                entries
                    .map(|entry| entry.map(|entry| entry.path()))
                    .collect()
            })
            .map_err(wrong)?;
        paths.retain(|path| path.is_file());
        paths.sort();
    }
    for path in paths {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        data.push((name, read(&path)?));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let wrong = |error| CliError::File {
        path: path.to_owned(),
        error,
    };
    let size = std::fs::metadata(path).map_err(wrong)?.len();
    if usize::try_from(size).unwrap_or(usize::MAX) > limits::MANIFEST_BYTES {
        return Err(CliError::usage(format!(
            "{} is larger than {} bytes",
            path.display(),
            limits::MANIFEST_BYTES
        )));
    }
    std::fs::read(path).map_err(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn data_comes_from_texts_and_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.conf");
        std::fs::write(&file, "x").unwrap();
        let env = directory.path().join("env");
        std::fs::write(&env, "# comment\nK=V\n\nE=\n").unwrap();
        let args = DataArgs {
            from_literal: vec!["l=a=b".to_owned()],
            from_file: vec![
                file.display().to_string(),
                format!("named={}", file.display()),
            ],
            from_env_file: vec![env],
        };
        let read: Vec<(String, String)> = args
            .read()
            .unwrap()
            .into_iter()
            .map(|(key, value)| (key, String::from_utf8(value).unwrap()))
            .collect();
        let expected = [
            ("l", "a=b"),
            ("a.conf", "x"),
            ("named", "x"),
            ("K", "V"),
            ("E", ""),
        ];
        assert_eq!(
            read,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        let twice = DataArgs {
            from_literal: vec!["a=1".into(), "a=2".into()],
            ..DataArgs::default()
        };
        assert!(twice.read().is_err());
    }
}
