//! Where the server's address, tenant and key come from: options, then variables, then the profile file.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use millrace_common::config::Secret;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::error::CliError;
use super::{Globals, LoginArgs, say};

/// Holds the API key; not an option, because command lines are visible to every user of a machine.
pub const KEY_VARIABLE: &str = "MILLRACE_API_KEY";

/// Which server, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `http://host:port`, without a slash at the end.
    pub url: String,
    /// The tenant.
    pub tenant: String,
    /// The API key.
    pub key: Secret,
    /// A PEM file with the authorities that an https server is checked against; `None`: those of the system.
    pub ca: Option<PathBuf>,
}

/// One profile of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: String,
    tenant: String,
    key: Secret,
    ca: Option<PathBuf>,
}

/// The profile file. The key is written in the clear, for which the file has mode 0600.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// How a profile is written: with the key shown.
#[derive(Serialize)]
struct WrittenProfile<'a> {
    url: &'a str,
    tenant: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<&'a Path>,
}

impl Profiles {
    fn read(path: &Path) -> Result<Self, CliError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CliError::file(path, error)),
        };
        if let Ok(metadata) = std::fs::metadata(path)
            && metadata.permissions().mode() & 0o077 != 0
        {
            say(&format!(
                "warning: {0} can be read by others; run `chmod 600 {0}` and consider a new key",
                path.display()
            ));
        }
        // The message of the parser would quote the file, key included.
        toml::from_str(&text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            CliError::Usage(format!("{}: line {line} is not what `millrace login` writes", path.display()))
        })
    }

    /// Replaces the file in one step; nobody else can read it at any moment.
    fn write(&self, path: &Path) -> Result<(), CliError> {
        let profiles: BTreeMap<&str, WrittenProfile<'_>> = self
            .profiles
            .iter()
            .map(|(name, profile)| {
                let Profile { url, tenant, key, ca } = profile;
                (name.as_str(), WrittenProfile { url, tenant, key: key.expose(), ca: ca.as_deref() })
            })
            .collect();
        let text = toml::to_string(&BTreeMap::from([("profiles", profiles)]))
            .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        let wrap = |error| CliError::file(path, error);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(wrap)?;
        }
        let draft = path.with_extension(format!("toml.{}", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(wrap)?;
        file.write_all(text.as_bytes()).map_err(wrap)?;
        file.sync_all().map_err(wrap)?;
        std::fs::rename(&draft, path).map_err(wrap)
    }
}

/// The profile file of this user.
fn profile_path() -> Result<PathBuf, CliError> {
    let folder = dirs::config_dir().ok_or_else(|| {
        CliError::Usage(
            "there is no home directory for a profile: set HOME, or MILLRACE_URL, MILLRACE_TENANT and MILLRACE_API_KEY"
                .to_owned(),
        )
    })?;
    Ok(folder.join("millrace").join("config.toml"))
}

