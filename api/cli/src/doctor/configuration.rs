//! The configuration itself. That it has no unknown keys and does not contradict itself is what loading it has shown.

use std::net::IpAddr;
use std::path::Path;

use millrace_common::broker::Probe;
use millrace_common::config::Config;
use millrace_common::store::Store;

use super::finding::{Findings, Status};

/// Passwords that everybody tries first.
const WEAK: [&str; 11] =
    ["", "admin", "guest", "millrace", "pass", "password", "postgres", "rabbitmq", "root", "secret", "test"];
/// Texts in place of a password that was never filled in.
const PLACEHOLDERS: [&str; 6] = ["change", "example", "placeholder", "replace", "todo", "your-"];

/// Who can be on the way to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// This machine.
    Local,
    /// A private network, or a name without a domain.
    Private,
    Public,
}

pub fn check(config: &Config, file: Option<&Path>, findings: &mut Findings) {
    let seen = file.map_or_else(
        || "defaults and variables; no file".to_owned(),
        |file| format!("{} and variables", file.display()),
    );
    findings.ok("readable", seen);
    if let Some(file) = file {
        check_file(file, findings);
    }
    check_listening(config, findings);
    check_broker_url(config, findings);
    check_database_url(config, findings);
    for (name, issuer) in &config.auth.issuers {
        let plain = issuer.jwks_url.starts_with("http://")
            && url_host(&issuer.jwks_url).is_none_or(|host| reach(host) > Reach::Local);
        let status = if plain { Status::Warning } else { Status::Ok };
        findings.judge(
            "issuer-keys",
            status,
            format!(
                "auth.issuers.{name}: {}",
                if plain { "keys over http" } else { "keys over https, from a file, or from this machine" }
            ),
            "whoever can change the keys on their way can sign tokens of every tenant",
            format!("an https address in auth.issuers.{name}.jwks_url"),
        );
    }
}

/// Secrets in a file are for its owner and group.
#[cfg(unix)]
fn check_file(file: &Path, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(mode) = std::fs::metadata(file).map(|found| found.permissions().mode()) else { return };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let parsed: toml::Table = text.parse().unwrap_or_default();
    let has = |section: &str, key: &str| {
        let value = parsed.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_str);
        value.is_some_and(|value| !value.is_empty())
    };
    let secret =
        [("database", "url"), ("broker", "url"), ("webhooks", "secret_key"), ("telemetry", "metrics_token")]
            .iter()
            .any(|(section, key)| has(section, key));
    let open = secret && mode & 0o004 != 0;
    // A folder that nobody else may enter protects what is in it.
    let shut = file.canonicalize().is_ok_and(|path| {
        path.ancestors().skip(1).any(|folder| {
            std::fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & 0o001 == 0)
        })
    });
    let status = if open && !shut { Status::Warning } else { Status::Ok };
    findings.judge(
        "file-mode",
        status,
        format!("{:o}", mode & 0o777),
        "the file has secrets in it, and every user of this machine can read it",
        format!("chmod o-r {}", file.display()),
    );
}

#[cfg(not(unix))]
fn check_file(_: &Path, _: &mut Findings) {}

fn check_listening(config: &Config, findings: &mut Findings) {
    let reached = |address: IpAddr| if address.is_unspecified() { Reach::Public } else { reach_of(address) };
    let http = config.http.listen;
    let open = reached(http.ip()) == Reach::Public && config.http.tls_certificate.is_empty();
    findings.judge(
        "http-tls",
        if open { Status::Warning } else { Status::Ok },
        format!(
            "http.listen is {http}, {}",
            if config.http.tls_certificate.is_empty() { "without TLS" } else { "with TLS" }
        ),
        "API keys and records cross the network in the clear, unless a proxy in front of it speaks TLS",
        "http.tls_certificate and http.tls_key, or an address that only the proxy reaches",
    );
    let open =
        [http.ip(), config.worker.listen.ip()].into_iter().any(|address| reached(address) == Reach::Public)
            && config.telemetry.metrics_token.expose().is_empty();
    findings.judge(
        "metrics-token",
        if open { Status::Warning } else { Status::Ok },
        if config.telemetry.metrics_token.expose().is_empty() {
            "telemetry.metrics_token is empty"
        } else {
            "set"
        },
        "whoever reaches the address reads /metrics; the API leaves out there what names tenants",
        "set telemetry.metrics_token, and have Prometheus send it",
    );
}

fn check_broker_url(config: &Config, findings: &mut Findings) {
    let probe = Probe::new(&config.broker);
    let (Ok((encrypted, host)), Ok(access)) = (probe.destination(), probe.management()) else { return };
    let reach = reach(&host);
    findings.judge(
        "broker-tls",
        if reach == Reach::Public && !encrypted { Status::Warning } else { Status::Ok },
        format!("{host}, {}", if encrypted { "amqps" } else { "amqp" }),
        "the password and every record cross a public network in the clear",
        "amqps:// in broker.url, and broker.tls_ca where the authority is your own",
    );
    check_password("broker-password", "broker.url", access.password.expose(), reach, findings);
}

