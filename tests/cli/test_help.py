"""Help is complete, the manual is made from it, and both are up to date."""

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from mrcli.cli.app import app
from mrcli.cli.manual import EXIT_CODES, manual, verbs
from mrcli.errors import MrcliError

GROUPS = get_command(app).commands
COMMANDS = dict(verbs(get_command(app)))
SHARED = {"--json", "--config", "--no-color"}
for_every_verb = pytest.mark.parametrize("verb", COMMANDS)


def test_the_manual_is_up_to_date():
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page.read_text() == manual(), "run: python -m mrcli.cli.manual > docs/cli.md"


def test_the_manual_lists_every_exit_code():
    own = {kind.exit_code for kind in MrcliError.__subclasses__()}
    assert own | {0, 1, 2, 130, 141, 143} == EXIT_CODES.keys()


@for_every_verb
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_verb_explains_itself_with_an_example(verb, option):
    result = CliRunner().invoke(app, [*verb.split(), option])
    assert result.exit_code == 0
    assert f"Example: mrcli {verb}" in result.stdout
    assert result.stderr == ""


def test_a_verb_with_verbs_below_it_explains_itself_with_an_example():
    result = CliRunner().invoke(app, ["adapters", "--help"])
    assert result.exit_code == 0
    assert "Example: mrcli adapters" in result.stdout
    below = ("list", "show", "verify", "activate", "rollback", "export", "import")
    below += ("diff", "average", "log")
    assert set(COMMANDS) - set(GROUPS) == {f"adapters {v}" for v in below}


@for_every_verb
def test_every_option_has_a_help_text_that_is_a_sentence(verb):
    for parameter in COMMANDS[verb].params:
        assert parameter.help, parameter.name
        assert parameter.help[0].isupper() or parameter.help.startswith("."), parameter.name
        assert parameter.help.endswith("."), parameter.name


@for_every_verb
def test_every_verb_has_the_shared_options(verb):
    options = {option for parameter in COMMANDS[verb].params for option in parameter.opts}
    # what a folder of models holds is no matter of settings
    assert options >= (SHARED - {"--config"} if verb.startswith("adapters ") else SHARED)


@for_every_verb
def test_environment_variables_carry_the_name_of_the_program(verb):
    named = {p.envvar for p in COMMANDS[verb].params if p.envvar}
    assert all(name.startswith("MRCLI_") for name in named)


def test_the_version_is_one_line():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("mrcli ")
    assert result.stdout.count("\n") == 1