/// Checks a server's address and takes slashes off its end.
pub fn server_url(text: &str) -> Result<String, CliError> {
    let refused =
        |why: &str| CliError::Usage(format!("the URL {text:?} {why}, for example http://127.0.0.1:8080"));
    let url = reqwest::Url::parse(text).map_err(|_| refused("is not an absolute address"))?;
    match url.scheme() {
        "http" | "https" => {}
        _ => return Err(refused("begins neither with http:// nor with https://")),
    }
    if url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
        return Err(refused("must consist of scheme, host and port"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Puts together what options, variables and the profile file say.
fn resolve(
    globals: &Globals,
    key: Option<String>,
    profiles: impl FnOnce() -> Result<Profiles, CliError>,
) -> Result<Connection, CliError> {
    let url = globals.url.as_deref().map(server_url).transpose()?;
    if let (Some(url), Some(tenant), Some(key)) = (&url, &globals.tenant, &key) {
        let (url, tenant, key) = (url.clone(), tenant.clone(), Secret::new(key.clone()));
        return Ok(Connection { url, tenant, key, ca: globals.ca.clone() });
    }
    let name = globals.profile.as_deref().unwrap_or("default");
    let mut profile = profiles()?.profiles.remove(name);
    if profile.is_none() && globals.profile.is_some() {
        return Err(CliError::Usage(format!(
            "there is no profile {name:?}: make it with `millrace login --profile {name}`"
        )));
    }
    // A stored key is only sent to the server that it was stored for, and used for its own tenant.
    let elsewhere = |profile: &Profile| {
        url.as_ref().is_some_and(|url| *url != profile.url)
            || globals.tenant.as_ref().is_some_and(|tenant| *tenant != profile.tenant)
    };
    if key.is_none() && profile.as_ref().is_some_and(elsewhere) {
        return Err(CliError::Usage(format!(
            "the profile {name:?} is for another server or tenant: set {KEY_VARIABLE}, or use --profile NAME"
        )));
    }
    let (stored_url, stored_tenant, stored_key, stored_ca) = match profile.take() {
        Some(profile) => (Some(profile.url), Some(profile.tenant), Some(profile.key), profile.ca),
        None => (None, None, None, None),
    };
    let missing =
        |what: &str| CliError::Usage(format!("no {what} is known: run `millrace login`, or give {what}"));
    Ok(Connection {
        url: url.or(stored_url).ok_or_else(|| missing("--url (MILLRACE_URL)"))?,
        tenant: globals
            .tenant
            .clone()
            .or(stored_tenant)
            .ok_or_else(|| missing("--tenant (MILLRACE_TENANT)"))?,
        key: key.map(Secret::new).or(stored_key).ok_or_else(|| missing("MILLRACE_API_KEY"))?,
        ca: globals.ca.clone().or(stored_ca),
    })
}

/// The key in the environment, if any.
fn key_variable() -> Option<String> {
    std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty())
}

/// Who to talk to, as the command line says.
pub fn connection(globals: &Globals) -> Result<Connection, CliError> {
    resolve(globals, key_variable(), || Profiles::read(&profile_path()?))
}

/// `millrace login`: asks for a key, tries it, stores it.
pub async fn login(globals: &Globals, args: &LoginArgs) -> Result<(), CliError> {
    let usage = |text: &str| CliError::Usage(text.to_owned());
    let url = server_url(
        globals
            .url
            .as_deref()
            .ok_or_else(|| usage("login needs --url URL, for example http://127.0.0.1:8080"))?,
    )?;
    let tenant = globals.tenant.clone().ok_or_else(|| usage("login needs --tenant NAME"))?;
    let key = read_key()?;
    // The profile is read from anywhere later.
    let ca = globals.ca.as_ref().map(|path| path.canonicalize().map_err(|error| CliError::file(path, error)));
    let connection = Connection { url, tenant, key, ca: ca.transpose()? };
    if !args.unchecked {
        Client::new(connection.clone())?.overview_json().await?;
    }
    let path = profile_path()?;
    let name = globals.profile.clone().unwrap_or_else(|| "default".to_owned());
    let mut profiles = Profiles::read(&path)?;
    let Connection { url, tenant, key, ca } = connection;
    profiles.profiles.insert(name.clone(), Profile { url, tenant, key, ca });
    profiles.write(&path)?;
    say(&format!("stored as profile {name:?} in {}", path.display()));
    Ok(())
}

/// Reads the key from the variable, a prompt without echo, or the first line of standard input.
fn read_key() -> Result<Secret, CliError> {
    let stdin = Path::new("standard input");
    let text = if std::io::stdin().is_terminal() {
        let terminal = console::Term::stderr();
        terminal.write_str("API key: ").map_err(|error| CliError::file(stdin, error))?;
        terminal.read_secure_line().map_err(|error| CliError::file(stdin, error))?
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(|error| CliError::file(stdin, error))?;
        line
    };
    let key = match text.trim() {
        "" => key_variable().unwrap_or_default(),
        key => key.to_owned(),
    };
    if key.is_empty() {
        return Err(CliError::Usage(
            "no key was given: type it at the prompt, or send it on standard input".to_owned(),
        ));
    }
    if key.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(CliError::Usage(
            "the key has characters that no key has: was all of it copied?".to_owned(),
        ));
    }
    Ok(Secret::new(key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn globals(url: Option<&str>, tenant: Option<&str>, profile: Option<&str>) -> Globals {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Globals { url: own(url), tenant: own(tenant), profile: own(profile), ..Globals::default() }
    }

    fn stored() -> Result<Profiles, CliError> {
        let profile = |url: &str| Profile {
            url: url.to_owned(),
            tenant: "acme".to_owned(),
            key: Secret::new("stored-key"),
            ca: None,
        };
        Ok(Profiles {
            profiles: BTreeMap::from([
                ("default".to_owned(), profile("http://a:1")),
                ("other".to_owned(), profile("http://b:2")),
            ]),
        })
    }

    #[test]
    fn options_win_over_the_profile() {
        let got = resolve(&globals(None, None, None), None, stored).unwrap();
        assert_eq!((got.url.as_str(), got.key.expose()), ("http://a:1", "stored-key"));
        let got = resolve(&globals(None, None, Some("other")), Some("k".to_owned()), stored).unwrap();
        assert_eq!((got.url.as_str(), got.tenant.as_str(), got.key.expose()), ("http://b:2", "acme", "k"));
        let got = resolve(&globals(Some("http://c:3/"), Some("t"), None), Some("k".to_owned()), || {
            panic!("the file is not needed")
        })
        .unwrap();
        assert_eq!((got.url.as_str(), got.tenant.as_str()), ("http://c:3", "t"));
    }

    #[test]
    fn a_stored_key_never_goes_to_another_server() {
        for globals in [globals(Some("http://evil:1"), None, None), globals(None, Some("them"), None)] {
            assert!(matches!(resolve(&globals, None, stored), Err(CliError::Usage(_))));
        }
        assert!(resolve(&globals(Some("http://a:1/"), Some("acme"), None), None, stored).is_ok());
    }

    #[test]
    fn what_is_missing_is_named() {
        let empty = || Ok(Profiles::default());
        let error = resolve(&globals(None, Some("t"), None), Some("k".to_owned()), empty).unwrap_err();
        assert!(error.to_string().contains("MILLRACE_URL"), "{error}");
        let error = resolve(&globals(Some("http://h:1"), Some("t"), None), None, empty).unwrap_err();
        assert!(error.to_string().contains(KEY_VARIABLE), "{error}");
        let error = resolve(&globals(None, None, Some("nope")), None, stored).unwrap_err();
        assert!(error.to_string().contains("login --profile nope"), "{error}");
    }

    #[test]
    fn addresses_are_checked() {
        for bad in ["localhost:8080", "ftp://h", "http://", "http://h?x=1", ""] {
            assert!(matches!(server_url(bad), Err(CliError::Usage(_))), "{bad}");
        }
        assert_eq!(server_url("http://h:8080/base/").unwrap(), "http://h:8080/base");
        assert_eq!(server_url("https://h").unwrap(), "https://h");
    }

    #[test]
    fn profiles_are_kept_privately_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("millrace").join("config.toml");
        stored().unwrap().write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Profiles::read(&path).unwrap();
        assert_eq!(read.profiles["other"].key.expose(), "stored-key");
        assert!(!format!("{read:?}").contains("stored-key"));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft stays behind");
    }

    #[test]
    fn a_broken_file_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "[profiles.default]\nkey = secret-key\n").unwrap();
        let error = Profiles::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("secret-key"), "{error}");
    }
}
