"""The documents of the repository: links lead somewhere, and what they name exists: settings, metrics, files, commands, codes."""

import functools
import json
import pathlib
import re
import subprocess
import tomllib

import pytest

from conftest import DEPLOY, ROOT, load

# Files of git, those that are new included: what a build or a run left behind is none of it.
LISTED = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
FILES = {path for path in subprocess.run(LISTED, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines() if (ROOT / path).exists()}
FOLDERS = {str(parent) for path in FILES for parent in pathlib.PurePath(path).parents}
DOCUMENTS = sorted(path for path in FILES if path.endswith(".md"))

FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2", re.M | re.S)
CODE = re.compile(r"(`+)(.+?)\1", re.S)


@functools.cache
def text(path: str) -> str:
    return (ROOT / path).read_text()


def prose(path: str) -> str:
    """The document without its blocks of code."""
    return FENCE.sub("", text(path))


def spans(path: str) -> set[str]:
    """What stands in code within the prose."""
    return {re.sub(r"\s+", " ", found[1]).strip() for found in CODE.findall(prose(path))}


def anchor(heading: str) -> str:
    """The anchor that a heading gets where the repository is shown."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@functools.cache
def anchors(path: str) -> set[str]:
    found, taken = set(), {}
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(path), re.M):
        name = anchor(heading)
        again = taken.get(name, 0)
        taken[name] = again + 1
        found.add(f"{name}-{again}" if again else name)
    return found


def exists(path: str) -> bool:
    return path in FILES or path.rstrip("/") in FOLDERS


def test_the_reader_of_documents_reads():
    assert {"README.md", "deploy/TROUBLESHOOTING.md", "api/ERRORS.md"} <= set(DOCUMENTS)
    assert anchor("The `two` ways, [again](x.md)!") == "the-two-ways-again"
    assert anchor("429: not now") == "429-not-now"
    assert "alerts" in anchors("deploy/TROUBLESHOOTING.md")
    assert "millrace batch report ID" in spans("deploy/TROUBLESHOOTING.md")


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^()\s]+)\)", CODE.sub("", prose(path))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        file, _, fragment = target.partition("#")
        where = path if not file else str((ROOT / path).parent.joinpath(file).resolve().relative_to(ROOT))
        assert where == "." or exists(where), f"{target} leads nowhere"
        if fragment:
            assert where in DOCUMENTS and fragment in anchors(where), f"{target}: no such heading"


# Folders whose paths are named in code as well as in links.
TOP = {path.split("/")[0] for path in FILES if "/" in path}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_files_that_are_named_exist(path):
    for span in spans(path):
        span = re.sub(r"[:#].*$", "", span)
        if not re.fullmatch(r"[\w.{},*/-]+", span) or span.split("/")[0] not in TOP or "/" not in span:
            continue
        patterns = [span]
        if braces := re.search(r"\{([\w.,-]+)\}", span):
            patterns = [span.replace(braces.group(0), each) for each in braces.group(1).split(",")]
        for pattern in patterns:
            # As it stands, from here, or a module without its ending.
            near = str(pathlib.PurePath(path).parent / pattern)
            found = any(exists(name + ending) for name in (pattern, near) for ending in ("", ".rs")) or any((ROOT / ".").glob(pattern))
            assert found, f"{span} does not exist"


def leaves(settings: dict, prefix: str = "") -> set[str]:
    names = set()
    for key, value in settings.items():
        names.add(f"{prefix}{key}")
        if isinstance(value, dict):
            names |= leaves(value, f"{prefix}{key}.")
    return names


SETTINGS = tomllib.loads((DEPLOY / "millrace.toml").read_text())
KNOWN_SETTINGS = leaves(SETTINGS)
# Settings of one issuer stand in comments there, since an issuer has a name of its own.
ISSUER = set(re.findall(r"^# (\w+) = ", text("deploy/millrace.toml"), re.M))
# Words that begin like a setting and are none.
OTHER_WORDS = {"broker.pem", "database.pem", "webhooks.rs", "events.js", "results.rs", "auth.rs", "results.pulled_at", "results.ordinal"}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_settings_that_are_named_exist(path):
    for span in spans(path):
        for name in re.findall(r"(?<![\w./-])(?:%s)\.[a-z_][\w.]*" % "|".join(SETTINGS), span):
            if name in OTHER_WORDS or name.endswith((".rs", ".js", ".md")) or "/" in span:
                continue
            issuer = re.fullmatch(r"auth\.issuers\.\w+\.(\w+)", name)
            assert name in KNOWN_SETTINGS or (issuer and issuer.group(1) in ISSUER), f"{name} is no setting"
        for name in re.findall(r"MILLRACE_[A-Z]+__[A-Z_]+", span):
            assert name.removeprefix("MILLRACE_").lower().replace("__", ".") in KNOWN_SETTINGS, f"{name} is no setting"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_metrics_that_are_named_exist(path):
    listed = set(re.findall(r"^\| `(millrace_\w+)`", text("common/METRICS.md"), re.M))
    for span in spans(path):
        for name in re.findall(r"\bmillrace_[a-z_]+_(?:total|seconds|bytes|chunks|pushes|busy|wanted|waiting|connected|blocked|batches|workers|slots)\b", span):
            assert name in listed, f"{name} is no metric"


HELP = text("api/cli/src/snapshots/millrace_cli__tests__the_help_is_complete.snap")
COMMANDS = {" ".join(name.split()[1:]) for name in re.findall(r"^=== (millrace.*)$", HELP, re.M)}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_commands_that_are_named_exist(path):
    blocks = "\n".join(match.group(0) for match in FENCE.finditer(text(path)))
    lines = spans(path) | set(re.findall(r"(?:^|exec \S+ -- |--rm )(millrace [a-z].*)$", blocks, re.M))
    for line in lines:
        if not re.match(r"millrace (?!--)[a-z]", line):
            continue
        words = re.match(r"millrace((?: [a-z-]+)+)", line.split(" --")[0]).group(1).split()
        assert any(" ".join(words[:count]) in COMMANDS for count in (1, 2, 3)), f"`{line}`: no such command"
        for option in re.findall(r" (--[a-z-]+)", line):
            assert option in HELP, f"`{line}`: no option {option}"


def test_what_the_architecture_names_is_in_the_code():
    rust = "\n".join(text(path) for path in FILES if path.endswith(".rs"))
    functions = set(re.findall(r"\bfn (\w+)", rust))
    words = set(re.findall(r"\w+", rust)) | set(re.findall(r"\w+", "\n".join(text(path) for path in FILES if path.endswith(".sql"))))
    named = {span for span in spans("common/ARCHITECTURE.md") if re.fullmatch(r"[a-z]\w*_\w+", span)}
    # Names of tests are sentences; the others are tables, columns, fields.
    assert {name for name in named if name.count("_") > 3 and name not in functions} == set(), "no such tests"
    assert {name for name in named if name not in words} == set(), "in no code and no schema"
    assert len({name for name in named if name.count("_") > 3}) > 20


# --- Codes of errors ---------------------------------------------------------------------------------------------------

WORD = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*"
# Texts in capitals that are no codes.
NO_CODES = re.compile(r"(CARGO|MILLRACE|FUZZ|PROPTEST)_.*|UPDATE_METRICS|(SYSTEM|DATA|ALGORITHM|SPARK)")


def sources(*folders: str) -> list[str]:
    """What is compiled into programs: without tests."""
    chosen = (path for path in sorted(FILES) if path.endswith(".rs") and path.startswith(folders))
    left_out = re.compile(r"api/src/(fuzzing|openapi)/|tests?\.rs$|/tests/")
    return [re.split(r"^#\[cfg\(test\)\]\nmod \w+ \{", text(path), flags=re.M)[0] for path in chosen if not left_out.search(path)]


def codes() -> set[str]:
    found = set()
    for source in sources("api/src/", "api/decode/src/", "common/src/model/recipe/names.rs"):
        source = re.sub(r"^\s*//.*$", "", source, flags=re.M)
        # Codes of several words stand anywhere; those of one word only where an error is made.
        found |= set(re.findall(rf'"({WORD})"', source)) & set(re.findall(r"\w+_\w+", source))
        makers = "bad_request|not_found|conflict|unprocessable|too_many|unavailable|new"
        found |= set(re.findall(rf'\b(?:{makers})\(\s*(?:StatusCode::\w+,\s*)?"({WORD})"', source))
    return {code for code in found if not NO_CODES.fullmatch(code)}


def test_every_code_is_explained_and_every_explained_code_exists():
    known = codes()
    assert {"INTERNAL", "STARTING", "BATCH_NOT_FOUND", "NODE_INTERFACE", "TOO_MANY_UPLOADS", "CONFLICT"} <= known
    named = {span for span in spans("api/ERRORS.md") if re.fullmatch(WORD, span)} - {"NOW", "TODAY", "RAND"}
    assert known - named == set(), "codes that api/ERRORS.md does not explain"
    assert {name for name in named - known if not NO_CODES.fullmatch(name)} == set(), "codes that do not exist"


def test_what_makes_chunks_and_jobs_fail_is_explained():
    source = "\n".join(sources("worker/src/", "common/src/", "common/calc/src/", "api/src/spark/execute/"))
    kinds = set(re.findall(r'"(error\.[A-Z_]+)"', source))
    named = {span for span in spans("api/ERRORS.md") if re.fullmatch(r"error\.[A-Z_]+", span)}
    assert kinds == named
    builtin = re.search(r"INSERT INTO job_errors .*?;", text("migrations/0008_recipes.sql"), re.S).group(0)
    part = text("api/ERRORS.md").partition("### Jobs that failed")[2]
    assert set(re.findall(r"^    \('([\w-]+)'", builtin, re.M)) == set(re.findall(r"^\| `([\w-]+)` \|", part, re.M))


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path != "api/ERRORS.md"])
def test_codes_that_are_named_elsewhere_exist(path):
    known = codes()
    for span in spans(path):
        for code in re.findall(rf"^(?:[45]\d\d )?({WORD})$", span):
            if "_" in code and not code.startswith(("MILLRACE_", "MRT_", "CARGO_", "PROPTEST_", "RUST")):
                looks_like_one = re.search(r"_(FULL|FOUND|EXPIRED|FINISHED|EXHAUSTED|LIMITED|UNAVAILABLE|CONFLICT|LARGE|OPEN|CANCELLED|SCOPE|BUSY|STREAMS|WEBHOOKS|URL)$", code)
                assert not looks_like_one or code in known, f"{code} does not exist"


# --- Troubleshooting ---------------------------------------------------------------------------------------------------

TROUBLE = "deploy/TROUBLESHOOTING.md"


def test_every_alert_is_explained_and_every_explained_alert_exists():
    alerts = {rule["alert"] for group in load(DEPLOY / "prometheus/alerts.yaml")["groups"] for rule in group["rules"]}
    rows = text(TROUBLE).partition("## Alerts")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(Millrace\w+)`", "\n".join(line.split("|")[1] for line in rows.splitlines() if line.startswith("|")))) == alerts
    for path in DOCUMENTS:
        for name in re.findall(r"`(Millrace[A-Z]\w+)`", prose(path)):
            assert name in alerts, f"{path}: there is no alert {name}"


def test_messages_that_are_quoted_exist():
    # A string that goes on in the next line is one text.
    source = re.sub(r"\\\n\s*", "", "\n".join(sources("worker/src/", "common/src/", "api/src/", "api/decode/src/", "api/table/src/")))
    quoted = {span for span in spans(TROUBLE) if re.match(r"[a-z][\w']*,? [a-z]", span) and not re.match(r"(millrace|promtool) ", span)}
    assert len(quoted) > 40
    assert {span for span in quoted if span.removeprefix("… ") not in source} == set()


# --- Lists that are kept by hand ---------------------------------------------------------------------------------------

ROUTES = json.loads(text("api/openapi.json"))["paths"]
OPERATIONS = {(method.upper(), path) for path, item in ROUTES.items() for method in item if method in {"get", "post", "patch", "put", "delete"}}
CALL = re.compile(r"((?:(?:GET|POST|PATCH|PUT|DELETE)(?:, )?)*) ?((?:…|/)(?:[\w{}/.-]|…)*)")


def calls(path: str) -> list[tuple[set[str], str]]:
    """Calls that a document names: their methods, where these are said, and a pattern for their paths."""
    found = []
    for span in spans(path):
        match = CALL.fullmatch(re.sub(r"\?.*$| \{.*$", "", span))
        if match is None or "/" not in match.group(2):
            continue
        # An ellipsis stands for whatever goes before or between, a variable for one part.
        parts = re.split(r"(…|\{\w+\})", match.group(2))
        pattern = "".join(".*" if part == "…" else "[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
        found.append((set(re.findall(r"\w+", match.group(1))), pattern))
    return found


def answers(pattern: str, path: str) -> bool:
    """Whether this pattern means this path: slashes at the end are tolerated, and words of v1 have any case."""
    return re.fullmatch(pattern.rstrip("/") + "/?", path.rstrip("/"), re.I) is not None


PROTOCOL = ["api/README.md", "api/SPARK.md", "api/SCALE.md", "api/WEBHOOKS.md", "api/ERRORS.md"]
@pytest.mark.parametrize("path", [*PROTOCOL, "README.md", "SECURITY.md", "deploy/OPERATIONS.md", TROUBLE, "common/ARCHITECTURE.md", "api/src/dashboard/README.md"])
def test_routes_that_are_named_exist(path):
    for methods, pattern in calls(path):
        met = {method for method, route in OPERATIONS if answers(pattern, route)}
        # A path without a method may be the beginning of routes, or no route at all.
        assert methods <= met, f"{sorted(methods)} {pattern}: no such call"


def test_every_route_is_named_in_a_page_for_its_callers():
    # A pattern that ends with a variable after an ellipsis could be anything.
    patterns = {pattern for page in PROTOCOL for _, pattern in calls(page)} - {".*/[^/]+", ".*/[^/]+/"}
    missing = {path for path in ROUTES if not path.startswith("/dashboard") and not any(answers(pattern, path) for pattern in patterns)}
    assert missing == set()


def test_fields_scopes_actions_and_limits_are_those_of_the_code():
    document = json.loads(text("api/openapi.json"))
    named = {word for page in PROTOCOL for span in spans(page) for word in re.findall(r"\w+", span)}
    for body in ("CreateBatch", "ChangeBatch", "RedriveBatch"):
        assert set(document["components"]["schemas"][body]["properties"]) <= named, f"fields of {body} that no page names"
    scopes = set(re.findall(r'=> "([\w:]+)"', text("common/src/model/scope.rs")))
    part = text("api/README.md").partition("| scope |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w:]+)` \|", part, re.M)) == scopes
    actions = set(re.findall(r'^\s+\w+ = "(\w+\.\w+)",', text("common/src/model/audit.rs"), re.M))
    part = text("api/README.md").partition("| what is in the audit trail | |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+\.\w+)`", part)) == actions
    limits = dict(re.findall(r"^            (\w+): ([\d_]+),", text("common/calc/src/limits.rs"), re.M))
    words = prose("common/calc/WORKBOOKS.md")
    for limit in ("fields", "range_area", "formulas", "cells", "sheets"):
        assert f"{int(limits[limit]):,}" in words, f"{limit} is {limits[limit]}"
