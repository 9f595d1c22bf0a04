#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load_from(None, variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

#[test]
fn the_committed_sample_states_the_defaults() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/millrace.toml");
    let config = Config::load_from(Some(&sample), Vec::new()).expect("the sample parses");
    assert_eq!(config, Config::default());
    // Every key must be written out, so that the sample documents all of them.
    let written: toml::Table = std::fs::read_to_string(&sample).unwrap().parse().unwrap();
    let all = toml::Table::try_from(Config::default()).unwrap();
    for (section, keys) in &all {
        for key in keys.as_table().unwrap().keys() {
            assert!(written[section].get(key).is_some(), "deploy/millrace.toml lacks {section}.{key}");
        }
    }
}

#[test]
fn variables_override_with_two_underscores() {
    let config = load(&[("MILLRACE_BROKER__PREFIX", "other"), ("MILLRACE_WORKER__SLOTS", "3")]).unwrap();
    assert_eq!((config.broker.prefix.as_str(), config.worker.slots), ("other", 3));
}

#[test]
fn unknown_keys_are_refused_wherever_they_come_from() {
    assert!(load(&[("MILLRACE_BROKER__PREFX", "x")]).unwrap_err().to_string().contains("prefx"));
    assert!(matches!(load(&[("MILLRACE_BROKER_PREFIX", "x")]), Err(ConfigError::UnknownVariable(_))));
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), "[worker]\nslts = 2\n").unwrap();
    assert!(Config::load_from(Some(file.path()), Vec::new()).unwrap_err().to_string().contains("slts"));
}

#[test]
fn contradictions_are_refused() {
    let error = load(&[("MILLRACE_LIMITS__CHUNK_BYTES", "99000000")]).unwrap_err();
    assert!(error.to_string().contains("limits.body_bytes"), "{error}");
}

#[test]
fn secrets_never_show() {
    let config = load(&[("MILLRACE_DATABASE__URL", "postgres://u:hunter2@h/d")]).unwrap();
    assert_eq!(config.database.url.expose(), "postgres://u:hunter2@h/d");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!toml::to_string(&config).unwrap().contains("hunter2"));
}

#[test]
fn the_key_of_webhooks_is_32_bytes_and_never_shows() {
    let text = "NzdmYzI5ZjQtN2U0Ni00YzE5LTg1NzctNzdmYzI5ZjQ=";
    let config = load(&[("MILLRACE_WEBHOOKS__SECRET_KEY", text)]).unwrap();
    assert_eq!(config.webhooks.secret_key.expose(), Some(b"77fc29f4-7e46-4c19-8577-77fc29f4"));
    assert!(!format!("{config:?}").contains(text) && !toml::to_string(&config).unwrap().contains(text));
    for bad in ["x", "AAAA", "1234"] {
        let error = load(&[("MILLRACE_WEBHOOKS__SECRET_KEY", bad)]).unwrap_err().to_string();
        assert!(error.contains("32 bytes in base64") && !error.contains(bad), "{error}");
    }
}

#[test]
fn address_ranges_are_a_list_also_as_a_variable() {
    let config = load(&[("MILLRACE_WEBHOOKS__ALLOW_PRIVATE", "10.1.0.0/16,fd00::/8")]).unwrap();
    let ranges: Vec<String> = config.webhooks.allow_private.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.1.0.0/16", "fd00::/8"]);
    assert!(load(&[("MILLRACE_WEBHOOKS__ALLOW_PRIVATE", "10.1.0.0/99")]).is_err());
}
