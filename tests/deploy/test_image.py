"""deploy/Dockerfile: no engine builds it here, so it is held to its linter and to what it must agree with."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from conftest import DEPLOY, ROOT

TOOLS = pathlib.Path(sys.executable).parent
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of this name, continued lines joined."""
    joined = re.sub(r"\\\n", " ", DOCKERFILE)
    return [line.split(maxsplit=1)[1] for line in joined.splitlines() if line.startswith(f"{name} ")]


def test_the_linter_has_nothing_to_say():
    done = subprocess.run([TOOLS / "hadolint", "--no-color", "--failure-threshold", "style", DEPLOY / "Dockerfile"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compiler_is_the_one_of_the_checkout():
    channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    assert instructions("FROM")[0].startswith(f"rust:{channel}-"), "rust-toolchain.toml has another version"


def test_what_is_run_needs_no_newer_libc_than_it_finds():
    build, final = instructions("FROM")
    assert "bookworm" in build and "debian12" in final


def test_it_runs_as_a_number_that_is_not_root():
    user, group = instructions("USER")[-1].split(":")
    assert int(user) > 0 and int(group) > 0


def test_its_version_is_the_workspace_s(version):
    assert f"VERSION={version}" in instructions("ARG")
    assert f"-t millrace:{version} " in DOCKERFILE


def test_it_has_the_three_programs():
    installed = re.search(r"install -D -t /programs (.*)", DOCKERFILE).group(1).split()
    assert {pathlib.PurePath(path).name for path in installed} == {"millrace", "millrace-api", "millrace-worker"}


def test_it_listens_where_others_reach_it(defaults):
    settings = " ".join(instructions("ENV"))
    for variable, port in (("MILLRACE_HTTP__LISTEN", "8080"), ("MILLRACE_WORKER__LISTEN", "8081")):
        assert f"{variable}=0.0.0.0:{port}" in settings
        assert port in instructions("EXPOSE")[0].split()
    assert defaults["http"]["listen"].endswith(":8080") and defaults["worker"]["listen"].endswith(":8081")


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> pathlib.Path:
    """The folder as the builder gets it: what Dockerfile.dockerignore lets through of what is committed."""
    rules = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"]
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    refused = [rule for rule in rules if not rule.startswith("!")]
    assert refused == ["*", "**/target", "**/fuzz/corpus"], "this test reads no other rules"
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *allowed], cwd=ROOT, capture_output=True, check=True)
    folder = tmp_path_factory.mktemp("context")
    for name in listed.stdout.decode().split("\0"):
        if not (ROOT / name).is_file() or "/fuzz/corpus/" in name or "target" in pathlib.PurePath(name).parts:
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def test_the_builder_gets_every_crate_that_the_image_is_made_of(context):
    done = subprocess.run(["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"],
                          cwd=context, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    packages = {package["name"]: package for package in json.loads(done.stdout)["packages"]}
    programs = {target["name"] for package in ("millrace-api", "millrace-cli", "millrace-worker") for target in packages[package]["targets"]
                if "bin" in target["kind"]}
    assert programs == {"millrace", "millrace-api", "millrace-worker"}


def test_the_builder_gets_every_file_that_the_sources_include(context):
    missing = []
    for crate in ("api/src", "api/cli/src", "api/decode/src", "api/table/src", "common/src", "common/calc/src", "worker/src"):
        for source in (context / crate).rglob("*.rs"):
            for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
                if not (source.parent / name).resolve().is_file() and "tests" not in source.stem:
                    missing.append(f"{source.relative_to(context)}: {name}")
    assert not missing
