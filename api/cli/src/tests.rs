//! The command line as a whole: it parses, and its help stays what it is.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use clap::CommandFactory;

use super::*;

/// The help of every command, in the order of the top-level help.
fn all_help() -> String {
    fn collect(command: &clap::Command, path: &str, text: &mut String) {
        let top = path.is_empty();
        let path = format!("{path} {}", command.get_name());
        // Options of every command are shown once, at the top.
        let mut shown = command.clone();
        if !top {
            shown = shown.disable_help_flag(true).disable_version_flag(true).mut_args(|arg| {
                let common = arg.is_global_set() || matches!(arg.get_id().as_str(), "help" | "version");
                arg.hide(common)
            });
        }
        text.push_str(&format!("==={path}\n{}\n", shown.render_long_help()));
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            collect(child, &path, text);
        }
    }
    let mut command = Cli::command().term_width(120);
    command.build();
    let mut text = String::new();
    collect(&command, "", &mut text);
    text
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_is_complete() {
    insta::assert_snapshot!(all_help());
}

#[test]
fn commands_parse_as_documented() {
    let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
    for line in [
        "millrace doctor --config a.toml --json --management-url http://127.0.0.1:15672",
        "millrace login --url http://127.0.0.1:8080 --tenant acme",
        "millrace service upload sales.xlsx demo/sales --version-difference patch --label a --note b",
        "millrace service list",
        "millrace service list demo --output-format json",
        "millrace batch run demo/sales --input - --output - --key a --key b --param x=1 --param y:=2 --output-names a,b",
        "millrace --profile p batch run s -i a -o b --resume --unordered --in-flight 8 --acceptable-errors 2.5",
        "millrace batch status 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --watch",
        "millrace batch watch 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --output-format json",
        "millrace batch pause 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11",
        "millrace batch resume 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11",
        "millrace recipe batch pause 7",
        "millrace recipe batch resume 7",
        "millrace batch failures 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --kind records --max 0",
        "millrace batch redrive 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --kind chunks --service a/b --term priority:=1 --keep-open",
        "millrace batch report 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --no-digests --output-format json",
        "millrace dataset create dataset.json --parameter income:number --parameter note:string? --title t --quiet",
        "millrace dataset upload 7 - --format jsonl --quiet",
        "millrace dataset members 7 --max 5 --output-format json",
        "millrace job-type draft loans/price --name rate --as-version 1.1.0 --timeout 5",
        "millrace job-type create price.job.json --service loans/price[0.2]",
        "millrace job-type update price 1.0.0 --paused true --max-tries 5 --no-auto-update",
        "millrace recipe type create loan.json --title Loan",
        "millrace recipe type show loan --revision 1 --definition",
        "millrace recipe type diff loan -",
        "millrace recipe batch create loan --dataset 7 --map income=salary --priority 10 --title t --watch",
        "millrace recipe batch create loan --previous 3 --force price --force rate --no-supersede --quiet",
        "millrace recipe batch validate loan --definition batch.json",
        "millrace recipe batch list --type loan --root 3 --created true --started PT3H --order -created --max 5",
        "millrace recipe batch compare 3",
        "millrace recipe create loan --set income:=3100 --set name=Ann",
        "millrace recipe list --batch 3 --completed false",
        "millrace recipe reprocess 12 --force-all --revision 2",
        "millrace job list --batch 3 --status failed --error-category DATA",
        "millrace job requeue 3 4 --batch 7 --priority 5",
        "millrace webhook create https://example.org/hook --event batch.failed --event batch.completed --description d",
        "millrace webhook update 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --active false --to https://example.org/other",
        "millrace webhook deliveries 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --state dead --max 5",
        "millrace tenant create acme --if-missing --config c.toml",
        "millrace key create --tenant acme --owner ann --group a --group b --quiet",
        "millrace key create --tenant acme --owner ann --scope batch --scope execute --expires 90d",
        "millrace tenant limit acme --requests-per-second 10 --push-bytes-per-second 0",
        "millrace --url http://127.0.0.1:8081 health --probe livez",
        "millrace audit --tenant acme --after 7 --max 5 --actor ann --action key.create",
        "millrace key revoke 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for line in [
        "millrace",
        "millrace batch run demo/sales --input a",
        "millrace batch run demo/sales --input a --output b --chunk-records 0",
        "millrace batch run demo/sales --input a --output b --acceptable-errors 101",
        "millrace batch status 7",
        "millrace batch failures 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --kind some",
        "millrace batch redrive 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --term priority",
        "millrace service upload sales.xlsx sales",
        "millrace dataset create",
        "millrace dataset create --parameter income:float",
        "millrace recipe batch create loan",
        "millrace recipe batch create loan --dataset 7 --force a --force-all",
        "millrace recipe batch show loan",
        "millrace recipe create loan --set income",
        "millrace job-type show price --revision 2",
        "millrace job list --status done",
        "millrace key create",
        "millrace key create --owner ann --scope root",
        "millrace key create --owner ann --expires soon",
        "millrace tenant limit acme --requests-per-second -1",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn no_option_takes_the_key() {
    let options: Vec<String> = all_help().lines().map(str::to_owned).collect();
    assert!(!options.iter().any(|line| line.contains("--api-key")));
}
