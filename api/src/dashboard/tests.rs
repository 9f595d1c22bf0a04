//! The page is whole, and asks for nothing that is not there.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use millrace_common::config::DashboardConfig;

use super::*;

fn text(name: &str) -> String {
    String::from_utf8(files::find(name).unwrap().bytes.to_vec()).unwrap()
}

/// What stands between quotes after `before`.
fn quoted(text: &str, before: &str) -> Vec<String> {
    let parts = text.split(before).skip(1);
    parts.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

#[test]
fn every_file_of_the_folder_is_served_and_every_reference_is_a_file() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dashboard/assets");
    let mut inside: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut served: Vec<_> = files::all().map(|file| file.name.to_owned()).collect();
    inside.sort();
    served.sort();
    assert_eq!(inside, served);
    for file in files::all() {
        let text = text(file.name);
        for before in ["href=\"", "src=\"", "from \"", "import(\""] {
            let other = |reference: &String| reference.starts_with('#') || reference == "/docs";
            let given = quoted(&text, before).into_iter().filter(|reference| !other(reference));
            for reference in given {
                let local = reference.strip_prefix("/dashboard/").or(reference.strip_prefix("./"));
                let local = local.unwrap_or_else(|| panic!("{} leads to {reference}", file.name));
                assert!(
                    local.is_empty() || files::find(local).is_some(),
                    "{} leads to {reference}",
                    file.name
                );
            }
        }
        // What the policy forbids would fail in silence.
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=\"",
            " onclick=",
        ] {
            assert!(!text.contains(forbidden), "{} has {forbidden}", file.name);
        }
    }
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again() {
    let config = DashboardConfig::default();
    let first = serve(&config, PAGE, &HeaderMap::new()).unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let tag = first.headers()[header::ETAG].clone();
    for (known, status) in [(tag.to_str().unwrap(), 304), ("\"other\"", 200), ("W/\"a\", *", 304)] {
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
        let answer = serve(&config, PAGE, &headers).unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()[header::ETAG]), (status, &tag), "{known}");
        // A browser takes the policy of the newest answer for the page that it has.
        assert_eq!(answer.headers()[header::CONTENT_SECURITY_POLICY], policy(&config), "{known}");
    }
    for name in ["", "x.js", "../mod.rs", "assets/app.js"] {
        assert_eq!(serve(&config, name, &HeaderMap::new()).unwrap_err().status(), 404, "{name}");
    }
    let off = DashboardConfig { enabled: false, ..config };
    assert_eq!(serve(&off, PAGE, &HeaderMap::new()).unwrap_err().status(), 404);
}

#[test]
fn the_policy_allows_the_server_itself_and_the_token_endpoint() {
    let alone = policy(&DashboardConfig::default());
    assert!(alone.to_str().unwrap().contains("script-src 'self'; style-src 'self';"));
    assert!(alone.to_str().unwrap().contains("connect-src 'self' ;"));
    assert!(!alone.to_str().unwrap().contains("unsafe") && !alone.to_str().unwrap().contains("http"));
    let config = DashboardConfig {
        oidc_client_id: "millrace".to_owned(),
        oidc_token_endpoint: "https://login.example.com/realms/a/token".to_owned(),
        ..DashboardConfig::default()
    };
    assert!(policy(&config).to_str().unwrap().contains("connect-src 'self' https://login.example.com;"));
}