fn check_database_url(config: &Config, findings: &mut Findings) {
    let Ok(to) = Store::destination(&config.database) else { return };
    let reach = to.hosts.iter().map(|host| reach(host)).max().unwrap_or(Reach::Local);
    let seen = format!(
        "{}, {}",
        if to.hosts.is_empty() { "a local socket".to_owned() } else { to.hosts.join(", ") },
        match (to.encrypted, to.verified) {
            (true, true) => "encrypted, certificate checked",
            (true, false) => "encrypted, certificate not checked",
            (false, _) => "encrypted only if the server wants it",
        }
    );
    findings.judge(
        "database-tls",
        if reach == Reach::Public && !(to.encrypted && to.verified) { Status::Warning } else { Status::Ok },
        seen,
        "the password and every result cross a public network in the clear, or to whoever says that it is the database",
        "?sslmode=verify-full in database.url, and database.tls_ca where the authority is your own",
    );
    // Without one the server trusts the address or a certificate.
    if let Some(password) = &to.password {
        check_password("database-password", "database.url", password.expose(), reach, findings);
    }
}

fn check_password(check: &str, setting: &str, password: &str, reach: Reach, findings: &mut Findings) {
    let lower = password.to_lowercase();
    let placeholder = PLACEHOLDERS.iter().any(|text| lower.contains(text));
    let weak = WEAK.contains(&lower.as_str());
    let status = match (placeholder || weak, reach) {
        (true, Reach::Local) if !placeholder => Status::Ok,
        (true, Reach::Public) => Status::Error,
        (true, _) => Status::Warning,
        (false, _) => Status::Ok,
    };
    let seen = if placeholder {
        "a placeholder"
    } else if weak {
        "one that everybody knows"
    } else {
        "one of your own"
    };
    findings.judge(
        check,
        status,
        format!("the password of {setting} is {seen}"),
        "whoever reaches the address has everything in it",
        format!("another password there and in {setting}: `openssl rand -hex 24`"),
    );
}

fn url_host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    }
}

fn reach(host: &str) -> Reach {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return reach_of(address);
    }
    let host = host.trim_end_matches('.').to_lowercase();
    if host == "localhost" || host.ends_with(".localhost") || host.starts_with('/') {
        Reach::Local
    } else if !host.contains('.')
        || [".local", ".internal", ".svc", ".lan"].iter().any(|end| host.ends_with(end))
    {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn reach_of(address: IpAddr) -> Reach {
    let private = match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    match (address.is_loopback(), private) {
        (true, _) => Reach::Local,
        (_, true) => Reach::Private,
        _ => Reach::Public,
    }
}

#[cfg(test)]
mod tests {
    use millrace_common::config::Secret;

    use super::*;

    fn checked(change: impl FnOnce(&mut Config)) -> Findings {
        let mut config = Config::default();
        change(&mut config);
        let mut findings = Findings::default();
        findings.enter("configuration");
        check(&config, None, &mut findings);
        findings
    }

    #[test]
    fn the_defaults_are_for_one_machine_and_fine_there() {
        assert_eq!(checked(|_| {}).worst(), Status::Ok);
    }

    #[test]
    fn what_a_network_sees_is_encrypted_and_has_passwords_of_its_own() {
        let findings = checked(|config| {
            config.http.listen.set_ip([0, 0, 0, 0].into());
            config.broker.url = Secret::new("amqp://guest:guest@rabbit.example.org:5672/%2f");
            config.database.url = Secret::new("postgres://a:CHANGE-ME@db/millrace");
        });
        for (check, status) in [
            ("http-tls", Status::Warning),
            ("metrics-token", Status::Warning),
            ("broker-tls", Status::Warning),
            ("broker-password", Status::Error),
            ("database-tls", Status::Ok),
            ("database-password", Status::Warning),
        ] {
            assert_eq!(findings.status(&format!("configuration.{check}")), Some(status), "{check}");
        }
        let findings = checked(|config| {
            config.broker.url = Secret::new("amqps://m:7f3a9c@rabbit.example.org:5671/%2f");
            config.database.url = Secret::new("postgres://a:7f3a9c@db.example.org/m?sslmode=require");
        });
        assert_eq!(findings.status("configuration.broker-tls"), Some(Status::Ok));
        assert_eq!(findings.status("configuration.database-tls"), Some(Status::Warning));
        assert_eq!(findings.status("configuration.database-password"), Some(Status::Ok));
    }

    #[test]
    fn reach_goes_by_address_and_name() {
        for (host, expected) in [
            ("127.0.0.1", Reach::Local),
            ("::1", Reach::Local),
            ("localhost", Reach::Local),
            ("10.2.3.4", Reach::Private),
            ("fd00::1", Reach::Private),
            ("broker", Reach::Private),
            ("db.prod.svc", Reach::Private),
            ("8.8.8.8", Reach::Public),
            ("db.example.org", Reach::Public),
        ] {
            assert_eq!(reach(host), expected, "{host}");
        }
        assert_eq!(url_host("http://u@[::1]:80/x"), Some("::1"));
        assert_eq!(url_host("http://idp.example.org/x"), Some("idp.example.org"));
    }
}
